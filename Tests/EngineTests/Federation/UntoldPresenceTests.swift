// What other domains hear, when they can be reached again, of presence that could not get there
// (RFC 6121 sections 4.2 to 4.6).

import Addresses
import NIOCore
import Testing
import XML
import XMPP

@testable import Engine

@Suite("Presence that was lost in an outage")
struct UntoldPresenceTests {
    private let juliet = "juliet@capulet.example"
    private let romeo = "romeo@montague.example"
    private let room = "feast@montague.example/juliet"
    private let gone = FederationFailure(.noSuchDomain, "it does not exist")

    /// From now on the peer's domain cannot be reached; what it was sent has arrived.
    private func cut(_ server: TestServer, _ peer: EstablishedPeer) async throws {
        let route = route(server)
        await peer.acknowledge(route.description.queuedStanzas)
        await server.settle()
        try #require(route.description.queuedStanzas == 0)
        await peer.drop()
        await server.settle()
        server.host.federation.start(FailingConnector(gone), server.host)
    }

    private func route(
        _ server: TestServer, from local: String = TestServer.domain
    ) -> ServerRoute {
        server.host.federation.route(
            RouteKey(local: local, remote: EstablishedPeer.domain), server.host)
    }

    /// What was dropped has been looked at.
    private func nothingWaits(_ server: TestServer) async throws {
        try await server.wait {
            route(server).description.queuedStanzas == 0
                && server.metric("kinglet_server_queue_stanzas") == 0
        }
    }

    /// The domain is there again: what it hears, as `sender type receiver`, sorted.
    private func heard(_ server: TestServer) async throws -> [String] {
        try await nothingWaits(server)
        await server.settle()
        let peer = try await EstablishedPeer(server)
        let heard = try await peer.pending().map(words).sorted()
        await peer.acknowledge(route(server).description.queuedStanzas)
        await server.settle()
        await peer.drop()
        return heard
    }

    /// What has come to the peer from the component's domain.
    private func received(_ server: TestServer, _ peer: EstablishedPeer) async throws -> [String] {
        await server.settle()
        var received: [String] = []
        while !peer.hasNothing { received.append(words(try await peer.next())) }
        return received
    }

    private func words(_ presence: Element) -> String {
        let show = presence.child("show").map { " " + $0.text } ?? ""
        return [presence["from"] ?? "", presence["type"] ?? "-", presence["to"] ?? ""]
            .joined(separator: " ") + show
    }

    /// A server with Juliet's client, of which Romeo knows, and then an outage.
    private func withOutage(
        _ settings: String..., body: (TestServer, TestClient) async throws -> Void
    ) async throws {
        let server = try TestServer(["federation.policy=open"] + settings)
        do {
            let peer = try await EstablishedPeer(server)
            let client = try await server.online("\(juliet)/phone")
            try await befriend(client, romeo, at: peer)
            await client.send("<presence to='\(room)'/>")
            #expect(try await peer.next()["to"] == room)
            try await cut(server, peer)
            try await body(server, client)
        } catch {
            await server.stop()
            throw error
        }
        await server.stop()
    }

    // MARK: Who went

    @Test("Who went is reported as gone, to contacts (4.5.2) and to rooms (4.6.3)")
    func departure() async throws {
        try await withOutage { server, client in
            await client.drop()
            await server.settle()
            let told = try await heard(server)
            #expect(
                told == [
                    "\(juliet)/phone unavailable \(room)", "\(juliet)/phone unavailable \(romeo)",
                ])
        }
    }

    @Test("Who left a room is gone from it, while contacts go on seeing them (4.6.3)")
    func leftRoom() async throws {
        try await withOutage { server, client in
            await client.send("<presence type='unavailable' to='\(room)'/>")
            _ = try await client.pending()
            #expect(try await heard(server) == ["\(juliet)/phone unavailable \(room)"])
        }
    }

    @Test("Who could not enter a room again after leaving it is gone from it")
    func reentered() async throws {
        try await withOutage { server, client in
            await client.send("<presence type='unavailable' to='\(room)'/>")
            await client.send("<presence to='\(room)'/>")
            _ = try await client.first { $0.isPresence(from: room, "error") }
            #expect(try await heard(server) == ["\(juliet)/phone unavailable \(room)"])
        }
    }

    @Test("Who is blocked sees the account go, though it stays (XEP-0191 section 3.3)")
    func blocked() async throws {
        try await withOutage { server, client in
            _ = try await client.request(
                "set", "<block xmlns='urn:xmpp:blocking'><item jid='\(romeo)'/></block>")
            await client.send("<presence><show>away</show></presence>")
            _ = try await client.pending()
            #expect(try await heard(server) == ["\(juliet)/phone unavailable \(romeo)"])
        }
    }

    @Test("Who lost the subscription sees the account go, though it stays (3.2.1)")
    func revoked() async throws {
        try await withOutage { server, client in
            await client.send("<presence type='unsubscribed' to='\(romeo)'/>")
            _ = try await client.pending()
            let heard = try await heard(server)
            #expect(heard.contains("\(juliet)/phone unavailable \(romeo)"))
            #expect(!heard.contains("\(juliet)/phone - \(romeo)"))
        }
    }

    // MARK: Who came

    @Test("Who came is seen, as they are now, and sees others: 4.2.2 and 4.3.1")
    func arrival() async throws {
        try await withOutage { server, client in
            await client.drop()
            let desk = try await server.online("\(juliet)/desk")
            await desk.send("<presence><show>away</show></presence>")
            await desk.send("<presence><show>dnd</show></presence>")
            _ = try await desk.pending()
            #expect(
                try await heard(server) == [
                    "\(juliet)/desk - \(romeo) dnd", "\(juliet)/desk probe \(romeo)",
                    "\(juliet)/phone unavailable \(room)", "\(juliet)/phone unavailable \(romeo)",
                ])
            #expect(try await heard(server) == [], "once")
        }
    }

    @Test("Who went and came is there, and who came and went is gone")
    func thereAndBack() async throws {
        try await withOutage { server, client in
            await client.send("<presence type='unavailable'/>")
            await client.send("<presence/>")
            let desk = try await server.online("\(juliet)/desk")
            await desk.drop()
            _ = try await client.pending()
            #expect(
                try await heard(server) == [
                    "\(juliet)/desk unavailable \(romeo)", "\(juliet)/phone - \(romeo)",
                    "\(juliet)/phone probe \(romeo)", "\(juliet)/phone unavailable \(room)",
                ])
        }
    }

    @Test("Who was blocked meanwhile hears nothing more, and is not asked")
    func blockedArrival() async throws {
        try await withOutage { server, client in
            let desk = try await server.online("\(juliet)/desk")
            _ = try await client.request(
                "set", "<block xmlns='urn:xmpp:blocking'><item jid='\(romeo)'/></block>")
            _ = try await desk.pending()
            #expect(
                try await heard(server) == [
                    "\(juliet)/desk unavailable \(romeo)", "\(juliet)/phone unavailable \(romeo)",
                ])
        }
    }

    @Test("An answer to a probe comes late rather than never (4.3.2)")
    func lateAnswer() async throws {
        try await withOutage { server, _ in
            let peer = try await EstablishedPeer(server, takes: false)
            await peer.send("<presence type='probe' from='\(romeo)/orchard' to='\(juliet)'/>")
            await server.settle()
            #expect(try await heard(server) == ["\(juliet)/phone - \(romeo)/orchard"])
        }
    }

    @Test("A domain that shows itself is called when it has not heard something")
    func owing() async throws {
        try await withOutage { server, client in
            await client.send("<presence><show>away</show></presence>")
            _ = try await client.pending()
            try await nothingWaits(server)
            let connector = FailingConnector(gone)
            server.host.federation.start(connector, server.host)
            #expect(route(server).description.state == .idle)
            server.host.federation.isThere(EstablishedPeer.domain, server.host)
            try await server.wait { connector.count == 1 }
        }
    }

    // MARK: Components (XEP-0114)

    private let bridge = TestComponent.domain

    /// A component whose user is seen, and whose domain then cannot reach the peer's.
    private func withBridge(
        _ body: (TestServer, TestComponent) async throws -> Void
    ) async throws {
        let server = try TestServer(["federation.policy=open", TestComponent.setting])
        do {
            let component = try await TestComponent.attached(to: server)
            try await body(server, component)
        } catch {
            await server.stop()
            throw error
        }
        await server.stop()
    }

    private func presence(_ type: String = "") -> String {
        "<presence from='nurse@\(bridge)/x' to='\(romeo)'\(type)/>"
    }

    /// The attempt that waits for a connector fails.
    private func fail(_ server: TestServer) {
        let route = route(server, from: bridge)
        #expect(route.description.queuedStanzas == 1)
        route.attemptFailed(FederationFailure(.timeout, "no answer"))
        #expect(route.description.queuedStanzas == 0)
        // The next stanza is worth an attempt.
        route.testSucceeded()
    }

    @Test("A component's user who went is reported as gone, and not after coming back")
    func componentUser() async throws {
        try await withBridge { server, component in
            await component.send(presence(" type='unavailable'"))
            fail(server)
            let first = try await EstablishedPeer(server, from: bridge)
            #expect(
                try await received(server, first) == ["nurse@\(bridge)/x unavailable \(romeo)"])
            await first.acknowledge(1)
            await first.drop()
            await server.settle()

            await component.send(presence(" type='unavailable'"))
            fail(server)
            await component.pass(.milliseconds(1))
            await component.send(presence())
            let second = try await EstablishedPeer(server, from: bridge)
            #expect(try await received(server, second) == ["nurse@\(bridge)/x - \(romeo)"])
        }
    }

    @Test("A component's user who went and came is not reported as gone")
    func componentUserBack() async throws {
        try await withBridge { server, component in
            for type in [" type='unavailable'", ""] {
                await component.send(presence(type))
                fail(server)
            }
            let peer = try await EstablishedPeer(server, from: bridge)
            #expect(try await received(server, peer).isEmpty)
        }
    }

    // MARK: Bounds

    private func lost(_ number: Int) throws -> LostPresence {
        let stanza = OutboundStanza(
            .presence,
            Array("<presence from='m\(number)@\(bridge)' to='\(romeo)' type='probe'/>".utf8))
        return try #require(
            LostPresence(QueuedStanza(stanza: stanza, id: nil, arrivedAt: 0, expiresAt: .now())))
    }

    @Test("One route remembers so much, and all together a little more")
    func bounds() throws {
        let budget = UntoldBudget(limit: 400_000)
        var routes = [UntoldPresence(), UntoldPresence(), UntoldPresence()]
        for index in routes.indices {
            for number in 0..<2000 { routes[index].insert(try lost(number), budget) }
        }
        func counts() -> [Int] { routes.indices.map { routes[$0].takeAll(budget).count } }
        let first = counts()
        #expect(first[0] == 1000 && first[1] == 1000)
        #expect((1..<1000).contains(first[2]))
        routes[2].insert(try lost(0), budget)
        routes[2].remove(try lost(0), budget)
        #expect(routes[2].isEmpty)
        for number in 0..<2000 { routes[2].insert(try lost(number), budget) }
        #expect(counts() == [0, 0, 1000], "what was taken out leaves room")
        #expect(budget.take(400_000), "all of it")
    }

    @Test("A route that is forgotten leaves room for others")
    func forgotten() async throws {
        try await withOutage { server, client in
            await client.send("<presence><show>away</show></presence>")
            _ = try await client.pending()
            try await nothingWaits(server)
            let budget = server.host.federation.untold
            let route = route(server)
            #expect(!budget.take(4_194_304))
            let later = NIODeadline.now() + .hours(2)
            #expect(!route.forget(later, unusedFor: .hours(1), keepsUntold: true))
            #expect(route.forget(later, unusedFor: .hours(1), keepsUntold: false))
            #expect(budget.take(4_194_304))
        }
    }
}
