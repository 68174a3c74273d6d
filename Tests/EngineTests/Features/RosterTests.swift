// The roster (RFC 6121 section 2).

import Addresses
import Engine
import Testing
import XML
import XMPP

private let query = "query xmlns='jabber:iq:roster'"

private func set(_ client: TestClient, _ item: String) async throws -> Element {
    try await client.request("set", "<\(query)>\(item)</query>")
}

private func pushed(_ element: Element) -> Element? {
    guard element.name == "iq", element["type"] == "set" else { return nil }
    return element.child("query", "jabber:iq:roster")?.child("item")
}

@Suite struct RosterTests {
    @Test("A new account's roster is empty (section 2.1.4)")
    func empty() async throws {
        try await withServer { server in
            let client = try await server.login("juliet@capulet.example/balcony")
            #expect(try await client.getRoster().isEmpty)
        }
    }

    @Test("A contact is stored with name and groups and outlives the session (section 2.3)")
    func storesContact() async throws {
        try await withServer { server in
            let client = try await server.login("juliet@capulet.example/balcony")
            let answer = try await set(
                client,
                "<item jid='Nurse@capulet.example' name='Nurse &amp; co.'><group>Servants</group>"
                    + "<group>Fri'ends</group></item>")
            #expect(answer["type"] == "result")
            await client.drop()
            let later = try await server.login("juliet@capulet.example/chamber")
            let items = try await later.getRoster()
            try #require(items.count == 1)
            #expect(items[0]["jid"] == "nurse@capulet.example")
            #expect(items[0]["name"] == "Nurse & co.")
            #expect(items[0]["subscription"] == "none")
            #expect(items[0].elements.map(\.text) == ["Servants", "Fri'ends"])
        }
    }

    @Test("A later set replaces name and groups, not the subscription (section 2.4)")
    func updatesContact() async throws {
        try await withServer { server in
            try await server.addAccount("nurse")
            let client = try await server.login("juliet@capulet.example/balcony")
            await client.send("<presence type='subscribe' to='nurse@capulet.example'/>")
            _ = try await set(
                client, "<item jid='nurse@capulet.example' name='A'><group>g</group></item>")
            _ = try await set(
                client, "<item jid='nurse@capulet.example' name='B' subscription='both'/>")
            let items = try await client.getRoster()
            try #require(items.count == 1)
            #expect(items[0]["name"] == "B")
            #expect(items[0].elements.isEmpty)
            #expect(items[0]["subscription"] == "none", "a client cannot grant itself anything")
            #expect(items[0]["ask"] == "subscribe")
        }
    }

    @Test("Every client that asked for the roster hears of a change, no other (section 2.1.6)")
    func pushes() async throws {
        try await withServer(loops: 2) { server in
            let one = try await server.login("juliet@capulet.example/1", loop: 0)
            let two = try await server.login("juliet@capulet.example/2", loop: 1)
            let deaf = try await server.login("juliet@capulet.example/3", loop: 1)
            try await one.getRoster()
            try await two.getRoster()
            #expect(
                try await set(deaf, "<item jid='nurse@capulet.example'/>")["type"] == "result")
            for client in [one, two] {
                let push = try await client.next()
                #expect(try push["to"] == client.jid.description)
                #expect(push["id"]?.isEmpty == false)
                #expect(push["from"] == nil, "so that nobody can forge one")
                #expect(pushed(push)?["jid"] == "nurse@capulet.example")
            }
            #expect(try await deaf.pending().isEmpty)
        }
    }

    @Test("Removing a contact ends both subscriptions (section 2.5)")
    func removes() async throws {
        try await withServer { server in
            let juliet = try await server.online("juliet@capulet.example/balcony")
            let romeo = try await server.online("romeo@capulet.example/orchard")
            try await befriend(juliet, romeo)
            #expect(try await juliet.getRoster().first?["subscription"] == "both")
            _ = try await set(
                juliet, "<item jid='romeo@capulet.example' subscription='remove'/>")
            let seen = try await romeo.pending()
            let presence = seen.filter { $0.name == "presence" }.map { $0["type"] ?? "available" }
            #expect(presence.contains("unsubscribe"))
            #expect(presence.contains("unsubscribed"))
            #expect(presence.contains("unavailable"))
            let pushes = seen.compactMap(pushed)
            #expect(pushes.last?["subscription"] == "none")
            let own = try await juliet.pending()
            #expect(
                own.contains { $0.isPresence(from: "romeo@capulet.example/orchard", "unavailable") }
            )
            #expect(try await juliet.getRoster().isEmpty)
            #expect(try await romeo.getRoster().first?["subscription"] == "none")
            await juliet.send("<presence><status>unseen</status></presence>")
            #expect(try await romeo.pending().isEmpty)
        }
    }

    @Test("A removal is pushed as such; who is no contact cannot be removed (section 2.5.3)")
    func removalPush() async throws {
        try await withServer { server in
            let client = try await server.login("juliet@capulet.example/balcony")
            try await client.getRoster()
            _ = try await set(client, "<item jid='nurse@capulet.example'/>")
            _ = try await client.pending()
            await client.send(
                "<iq type='set' id='r'><\(query)>"
                    + "<item jid='nurse@capulet.example' subscription='remove'/></query></iq>")
            let seen = try await client.pending()
            let removal = seen.compactMap(pushed).first
            #expect(removal?["subscription"] == "remove")
            #expect(removal?["jid"] == "nurse@capulet.example")
            let again = try await set(
                client, "<item jid='nurse@capulet.example' subscription='remove'/>")
            #expect(again.condition == "item-not-found")
        }
    }

    private static let long = String(repeating: "x", count: 1024)
    private static let groups = (0...100).map { "<group>\($0)</group>" }.joined()

    @Test(
        "A malformed set changes nothing (section 2.3.3)",
        arguments: [
            ("", "bad-request"), ("<item/>", "bad-request"),
            ("<item jid='a@b.example'/><item jid='c@b.example'/>", "bad-request"),
            ("<item jid='@@'/>", "jid-malformed"),
            ("<item jid='a@b.example' name='\(long)'/>", "not-acceptable"),
            ("<item jid='a@b.example'><group/></item>", "not-acceptable"),
            ("<item jid='a@b.example'><group>\(long)</group></item>", "not-acceptable"),
            ("<item jid='a@b.example'><group>x</group><group>x</group></item>", "bad-request"),
            ("<item jid='a@b.example'>\(groups)</item>", "not-acceptable"),
            ("<item jid='juliet@capulet.example'/>", "not-allowed"),
        ])
    func malformedSets(item: String, condition: String) async throws {
        try await withServer { server in
            let client = try await server.login("juliet@capulet.example/balcony")
            try await client.getRoster()
            #expect(try await set(client, item).condition == condition)
            #expect(try await client.getRoster().isEmpty)
            #expect(try await client.pending().isEmpty, "no push")
        }
    }

    @Test("A roster is limited; what is in it can still be changed")
    func limit() async throws {
        try await withServer("limits.roster_items=10") { server in
            let client = try await server.login("juliet@capulet.example/balcony")
            for number in 0..<10 {
                #expect(
                    try await set(client, "<item jid='\(number)@b.example'/>")["type"] == "result")
            }
            let tooMany = try await set(client, "<item jid='more@b.example'/>")
            #expect(tooMany.condition == "resource-constraint")
            #expect(server.refusals(.rosterItems) == 1)
            let change = try await set(client, "<item jid='3@b.example' name='three'/>")
            #expect(change["type"] == "result")
            #expect(try await client.getRoster().count == 10)
        }
    }

    @Test("A change that cannot be stored is refused, pushed to nobody, and may be tried again")
    func cannotStore() async throws {
        try await withServer { server in
            try server.refuse("INSERT", on: "roster_items")
            let client = try await server.online("juliet@capulet.example/balcony")
            let answer = try await set(client, "<item jid='nurse@capulet.example'/>")
            #expect(answer.condition == "internal-server-error")
            #expect(answer.errorType == "wait")
            await client.send("<presence type='subscribe' to='nurse@capulet.example'/>")
            #expect(try await client.next().condition == "internal-server-error")
            #expect(try await client.getRoster().isEmpty)
            #expect(try await client.pending().isEmpty)
        }
    }

    @Test("Nobody reads or changes another's roster (section 2.1.5)")
    func othersRoster() async throws {
        try await withServer { server in
            let romeo = try await server.online("romeo@capulet.example/orchard")
            let juliet = try await server.online("juliet@capulet.example/balcony")
            try await befriend(romeo, juliet)
            for type in ["get", "set"] {
                let answer = try await romeo.request(
                    type, "<\(query)><item jid='x@b.example'/></query>",
                    to: "juliet@capulet.example")
                #expect(answer.condition == "forbidden")
            }
            #expect(try await juliet.getRoster().count == 1)
        }
    }
}
