// What a stanza is, and how it is answered with an error.

import Addresses
import Testing
import XML
import XMPP

@Suite struct StanzaTests {
    @Test(
        "Only message, presence and iq of the content namespace are stanzas (RFC 6120 section 8)",
        arguments: [
            ("<message/>", Stanza.Kind.message), ("<presence/>", .presence), ("<iq/>", .iq),
            ("<iq xmlns='jabber:client'/>", .iq), ("<message xmlns='urn:other'/>", nil),
            ("<note/>", nil), ("<message xmlns=''/>", nil),
        ] as [(String, Stanza.Kind?)])
    func kinds(xml: String, kind: Stanza.Kind?) throws {
        #expect(Stanza.kind(of: try fragment(xml)) == kind)
    }

    @Test("A type is compared by its value, however it is written")
    func comparesType() throws {
        let plain = try stanza("<message type='chat'/>")
        let encoded = try stanza("<message type='&#x63;hat'/>")
        for message in [plain, encoded] {
            #expect(message.isType("chat"))
            #expect(!message.isType("normal"))
            #expect(message.type == "chat")
        }
        #expect(try !stanza("<message/>").isType("chat"))
    }

    @Test(
        "What was routed can be read again, and routed to the same bytes",
        arguments: [
            "<message to='romeo@montague.example/x' type='chat' id='1'><body>&lt;é</body></message>",
            "<iq type='get' id='a\"b' to='capulet.example'><q xmlns='urn:x' a='&quot;'/></iq>",
            "<message xml:lang='de' xmlns:a='urn:a' a:b='c'/>",
        ])
    func readsRouted(xml: String) throws {
        let original = try stanza(xml)
        let bytes = original.routedBytes(declaresNamespace: true)
        let read = try #require(Stanza(routed: bytes))
        #expect(read.kind == original.kind && read.to == original.to)
        #expect(read.from == original.from && read.id == original.id)
        #expect(read.routedBytes(declaresNamespace: true) == bytes)
        #expect(Stanza(routed: Array(bytes.dropLast())) == nil)
    }

    @Test("An error reply swaps the addresses and keeps the id (RFC 6120 section 8.3.1)")
    func errorReply() throws {
        let request = try stanza("<iq type='get' id='q1' to='romeo@montague.example/x'><q/></iq>")
        let reply = try element(request.errorBytes(StanzaError(.itemNotFound, "not here")))
        #expect(reply.name == "iq")
        #expect(reply["type"] == "error")
        #expect(reply["id"] == "q1")
        #expect(reply["from"] == "romeo@montague.example/x")
        #expect(reply["to"] == "juliet@capulet.example/balcony")
        let error = try #require(reply.child("error"))
        #expect(error["type"] == "cancel")
        #expect(error.child("item-not-found", Namespaces.stanzaErrors) != nil)
        #expect(error.child("text", Namespaces.stanzaErrors)?.text == "not here")
    }

    @Test("The account answers what was addressed to nobody (RFC 6120 section 10.3.3)")
    func errorReplyWithoutReceiver() throws {
        let reply = try element(
            try stanza("<message/>").errorBytes(StanzaError(.serviceUnavailable)))
        #expect(reply["from"] == "juliet@capulet.example")
        #expect(reply["id"] == nil)
    }

    @Test("A reply may come from another address than the one written")
    func errorReplyFromOther() throws {
        let sender = try JID("capulet.example")
        let reply = try element(
            try stanza("<message to='a@b.example'/>").errorBytes(
                StanzaError(.serviceUnavailable), from: sender))
        #expect(reply["from"] == "capulet.example")
    }
}
