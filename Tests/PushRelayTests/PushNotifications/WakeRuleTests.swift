// What somebody wants to be woken for: messages with a text, encrypted ones, calls, invitations, and
// in rooms what mentions the user; nothing that machines tell each other (XEP-0357 section 8).

import Addresses
import Testing
import XMPP

@testable import PushRelay

@Suite("What wakes whom") struct WakeRuleTests {
    static let sender = "juliet@capulet.example/balcony"
    static let omemo = "<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='1'/>"

    static func stanza(
        _ payload: String, type: String = "chat", from: String = sender
    ) throws -> Stanza {
        let text =
            "<message xmlns='jabber:client' type='\(type)' from='\(from)' "
            + "to='romeo@capulet.example'>\(payload)</message>"
        return try #require(Stanza(routed: Array(text.utf8)))
    }

    static func kind(_ payload: String) throws -> PushNotification.Kind? {
        WakeRule.kind(of: try stanza(payload), rooms: .mention, nickname: nil)
    }

    @Test(
        "A message that a person is to read wakes",
        arguments: [
            "<body>Hi</body>", "<thread>t</thread><body xml:lang='de'>Hallo</body>",
            omemo + "<payload>AAAA</payload></encrypted>",
            "<encrypted xmlns='urn:xmpp:omemo:1'><header/><payload>AA</payload></encrypted>",
            "<encrypted xmlns='urn:xmpp:omemo:2'><header/><payload>AA</payload></encrypted>",
            "<openpgp xmlns='urn:xmpp:openpgp:0'>AAAA</openpgp>",
            "<x xmlns='jabber:x:encrypted'>AAAA</x>",
            "<x xmlns='jabber:x:conference' jid='room@muc.example'/>",
            "<x xmlns='http://jabber.org/protocol/muc#user'><invite from='a@b.example'/></x>",
            "<active xmlns='http://jabber.org/protocol/chatstates'/><body>Hi</body>",
            "<body></body><body xml:lang='de'>Hallo</body>",
        ])
    func wakes(payload: String) throws {
        #expect(try Self.kind(payload) == .message)
    }

    @Test(
        "What machines tell each other does not",
        arguments: [
            "", "<body/>", "<body></body>", "<subject>New topic</subject>",
            "<body xmlns='urn:example:other'>Hi</body>", "<html><body>Hi</body></html>",
            omemo + "</encrypted>", "<encrypted xmlns='urn:xmpp:omemo:2'><header/></encrypted>",
            "<composing xmlns='http://jabber.org/protocol/chatstates'/>",
            "<received xmlns='urn:xmpp:receipts' id='1'/>",
            "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>",
            "<event xmlns='http://jabber.org/protocol/pubsub#event'><items node='n'/></event>",
            "<x xmlns='http://jabber.org/protocol/muc#user'><status code='104'/></x>",
            "<x xmlns='http://jabber.org/protocol/muc#user'><decline from='a@b.example'/></x>",
            "<proceed xmlns='urn:xmpp:jingle-message:0' id='c'/>",
            "<ringing xmlns='urn:xmpp:jingle-message:0' id='c'/>",
        ])
    func sleeps(payload: String) throws {
        #expect(try Self.kind(payload) == nil)
    }

    @Test(
        "A call rings, and its end ends that (XEP-0353)",
        arguments: [
            ("propose", PushNotification.Kind.call), ("retract", .callEnded),
            ("reject", .callEnded), ("finish", .callEnded),
        ])
    func calls(name: String, kind: PushNotification.Kind) throws {
        let payload = "<\(name) xmlns='urn:xmpp:jingle-message:0' id='c'/>"
        #expect(try Self.kind(payload) == kind)
        #expect(try Self.kind(payload + "<body>You are called</body>") == kind)
        let prefixed = "<j:\(name) xmlns:j='urn:xmpp:jingle-message:0' id='c'/>"
        #expect(try Self.kind(prefixed) == kind)
    }

    @Test("Errors, headlines and what is the user's own wake nobody")
    func never() throws {
        let romeo = try BareJID("romeo@capulet.example")
        let body = "<body>Hi</body>"
        func mayWake(type: String = "chat", from: String = Self.sender) throws -> Bool {
            WakeRule.mayWake(try Self.stanza(body, type: type, from: from), to: romeo)
        }
        #expect(try mayWake())
        #expect(try mayWake(type: "normal"))
        #expect(try mayWake(type: "groupchat"))
        #expect(try !mayWake(type: "error"))
        #expect(try !mayWake(type: "headline"))
        #expect(try !mayWake(from: "romeo@capulet.example/phone"))
        #expect(try !mayWake(from: "romeo@capulet.example"))
        // A carbon comes from the user's own account (XEP-0280 section 7).
        let carbon =
            "<received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>"
            + "<message xmlns='jabber:client'><body>Hi</body></message></forwarded></received>"
        #expect(try Self.kind(carbon) == nil)
    }

    // MARK: Rooms

    static func room(
        _ body: String, _ rooms: RoomPolicy, nickname: String? = "Romeo",
        from: String = "room@muc.example/juliet"
    ) throws -> PushNotification.Kind? {
        let text = "<body>\(body)</body>"
        return WakeRule.kind(
            of: try stanza(text, type: "groupchat", from: from), rooms: rooms,
            nickname: nickname)
    }

    @Test("Rooms wake by the setting")
    func rooms() throws {
        #expect(try Self.room("Hi all", .always) == .message)
        #expect(try Self.room("Hi all", .mention) == nil)
        #expect(try Self.room("Hi romeo", .mention) == .message)
        #expect(try Self.room("Hi Romeo", .never) == nil)
        #expect(try Self.room("Hi Romeo", .mention, nickname: nil) == nil)
        #expect(try Self.room("Hi Romeo", .always, nickname: nil) == .message)
        let own = "room@muc.example/Romeo"
        #expect(try Self.room("Romeo here", .always, from: own) == nil)
        #expect(try Self.room("Romeo here", .mention, from: own) == nil)
        #expect(try Self.room("", .always) == nil, "a subject")
    }

    @Test("A mention is the nickname as a word of its own, in whatever case and composition")
    func mentions() {
        let yes = [
            ("romeo", "romeo"), ("romeo", "ROMEO: come"), ("Romeo", "hi, @romeo!"),
            ("romeo", "(romeo)"), ("romeo", "aromeo romeo"), ("romeo m.", "o romeo m. where"),
            ("José", "hola jos\u{E9}"), ("Jos\u{E9}", "hola Jose\u{301}, que"), ("Ω", "an ω!"),
            ("小明", "你好 小明"), ("a", "a"), ("🌹", "for 🌹 only"), ("romeo_", "romeo_: hi"),
            ("Иван", "привет, иван"),
        ]
        for (nickname, text) in yes {
            #expect(WakeRule.mentions(nickname, text), "\(nickname) in \(text)")
        }
        let no = [
            ("romeo", "romeos"), ("romeo", "aromeo"), ("romeo", "romeo2"), ("romeo", "2romeo"),
            ("romeo", "rome"), ("romeo", ""), ("", "anything"), ("romeo", "romeo_2"),
            ("jose", "jose\u{301}"), ("ro", "héro"), ("иван", "диван"), ("romeo", "ro meo"),
        ]
        for (nickname, text) in no {
            #expect(!WakeRule.mentions(nickname, text), "\(nickname) in \(text)")
        }
        #expect(!WakeRule.mentions("romeo", nil))
    }

    @Test("A long text is looked through without harm")
    func longText() {
        #expect(!WakeRule.mentions("aaaaab", String(repeating: "a", count: 50_000)))
    }

    // MARK: Markers

    @Test("A displayed marker says that something was read (XEP-0333)")
    func markers() throws {
        func saysRead(_ payload: String) throws -> Bool {
            WakeRule.saysRead(try Self.stanza(payload))
        }
        #expect(try saysRead("<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>"))
        #expect(try !saysRead("<received xmlns='urn:xmpp:chat-markers:0' id='1'/>"))
        #expect(try !saysRead("<displayed xmlns='urn:example:other'/>"))
        #expect(try !saysRead("<body>Hi</body>"))
    }
}
