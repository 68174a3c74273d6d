// Roster versioning and approval before asking (RFC 6121 sections 2.6 and 3.4).

import Testing
import XML
import XMPP

@Suite struct RosterVersioningTests {
    private static let roster = "jabber:iq:roster"

    private func add(_ contact: String, _ client: TestClient) async throws {
        let answer = try await client.request(
            "set",
            "<query xmlns='\(Self.roster)'><item jid='\(contact)@capulet.example'/></query>")
        #expect(answer["type"] == "result")
    }

    private func get(_ version: String, _ client: TestClient) async throws -> Element? {
        let answer = try await client.request(
            "get", "<query xmlns='\(Self.roster)' ver='\(version)'/>")
        #expect(answer["type"] == "result")
        return answer.elements.first
    }

    private func push(_ client: TestClient) async throws -> Element {
        let push = try await client.first { $0.name == "iq" && $0["type"] == "set" }
        return try #require(push.child("query", Self.roster))
    }

    @Test(
        "Versions and approvals are offered once logged in (sections 2.6.1 and 3.4.1)",
        arguments: [
            ("ver", "urn:xmpp:features:rosterver"), ("sub", "urn:xmpp:features:pre-approval"),
        ])
    func offered(_ name: String, _ namespace: String) async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let client = try await server.connect()
            #expect(try await client.open().child(name, namespace) == nil)
            _ = try await client.scram(SCRAMClient(username: "juliet"))
            #expect(try await client.open().child(name, namespace) != nil)
        }
    }

    @Test("A client with the present version gets an empty result (section 2.6.3)")
    func unchanged() async throws {
        try await withServer { server in
            let client = try await server.login("juliet@capulet.example/balcony")
            try await add("nurse", client)
            let full = try #require(try await get("", client))
            #expect(full.elements.count == 1)
            let version = try #require(full["ver"])
            #expect(!version.isEmpty)
            #expect(try await get(version, client) == nil)
            let other = try await server.login("juliet@capulet.example/garden")
            #expect(try await get(version, other) == nil)
        }
    }

    @Test("Every push carries the version that it makes (section 2.6.2)")
    func pushes() async throws {
        try await withServer { server in
            let client = try await server.login("juliet@capulet.example/balcony")
            let empty = try #require(try await get("", client)?["ver"])
            try await add("nurse", client)
            let one = try #require(try await push(client)["ver"])
            try await add("tybalt", client)
            let two = try #require(try await push(client)["ver"])
            #expect(Set([empty, one, two]).count == 3)
            #expect(try await get(two, client) == nil)
            #expect(try await get(one, client)?.elements.count == 2)
            _ = try await client.request(
                "set",
                "<query xmlns='\(Self.roster)'>"
                    + "<item jid='tybalt@capulet.example' subscription='remove'/></query>")
            #expect(try await push(client)["ver"] == one, "the same roster as before")
        }
    }

    @Test("A version lasts from session to session and over a restart")
    func lasting() async throws {
        try await withServer { server in
            let client = try await server.login("juliet@capulet.example/balcony")
            for name in ["nurse", "tybalt", "paris"] { try await add(name, client) }
            let version = try #require(try await get("", client)?["ver"])
            await client.drop()
            await server.settle()
            let again = try await TestServer(over: server).login("juliet@capulet.example/balcony")
            #expect(try await get(version, again) == nil)
            await again.server.stop()
        }
    }

    @Test("A request that is not answered is no part of the roster, and not of its version")
    func requests() async throws {
        try await withServer { server in
            let juliet = try await server.online("juliet@capulet.example/balcony")
            let romeo = try await server.online("romeo@capulet.example/orchard")
            let version = try #require(try await get("", juliet)?["ver"])
            await romeo.send("<presence type='subscribe' to='juliet@capulet.example'/>")
            _ = try await juliet.first { $0.isPresence(from: "romeo@capulet.example", "subscribe") }
            #expect(try await get(version, juliet) == nil)
        }
    }

    // MARK: Approval before asking (section 3.4)

    @Test("An approval is noted, pushed and not sent to the contact (section 3.4.2)")
    func approval() async throws {
        try await withServer { server in
            let juliet = try await server.online("juliet@capulet.example/balcony")
            let romeo = try await server.online("romeo@capulet.example/orchard")
            await juliet.send("<presence type='subscribed' to='romeo@capulet.example'/>")
            let item = try #require(try await push(juliet).child("item"))
            #expect(item["jid"] == "romeo@capulet.example")
            #expect(item["subscription"] == "none" && item["approved"] == "true")
            #expect(try await romeo.pending().isEmpty)
            #expect(try await juliet.getRoster().first?["approved"] == "true")
        }
    }

    @Test("The request of one who is approved is granted at once, and not shown (section 3.4.2)")
    func granted() async throws {
        try await withServer { server in
            let juliet = try await server.online("juliet@capulet.example/balcony")
            let romeo = try await server.online("romeo@capulet.example/orchard")
            await juliet.send("<presence type='subscribed' to='romeo@capulet.example'/>")
            _ = try await push(juliet)
            await romeo.send("<presence type='subscribe' to='juliet@capulet.example'/>")
            _ = try await romeo.first {
                $0.isPresence(from: "juliet@capulet.example", "subscribed")
            }
            #expect(try await push(romeo).child("item")?["ask"] == "subscribe")
            #expect(try await push(romeo).child("item")?["subscription"] == "to")
            _ = try await romeo.first { $0.isPresence(from: "juliet@capulet.example/balcony") }
            let seen = try await juliet.pending()
            #expect(!seen.contains { $0["type"] == "subscribe" })
            let item = try #require(seen.first { $0.name == "iq" }?.elements.first?.child("item"))
            #expect(item["subscription"] == "from" && item["approved"] == "true")
        }
    }

    @Test("An approval can be taken back (section 3.4.2)")
    func cancelled() async throws {
        try await withServer { server in
            let juliet = try await server.online("juliet@capulet.example/balcony")
            let romeo = try await server.online("romeo@capulet.example/orchard")
            await juliet.send("<presence type='subscribed' to='romeo@capulet.example'/>")
            _ = try await push(juliet)
            await juliet.send("<presence type='unsubscribed' to='romeo@capulet.example'/>")
            #expect(try await push(juliet).child("item")?["approved"] == nil)
            #expect(try await romeo.pending().isEmpty)
            await romeo.send("<presence type='subscribe' to='juliet@capulet.example'/>")
            _ = try await juliet.first { $0.isPresence(from: "romeo@capulet.example", "subscribe") }
        }
    }

    @Test("A full roster takes no approval, but lets go of what it never had")
    func full() async throws {
        try await withServer("limits.roster_items=10") { server in
            let juliet = try await server.online("juliet@capulet.example/balcony")
            for number in 1...10 { try await add("friend\(number)", juliet) }
            _ = try await juliet.pending()
            await juliet.send("<presence type='subscribed' to='romeo@capulet.example'/>")
            #expect(try await juliet.next().condition == "resource-constraint")
            await juliet.send("<presence type='unsubscribe' to='romeo@capulet.example'/>")
            #expect(try await juliet.pending().isEmpty)
        }
    }
}
