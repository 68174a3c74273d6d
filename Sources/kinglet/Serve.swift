// kinglet serve

internal import ArgumentParser
internal import Dispatch
internal import Foundation
internal import Glibc
internal import Listeners
internal import Logging
internal import Options
internal import TLS

struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Run the server.")

    @OptionGroup var common: CommonArguments

    @Flag(help: "Listen on loopback only, on free ports; nothing goes out.")
    var isolated = false

    /// Whoever started it holds the other end: a test restore's server must not outlive the test.
    @Flag(help: .hidden) var untilInputEnds = false

    @Flag(name: .customLong("init"), help: "If there is no configuration, do kinglet init first.")
    var initializesFirst = false

    func run() async throws {
        try await reportingFailure {
            if untilInputEnds { endWithInput() }
            var initialized: Initialization.Outcome?
            if Initialization.existingFile(common.config) == nil {
                guard initializesFirst || Terminal.isInteractive else {
                    throw Failure(
                        common.config.map {
                            "\($0): there is no such file; kinglet init --config \($0) writes one"
                        }
                            ?? "there is no configuration "
                            + "(\(ProgramOptions.searchOrder.joined(separator: ", "))); "
                            + "run kinglet init, which writes one")
                }
                initialized = try Initialization(file: common.config).run()
            }
            try await serve(initialized)
        }
    }

    private func serve(_ initialized: Initialization.Outcome?) async throws {
        let declared = try DeclaredProgram(common, isolated: isolated)
        let program = declared.options
        try program.requireDomain()
        try program.files.prepare()
        guard let lock = try await dataLock(program.files) else {
            throw Failure(
                "another kinglet uses \(program.dataDirectory); stop it first, or choose another "
                    + "data_dir")
        }
        let format = program.logFormat.value
        let level = program.logLevel
        let log = Logger(label: "kinglet") { _ in StandardErrorLog(format: format, level: level) }
        let service = ServiceNotification(log: log)
        signal(SIGPIPE, SIG_IGN)
        let signals = Signals()
        let server = try await Server.start(program, declared.builder, log: log)
        var ready: Logger.Metadata = [
            "domains": "\(program.domains.joined(separator: " "))",
            "listeners":
                "\(server.listeners.bound.map { "\($0.name)=\($0.port)" }.joined(separator: " "))",
            "metrics": "\(server.metricsPort)",
            "certificates": "\(server.certificates.map(\.fingerprint).joined(separator: " "))",
        ]
        if let port = server.webPort { ready["web"] = "\(port)" }
        log.notice("ready", metadata: ready)
        let status = "Serving \(program.domains.joined(separator: ", "))"
        service?.ready(status)
        let watchdog = service?.startWatchdog { server.stuckLoops == 0 }
        if initializesFirst || Terminal.isInteractive {
            Greeting(program: program, server: server, initialized: initialized, arguments: common)
                .print()
        }
        let renewal = DispatchSource.makeTimerSource()
        renewal.schedule(deadline: .now() + 86_400, repeating: 86_400)
        renewal.setEventHandler { server.renewLocalCertificate() }
        renewal.resume()
        for await signal in signals.received {
            guard signal == SIGHUP else { break }
            service?.reloading()
            server.reload()
            service?.ready(status)
        }
        log.notice("stopping")
        service?.stopping()
        renewal.cancel()
        await server.stop()
        watchdog?.cancel()
        _ = consume lock
    }
}

/// Ends this process, whatever it is at, when its standard input does: only whoever wanted it could
/// have told it to end in order.
private func endWithInput() {
    let thread = Thread {
        var byte: UInt8 = 0
        while true {
            let count = read(STDIN_FILENO, &byte, 1)
            if count == 0 || (count < 0 && errno != EINTR) { _exit(1) }
        }
    }
    thread.stackSize = 131_072
    thread.start()
}

/// The lock on the data. A command that works on the data itself has it for a moment, and is waited
/// for; nil when somebody keeps it.
private func dataLock(_ files: DataFiles) async throws -> DataLock? {
    for _ in 0..<60 {
        if let lock = try DataLock(files) { return lock }
        try await Task.sleep(for: .milliseconds(50))
    }
    return nil
}

/// The signals that mean something to the server, as a stream.
private struct Signals {
    let received: AsyncStream<CInt>
    private let sources: [any DispatchSourceSignal]

    init() {
        let (stream, continuation) = AsyncStream.makeStream(of: CInt.self)
        received = stream
        sources = [SIGHUP, SIGINT, SIGTERM].map { number in
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number)
            source.setEventHandler { continuation.yield(number) }
            source.resume()
            return source
        }
    }
}
