// Rosters and subscriptions with contacts on other domains (RFC 6121 sections 2 and 3).

import Addresses
import Dispatch
import Engine
import NIOCore
import Testing
import XML
import XMPP

@testable import Storage

@Suite struct SubscriptionsAcrossDomainsTests {
    private let juliet = "juliet@capulet.example"
    private let romeo = "romeo@montague.example"

    private func item(_ element: Element) -> Element? {
        guard element.name == "iq", element["type"] == "set" else { return nil }
        return element.child("query", "jabber:iq:roster")?.child("item")
    }

    /// How the contact stands in the roster: subscription, and `?` if asked. What has changed it has
    /// been pushed before.
    private func state(_ client: TestClient, of contact: String) async throws -> String {
        await client.server.settle()
        let item = try await client.getRoster().first { $0["jid"] == contact }
        return item.map { ($0["subscription"] ?? "") + ($0["ask"] == nil ? "" : "?") } ?? "absent"
    }

    private func presence(_ type: String, _ to: String? = nil) -> String {
        "<presence type='\(type)' from='\(romeo)' to='\(to ?? juliet)'/>"
    }

    private func waiting(_ server: TestServer) throws -> Int {
        try server.host.database.readNow { connection in
            try connection.first("SELECT count(*) FROM outgoing") { Int($0.integer(0)) } ?? 0
        }
    }

    @Test("A request goes out from bare to bare address and is kept until it is there (3.1.2)")
    func outgoing() async throws {
        try await withPeer { server, peer in
            let client = try await server.online("\(juliet)/balcony")
            await client.send(
                "<presence type='subscribe' to='\(romeo)/orchard' id='s'>"
                    + "<status>Wherefore?</status></presence>")
            let request = try await peer.next()
            #expect(request.isPresence(from: juliet, "subscribe"))
            #expect(request["to"] == romeo)
            #expect(request["id"] == "s")
            #expect(request.child("status")?.text == "Wherefore?")
            #expect(try waiting(server) == 1)
            await peer.acknowledge(1)
            await server.settle()
            #expect(try waiting(server) == 0)
            #expect(try await state(client, of: romeo) == "none?")

            await peer.send(presence("subscribed"))
            #expect(try await client.first { $0["type"] == "subscribed" }["from"] == romeo)
            let push = try #require(item(try await client.next()), "after the stanza (3.1.6)")
            #expect(push["subscription"] == "to")
            #expect(push["ask"] == nil)

            await client.send("<presence type='unsubscribe' to='\(romeo)'/>")
            #expect(try await peer.next().isPresence(from: juliet, "unsubscribe"), "3.3.2")
            #expect(try await state(client, of: romeo) == "none")
        }
    }

    @Test("A request comes in, is answered, and presence flows (3.1.3 to 3.1.6)")
    func incoming() async throws {
        try await withPeer { server, peer in
            let client = try await server.online("\(juliet)/balcony")
            await peer.send(presence("subscribe"))
            #expect(try await client.next().isPresence(from: romeo, "subscribe"))
            #expect(try await state(client, of: romeo) == "absent", "A.1")
            await client.send("<presence type='subscribed' to='\(romeo)'/>")
            #expect(try await peer.next().isPresence(from: juliet, "subscribed"))
            #expect(try await peer.next().isPresence(from: "\(juliet)/balcony"), "3.1.5")
            #expect(try await state(client, of: romeo) == "from")

            await peer.send(presence("subscribe"))
            #expect(try await peer.next().isPresence(from: juliet, "subscribed"), "3.1.3: again")
            #expect(try await peer.next().isPresence(from: "\(juliet)/balcony"))
            #expect(try await client.pending().isEmpty)

            await peer.send(presence("unsubscribe"))
            #expect(try await peer.next().isPresence(from: "\(juliet)/balcony", "unavailable"))
            #expect(try await client.next().isPresence(from: romeo, "unsubscribe"))
            #expect(try await state(client, of: romeo) == "none")
        }
    }

    @Test("A request for who is offline waits for them; who agreed before has it answered (3.4)")
    func waitingAndApproval() async throws {
        try await withPeer { server, peer in
            try await server.addAccount("juliet")
            await peer.send(presence("subscribe"))
            #expect(try await peer.pending().isEmpty)
            let client = try await server.online("\(juliet)/balcony")
            _ = try await client.first { $0.isPresence(from: romeo, "subscribe") }
            await client.send("<presence type='unsubscribed' to='\(romeo)'/>")
            #expect(try await peer.next().isPresence(from: juliet, "unsubscribed"), "3.1.4")

            await client.send("<presence type='subscribed' to='\(romeo)'/>")
            #expect(try await peer.pending().isEmpty, "nobody asked: 3.4.2")
            await peer.send(presence("subscribe"))
            #expect(try await peer.next().isPresence(from: juliet, "subscribed"))
            #expect(try await peer.next().isPresence(from: "\(juliet)/balcony"))
            #expect(try await state(client, of: romeo) == "from")
        }
    }

    @Test("A cancelled subscription is taken back on this side (3.2.3)")
    func cancelled() async throws {
        try await withPeer { server, peer in
            let client = try await server.online("\(juliet)/balcony")
            try await befriend(client, romeo, at: peer)
            await peer.send(presence("unsubscribed"))
            #expect(try await client.next().isPresence(from: romeo, "unsubscribed"))
            #expect(try await state(client, of: romeo) == "from")
            await peer.send(presence("unsubscribed"))
            await peer.send(presence("subscribed"))
            #expect(try await client.pending().isEmpty, "what changes nothing is not shown (A.3)")
        }
    }

    @Test("Nobody learns by a request who exists (8.5.1)")
    func nonexistent() async throws {
        try await withPeer { server, peer in
            for type in ["subscribe", "subscribed", "unsubscribe", "unsubscribed"] {
                await peer.send(presence(type, "nobody@capulet.example"))
            }
            let answers = try await peer.pending()
            #expect(answers.isEmpty)
        }
    }

    @Test("Requests have a limit of their own, and nobody learns by it who exists (8.5.1)")
    func full() async throws {
        try await withPeer(
            "limits.roster_items=10", "limits.subscription_requests=2",
            "federation.stranger_rate=1000"
        ) { server, peer in
            let client = try await server.online("\(juliet)/balcony")
            func request(from local: String) async {
                await peer.send(
                    "<presence type='subscribe' from='\(local)@montague.example' to='\(juliet)'/>")
            }
            for local in ["tybalt", "romeo", "paris"] { await request(from: local) }
            let asking = try await client.pending().map { $0["from"] ?? "" }
            #expect(asking == ["tybalt@montague.example", romeo])
            #expect(try await peer.pending().isEmpty)
            #expect(server.refusals(.rosterItems) == 1)

            // They leave her roster its room, which is full with ten contacts of her own.
            for number in 0..<10 {
                let answer = try await client.request(
                    "set",
                    "<query xmlns='jabber:iq:roster'><item jid='m\(number)@montague.example'/></query>"
                )
                #expect(answer["type"] == "result")
            }
            _ = try await client.pending()
            await client.send("<presence type='subscribed' to='\(romeo)'/>")
            #expect(try await client.next().condition == "resource-constraint")
            #expect(try await peer.pending().isEmpty)
            await client.send("<presence type='unsubscribed' to='\(romeo)'/>")
            #expect(try await peer.next().isPresence(from: juliet, "unsubscribed"))
            await request(from: "paris")
            #expect(try await client.next().isPresence(from: "paris@montague.example", "subscribe"))
        }
    }

    @Test("The requests of one domain leave others room; a component's are this server's own")
    func fullOfOneDomain() async throws {
        try await withPeer(
            "limits.subscription_requests=60", "federation.stranger_rate=1000",
            TestComponent.setting
        ) { server, peer in
            let client = try await server.online("\(juliet)/balcony")
            func asking(_ domains: [String]) async throws -> [String: Int] {
                for domain in domains {
                    for number in 0..<10 {
                        await peer.send(
                            "<presence type='subscribe' from='m\(number)@\(domain)' to='\(juliet)'/>"
                        )
                    }
                }
                let senders = try await client.pending().compactMap { $0["from"] }
                return try Dictionary(grouping: senders) { try BareJID($0).domain }
                    .mapValues(\.count)
            }
            #expect(
                try await asking(["montague.example", "verona.example", "e.verona.example"]) == [
                    "montague.example": 6, "verona.example": 6, "e.verona.example": 6,
                ])
            #expect(try await peer.pending().isEmpty, "8.5.1")

            let component = try await TestComponent.attached(to: server)
            for number in 0..<10 {
                await component.send(
                    "<presence type='subscribe' from='m\(number)@\(TestComponent.domain)'"
                        + " to='\(juliet)'/>")
            }
            #expect(try await client.pending().count == 10)
            // Who is let in makes room for the next one.
            await client.send("<presence type='unsubscribed' to='m0@montague.example'/>")
            _ = try await client.pending()
            #expect(try await asking(["montague.example"]) == ["montague.example": 1])
        }
    }

    @Test(
        "A subscription can be ended while the domain is denied, or its queue full",
        arguments: [("federation.policy=off", 0), ("federation.policy=open", 2)])
    func endWithoutWay(policy: String, kept: Int) async throws {
        try await withServer(policy, "federation.queue_stanzas=1") { server in
            try await server.addAccount("juliet")
            try server.host.database.writeNow { connection in
                try connection.execute(
                    "INSERT INTO roster_items VALUES (?, ?, '', '', 3, 1, NULL)", .text(juliet),
                    .text(romeo))
            }
            // Her presence fills the queue: nobody connects here.
            let client = try await server.online("\(juliet)/balcony")
            #expect(try await state(client, of: romeo) == "both")
            await client.send("<presence type='subscribe' to='\(romeo)'/>")
            _ = try await client.first { $0.name == "presence" && $0["type"] == "error" }
            // Where much waits already, its sender is read once a second.
            await client.pass(.seconds(1))
            await client.send("<presence type='unsubscribed' to='\(romeo)'/>")
            _ = try await client.pending()
            #expect(try await state(client, of: romeo) == "to")
            await client.send("<presence type='unsubscribe' to='\(romeo)'/>")
            _ = try await client.pending()
            #expect(try await state(client, of: romeo) == "none")
            #expect(try waiting(server) == kept)
            // What changes nothing is not kept, or a client could fill the disk.
            for _ in 0..<5 { await client.send("<presence type='unsubscribe' to='\(romeo)'/>") }
            #expect(try await client.pending().isEmpty)
            #expect(try waiting(server) == kept)
        }
    }

    @Test("An answer to who asks again and again is not kept")
    func repeatedRequests() async throws {
        try await withPeer { server, peer in
            let client = try await server.online("\(juliet)/balcony")
            try await befriend(client, romeo, at: peer)
            let before = try waiting(server)
            for _ in 0..<5 { await peer.send(presence("subscribe")) }
            let answers = try await peer.pending().filter { $0["type"] == "subscribed" }
            #expect(answers.count == 5)
            #expect(try waiting(server) == before)
        }
    }

    @Test("Who removes a contact, and who goes, ends both subscriptions (2.5.2)")
    func removal() async throws {
        try await withPeer { server, peer in
            let client = try await server.online("\(juliet)/balcony")
            try await befriend(client, romeo, at: peer)
            _ = try await client.request(
                "set",
                "<query xmlns='jabber:iq:roster'><item jid='\(romeo)' subscription='remove'/></query>"
            )
            let told = try await peer.pending().map { $0["type"] ?? "" }
            #expect(told == ["unavailable", "unsubscribe", "unsubscribed"])

            try await befriend(client, romeo, at: peer)
            let account = try BareJID(juliet)
            await withCheckedContinuation { continuation in
                server.host.removeAccount(account) { _ in continuation.resume() }
            }
            let last = try await peer.pending().map { $0["type"] ?? "" }
            #expect(last == ["unavailable", "unsubscribe", "unsubscribed"])
        }
    }

    @Test("Where nothing may go, a request is refused and nothing changes")
    func refused() async throws {
        try await withServer("federation.policy=off") { server in
            let client = try await server.online("\(juliet)/balcony")
            await client.send("<presence type='subscribe' to='\(romeo)' id='r'/>")
            let answer = try await client.next()
            #expect(answer["id"] == "r")
            #expect(answer.condition == "remote-server-not-found")
            #expect(try await state(client, of: romeo) == "absent")
            #expect(try waiting(server) == 0)
        }
    }

    @Test("A request that cannot get there is still open, is shown to have failed, and goes again")
    func bounced() async throws {
        try await withPeer { server, peer in
            let client = try await server.online("\(juliet)/balcony")
            await client.send("<presence type='subscribe' to='\(romeo)'/>")
            _ = try await peer.next()
            await peer.send(
                "<presence type='error' from='\(romeo)' to='\(juliet)'><error type='cancel'>"
                    + "<remote-server-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
                    + "</error></presence>")
            _ = try await client.first { $0.isPresence(from: romeo, "error") }
            #expect(try await state(client, of: romeo) == "none?", "3.1.2: until it is answered")
            let again = try await server.login("\(juliet)/chamber")
            await again.send("<presence/>")
            #expect(try await peer.next().isPresence(from: juliet, "subscribe"))
        }
    }

    @Test("A request counts as handled once it is committed (XEP-0198 section 4)")
    func handled() async throws {
        try await withPeer { server, peer in
            let client = try await server.online("\(juliet)/balcony")
            let before = await peer.handled()
            let gate = await server.holdWriter()
            await peer.send(presence("subscribe"))
            #expect(await peer.handled() == before)
            gate.signal()
            _ = try await client.first { $0.isPresence(from: romeo, "subscribe") }
            await server.settle()
            #expect(await peer.handled() == before + 1)
        }
    }
}
