// A second Kinglet on a scratch copy, for the length of a test: started from our own program, so
// that it is the one that would have to do with a restore, and ended whatever happens.

internal import Foundation
internal import Programs
internal import Synchronization

/// What a server says when it is ready.
struct ReadyServer: Sendable, Equatable {
    /// The port at which TLS begins at once.
    var port: UInt16
    /// Of the certificates that it shows.
    var fingerprints: Set<String>
}

/// A server that runs as long as this object is asked to. Safe on any thread.
final class ScratchServer: Sendable {
    private enum Event {
        case ready(ReadyServer)
        case ended(String)
    }
    private struct State {
        var event: Event?
        var isWanted = true
        /// What it has written that is no whole line yet.
        var line: [UInt8] = []
        /// Its last lines, for the report of a failure.
        var lines: [String] = []
        var end: Program.End?
    }

    private static let longestLine = 65_536
    private static let keptLines = 5

    private let state = Mutex(State())
    private let changed = DispatchSemaphore(value: 0)
    private let over = DispatchSemaphore(value: 0)

    /// Starts a program that writes its log to its standard error, as JSON.
    init(_ program: Program) {
        let thread = Thread { [self] in
            let end = try? program.run(
                isWanted: { self.state.withLock { $0.isWanted } }, output: { _ in },
                errors: { self.take($0) })
            state.withLock { state in
                state.end = end
                if state.event == nil {
                    state.event = .ended(state.lines.joined(separator: "; "))
                }
            }
            changed.signal()
            over.signal()
        }
        thread.stackSize = 524_288
        thread.start()
    }

    private func take(_ bytes: ArraySlice<UInt8>) {
        let isReady = state.withLock { state in
            for byte in bytes {
                if byte != 0x0A {
                    if state.line.count < Self.longestLine { state.line.append(byte) }
                    continue
                }
                let line = state.line
                state.line = []
                state.lines.append(String(decoding: line.prefix(500), as: UTF8.self))
                if state.lines.count > Self.keptLines { state.lines.removeFirst() }
                if state.event == nil, let ready = Self.ready(line) { state.event = .ready(ready) }
            }
            return state.event != nil
        }
        if isReady { changed.signal() }
    }

    /// Reads a line of the log; nil unless it says that the server is ready.
    static func ready(_ line: [UInt8]) -> ReadyServer? {
        struct Line: Decodable {
            var msg: String
            var listeners: String?
            var certificates: String?
        }
        guard let line = try? JSONDecoder().decode(Line.self, from: Data(line)),
            line.msg == "ready",
            let port = line.listeners?.split(separator: " ").lazy
                .first(where: { $0.hasPrefix("client_tls=") })
                .flatMap({ UInt16($0.dropFirst("client_tls=".count)) }), port > 0
        else { return nil }
        return ReadyServer(
            port: port,
            fingerprints: Set((line.certificates ?? "").split(separator: " ").map(String.init)))
    }

    /// Waits until it serves.
    func awaitReady(
        _ timeLimit: Duration, _ cancellation: Cancellation
    ) throws(BackupError) -> ReadyServer {
        let deadline = ContinuousClock.now + timeLimit
        while true {
            try cancellation.check()
            switch state.withLock({ $0.event }) {
            case .ready(let server): return server
            case .ended(let lines):
                throw BackupError(
                    .damaged, subject: "the restored server", "does not start: \(lines)",
                    advice: "restore by hand into another folder and look there")
            case nil: break
            }
            guard ContinuousClock.now < deadline else {
                throw BackupError(
                    .temporary, subject: "the restored server", "is not ready in time",
                    advice: "the machine may be busy; it is tried again")
            }
            _ = changed.wait(timeout: .now() + 0.2)
        }
    }

    /// Ends it and waits for its end. Gives whether it ended by itself when asked to.
    @discardableResult
    func stop() -> Bool {
        state.withLock { $0.isWanted = false }
        over.wait()
        // For another call.
        over.signal()
        return state.withLock { $0.end } == .stopped
    }
}
