// With whom this server talks: rules given by command, the lists of the configuration, the policy;
// and what a change of them does to what exists.

import Engine
import Testing
import XML

extension TestServer {
    /// Gives a rule and has it take effect, as the command does.
    @discardableResult
    func say(
        _ change: FederationRuleChange, _ domain: String,
        _ directions: [FederationDirection] = [.outgoing, .incoming]
    ) async throws -> FederationEnforcement {
        let kept = try await withCheckedThrowingContinuation { continuation in
            host.federation.change(domain, change, directions, host) {
                continuation.resume(with: $0)
            }
        }
        return host.federation.enforce(host, trying: kept)
    }

    func allows(_ domain: String) -> String {
        let policy = host.federation.policy
        return (policy.allows(domain, .outgoing) ? "out" : "")
            + (policy.allows(domain, .incoming) ? "in" : "")
    }
}

@Suite("Rules about other servers")
struct FederationRulesTests {
    @Test("A rule for the domain, the nearest one above it, the lists, the policy: in this order")
    func order() async throws {
        try await withServer(
            "federation.policy=allowlist", "federation.allow=[a.example, '*.b.example']",
            "federation.deny=[x.b.example]"
        ) { server in
            #expect(server.allows("a.example") == "outin")
            #expect(server.allows("sub.a.example") == "")
            #expect(server.allows("sub.b.example") == "outin")
            #expect(server.allows("b.example") == "")
            #expect(server.allows("x.b.example") == "", "federation.deny before federation.allow")
            #expect(server.allows("c.example") == "")
            try await server.say(.deny, "*.example")
            #expect(server.allows("a.example") == "", "a command before the configuration")
            try await server.say(.allow, "*.b.example")
            #expect(server.allows("x.b.example") == "outin", "the nearest above")
            try await server.say(.deny, "y.b.example", [.incoming])
            #expect(server.allows("y.b.example") == "out", "the very domain, one way only")
            try await server.say(.forget, "*.example")
            #expect(server.allows("a.example") == "outin")
        }
    }

    @Test(
        "The policy off allows nothing, and open all but what is denied",
        arguments: ["off", "open"])
    func policy(_ policy: String) async throws {
        try await withServer("federation.policy=\(policy)", "federation.deny=[d.example]") {
            server in
            try await server.say(.allow, "a.example")
            #expect(server.allows("a.example") == (policy == "off" ? "" : "outin"))
            #expect(server.allows("b.example") == (policy == "off" ? "" : "outin"))
            #expect(server.allows("d.example") == "")
        }
    }

    @Test("Rules outlive a restart, in their prepared form (RFC 7622 section 3.2)")
    func persistence() async throws {
        let server = try TestServer(["federation.policy=open"])
        try await server.say(.deny, "Away.EXAMPLE")
        try await server.say(.allow, "*.Bücher.example", [.incoming])
        let next = try await server.restart("federation.policy=open")
        let rules = next.host.federation.rules.filter { $0.source == .command }
        #expect(
            Set(rules.map { "\($0.domain) \($0.direction.rawValue) \($0.isAllowed)" }) == [
                "away.example out false", "away.example in false", "*.bücher.example in true",
            ])
        #expect(next.allows("away.example") == "")
        await next.host.stop()
        await next.stop()
    }

    @Test(
        "What is no domain of another server is refused",
        arguments: [
            "", "*", "*.", "a b", "juliet@away.example", "away.example/x", TestServer.domain,
        ])
    func malformed(_ text: String) async throws {
        try await withServer { server in
            await #expect(throws: FederationRuleError.self) { try await server.say(.allow, text) }
            #expect(server.host.federation.rules.allSatisfy { $0.source == .configuration })
        }
    }

    @Test("What waits for a domain goes back when it is denied (RFC 6120 section 10.4)")
    func deny() async throws {
        try await withServer("federation.policy=open") { server in
            let romeo = try await server.online("romeo@capulet.example/orchard")
            for domain in ["away.example", "other.example"] {
                await romeo.send(
                    "<message to='juliet@\(domain)' type='chat' id='m'><body>hi</body></message>")
            }
            await server.settle()
            #expect(server.metric("kinglet_server_queue_stanzas") == 2)
            let done = try await server.say(.deny, "away.example", [.outgoing])
            #expect(done == FederationEnforcement(endedStreams: 0, returnedStanzas: 1))
            let error = try await romeo.first { $0["type"] == "error" }
            #expect(error["from"] == "juliet@away.example")
            #expect(error.condition == "remote-server-not-found")
            await server.settle()
            let waiting = server.host.federation.descriptions.filter { $0.queuedStanzas > 0 }
            #expect(waiting.map(\.remote) == ["other.example"])
            let next = try await server.restart("federation.policy=open")
            #expect(next.metric("kinglet_server_queue_stanzas") == 1, "it is not kept either")
            await next.host.stop()
            await next.stop()
        }
    }

    @Test("A domain that is allowed is tried at once")
    func allow() async throws {
        try await withServer("federation.policy=open") { server in
            let connector = FailingConnector(FederationFailure(.dnsTimeout, "no answer"))
            server.host.federation.start(connector, server.host)
            let romeo = try await server.online("romeo@capulet.example/orchard")
            await romeo.send(
                "<message to='juliet@away.example' type='chat'><body>hi</body></message>")
            try await server.wait {
                server.host.federation.descriptions.first?.nextAttempt != nil
            }
            let tried = connector.count
            let route = server.host.federation.descriptions.first
            #expect(route?.state == .pausing && route?.failure?.reason == .dnsTimeout)
            #expect(route?.failedAt != nil && route?.openSince == nil)
            try await server.say(.allow, "*.example")
            try await server.wait { connector.count > tried }
        }
    }

    @Test(
        "Streams with a domain end when it is denied, either way",
        arguments: [FederationDirection.incoming, .outgoing])
    func streams(_ direction: FederationDirection) async throws {
        try await withServerPair { pair in
            let juliet = try await pair.capulet.online("juliet@capulet.example/balcony")
            let romeo = try await pair.montague.online("romeo@montague.example/orchard")
            await romeo.send(
                "<message to='juliet@capulet.example' type='chat'><body>hin</body></message>")
            _ = try await juliet.first { $0.name == "message" }
            await juliet.send(
                "<message to='romeo@montague.example' type='chat'><body>her</body></message>")
            _ = try await romeo.first { $0.name == "message" }
            await pair.settle()
            let standing = pair.montague.host.federation.streams
            #expect(
                standing.contains { $0.direction == .outgoing && $0.local == "montague.example" })
            #expect(standing.allSatisfy { $0.remotes == ["capulet.example"] })
            let done = try await pair.montague.say(.deny, "*.example", [direction])
            #expect(done.endedStreams > 0)
            await pair.settle()
            let left = pair.montague.host.federation.streams
            #expect(left.allSatisfy { $0.direction != direction && !$0.isBidirectional })
            #expect(pair.capulet.host.federation.streams.count == left.count)
        }
    }
}
