// How a stanza leaves the server: stamped, otherwise as it came.

import Addresses
import Testing
import XML
import XMPP

@Suite struct RoutedBytesTests {
    @Test("The server stamps the sender on a stanza without one (RFC 6120 section 8.1.2.1)")
    func stampsFrom() throws {
        let message = try stanza("<message to='romeo@montague.example'><body>Hi</body></message>")
        #expect(
            text(message.routedBytes())
                == "<message from='juliet@capulet.example/balcony' to='romeo@montague.example'>"
                + "<body>Hi</body></message>")
    }

    @Test("What the client claims to be is replaced by what it is (RFC 6120 section 8.1.2.1)")
    func replacesForgedFrom() throws {
        let message = try stanza(
            "<message from='pope@vatican.example' to='romeo@montague.example'><body/></message>")
        let routed = try element(message.routedBytes())
        #expect(routed["from"] == "juliet@capulet.example/balcony")
        #expect(!text(message.routedBytes()).contains("vatican"))
    }

    @Test("The language of the stream becomes the stanza's own (RFC 6120 section 8.1.5)")
    func makesLanguageExplicit() throws {
        let message = try stanza("<message to='a.example'><body/></message>", language: "de")
        #expect(text(message.routedBytes()).contains(" xml:lang='de'"))
    }

    @Test("A stanza's own language stays (RFC 6120 section 8.1.5)")
    func keepsOwnLanguage() throws {
        let message = try stanza(
            "<message to='a.example' xml:lang=\"cs\"><body/></message>", language: "de")
        let routed = text(message.routedBytes())
        #expect(routed.contains(" xml:lang=\"cs\""))
        #expect(!routed.contains("'de'"))
    }

    @Test(
        "A value keeps the quotes that its sender chose",
        arguments: [
            ("type='chat' id='a\"b'", "a\"b"), ("type=\"chat\" id=\"a'b\"", "a'b"),
            ("type = 'chat' id\t=\n\"x\"", "x"),
        ])
    func keepsQuotes(attributes: String, id: String) throws {
        let message = try stanza("<message \(attributes) to='a.example'><body/></message>")
        let routed = try element(message.routedBytes())
        #expect(routed["id"] == id)
        #expect(routed["type"] == "chat")
    }

    @Test("Attributes that the server does not know are kept, prefixes included")
    func keepsOtherAttributes() throws {
        let message = try stanza(
            "<message to='a.example' xmlns:x='urn:x' x:mark='1' note=\"it's\"><body/></message>")
        let routed = try element(message.routedBytes())
        #expect(routed["note"] == "it's")
        #expect(routed.attributes.contains(Attribute("mark", "1", namespace: "urn:x")))
    }

    @Test("An element without content stays one")
    func keepsEmptyElement() throws {
        let presence = try stanza("<presence />")
        #expect(
            text(presence.routedBytes()) == "<presence from='juliet@capulet.example/balcony'/>")
    }

    @Test("The form that is stored names its namespace, once")
    func declaresNamespace() throws {
        for xml in ["<message to='a.example'/>", "<message xmlns='jabber:client' to='a.example'/>"]
        {
            let stored = text(try stanza(xml).routedBytes(declaresNamespace: true))
            #expect(stored.components(of: "xmlns='jabber:client'") == 1)
        }
    }

    @Test("Another receiver replaces the one that the client wrote")
    func replacesTo() throws {
        let presence = try stanza("<presence to='romeo@montague.example/orchard'/>")
        let other = try JID("nurse@capulet.example")
        let routed = try element(presence.routedBytes(to: other))
        #expect(routed["to"] == "nurse@capulet.example")
    }

    @Test("Characters that XML reserves are escaped in a stamped address (RFC 7622 section 3.4)")
    func escapesAddress() throws {
        let message = try stanza(
            "<message to='a.example'/>", from: "juliet@capulet.example/<'&\">")
        let bytes = message.routedBytes()
        #expect(try element(bytes)["from"] == "juliet@capulet.example/<'&\">")
    }

    @Test("A root with a prefix of the stream is routed without it")
    func rewritesPrefixedRoot() throws {
        let bytes = Array(
            ("<s:stream xmlns='jabber:client' xmlns:s='http://etherx.jabber.org/streams'"
                + " xmlns:c='jabber:client' version='1.0'>"
                + "<c:message to='a.example'><c:body>x</c:body></c:message>").utf8)
        var reader = StreamReader(limits: ReaderLimits())
        var offset = 0
        _ = try reader.next(in: bytes.span, at: &offset)
        guard case .element(let fragment)? = try reader.next(in: bytes.span, at: &offset) else {
            Issue.record("no element")
            return
        }
        #expect(Stanza.kind(of: fragment) == .message)
        let message = Stanza(fragment, .message, from: try JID("a@b.example"), to: nil)
        #expect(
            text(message.routedBytes()).hasPrefix("<message from='a@b.example'"))
    }
}

extension String {
    /// How often a text occurs.
    fileprivate func components(of wanted: String) -> Int {
        ranges(of: wanted).count
    }
}
