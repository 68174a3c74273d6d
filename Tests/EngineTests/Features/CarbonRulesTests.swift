// Which messages are copied (XEP-0280 section 6.1), rule by rule.

import Engine
import Testing
import XML
import XMPP

/// Who of two accounts' further clients got a copy.
private struct Copied: Equatable, CustomTestStringConvertible {
    var received: Bool
    var sent: Bool

    static let both = Copied(received: true, sent: true)
    static let none = Copied(received: false, sent: false)
    static let onlySent = Copied(received: false, sent: true)

    var testDescription: String { "received: \(received), sent: \(sent)" }
}

@Suite("XEP-0280: which messages are copied (section 6.1)")
struct CarbonRulesTests {
    private static let orchard = "romeo@capulet.example/orchard"
    private static let balcony = "juliet@capulet.example/balcony"
    private static let body = "<body>x</body>"
    private static let room = "http://jabber.org/protocol/muc#user"
    private static let receipt = "<received xmlns='urn:xmpp:receipts' id='1'/>"
    private static let composing = "<composing xmlns='http://jabber.org/protocol/chatstates'/>"
    private static let marker = "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>"
    private static let private_ = "<private xmlns='urn:xmpp:carbons:2'/>"
    private static let noCopy = "<no-copy xmlns='urn:xmpp:hints'/>"

    /// Romeo sends from one client to one of Juliet's; both have another one.
    private struct Scene {
        let romeo, home, juliet, chamber: TestClient

        init(_ server: TestServer) async throws {
            romeo = try await server.online(CarbonRulesTests.orchard)
            home = try await server.onlineWithCarbons("romeo@capulet.example/home", priority: -1)
            juliet = try await server.online(CarbonRulesTests.balcony)
            chamber = try await server.onlineWithCarbons(
                "juliet@capulet.example/chamber", priority: -1)
            for client in [romeo, home, juliet, chamber] { _ = try await client.pending() }
        }

        /// Whether each other client got exactly one copy.
        func fate(of client: TestClient, _ other: TestClient) async throws -> Copied {
            let received = try await other.pendingMessages()
            let sent = try await client.pendingMessages()
            #expect(received.count <= 1 && sent.count <= 1)
            #expect(received.allSatisfy { Copy($0)?.direction == "received" })
            #expect(sent.allSatisfy { Copy($0)?.direction == "sent" })
            return Copied(received: !received.isEmpty, sent: !sent.isEmpty)
        }
    }

    private func fate(_ type: String?, _ content: String, to: String = balcony) async throws
        -> Copied
    {
        var fate = Copied.none
        try await withServer { server in
            let scene = try await Scene(server)
            let attribute = type.map { " type='\($0)'" } ?? ""
            await scene.romeo.send("<message to='\(to)'\(attribute)>\(content)</message>")
            await server.settle()
            fate = try await scene.fate(of: scene.home, scene.chamber)
            #expect(try await scene.juliet.pendingMessages().count == 1, "the message itself")
        }
        return fate
    }

    @Test(
        "By type, and by the body of a normal message",
        arguments: [
            ("chat", body, .both), ("chat", "", .both), ("chat", "<x xmlns='urn:example'/>", .both),
            ("normal", body, .both), (nil, body, .both), ("unknown", body, .both),
            (nil, "", .none), ("normal", "<subject>x</subject>", .none),
            ("normal", "<x xmlns='urn:example'/>", .none),
            ("normal", "<body xmlns='urn:example'/>", .none),
            ("headline", body, .none),
            ("headline", "<event xmlns='http://jabber.org/protocol/pubsub#event'/>", .none),
            ("groupchat", body, .none), ("groupchat", receipt, .none),
            ("groupchat", "<x xmlns='jabber:x:conference' jid='r@example.org'/>", .none),
        ] as [(String?, String, Copied)])
    private func types(_ type: String?, _ content: String, _ expected: Copied) async throws {
        #expect(try await fate(type, content) == expected)
    }

    @Test(
        "By what instant messages hold, whatever the type",
        arguments: [
            receipt, "<request xmlns='urn:xmpp:receipts'/>", composing, marker,
            "<markable xmlns='urn:xmpp:chat-markers:0'/>",
            "<encrypted xmlns='eu.siacs.conversations.axolotl'/>",
            "<encrypted xmlns='urn:xmpp:omemo:2'/>", "<openpgp xmlns='urn:xmpp:openpgp:0'/>",
            "<x xmlns='jabber:x:encrypted'>data</x>",
            "<encryption xmlns='urn:xmpp:eme:0' namespace='urn:example'/>",
            "<propose xmlns='urn:xmpp:jingle-message:0' id='1'/>",
        ], [nil, "normal"] as [String?])
    private func payloads(_ content: String, _ type: String?) async throws {
        #expect(try await fate(type, content) == .both)
    }

    @Test("Private ones are not, nor those whose sender asks for no copies (section 9, XEP-0334)")
    func avoiding() async throws {
        for content in [Self.private_, Self.noCopy, Self.private_ + Self.noCopy] {
            #expect(try await fate("chat", Self.body + content) == .none)
            #expect(try await fate("normal", content + Self.receipt) == .none)
            #expect(
                try await fate(
                    nil, "<x xmlns='jabber:x:conference' jid='r@example.org'/>" + content) == .none)
        }
        #expect(try await fate("chat", "<private xmlns='urn:example'/>") == .both)
        #expect(try await fate("chat", "<store xmlns='urn:xmpp:hints'/>") == .both)
        #expect(try await fate("chat", "<no-store xmlns='urn:xmpp:hints'/>") == .both)
        #expect(try await fate("chat", "<x xmlns='urn:example'>\(Self.private_)</x>") == .both)
    }

    @Test("A private message reaches its receiver as it was sent (section 9)")
    func privateStaysInside() async throws {
        try await withServer { server in
            let scene = try await Scene(server)
            await scene.romeo.send(
                "<message to='\(Self.balcony)' type='chat'>\(Self.body)\(Self.private_)\(Self.noCopy)"
                    + "</message>")
            let message = try #require(try await scene.juliet.pendingMessages().first)
            #expect(message.elements.map(\.name) == ["body", "private", "no-copy", "stanza-id"])
        }
    }

    @Test(
        "Invitations to rooms, direct (XEP-0249) and mediated, of any type",
        arguments: [
            "<x xmlns='jabber:x:conference' jid='r@example.org'/>",
            "<x xmlns='\(room)'><invite to='hecate@example.org'/></x>",
            "<x xmlns='\(room)'><password>p</password><invite from='hecate@example.org'/></x>",
        ], [nil, "normal", "chat"] as [String?])
    private func invitations(_ content: String, _ type: String?) async throws {
        #expect(try await fate(type, content) == .both)
    }

    @Test("A room's private message: for the sender's clients, not the receiver's")
    func privateMessages() async throws {
        let x = "<x xmlns='\(Self.room)'/>"
        #expect(try await fate("chat", Self.body + x) == .onlySent)
        #expect(try await fate(nil, Self.body + x) == .onlySent)
        #expect(try await fate(nil, x) == .onlySent, "to a full address")
        #expect(try await fate(nil, x, to: "juliet@capulet.example") == .none)
        #expect(try await fate("chat", x + Self.private_) == .none)
        #expect(try await fate("groupchat", Self.body + x) == .none)
    }

    private static let error =
        "<error type='cancel'><gone xmlns='\(Namespaces.stanzaErrors)'/></error>"

    @Test("An error that answers a message that was copied is, too; others are not")
    func errors() async throws {
        try await withServer { server in
            let scene = try await Scene(server)
            func answer(_ id: String?, _ content: String = Self.error) async throws -> Copied {
                let attribute = id.map { " id='\($0)'" } ?? ""
                await scene.juliet.send(
                    "<message type='error'\(attribute) to='\(Self.orchard)'>\(content)</message>")
                await server.settle()
                #expect(try await scene.romeo.pendingMessages().count == 1)
                return try await scene.fate(of: scene.chamber, scene.home)
            }
            #expect(try await answer("1") == .none, "there was no such message")
            await scene.romeo.send(
                "<message id='1' to='\(Self.balcony)' type='chat'>\(Self.body)</message>"
                    + "<message id='2' to='\(Self.balcony)' type='chat'>\(Self.private_)</message>"
                    + "<message id='3' to='\(Self.balcony)'/>"
                    + "<message to='\(Self.balcony)' type='chat'/>")
            #expect(try await scene.home.pendingMessages().count == 2)
            #expect(try await scene.chamber.pendingMessages().count == 2)
            #expect(try await answer("1") == .both)
            #expect(try await answer("1", Self.body + Self.noCopy + Self.error) == .both)
            #expect(try await answer("2") == .none, "it was private")
            #expect(try await answer("3") == .none, "it was not instant messaging")
            #expect(try await answer(nil) == .none, "nobody can tell")
            // The id is the one of a message in the other direction.
            await scene.romeo.send(
                "<message type='error' id='1' to='\(Self.balcony)'>\(Self.error)</message>")
            #expect(try await scene.fate(of: scene.home, scene.chamber) == .none)
        }
    }

    @Test("The server's own error about a copied message is copied to the sender's clients alone")
    func ownErrors() async throws {
        try await withServer("limits.offline_messages=0") { server in
            let scene = try await Scene(server)
            await scene.chamber.drop()
            await scene.juliet.setWritable(false)
            // What is archived is not refused.
            await scene.romeo.send(
                "<message id='1' to='\(Self.balcony)' type='chat'>\(Self.body)"
                    + "<no-permanent-store xmlns='urn:xmpp:hints'/></message>")
            #expect(try await scene.home.pendingBodies() == ["sent x"])
            let late = try await server.onlineWithCarbons(
                "juliet@capulet.example/late", priority: -1)
            // Its client never had it, and the offline store is full.
            await scene.juliet.drop()
            await server.settle()
            let error = try #require(try await scene.romeo.pendingMessages().first)
            #expect(error["id"] == "1" && error.condition == "service-unavailable")
            let copy = try #require(
                try await scene.home.pendingMessages().first.flatMap { Copy($0) })
            #expect(copy.direction == "received")
            #expect(copy.wrapper["from"] == "romeo@capulet.example")
            #expect(copy.wrapper["type"] == "error")
            #expect(copy.message == error)
            #expect(try await late.pendingMessages().allSatisfy { Copy($0)?.message.body == "x" })
        }
    }
}
