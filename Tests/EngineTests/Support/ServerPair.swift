// Two servers that reach each other by pipes instead of sockets: all of their streams, and none of
// the network.

import Engine
import NIOCore
import NIOEmbedded
import SASL
import Synchronization
import TLS
import Testing

/// One end of a connection. Its stream belongs to its loop; the rest is safe anywhere.
final class PipeEnd: StreamTransport, Sendable {
    private struct State {
        var peer: PipeEnd?
        var stream: NIOLoopBound<XMLStream>?
        var isClosing = false
        var isClosed = false
    }

    private let state = Mutex(State())
    let loop: NIOAsyncTestingEventLoop
    private let isClient: Bool
    private let verdicts: @Sendable (String) -> CertificateVerdict
    private let note: @Sendable ([UInt8]) -> [UInt8]?

    /// - Parameter note: sees what this end writes, and gives what the other end is to get; nil
    ///   when the connection breaks there.
    init(
        _ loop: NIOAsyncTestingEventLoop, isClient: Bool,
        verdicts: @escaping @Sendable (String) -> CertificateVerdict,
        note: @escaping @Sendable ([UInt8]) -> [UInt8]?
    ) {
        self.loop = loop
        self.isClient = isClient
        self.verdicts = verdicts
        self.note = note
    }

    var channelBindings: ChannelBindings { ChannelBindings(offered: [:]) }

    func join(_ other: PipeEnd) {
        state.withLock { $0.peer = other }
        other.state.withLock { $0.peer = self }
    }

    func carry(_ stream: XMLStream) {
        let bound = NIOLoopBound(stream, eventLoop: loop)
        state.withLock { $0.stream = bound }
    }

    private var peer: PipeEnd? { state.withLock { $0.peer } }

    private func tell(_ body: @escaping @Sendable (XMLStream) -> Void) {
        loop.execute {
            guard let stream = self.state.withLock({ $0.isClosed ? nil : $0.stream }) else {
                return
            }
            body(stream.value)
        }
    }

    func write(_ bytes: ByteBuffer, then: (() -> Void)?) {
        guard let sent = note(Array(bytes.readableBytesView)) else { return cut() }
        peer?.tell { $0.receive(ByteBuffer(bytes: sent)) }
        then?()
    }

    func close() {
        state.withLock { $0.isClosing = true }
        guard let peer else { return }
        peer.tell { $0.endOfInput() }
        if peer.state.withLock({ $0.isClosing }) { cut() }
    }

    func abort() { cut() }

    /// The connection breaks.
    func cut() {
        end()
        peer?.end()
    }

    private func end() {
        loop.execute {
            let stream = self.state.withLock { state -> NIOLoopBound<XMLStream>? in
                defer {
                    state.isClosed = true
                    state.stream = nil
                }
                return state.isClosed ? nil : state.stream
            }
            stream?.value.didClose()
        }
    }

    /// The client's end begins last: then both are in TLS.
    func startTLS() {
        guard isClient else { return }
        peer?.tell { $0.didSecure(.tls13) }
        tell { $0.didSecure(.tls13) }
    }

    func setReading(_ isReading: Bool) {}

    func verdict(for domain: String) -> CertificateVerdict { verdicts(domain) }
}

/// The servers of a test, and what passes between them.
final class ServerWorld: Sendable {
    private struct State {
        var servers: [String: TestServer] = [:]
        var verdicts: [String: CertificateVerdict] = [:]
        var ends: [PipeEnd] = []
        var connections = 0
        var sent: [String: [UInt8]] = [:]
        var breaks: (@Sendable (String, String) -> Bool)?
        var change: (@Sendable (String, String) -> String)?
    }

    private let state = Mutex(State())
    let isDirectTLS: Bool

    init(isDirectTLS: Bool = false) { self.isDirectTLS = isDirectTLS }

    func add(_ server: TestServer) {
        state.withLock { state in
            for domain in server.host.domains { state.servers[domain] = server }
        }
        server.host.federation.start(PipeConnector(world: self, from: server), server.host)
    }

    /// What the certificate of a domain's server proves of that domain; `valid` unless said here.
    func setVerdict(_ verdict: CertificateVerdict, of domain: String) {
        state.withLock { $0.verdicts[domain] = verdict }
    }

    fileprivate func verdict(of server: TestServer, for domain: String) -> CertificateVerdict {
        guard server.host.domains.contains(domain) else { return .wrongName }
        return state.withLock { $0.verdicts[domain] ?? .valid }
    }

    /// Connections so far.
    var connections: Int { state.withLock { $0.connections } }

    /// Everything that the server of a domain has written to others.
    func sent(by domain: String) -> String {
        state.withLock { String(decoding: $0.sent[domain] ?? [], as: UTF8.self) }
    }

    /// Connections break instead of carrying what fits, given who writes and what.
    func breakConnections(where fits: (@Sendable (String, String) -> Bool)?) {
        state.withLock { $0.breaks = fits }
    }

    /// Somebody on the way changes what is written, given who writes and what.
    func change(_ change: (@Sendable (String, String) -> String)?) {
        state.withLock { $0.change = change }
    }

    /// Every connection breaks.
    func cut() {
        let ends = state.withLock { state in
            defer { state.ends = [] }
            return state.ends
        }
        for end in ends { end.cut() }
    }

    fileprivate func server(of domain: String) -> TestServer? {
        state.withLock { $0.servers[domain] }
    }

    fileprivate func note(_ domain: String, _ bytes: [UInt8]) -> [UInt8]? {
        state.withLock { state in
            let text = String(decoding: bytes, as: UTF8.self)
            if state.breaks?(domain, text) == true { return nil }
            let changed = state.change.map { Array($0(domain, text).utf8) } ?? bytes
            state.sent[domain, default: []] += changed
            return changed
        }
    }

    fileprivate func keep(_ end: PipeEnd) {
        state.withLock { state in
            state.ends.append(end)
            state.connections += 1
        }
    }
}

/// Connects a server to the others of its world.
struct PipeConnector: ServerConnector {
    let world: ServerWorld
    let from: TestServer

    func candidates(
        for domain: String, report: @escaping @Sendable (FederationStep) -> Void
    ) async throws(FederationFailure) -> [ServerCandidate] {
        [ServerCandidate(host: domain, port: 5269, isDirectTLS: world.isDirectTLS)]
    }

    func connect(
        _ candidate: ServerCandidate, from local: String, to remote: String, on loop: Loop,
        report: @escaping @Sendable (FederationStep) -> Void,
        stream: @escaping @Sendable (any StreamTransport) -> XMLStream
    ) async throws(FederationFailure) {
        guard let server = world.server(of: remote), let ours = from.loops.first,
            let theirs = server.loops.first, let theirLoop = server.host.loop(of: theirs)
        else { throw FederationFailure(.connectionRefused, "nobody there") }
        let (world, from) = (world, from)
        let name = from.host.domains[0]
        let other = server.host.domains[0]
        let near = PipeEnd(
            ours, isClient: true, verdicts: { world.verdict(of: server, for: $0) },
            note: { world.note(name, $0) })
        let far = PipeEnd(
            theirs, isClient: false, verdicts: { world.verdict(of: from, for: $0) },
            note: { world.note(other, $0) })
        near.join(far)
        world.keep(near)
        await theirs.call {
            far.carry(
                IncomingServerStream(
                    host: server.host, loop: theirLoop, transport: far, address: "192.0.2.1"))
        }
        await ours.call { near.carry(stream(near)) }
        if candidate.isDirectTLS { near.startTLS() }
    }
}

/// Two servers with an account each: `romeo@montague.example` and `juliet@capulet.example`.
struct ServerPair {
    let world: ServerWorld
    let capulet, montague: TestServer

    /// Waits until both have nothing more to do.
    func settle() async {
        for _ in 0..<6 {
            await capulet.settle()
            await montague.settle()
        }
    }
}

/// Runs a test with two servers that federate.
func withServerPair(
    _ settings: [String] = [], capulet: [String] = [], montague: [String] = [],
    isDirectTLS: Bool = false, sourceLocation: SourceLocation = #_sourceLocation,
    _ body: (ServerPair) async throws -> Void
) async throws {
    let world = ServerWorld(isDirectTLS: isDirectTLS)
    let common = ["federation.policy=open"] + settings
    let pair = ServerPair(
        world: world,
        capulet: try TestServer(common + capulet, domains: ["capulet.example"]),
        montague: try TestServer(common + montague, domains: ["montague.example"]))
    world.add(pair.capulet)
    world.add(pair.montague)
    let result: Result<Void, any Error>
    do {
        try await body(pair)
        result = .success(())
    } catch {
        result = .failure(error)
    }
    world.cut()
    await pair.settle()
    await pair.capulet.stop(sourceLocation: sourceLocation)
    await pair.montague.stop(sourceLocation: sourceLocation)
    try result.get()
}
