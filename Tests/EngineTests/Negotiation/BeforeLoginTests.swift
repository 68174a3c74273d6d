// Nothing but negotiation before authentication (RFC 6120 sections 4.3.5 and 6.3.3).

import Addresses
import Engine
import Testing
import XML
import XMPP

@Suite struct BeforeLoginTests {
    @Test(
        "A stanza before authentication ends the stream (RFC 6120 section 4.9.3.12)",
        arguments: [
            "<message to='romeo@capulet.example'><body>x</body></message>", "<presence/>",
            "<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>",
            "<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
            "<iq type='result' id='1'/>", "<iq/>", "<unknown xmlns='urn:x'/>",
        ])
    func refusesStanza(xml: String) async throws {
        try await withServer { server in
            let client = try await server.connect()
            try await client.open()
            await client.send(xml)
            try await client.expectStreamError(.notAuthorized)
            #expect(server.refusals(.beforeAuthentication) == 1)
        }
    }

    @Test(
        "A stanza between authentication and binding ends the stream (RFC 6120 section 7.1)",
        arguments: [
            "<message to='romeo@capulet.example'><body>x</body></message>", "<presence/>",
            "<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>", "<iq/>",
        ])
    func refusesStanzaBeforeBinding(xml: String) async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let client = try await server.connect()
            try await client.open()
            #expect(try await client.plain("juliet").name == "success")
            try await client.open()
            await client.send(xml)
            try await client.expectStreamError(.notAuthorized)
        }
    }

    @Test(
        "An element that is no stanza ends the stream after the login (RFC 6120 section 4.9.3.24)")
    func refusesUnknownElement() async throws {
        try await withServer { server in
            let client = try await server.login("juliet@capulet.example/balcony")
            await client.send("<unknown xmlns='urn:x'/>")
            try await client.expectStreamError(.unsupportedStanzaType)
        }
    }

    @Test("A second authentication ends the stream (RFC 6120 section 6.3.5)")
    func refusesSecondLogin() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let client = try await server.connect()
            try await client.open()
            #expect(try await client.plain("juliet").name == "success")
            try await client.open()
            await client.auth("PLAIN", Array("\0juliet\0\(TestServer.password)".utf8))
            try await client.expectStreamError(.unsupportedStanzaType)
        }
    }
}
