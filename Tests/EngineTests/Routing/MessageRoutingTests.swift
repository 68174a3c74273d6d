// Messages by the rules of RFC 6121 section 8.5.

import Addresses
import Engine
import Testing
import XML
import XMPP

/// What becomes of a message.
enum Fate: Sendable, Equatable {
    /// These resources get it, and the sender hears nothing.
    case delivered([String])
    /// The sender gets this error.
    case bounced(String)
    /// Nobody hears of it.
    case ignored
    /// It waits for the receiver.
    case stored
}

@Suite struct MessageRoutingTests {
    /// Juliet has these resources (nil for one that has not announced itself), Romeo sends.
    private func fate(
        type: String?, to: String, resources: [(String, Int?)]
    ) async throws -> Fate {
        var fate = Fate.ignored
        try await withServer { server in
            try await server.addAccount("juliet")
            var receivers: [(String, TestClient)] = []
            for (resource, priority) in resources {
                let client = try await server.login("juliet@capulet.example/\(resource)")
                if let priority { try await client.announce(priority: priority) }
                receivers.append((resource, client))
            }
            for (_, client) in receivers { _ = try await client.pending() }
            let romeo = try await server.online("romeo@capulet.example/orchard")
            let attribute = type.map { " type='\($0)'" } ?? ""
            await romeo.send("<message id='m' to='\(to)'\(attribute)><body>Hi</body></message>")
            let answers = try await romeo.pending()
            var reached: [String] = []
            for (resource, client) in receivers {
                let messages = try await client.pending()
                for message in messages {
                    #expect(message.body == "Hi")
                    #expect(message["from"] == "romeo@capulet.example/orchard")
                    #expect(message["to"] == to)
                }
                if !messages.isEmpty { reached.append(resource) }
            }
            let stored = server.metric("kinglet_offline_messages")
            if let answer = answers.first {
                #expect(answers.count == 1 && reached.isEmpty && stored == 0)
                #expect(answer["id"] == "m")
                #expect(answer["from"] == to)
                fate = .bounced(answer.condition ?? "no error")
            } else if !reached.isEmpty {
                #expect(stored == 0)
                fate = .delivered(reached)
            } else if stored == 1 {
                fate = .stored
            }
        }
        return fate
    }

    private static let bare = "juliet@capulet.example"
    private static let balcony = "juliet@capulet.example/balcony"
    private static let gone = "juliet@capulet.example/gone"

    @Test(
        "To a bare address, no available resource (section 8.5.2.2)",
        arguments: [
            (nil, .stored), ("normal", .stored), ("chat", .stored), ("unknown", .stored),
            ("groupchat", .bounced("service-unavailable")), ("headline", .ignored),
            ("error", .ignored),
        ] as [(String?, Fate)], [nil, -1] as [Int?])
    func bareWithoutResource(rule: (String?, Fate), priority: Int?) async throws {
        let fate = try await fate(
            type: rule.0, to: Self.bare, resources: [("balcony", priority)])
        #expect(fate == rule.1)
    }

    @Test(
        "To a bare address, several resources (section 8.5.2.1)",
        arguments: [
            (nil, .delivered(["b", "c"])), ("normal", .delivered(["b", "c"])),
            ("chat", .delivered(["b", "c"])), ("headline", .delivered(["a", "b", "c"])),
            ("groupchat", .bounced("service-unavailable")), ("error", .ignored),
        ] as [(String?, Fate)])
    func bareWithSeveral(type: String?, expected: Fate) async throws {
        let fate = try await fate(
            type: type, to: Self.bare,
            resources: [("a", 0), ("b", 5), ("c", 5), ("negative", -1), ("silent", nil)])
        #expect(fate == expected)
    }

    @Test(
        "To a full address that is connected, whatever its priority (section 8.5.3.1)",
        arguments: [nil, "normal", "chat", "groupchat", "headline", "error"] as [String?],
        [nil, -1, 0] as [Int?])
    func fullMatch(type: String?, priority: Int?) async throws {
        let fate = try await fate(
            type: type, to: Self.balcony, resources: [("balcony", priority), ("other", 7)])
        #expect(fate == .delivered(["balcony"]))
    }

    @Test(
        "To a full address that is gone, another resource being there (section 8.5.3.2)",
        arguments: [
            (nil, .bounced("service-unavailable")), ("normal", .bounced("service-unavailable")),
            ("chat", .delivered(["other"])), ("groupchat", .bounced("service-unavailable")),
            ("headline", .ignored), ("error", .ignored),
        ] as [(String?, Fate)])
    func fullWithoutMatch(type: String?, expected: Fate) async throws {
        let fate = try await fate(type: type, to: Self.gone, resources: [("other", 1)])
        #expect(fate == expected)
    }

    @Test("A chat to a resource that is gone waits when no other is there (section 8.5.3.2.1)")
    func chatToGoneResource() async throws {
        #expect(try await fate(type: "chat", to: Self.gone, resources: []) == .stored)
        let negative = try await fate(type: "chat", to: Self.gone, resources: [("a", -1)])
        #expect(negative == .stored)
    }

    @Test(
        "To an account that does not exist (section 8.5.1)",
        arguments: [
            (nil, .bounced("service-unavailable")), ("chat", .bounced("service-unavailable")),
            ("headline", .ignored), ("error", .ignored),
        ] as [(String?, Fate)])
    func noAccount(type: String?, expected: Fate) async throws {
        let fate = try await fate(type: type, to: "nobody@capulet.example", resources: [])
        #expect(fate == expected)
    }

    @Test("Without a receiver a message is for the sender's own account (RFC 6120 section 10.3.1)")
    func withoutReceiver() async throws {
        try await withServer { server in
            let one = try await server.online("juliet@capulet.example/1", priority: 5)
            let two = try await server.online("juliet@capulet.example/2", priority: 1)
            _ = try await one.pending()
            await two.send("<message><body>note</body></message>")
            #expect(try await one.next().body == "note")
            #expect(try await two.pending().allSatisfy { $0.name == "presence" })
        }
    }

    @Test("The domain itself and other domains take no messages (RFC 6120 section 10.3, 10.4)")
    func domains() async throws {
        try await withServer { server in
            let client = try await server.login("juliet@capulet.example/balcony")
            await client.send("<message to='capulet.example'><body>x</body></message>")
            #expect(try await client.next().condition == "service-unavailable")
            await client.send("<message to='romeo@montague.example'><body>x</body></message>")
            #expect(try await client.next().condition == "remote-server-not-found")
            await client.send("<message type='error' to='romeo@montague.example'/>")
            #expect(try await client.pending().isEmpty)
        }
    }

    @Test("Messages of one sender stay in order across event loops (RFC 6120 section 10.1)")
    func order() async throws {
        try await withServer(loops: 2) { server in
            let juliet = try await server.online("juliet@capulet.example/balcony", loop: 0)
            let romeo = try await server.online("romeo@capulet.example/orchard", loop: 1)
            for number in 0..<50 {
                await romeo.send(
                    "<message to='juliet@capulet.example/balcony'><body>\(number)</body></message>")
            }
            for number in 0..<50 { #expect(try await juliet.next().body == "\(number)") }
        }
    }

    @Test("The sender's stream language goes along (RFC 6120 section 8.1.5)")
    func language() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let client = try await server.connect()
            try await client.open()
            #expect(try await client.plain("juliet").name == "success")
            await client.send(
                "<stream:stream xmlns='jabber:client' to='capulet.example' version='1.0'"
                    + " xmlns:stream='http://etherx.jabber.org/streams' xml:lang='cs'>")
            _ = try await client.header()
            _ = try await client.next()
            _ = try await client.bind("balcony")
            await client.send("<message to='juliet@capulet.example/balcony'><body/></message>")
            let message = try await client.next()
            #expect(
                message.attributes.contains(Attribute("lang", "cs", namespace: Namespaces.xml)))
        }
    }
}
