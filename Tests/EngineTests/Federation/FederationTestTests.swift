// `kinglet federation test`, as far as it goes without a connection.

import Engine
import NIOCore
import Synchronization
import TLS
import Testing
import XML

/// Fails at the look-up, or at each connection.
final class FailingConnector: ServerConnector {
    private let failure: FederationFailure
    private let list: [ServerCandidate]
    private let calls = Atomic<Int>(0)

    init(_ failure: FederationFailure, at candidates: [ServerCandidate] = []) {
        self.failure = failure
        list = candidates
    }

    /// How often it was asked for a domain.
    var count: Int { calls.load(ordering: .sequentiallyConsistent) }

    func candidates(
        for domain: String, report: @escaping @Sendable (FederationStep) -> Void
    ) async throws(FederationFailure) -> [ServerCandidate] {
        calls.add(1, ordering: .sequentiallyConsistent)
        guard !list.isEmpty else { throw failure }
        report(.lookedUp("a list"))
        return list
    }

    func connect(
        _ candidate: ServerCandidate, from local: String, to remote: String, on loop: Loop,
        report: @escaping @Sendable (FederationStep) -> Void,
        stream: @escaping @Sendable (any StreamTransport) -> XMLStream
    ) async throws(FederationFailure) {
        throw failure
    }
}

/// The first of two servers of each domain is not there.
private struct RefusedFirst: ServerConnector {
    let inner: PipeConnector

    func candidates(
        for domain: String, report: @escaping @Sendable (FederationStep) -> Void
    ) async throws(FederationFailure) -> [ServerCandidate] {
        let there = try await inner.candidates(for: domain, report: report)
        return [ServerCandidate(host: "down.\(domain)", port: 5269, isDirectTLS: false)] + there
    }

    func connect(
        _ candidate: ServerCandidate, from local: String, to remote: String, on loop: Loop,
        report: @escaping @Sendable (FederationStep) -> Void,
        stream: @escaping @Sendable (any StreamTransport) -> XMLStream
    ) async throws(FederationFailure) {
        guard candidate.host == remote else {
            throw FederationFailure(.connectionRefused, "nobody listens")
        }
        try await inner.connect(
            candidate, from: local, to: remote, on: loop, report: report, stream: stream)
    }
}

@Suite("A test of the way to another domain")
struct FederationTestTests {
    private func steps(
        _ server: TestServer, _ domain: String = "away.example"
    ) async -> [FederationStep] {
        let test = FederationTest(of: domain, from: TestServer.domain)
        #expect(test.progress.entries.isEmpty && !test.progress.hasEnded)
        await test.run(server.host)
        #expect(test.progress.hasEnded && !test.progress.isGood)
        return test.progress.entries.map(\.step)
    }

    @Test("It ends where the rules forbid the domain, and nothing is looked up")
    func forbidden() async throws {
        try await withServer("federation.policy=allowlist") { server in
            let connector = FailingConnector(FederationFailure(.dnsTimeout, "no answer"))
            server.host.federation.start(connector, server.host)
            guard case .failed(let failure) = await steps(server).first else {
                Issue.record("it did not fail")
                return
            }
            #expect(failure.reason == .policy)
            #expect(connector.count == 0)
        }
    }

    @Test("A failed look-up is said once, after the policy")
    func lookUp() async throws {
        try await withServer("federation.policy=open") { server in
            let failure = FederationFailure(.noSuchDomain, "it does not exist")
            server.host.federation.start(FailingConnector(failure), server.host)
            #expect(await steps(server) == [.allowed(incoming: true), .failed(failure)])
        }
    }

    @Test("Each candidate that fails is said, and nothing twice")
    func candidates() async throws {
        try await withServer("federation.policy=open") { server in
            try await server.say(.deny, "away.example", [.incoming])
            let failure = FederationFailure(.connectionRefused, "nobody listens")
            let candidates = [5269, 5270].map {
                ServerCandidate(host: "xmpp.away.example", port: $0, isDirectTLS: $0 == 5270)
            }
            server.host.federation.start(
                FailingConnector(failure, at: candidates), server.host)
            #expect(
                await steps(server) == [
                    .allowed(incoming: false), .lookedUp("a list"), .failed(failure),
                    .failed(failure),
                ])
        }
    }

    @Test("A server without connections says so")
    func isolated() async throws {
        try await withServer("federation.policy=open") { server in
            guard case .failed(let failure) = await steps(server).last else {
                Issue.record("it did not fail")
                return
            }
            #expect(failure.reason == .shutdown)
        }
    }

    @Test("With two servers that reach each other it ends with the answer to the ping")
    func answered() async throws {
        try await withServerPair { pair in
            let test = FederationTest(of: "capulet.example", from: "montague.example")
            await test.run(pair.montague.host)
            let steps = test.progress.entries.map(\.step)
            #expect(test.progress.isGood && test.progress.hasEnded)
            #expect(steps.first == .allowed(incoming: true) && steps.last == .answered)
            #expect(steps.contains(.authenticated("EXTERNAL")))
            await pair.settle()
            #expect(pair.montague.host.federation.streams.allSatisfy { $0.direction == .incoming })
        }
    }

    @Test("Once it succeeds, the failure before it is over")
    func mended() async throws {
        try await withServerPair { pair in
            pair.world.setVerdict(.wrongName, of: "montague.example")
            let juliet = try await pair.capulet.online("juliet@capulet.example/balcony")
            await juliet.send(
                "<message to='romeo@montague.example' type='chat'><body>Who?</body></message>")
            #expect(try await juliet.first { $0.name == "message" }["type"] == "error")
            let federation = pair.capulet.host.federation
            #expect(federation.descriptions.map(\.failure?.reason) == [.certificateWrongName])
            let test = FederationTest(of: "montague.example", from: "capulet.example")
            await test.run(pair.capulet.host)
            #expect(!test.progress.isGood)
            #expect(federation.descriptions.map(\.failure?.reason) == [.certificateWrongName])
            pair.world.setVerdict(.valid, of: "montague.example")
            let second = FederationTest(of: "montague.example", from: "capulet.example")
            await second.run(pair.capulet.host)
            #expect(second.progress.isGood)
            #expect(federation.descriptions.map(\.failure) == [nil])
        }
    }

    @Test(
        "A certificate that proves nothing is said, and why",
        arguments: [CertificateVerdict.expired])
    func certificate(_ verdict: CertificateVerdict) async throws {
        try await withServerPair { pair in
            pair.world.setVerdict(verdict, of: "capulet.example")
            let test = FederationTest(of: "capulet.example", from: "montague.example")
            await test.run(pair.montague.host)
            let failures = test.progress.entries.compactMap { entry -> FederationFailureReason? in
                if case .failed(let failure) = entry.step { failure.reason } else { nil }
            }
            #expect(!test.progress.isGood && failures == [.certificateExpired])
        }
    }

    @Test("What decided is said once, though another server's failure came before it")
    func once() async throws {
        try await withServer("federation.policy=open") { server in
            let refused = FederationFailure(.connectionRefused, "nobody listens")
            let expired = FederationFailure(.certificateExpired, "it expired")
            server.host.federation.start(UnevenConnector(refused, expired), server.host)
            #expect(
                await steps(server) == [
                    .allowed(incoming: true), .failed(refused), .failed(expired),
                ])
        }
    }

    @Test("Of several servers, the one that decided says why; the first has failed, too")
    func decided() async throws {
        try await withServer("federation.policy=open") { server in
            let refused = FederationFailure(.connectionRefused, "nobody listens")
            let expired = FederationFailure(.certificateExpired, "it expired")
            server.host.federation.start(UnevenConnector(refused, expired), server.host)
            let test = FederationTest(of: "away.example", from: TestServer.domain)
            await test.run(server.host)
            #expect(test.progress.failure?.reason == .certificateExpired)
        }
    }

    @Test("A ping that is not answered decides, whatever failed on the way to it")
    func unansweredDecides() async throws {
        try await withServerPair { pair in
            try await pair.montague.say(.deny, "capulet.example", [.incoming])
            let host = pair.montague.host
            let inner = PipeConnector(world: pair.world, from: pair.montague)
            host.federation.start(RefusedFirst(inner: inner), host)
            let test = FederationTest(of: "capulet.example", from: "montague.example")
            await test.run(host)
            let failures = test.progress.entries.compactMap { entry -> FederationFailureReason? in
                if case .failed(let failure) = entry.step { failure.reason } else { nil }
            }
            #expect(failures == [.connectionRefused, .policy])
            #expect(test.progress.failure?.reason == .policy && !test.progress.isGood)
        }
    }
}
