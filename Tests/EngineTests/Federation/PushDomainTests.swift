// App servers that could not be reached are tried again, though nothing waits for them.

import NIOCore
import NIOEmbedded
import Testing
import XML
import XMPP

@testable import Engine

@Suite("App servers that cannot be reached")
struct PushDomainTests {
    private static let unreachable = FederationFailure(.connectionRefused, "nobody listens")
    private static let gauge = "kinglet_push_domains_unreachable"

    /// A route whose attempt is about to be made.
    private func route(_ domain: String, _ server: TestServer) -> ServerRoute {
        let route = server.host.federation.route(
            RouteKey(local: TestServer.domain, remote: domain), server.host)
        let entry = QueuedStanza(
            stanza: OutboundStanza(.iq, []), id: nil, arrivedAt: 0,
            expiresAt: server.host.loopTime + .seconds(60))
        #expect(route.deliver(entry) == .taken)
        return route
    }

    @Test(
        "After a failure, permanent or not, such a domain is tried again within an hour",
        arguments: [
            ("push.tigase.im", unreachable, 0, RouteDescription.State.pausing),
            ("push.tigase.im", FederationFailure(.noSuchDomain, "no"), 59, .pausing),
            ("push.tigase.im", unreachable, 61, .idle),
            ("push.tigase.im", .forbidden, 0, .idle),
            ("montague.example", unreachable, 0, .idle),
        ])
    func watched(
        domain: String, failure: FederationFailure, minutes: Int64,
        state: RouteDescription.State
    ) async throws {
        try await withServer("federation.policy=open") { server in
            let route = route(domain, server)
            await server.loops[0].advanceTime(by: .minutes(minutes))
            route.attemptFailed(failure)
            #expect(route.description.state == state)
            #expect(route.description.queuedStanzas == 0)
        }
    }

    @Test("It is tried again by itself, and a second later when somebody is to be woken")
    func again() async throws {
        try await withServer { server in
            let connector = FailingConnector(Self.unreachable)
            server.host.federation.start(connector, server.host)
            let romeo = try await server.online("romeo@\(TestServer.domain)/orchard")
            func push(_ id: String) async throws {
                await romeo.send(
                    "<iq to='push.tigase.im' type='get' id='\(id)'>"
                        + "<query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
                let answer = try await romeo.next()
                #expect(answer["id"] == id && answer.condition == "remote-server-timeout")
            }
            func isPausing() -> Bool {
                server.host.federation.descriptions.map(\.state) == [.pausing]
            }
            try await push("1")
            try await server.wait(until: isPausing)
            #expect(connector.count == 1 && server.metric(Self.gauge) == 1)
            // The first pause is two seconds at most (and a second at least).
            await server.loops[0].advanceTime(by: .seconds(2))
            try await server.wait { connector.count == 2 && isPausing() }
            await server.loops[0].advanceTime(by: .seconds(1))
            try await push("2")
            #expect(connector.count == 3)
            // Not with each stanza.
            try await server.wait(until: isPausing)
            try await push("3")
            #expect(connector.count == 3)
        }
    }

    @Test("A test that succeeds counts it as reached")
    func tested() async throws {
        try await withServer("federation.policy=open") { server in
            let route = route("push.tigase.im", server)
            route.attemptFailed(Self.unreachable)
            #expect(server.metric(Self.gauge) == 1)
            server.host.federation.testSucceeded(route.key)
            #expect(!route.isFailing && route.description.failure == nil)
            server.host.federation.start(FailingConnector(.forbidden), server.host)
            await server.loops[0].advanceTime(by: .seconds(5))
            #expect(server.metric(Self.gauge) == 0)
        }
    }
}
