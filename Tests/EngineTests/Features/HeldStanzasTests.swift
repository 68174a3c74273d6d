// What an inactive client is told at once and what can wait (XEP-0352), and what keeps it back.

import Addresses
import Engine
import NIOCore
import Options
import Prometheus
import Testing
import XML
import XMPP

@testable import Features

@Suite("XEP-0352: what can wait")
struct HeldStanzasTests {
    private static let juliet = "juliet@capulet.example"
    private static let phone = "juliet@capulet.example/phone"
    private static let orchard = "romeo@capulet.example/orchard"
    private static let states = "http://jabber.org/protocol/chatstates"

    private func urgency(_ kind: Stanza.Kind, _ text: String) throws -> Urgency {
        Urgency(of: OutboundStanza(kind, Array(text.utf8)), for: try JID(Self.phone))
    }

    private func message(
        _ content: String, from sender: String = orchard, _ more: String = "type='chat'"
    ) -> String {
        "<message from='\(sender)' to='\(Self.phone)' \(more)>\(content)</message>"
    }

    /// A copy (XEP-0280) of a message between Romeo and Juliet's other client.
    private func copy(
        _ direction: String, _ content: String, from wrapper: String = juliet,
        type: String = "chat"
    ) -> String {
        let other = "\(Self.juliet)/balcony"
        let (from, to) = direction == "sent" ? (other, Self.orchard) : (Self.orchard, other)
        return message(
            "<\(direction) xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>"
                + "<message xmlns='jabber:client' from='\(from)' to='\(to)' type='\(type)'>"
                + "\(content)</message></forwarded></\(direction)>",
            from: wrapper)
    }

    private static let body = "<body>x</body>"
    private static let composing = "<composing xmlns='\(states)'/>"
    private static let receipt = "<received xmlns='urn:xmpp:receipts' id='1'/>"
    private static let marker = "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>"
    private static let call = "<propose xmlns='urn:xmpp:jingle-message:0' id='1'/>"

    // MARK: Presence

    @Test("Somebody's presence waits, the last of each resource; all the rest goes at once")
    func presence() throws {
        func of(_ text: String) throws -> Urgency { try urgency(.presence, text) }
        let key = ["presence", Self.orchard]
        #expect(try of("<presence from='\(Self.orchard)'/>") == .latest(.presence, key: key))
        #expect(
            try of("<presence from='\(Self.orchard)'><show>away</show><x xmlns='u'/></presence>")
                == .latest(.presence, key: key))
        #expect(
            try of("<presence from='\(Self.orchard)' type='unavailable'/>")
                == .latest(.presence, key: key))
        #expect(
            try of("<presence from='\(Self.juliet)/balcony'/>")
                == .latest(.presence, key: ["presence", "\(Self.juliet)/balcony"]))
        for type in ["subscribe", "subscribed", "unsubscribe", "unsubscribed", "error", "probe"] {
            #expect(try of("<presence from='\(Self.orchard)' type='\(type)'/>") == .now)
        }
        #expect(try of("<presence from='\(Self.phone)'/>") == .now, "its own")
    }

    @Test("What a room says of a presence goes at once (XEP-0045)")
    func rooms() throws {
        let user = "http://jabber.org/protocol/muc#user"
        let occupant = "coven@chat.example/hecate"
        func of(_ content: String, _ type: String = "") throws -> Urgency {
            try urgency(
                .presence,
                "<presence from='\(occupant)' \(type)><x xmlns='\(user)'>\(content)</x></presence>")
        }
        let item = "<item affiliation='member' role='participant'/>"
        #expect(try of(item) == .latest(.presence, key: ["presence", occupant]))
        #expect(try of(item + "<status code='110'/>") == .now)
        #expect(try of(item + "<status code='307'/>", "type='unavailable'") == .now)
    }

    // MARK: Messages

    @Test("Requests and answers go at once, and so does what cannot be read")
    func requests() throws {
        #expect(try urgency(.iq, "<iq from='\(Self.orchard)' type='get' id='1'/>") == .now)
        #expect(try urgency(.message, "<message from='\(Self.orchard)'>") == .now)
        #expect(try urgency(.presence, "") == .now)
    }

    @Test("Chat states wait, the last of each sender (XEP-0085)")
    func chatStates() throws {
        for state in ["active", "composing", "paused", "inactive", "gone"] {
            for more in ["", "<thread>t</thread>", "<no-store xmlns='urn:xmpp:hints'/>"] {
                #expect(
                    try urgency(.message, message("<\(state) xmlns='\(Self.states)'/>\(more)"))
                        == .latest(.chatState, key: ["message", Self.orchard]))
            }
        }
        #expect(try urgency(.message, message(Self.composing + Self.body)) == .now)
        #expect(
            try urgency(.message, message(Self.composing + Self.receipt)) == .later(.message),
            "the receipt must not be lost")
    }

    @Test(
        "Receipts and markers wait, none replaces another (XEP-0184, XEP-0333)",
        arguments: [
            receipt, marker, receipt + marker,
            marker + "<store xmlns='urn:xmpp:hints'/><origin-id xmlns='urn:xmpp:sid:0' id='o'/>",
            receipt + "<stanza-id xmlns='urn:xmpp:sid:0' by='\(juliet)' id='s'/>",
            "<thread>t</thread>" + marker,
        ])
    func notices(_ content: String) throws {
        #expect(try urgency(.message, message(content)) == .later(.message))
        #expect(try urgency(.message, message(content, "")) == .later(.message))
        #expect(try urgency(.message, message(content + Self.body)) == .now)
    }

    @Test(
        "What a person is to notice, and what is not known, goes at once",
        arguments: [
            body, "<subject>x</subject>", call, "",
            "<request xmlns='urn:xmpp:receipts'/><body>x</body>",
            "<markable xmlns='urn:xmpp:chat-markers:0'/><body>x</body>",
            "<reactions xmlns='urn:xmpp:reactions:0' id='1'/><store xmlns='urn:xmpp:hints'/>",
            "<retract xmlns='urn:xmpp:message-retract:1' id='1'/>",
            "<encrypted xmlns='eu.siacs.conversations.axolotl'/>",
            "<x xmlns='jabber:x:conference' jid='coven@chat.example'/>",
            "<unknown xmlns='urn:example'/>", "<store xmlns='urn:xmpp:hints'/>",
        ])
    func noticed(_ content: String) throws {
        #expect(try urgency(.message, message(content)) == .now)
        #expect(try urgency(.message, message(content, "type='headline'")) == .now)
        #expect(try urgency(.message, copy("received", content)) == .now)
    }

    @Test("Errors go at once, whatever they hold")
    func errors() throws {
        for content in [Self.composing, Self.receipt, Self.marker] {
            #expect(try urgency(.message, message(content, "type='error'")) == .now)
            #expect(try urgency(.message, copy("sent", content, type: "error")) == .now)
        }
    }

    @Test("A copy of somebody's message waits if the message would (XEP-0280)")
    func receivedCopies() throws {
        #expect(
            try urgency(.message, copy("received", Self.composing))
                == .latest(.chatState, key: ["received", "\(Self.juliet)/balcony", Self.orchard]))
        #expect(try urgency(.message, copy("received", Self.receipt)) == .later(.message))
        #expect(try urgency(.message, copy("received", Self.body)) == .now)
        #expect(try urgency(.message, copy("received", Self.call)) == .now)
    }

    @Test("A copy of what the user wrote elsewhere waits, but for calls")
    func sentCopies() throws {
        #expect(
            try urgency(.message, copy("sent", Self.composing))
                == .latest(.chatState, key: ["sent", Self.orchard, "\(Self.juliet)/balcony"]))
        for content in [Self.body, Self.receipt, Self.marker, "<unknown xmlns='urn:example'/>"] {
            #expect(try urgency(.message, copy("sent", content)) == .later(.message))
        }
        #expect(try urgency(.message, copy("sent", Self.call)) == .now)
    }

    @Test("Nobody else's copies are believed (XEP-0280 section 12)")
    func forgedCopies() throws {
        for sender in [Self.orchard, "\(Self.juliet)/balcony", "capulet.example"] {
            for direction in ["sent", "received"] {
                #expect(
                    try urgency(.message, copy(direction, Self.composing, from: sender)) == .now)
            }
        }
        #expect(
            try urgency(
                .message,
                message("<sent xmlns='urn:xmpp:carbons:2'>\(Self.body)</sent>", from: Self.juliet))
                == .now, "an empty one")
    }

    @Test("Of what was published the last version of each item waits (XEP-0060)")
    func events() throws {
        func of(_ content: String) throws -> Urgency {
            try urgency(
                .message,
                message(
                    "<event xmlns='http://jabber.org/protocol/pubsub#event'>\(content)</event>",
                    from: "romeo@capulet.example", "type='headline'"))
        }
        let key = ["event", "romeo@capulet.example", "urn:xmpp:mood", "current"]
        #expect(
            try of("<items node='urn:xmpp:mood'><item id='current'/></items>")
                == .latest(.event, key: key))
        #expect(
            try of("<items node='urn:xmpp:mood'><retract id='current'/></items>")
                == .latest(.event, key: key))
        for content in [
            "<items node='urn:xmpp:mood'><item id='1'/><item id='2'/></items>",
            "<items node='urn:xmpp:mood'><item/></items>", "<items><item id='1'/></items>",
            "<purge node='urn:xmpp:mood'/>", "<delete node='urn:xmpp:mood'/>", "",
        ] {
            #expect(try of(content) == .later(.event))
        }
    }

    // MARK: Keeping

    private func held(stanzas: Int = 100, bytes: Int = 100_000) throws -> HeldStanzas {
        HeldStanzas(
            for: try JID(Self.phone),
            HeldStanzas.Limits(stanzas: Setting(stanzas), bytes: Setting(bytes)),
            HeldStanzas.Metrics(Registry(cells: 1)))
    }

    private func presence(_ resource: Int, _ version: Int) -> OutboundStanza {
        OutboundStanza(
            .presence,
            Array(
                "<presence from='romeo@capulet.example/\(resource)' id='\(version)'/>".utf8))
    }

    private func ids(_ stanzas: [OutboundStanza]) -> [String] {
        stanzas.compactMap { Stanza(routed: $0.bytes)?.id }
    }

    @Test("A later one takes the place of the earlier one, at the end")
    func order() throws {
        var held = try held()
        let receipt = message(Self.receipt, from: Self.orchard, "id='4'")
        for stanza in [
            presence(1, 1), presence(2, 2), presence(1, 3),
            OutboundStanza(.message, Array(receipt.utf8)), presence(3, 5),
        ] {
            let isHeld = held.hold(stanza)
            #expect(isHeld)
        }
        #expect(held.count == 4)
        let isHeld = held.hold(OutboundStanza(.message, Array(message(Self.body).utf8)))
        #expect(!isHeld)
        #expect(held.count == 4)
        let released = held.release(.overtaken)
        #expect(ids(released) == ["2", "3", "4", "5"])
        #expect(held.count == 0 && held.bytes == 0)
        let rest = held.release(.active)
        #expect(rest.isEmpty)
    }

    @Test("Thousands of changes of a few cost no more than those few")
    func superseded() throws {
        var held = try held()
        for version in 0..<10_000 { _ = held.hold(presence(version % 3, version)) }
        #expect(held.count == 3)
        #expect(held.bytes == 3 * presence(1, 9999).bytes.count)
        let released = held.release(.full)
        #expect(ids(released) == ["9997", "9998", "9999"])
        // It goes on from there.
        _ = held.hold(presence(1, 1))
        _ = held.hold(presence(1, 2))
        let next = held.release(.active)
        #expect(ids(next) == ["2"])
    }

    @Test("It is full by number or by size")
    func limits() throws {
        var few = try held(stanzas: 2)
        _ = few.hold(presence(1, 1))
        _ = few.hold(presence(1, 2))
        #expect(!few.isFull)
        _ = few.hold(presence(2, 3))
        #expect(few.isFull)
        _ = few.release(.full)
        #expect(!few.isFull)
        var small = try held(bytes: 2 * presence(1, 1).bytes.count)
        _ = small.hold(presence(1, 1))
        #expect(!small.isFull)
        _ = small.hold(presence(2, 1))
        #expect(small.isFull)
    }
}
