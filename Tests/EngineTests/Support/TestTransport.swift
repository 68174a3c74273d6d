// The connection under a stream, as a list of what was written; and the place where the test's
// side waits for it.

import Dispatch
import Engine
import NIOCore
import SASL
import Synchronization
import TLS
import XML

/// What a client sees of its connection.
enum ClientEvent: Sendable {
    case header(StreamHeader)
    case element(Element)
    /// `</stream:stream>`
    case end
    /// The server begins TLS.
    case startTLS
    /// The connection is closed.
    case closed
    /// The server wrote what is no XML.
    case broken(XMLError)
}

/// What has come for a client and was not looked at. Any thread may add; one task takes.
final class Inbox: Sendable {
    struct Missing: Error, CustomStringConvertible {
        var description: String { "the server said nothing" }
    }

    private struct State {
        var events: [ClientEvent] = []
        var waiter: CheckedContinuation<ClientEvent, any Error>?
        var waits = 0
    }

    /// Only a test that fails waits that long.
    private static let patience = DispatchTimeInterval.seconds(120)

    private let state = Mutex(State())

    func add(_ event: ClientEvent) {
        let waiter = state.withLock { state in
            let waiter = state.waiter
            state.waiter = nil
            if waiter == nil { state.events.append(event) }
            return waiter
        }
        waiter?.resume(returning: event)
    }

    /// The next event; throws when none comes.
    func next() async throws -> ClientEvent {
        try await withCheckedThrowingContinuation { continuation in
            let (event, wait) = state.withLock { state -> (ClientEvent?, Int) in
                state.waits += 1
                guard state.events.isEmpty else { return (state.events.removeFirst(), 0) }
                state.waiter = continuation
                return (nil, state.waits)
            }
            if let event { return continuation.resume(returning: event) }
            DispatchQueue.global().asyncAfter(deadline: .now() + Self.patience) {
                self.giveUp(wait)
            }
        }
    }

    private func giveUp(_ wait: Int) {
        let waiter: CheckedContinuation<ClientEvent, any Error>? = state.withLock { state in
            guard state.waits == wait else { return nil }
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume(throwing: Missing())
    }

    /// Whether something that fits has come and was not looked at.
    func contains(where fits: (ClientEvent) -> Bool) -> Bool {
        state.withLock { $0.events.contains(where: fits) }
    }

    /// Whether nothing has come that was not looked at.
    var isEmpty: Bool { state.withLock { $0.events.isEmpty } }
}

/// A connection without a socket. Owner: its loop.
final class TestTransport: StreamTransport {
    let inbox: Inbox
    var channelBindings = ChannelBindings(offered: [:])
    /// Whether the stream wants to be read; nil until it has said so.
    private(set) var isReading: Bool?
    var onClose: (() -> Void)?
    /// What the peer's certificate proves of a domain.
    var verdicts: [String: CertificateVerdict] = [:]
    private var reader = StreamReader(limits: ReaderLimits())

    init(_ inbox: Inbox) {
        self.inbox = inbox
    }

    func write(_ bytes: ByteBuffer, then: (() -> Void)?) {
        defer { then?() }
        let chunk = Array(bytes.readableBytesView)
        var offset = 0
        do throws(XMLError) {
            while let event = try reader.next(in: chunk.span, at: &offset) { take(event) }
        } catch {
            inbox.add(.broken(error))
        }
    }

    private func take(_ event: StreamEvent) {
        switch event {
        case .header(let header): inbox.add(.header(header))
        case .end: inbox.add(.end)
        case .element(let fragment):
            // Both are followed by a new stream.
            if fragment.isNamed("success", "urn:ietf:params:xml:ns:xmpp-sasl")
                || fragment.isNamed("proceed", "urn:ietf:params:xml:ns:xmpp-tls")
            {
                reader.restart()
            }
            inbox.add(.element(fragment.element()))
        }
    }

    func close() {
        inbox.add(.closed)
        let onClose = onClose
        self.onClose = nil
        onClose?()
    }

    func abort() { close() }

    func startTLS() { inbox.add(.startTLS) }

    func verdict(for domain: String) -> CertificateVerdict { verdicts[domain] ?? .absent }

    func forgetPeerCertificate() { verdicts = [:] }

    func setReading(_ isReading: Bool) { self.isReading = isReading }
}
