// What an attempt makes of the failures of several servers of one domain.

import NIOCore
import NIOEmbedded
import Synchronization
import Testing
import XML

@testable import Engine

/// A domain whose servers each fail in their own way.
final class UnevenConnector: ServerConnector {
    private let failures: [String: FederationFailure]
    private let names: [String]

    init(_ failures: FederationFailure...) {
        names = failures.indices.map { "s\($0).example" }
        self.failures = Dictionary(zip(names, failures)) { first, _ in first }
    }

    func candidates(
        for domain: String, report: @escaping @Sendable (FederationStep) -> Void
    ) async throws(FederationFailure) -> [ServerCandidate] {
        names.map { ServerCandidate(host: $0, port: 5269, isDirectTLS: false) }
    }

    func connect(
        _ candidate: ServerCandidate, from local: String, to remote: String, on loop: Loop,
        report: @escaping @Sendable (FederationStep) -> Void,
        stream: @escaping @Sendable (any StreamTransport) -> XMLStream
    ) async throws(FederationFailure) {
        throw failures[candidate.host] ?? FederationFailure(.unreachable, "nobody")
    }
}

/// Every domain has eight servers, which take connections and say nothing.
private final class SilentConnector: ServerConnector {
    private let opened = Mutex<[(remote: String, stream: NIOLoopBound<XMLStream>)]>([])

    /// To whom connections were opened, in their order.
    var connections: [String] { opened.withLock { $0.map(\.remote) } }

    /// The first connection to a domain breaks.
    func drop(_ remote: String, _ server: TestServer) async {
        guard let stream = opened.withLock({ $0.first { $0.remote == remote }?.stream }) else {
            return
        }
        await server.loops[0].call { stream.value.didClose() }
    }

    func candidates(
        for domain: String, report: @escaping @Sendable (FederationStep) -> Void
    ) async throws(FederationFailure) -> [ServerCandidate] {
        let count = domain.hasPrefix("single") ? 1 : 8
        return (0..<count).map {
            ServerCandidate(host: "s\($0).\(domain)", port: 5269, isDirectTLS: false)
        }
    }

    func connect(
        _ candidate: ServerCandidate, from local: String, to remote: String, on loop: Loop,
        report: @escaping @Sendable (FederationStep) -> Void,
        stream: @escaping @Sendable (any StreamTransport) -> XMLStream
    ) async throws(FederationFailure) {
        let made = loop.eventLoop.submit {
            let transport = TestTransport(Inbox())
            let made = stream(transport)
            transport.onClose = { [weak made] in made?.didClose() }
            self.opened.withLock {
                $0.append((remote, NIOLoopBound(made, eventLoop: loop.eventLoop)))
            }
        }
        do {
            try await made.get()
        } catch {
            throw FederationFailure(.unreachable, "\(error)")
        }
    }
}

@Suite("Attempts with several servers")
struct OutgoingAttemptTests {
    private static let wrongName = FederationFailure(.certificateWrongName, "another name")
    private static let refused = FederationFailure(.connectionRefused, "nobody listens")

    private func lastFailure(_ connector: UnevenConnector) async throws -> FederationFailure? {
        let server = try TestServer(["federation.policy=open"])
        server.host.federation.start(connector, server.host)
        let juliet = try await server.online("juliet@capulet.example/balcony")
        await juliet.send(
            "<message to='romeo@away.example' type='chat' id='1'><body>Who?</body></message>")
        try await server.wait {
            server.host.federation.descriptions.first { $0.remote == "away.example" }?.failure
                != nil
        }
        let failure = server.host.federation.descriptions.first?.failure
        await server.stop()
        return failure
    }

    @Test("A server that restarts may come back, whatever is wrong with the next one")
    func oneRestarts() async throws {
        for connector in [
            UnevenConnector(Self.refused, Self.wrongName),
            UnevenConnector(Self.wrongName, Self.refused),
        ] {
            let failure = try #require(try await lastFailure(connector))
            #expect(failure.reason == .certificateWrongName, "it says more")
            #expect(!failure.isPermanent)
        }
    }

    @Test("What all of them lack is for their owner to mend")
    func allWrong() async throws {
        let failure = try #require(
            try await lastFailure(UnevenConnector(Self.wrongName, Self.wrongName)))
        #expect(failure.isPermanent)
    }

    private func withSilence(
        _ settings: [String] = [], _ body: (TestServer, SilentConnector) async throws -> Void
    ) async throws {
        let server = try TestServer(["federation.policy=open"] + settings)
        let connector = SilentConnector()
        server.host.federation.start(connector, server.host)
        let result: Result<Void, any Error>
        do {
            try await body(server, connector)
            result = .success(())
        } catch {
            result = .failure(error)
        }
        server.host.federation.stop()
        for domain in Set(connector.connections) { await connector.drop(domain, server) }
        await server.stop()
        try result.get()
    }

    private func pass(_ time: TimeAmount, _ server: TestServer) async {
        for loop in server.loops { await loop.advanceTime(by: time) }
    }

    @Test("Servers that say nothing take a minute and a half, however many they are")
    func deadline() async throws {
        try await withSilence(["limits.negotiation=40s"]) { server, connector in
            let juliet = try await server.online("juliet@capulet.example/balcony")
            await juliet.send(
                "<message to='romeo@away.example' type='chat' id='1'><body>Who?</body></message>")
            for count in 1...3 {
                try await server.wait { connector.connections.count == count }
                await pass(.seconds(41), server)
            }
            try await server.wait {
                server.host.federation.descriptions.first?.failure != nil
            }
            #expect(server.host.federation.descriptions.first?.failure?.reason == .timeout)
            #expect(server.host.federation.descriptions.first?.failure?.isPermanent == false)
            #expect(connector.connections.count == 3)
        }
    }

    @Test("An attempt that takes long makes way as soon as there is room for it")
    func overdue() async throws {
        try await withSilence(["federation.connecting=1"]) { server, connector in
            let juliet = try await server.online("juliet@capulet.example/balcony")
            for number in 0..<9 {
                await juliet.send(
                    "<message to='romeo@single\(number).example' type='chat' id='\(number)'>"
                        + "<body>Who?</body></message>")
            }
            for count in 1...8 {
                try await server.wait { connector.connections.count == count }
                await pass(.seconds(2), server)
            }
            await server.settle()
            #expect(connector.connections.count == 8, "seven that are slow, and one in its turn")
            await connector.drop(connector.connections[0], server)
            try await server.wait { connector.connections.count == 9 }
        }
    }

    @Test("Questions about keys end soon, and one network does not ask all of them (XEP-0220)")
    func questions() async throws {
        try await withSilence(["federation.dialback=true", "limits.negotiation=60s"]) {
            server, connector in
            func error(_ peer: TestPeer) async throws -> String? {
                let answer = try await peer.next()
                return answer.elements.first { $0.name == "error" }?.elements.first?.name
            }
            let first = try await TestPeer(server, verdicts: [:])
            let second = try await TestPeer(server, verdicts: [:])
            for peer in [first, second] { try await peer.openSecurely() }
            for number in 0..<4 {
                await first.send(
                    "<db:result from='single\(number).example' to='capulet.example'>k</db:result>")
            }
            try await server.wait { connector.connections.count == 4 }
            await second.send(
                "<db:result from='single4.example' to='capulet.example'>k</db:result>")
            #expect(try await error(second) == "remote-server-not-found")
            #expect(connector.connections.count == 4)
            await pass(.seconds(26), server)
            for _ in 0..<4 { #expect(try await error(first) == "remote-server-not-found") }
            for peer in [first, second] { await peer.drop() }
        }
    }

    @Test("A domain to which nothing may go is asked about a key of what may come from it")
    func questionDirection() async throws {
        try await withSilence(["federation.dialback=true"]) { server, connector in
            try await server.say(.deny, "single.example", [.outgoing])
            let peer = try await TestPeer(server, verdicts: [:])
            try await peer.openSecurely()
            await peer.send("<db:result from='single.example' to='capulet.example'>k</db:result>")
            try await server.wait { connector.connections == ["single.example"] }
            await peer.drop()
        }
    }
}
