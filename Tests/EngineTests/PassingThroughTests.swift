// What the server only passes on, one row for each thing that a message may hold: whom it reaches,
// who gets copies of it, whether it is archived, whether it waits for one who is away, and whether
// it wakes a client that nobody looks at.

import Engine
import Testing
import XML
import XMPP

/// What a message holds, and what is to become of it.
struct PassingPayload: Sendable, CustomTestStringConvertible {
    /// When an inactive client gets it (XEP-0352).
    enum Waking: Sendable {
        case atOnce, later
    }

    let testDescription: String
    let content: String
    /// Copied to further clients of both accounts (XEP-0280 section 6.1).
    let isCopied: Bool
    /// In both archives (XEP-0313 section 6.1.1).
    let isArchived: Bool
    /// Waits for a receiver who is away (XEP-0160 section 3).
    let waits: Bool
    let waking: Waking
    /// The same for the copy on the sender's further clients.
    let copyWaking: Waking

    init(
        _ description: String, _ content: String, isCopied: Bool = true, isArchived: Bool = true,
        waits: Bool = true, _ waking: Waking, copy: Waking = .later
    ) {
        testDescription = description
        self.content = content
        self.isCopied = isCopied
        self.isArchived = isArchived
        self.waits = waits
        self.waking = waking
        copyWaking = copy
    }

    private static let body = "<body>x</body>"
    private static let store = "<store xmlns='urn:xmpp:hints'/>"
    private static let states = "http://jabber.org/protocol/chatstates"
    private static let encrypted =
        "<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='1'><key rid='2'>a</key>"
        + "</header><payload>b</payload></encrypted>"
    private static let announced =
        "<encryption xmlns='urn:xmpp:eme:0' name='OMEMO' namespace='eu.siacs.conversations.axolotl'/>"

    private static func hint(_ name: String) -> String { "<\(name) xmlns='urn:xmpp:hints'/>" }

    private static func call(_ name: String) -> String {
        "<\(name) xmlns='urn:xmpp:jingle-message:0' id='c'/>"
    }

    /// Of type `chat`, as today's clients send them.
    static let chats = [
        PassingPayload("text", body, .atOnce),
        PassingPayload(
            "XEP-0184: text that asks for a receipt",
            body + "<request xmlns='urn:xmpp:receipts'/>", .atOnce),
        PassingPayload(
            "XEP-0184: a receipt", "<received xmlns='urn:xmpp:receipts' id='1'/>", .later),
        PassingPayload(
            "XEP-0085: text with a chat state", body + "<active xmlns='\(states)'/>", .atOnce),
        PassingPayload(
            "XEP-0085: a chat state", "<composing xmlns='\(states)'/>", isArchived: false,
            waits: false, .later),
        PassingPayload(
            "XEP-0085: a chat state in a thread",
            "<thread>t</thread><paused xmlns='\(states)'/>" + hint("no-store"), isArchived: false,
            waits: false, .later),
        PassingPayload(
            "XEP-0359: a chat state with an id",
            "<active xmlns='\(states)'/><origin-id xmlns='urn:xmpp:sid:0' id='o'/>",
            isArchived: false, waits: false, .later),
        PassingPayload(
            "XEP-0333: text that can be marked",
            body + "<markable xmlns='urn:xmpp:chat-markers:0'/>", .atOnce),
        PassingPayload(
            "XEP-0333: a marker", "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>", .later),
        PassingPayload(
            "XEP-0333: a marker with a hint",
            "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>" + store, .later),
        PassingPayload(
            "XEP-0308: a correction", body + "<replace xmlns='urn:xmpp:message-correct:0' id='1'/>",
            .atOnce),
        PassingPayload(
            "XEP-0444: reactions",
            "<reactions xmlns='urn:xmpp:reactions:0' id='1'><reaction>x</reaction></reactions>"
                + store, .atOnce),
        PassingPayload(
            "XEP-0444: reactions taken back, without a hint",
            "<reactions xmlns='urn:xmpp:reactions:0' id='1'/>", .atOnce),
        PassingPayload(
            "XEP-0461: a reply",
            body + "<reply xmlns='urn:xmpp:reply:0' to='juliet@capulet.example' id='1'/>", .atOnce),
        PassingPayload(
            "XEP-0424: a retraction with a text for others",
            "<retract xmlns='urn:xmpp:message-retract:1' id='1'/>"
                + "<fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:message-retract:1'/>"
                + body + store, .atOnce),
        PassingPayload(
            "XEP-0424: a retraction", "<retract xmlns='urn:xmpp:message-retract:1' id='1'/>",
            .atOnce),
        PassingPayload(
            "XEP-0334: not to be stored", body + hint("no-store"), isArchived: false, waits: false,
            .atOnce),
        PassingPayload(
            "XEP-0334: not to be archived", body + hint("no-permanent-store"), isArchived: false,
            .atOnce),
        PassingPayload(
            "XEP-0334: not to be copied", body + hint("no-copy"), isCopied: false, .atOnce),
        PassingPayload(
            "XEP-0334: something unknown, to be stored", "<x xmlns='urn:example'/>" + store,
            .atOnce),
        PassingPayload("XEP-0353: a call", call("propose") + store, .atOnce, copy: .atOnce),
        PassingPayload("XEP-0353: it rings", call("ringing") + store, .atOnce, copy: .atOnce),
        PassingPayload("XEP-0353: it is taken", call("proceed") + store, .atOnce, copy: .atOnce),
        PassingPayload("XEP-0353: it is declined", call("reject") + store, .atOnce, copy: .atOnce),
        PassingPayload("XEP-0353: it is given up", call("retract") + store, .atOnce, copy: .atOnce),
        PassingPayload(
            "XEP-0353: it is over, without a hint", call("finish"), .atOnce, copy: .atOnce),
        PassingPayload(
            "XEP-0380: encrypted, announced, with a text for others",
            encrypted + announced + body + store, .atOnce),
        PassingPayload("XEP-0380: encrypted and announced", encrypted + announced, .atOnce),
        PassingPayload("XEP-0384: encrypted", encrypted, .atOnce),
        PassingPayload(
            "XEP-0384: encrypted, OMEMO 2", "<encrypted xmlns='urn:xmpp:omemo:2'/>", .atOnce),
        PassingPayload(
            "XEP-0380: encrypted in a way that the server does not know",
            "<secret xmlns='urn:example:secret'/>"
                + "<encryption xmlns='urn:xmpp:eme:0' namespace='urn:example:secret'/>", .atOnce),
        PassingPayload(
            "XEP-0280: private", body + "<private xmlns='urn:xmpp:carbons:2'/>", isCopied: false,
            .atOnce),
        PassingPayload("something unknown", "<x xmlns='urn:example'/>", isArchived: false, .atOnce),
    ]
}

@Suite("What only passes through")
struct PassingThroughTests {
    private static let juliet = "juliet@capulet.example"
    private static let orchard = "romeo@capulet.example/orchard"
    private static let added: Set<String> = ["stanza-id", "delay"]

    /// How many messages an archive holds.
    private func archived(_ client: TestClient) async throws -> Int {
        let answer = try await client.request(
            "set",
            "<query xmlns='urn:xmpp:mam:2'><set xmlns='http://jabber.org/protocol/rsm'><max>0</max>"
                + "</set></query>")
        let set = answer.child("fin", "urn:xmpp:mam:2")?
            .child("set", "http://jabber.org/protocol/rsm")
        return try #require(set?.child("count").flatMap { Int($0.text) })
    }

    /// The names of what a message holds, but for what the server adds.
    private func names(_ message: Element) -> [String] {
        message.elements.map(\.name).filter { !Self.added.contains($0) }
    }

    private func message(
        _ payload: PassingPayload, to: String, type: String? = "chat"
    ) -> String {
        "<message to='\(to)'\(type.map { " type='\($0)'" } ?? "")>\(payload.content)</message>"
    }

    /// That these are copies of that one message, one for each.
    private func check(
        _ messages: [Element], count: Int, _ direction: String, _ wanted: [String]
    ) {
        #expect(messages.count == count)
        for message in messages {
            #expect(Copy(message)?.direction == direction)
            #expect(Copy(message).map { names($0.message) } == wanted)
        }
    }

    @Test(
        "Whom it reaches, who gets copies, and whether it is archived",
        arguments: PassingPayload.chats)
    func online(_ payload: PassingPayload) async throws {
        try await withServer { server in
            let balcony = try await server.online("\(Self.juliet)/balcony", priority: 1)
            let garden = try await server.online("\(Self.juliet)/garden", priority: 1)
            let hall = try await server.online("\(Self.juliet)/hall")
            let chamber = try await server.onlineWithCarbons("\(Self.juliet)/chamber")
            let cellar = try await server.onlineWithCarbons("\(Self.juliet)/cellar", priority: -1)
            let romeo = try await server.online(Self.orchard)
            let home = try await server.onlineWithCarbons("romeo@capulet.example/home")
            for client in [balcony, garden, hall, chamber, cellar] {
                _ = try await client.pending()
            }
            await romeo.send(message(payload, to: Self.juliet))
            await server.settle()
            let seen = try await balcony.pendingMessages() + garden.pendingMessages()
            try #require(seen.count == 2, "to the bare address: all of the highest priority")
            let wanted = names(seen[0])
            #expect(wanted.count == seen[0].elements.count - (payload.isArchived ? 1 : 0))
            #expect(names(seen[1]) == wanted)
            let count = payload.isCopied ? 1 : 0
            for client in [chamber, cellar] {
                check(try await client.pendingMessages(), count: count, "received", wanted)
            }
            check(try await home.pendingMessages(), count: count, "sent", wanted)

            await romeo.send(message(payload, to: "\(Self.juliet)/balcony"))
            await server.settle()
            #expect(try await balcony.pendingMessages().map(names) == [wanted])
            #expect(try await garden.pendingMessages().isEmpty, "to a full address: that one")
            for client in [chamber, cellar] {
                check(try await client.pendingMessages(), count: count, "received", wanted)
            }
            check(try await home.pendingMessages(), count: count, "sent", wanted)
            #expect(try await hall.pendingMessages().isEmpty, "it has not asked for copies")
            #expect(try await romeo.pendingMessages().isEmpty)
            #expect(try await archived(balcony) == (payload.isArchived ? 2 : 0))
            #expect(try await archived(romeo) == (payload.isArchived ? 2 : 0))
        }
    }

    @Test("Whether it waits for one who is away, and comes once", arguments: PassingPayload.chats)
    func offline(_ payload: PassingPayload) async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let romeo = try await server.online(Self.orchard)
            let home = try await server.onlineWithCarbons("romeo@capulet.example/home")
            await romeo.send(
                message(payload, to: Self.juliet) + message(payload, to: "\(Self.juliet)/gone"))
            #expect(try await romeo.pendingMessages().isEmpty, "no error")
            #expect(try await home.pendingMessages().count == (payload.isCopied ? 2 : 0))
            let juliet = try await server.login("\(Self.juliet)/balcony")
            await juliet.send("<presence/>")
            await server.settle()
            let late = try await juliet.pendingMessages()
            #expect(late.count == (payload.waits ? 2 : 0))
            #expect(late.allSatisfy { $0.child("delay", "urn:xmpp:delay") != nil })
            #expect(
                late.allSatisfy {
                    ($0.child("stanza-id", "urn:xmpp:sid:0") != nil) == payload.isArchived
                })
            #expect(try await archived(juliet) == (payload.isArchived ? 2 : 0))
            await juliet.drop()
            let next = try await server.login("\(Self.juliet)/next")
            await next.send("<presence/>")
            await server.settle()
            #expect(try await next.pendingMessages().isEmpty)
        }
    }

    @Test("Whether it wakes a client that nobody looks at", arguments: PassingPayload.chats)
    func inactive(_ payload: PassingPayload) async throws {
        try await withServer { server in
            let balcony = try await server.online("\(Self.juliet)/balcony", priority: 1)
            let phone = try await server.onlineWithCarbons("\(Self.juliet)/phone")
            let romeo = try await server.online(Self.orchard)
            let home = try await server.onlineWithCarbons("romeo@capulet.example/home")
            var sleepers: [ResumingClient] = []
            for client in [phone, home] {
                let sleeper = try await ResumingClient(client)
                _ = try await sleeper.stanzas()
                await client.send("<inactive xmlns='urn:xmpp:csi:0'/>")
                sleepers.append(sleeper)
            }
            func count(_ sleeper: ResumingClient) async throws -> Int {
                try await sleeper.stanzas().count { $0.name == "message" }
            }
            let isAtOnce = payload.waking == .atOnce
            // As it is, and as a copy.
            await romeo.send(message(payload, to: "\(Self.juliet)/phone"))
            #expect(try await count(sleepers[0]) == (isAtOnce ? 1 : 0))
            await romeo.send(message(payload, to: "\(Self.juliet)/balcony"))
            #expect(try await count(sleepers[0]) == (isAtOnce && payload.isCopied ? 1 : 0))
            let sent = payload.isCopied ? 2 : 0
            let isSentAtOnce = payload.copyWaking == .atOnce
            #expect(try await count(sleepers[1]) == (isSentAtOnce ? sent : 0))
            // What waited is there, or a later state of it.
            for sleeper in sleepers {
                await sleeper.client.send("<active xmlns='urn:xmpp:csi:0'/>")
            }
            let late = try await count(sleepers[0])
            #expect((late > 0) == !isAtOnce)
            let lateCopies = try await count(sleepers[1])
            #expect((lateCopies > 0) == (payload.isCopied && !isSentAtOnce))
            #expect(try await balcony.pendingMessages().count == 1)
        }
    }

    @Test("A normal message is instant messaging by what it holds", arguments: PassingPayload.chats)
    func normal(_ payload: PassingPayload) async throws {
        try await withServer { server in
            let balcony = try await server.online("\(Self.juliet)/balcony", priority: 1)
            let chamber = try await server.onlineWithCarbons("\(Self.juliet)/chamber")
            let romeo = try await server.online(Self.orchard)
            let home = try await server.onlineWithCarbons("romeo@capulet.example/home")
            for client in [balcony, chamber] { _ = try await client.pending() }
            await romeo.send(message(payload, to: Self.juliet, type: nil))
            await server.settle()
            #expect(try await balcony.pendingMessages().count == 1)
            // Nothing says of what is unknown that it is.
            let isKnown = !payload.content.contains("<x xmlns='urn:example'/>")
            let count = payload.isCopied && isKnown ? 1 : 0
            #expect(try await chamber.pendingMessages().count == count)
            #expect(try await home.pendingMessages().count == count)
            #expect(try await archived(romeo) == (payload.isArchived ? 1 : 0))
            // There is nobody at that address (RFC 6121 section 8.5.3.2.1).
            await romeo.send(message(payload, to: "\(Self.juliet)/gone", type: "normal"))
            let answer = try #require(try await romeo.pendingMessages().first)
            #expect(answer.condition == "service-unavailable")
        }
    }

    @Test(
        "A headline is for the moment: to all who are there, nothing else",
        arguments: PassingPayload.chats)
    func headline(_ payload: PassingPayload) async throws {
        try await withServer { server in
            let balcony = try await server.online("\(Self.juliet)/balcony", priority: 1)
            let hall = try await server.online("\(Self.juliet)/hall")
            let romeo = try await server.online(Self.orchard)
            for client in [balcony, hall] { _ = try await client.pending() }
            await romeo.send(message(payload, to: Self.juliet, type: "headline"))
            await server.settle()
            #expect(try await balcony.pendingMessages().count == 1)
            #expect(try await hall.pendingMessages().count == 1)
            #expect(try await archived(romeo) == 0)
            for client in [balcony, hall] { await client.drop() }
            await romeo.send(message(payload, to: Self.juliet, type: "headline"))
            #expect(try await romeo.pendingMessages().isEmpty)
            let next = try await server.login("\(Self.juliet)/next")
            await next.send("<presence/>")
            #expect(try await next.pendingMessages().isEmpty)
        }
    }
}
