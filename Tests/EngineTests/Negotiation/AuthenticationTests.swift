// SASL on the stream (RFC 6120 section 6); the mechanisms themselves are tested in SASLTests.

import Addresses
import Engine
import SASL
import Testing
import XML
import XMPP

@Suite struct AuthenticationTests {
    @Test(
        "SCRAM logs in and proves the server, too (RFC 5802, RFC 7677)",
        arguments: [SASLMechanism.scramSHA1, .scramSHA256, .scramSHA512])
    func scram(mechanism: SASLMechanism) async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let client = try await server.connect()
            try await client.open()
            let verdict = try await client.scram(
                SCRAMClient(mechanism: mechanism, username: "juliet"))
            #expect(verdict.name == "success")
            #expect(try await client.open().child("bind", Namespaces.bind) != nil)
            let series =
                "kinglet_logins_total{mechanism=\"\(mechanism.rawValue)\",result=\"success\"}"
            #expect(server.metric(series) == 1)
        }
    }

    @Test("SCRAM-PLUS is bound to the connection (RFC 5802 section 6, RFC 9266)")
    func channelBinding() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            for (data, outcome) in [([9, 9] as [UInt8], "success"), ([9, 8], "failure")] {
                let client = try await server.connect(offersTLS: true, allowsPlaintext: false)
                await client.secure(["tls-exporter": [9, 9]])
                try await client.open()
                let verdict = try await client.scram(
                    SCRAMClient(
                        mechanism: .scramSHA256Plus, username: "juliet", flag: "p=tls-exporter",
                        bindingData: data))
                #expect(verdict.name == outcome)
            }
        }
    }

    @Test("A client that was made blind to channel binding is refused (RFC 5802 section 6)")
    func detectsDowngrade() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let client = try await server.connect(offersTLS: true, allowsPlaintext: false)
            await client.secure(["tls-exporter": [9, 9]])
            try await client.open()
            let verdict = try await client.scram(SCRAMClient(username: "juliet", flag: "y"))
            #expect(verdict.condition == "not-authorized")
        }
    }

    @Test("PLAIN logs in (RFC 4616)")
    func plain() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let client = try await server.connect()
            try await client.open()
            let verdict = try await client.plain("juliet")
            #expect(verdict == Element("success", Namespaces.sasl))
        }
    }

    @Test("A client that sends no initial response is asked for it (RFC 6120 section 6.4.2)")
    func withoutInitialResponse() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let client = try await server.connect()
            try await client.open()
            await client.auth("PLAIN", nil)
            #expect(try await client.next() == Element("challenge", Namespaces.sasl))
            await client.respond(Array("\0juliet\0\(TestServer.password)".utf8))
            #expect(try await client.next().name == "success")

            let other = try await server.connect()
            try await other.open()
            let scram = SCRAMClient(username: "juliet")
            await other.auth(scram.mechanism.rawValue, nil)
            #expect(try await other.next() == Element("challenge", Namespaces.sasl))
            await other.respond(scram.first)
            let challenge = try #require(Base64.decode(try await other.next().text))
            await other.respond(try scram.final(after: challenge).message)
            #expect(try await other.next().name == "success")
        }
    }

    @Test("A login that comes byte by byte works, and what follows it in one chunk waits")
    func cutIntoBytes() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let client = try await server.connect()
            try await client.open()
            let message = Base64.encode(Array("\0juliet\0\(TestServer.password)".utf8))
            let auth =
                "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>\(message)</auth>"
            for byte in auth.utf8 { await client.send([byte]) }
            #expect(try await client.next().name == "success")
        }
    }

    @Test("Stanzas sent right behind the request to bind are not left lying")
    func pipelining() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            for cut in [10, 78, 100, 150] {
                let client = try await server.connect()
                try await client.open()
                #expect(try await client.plain("juliet").name == "success")
                try await client.open()
                let text = Array(
                    ("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>"
                        + "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>"
                        + "<iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>").utf8)
                await client.send(Array(text[..<cut]))
                await client.send(Array(text[cut...]))
                for id in ["b", "r", "p"] {
                    let answer = try await client.next()
                    #expect(answer["id"] == id)
                    #expect(answer["type"] == "result")
                }
            }
        }
    }

    @Test("A name and a domain with umlauts are one account however they are spelt (RFC 7622)")
    func internationalAccount() async throws {
        try await withServer(domains: ["bücher.example"]) { server in
            try await server.addAccount("jürgen", domain: "bücher.example")
            for (domain, user) in [
                ("bücher.example", "jürgen"), ("BÜCHER.example", "JÜRGEN"),
                ("xn--bcher-kva.example", "ju\u{308}rgen"),
            ] {
                let client = try await server.connect()
                try await client.open(to: domain)
                #expect(try await client.plain(user).name == "success", "\(domain) \(user)")
                try await client.open(to: domain)
                _ = try await client.bind("x\(user.utf8.count)")
                #expect(try client.jid.bare.description == "jürgen@bücher.example")
            }
        }
    }

    @Test("One's own address may be spelt out as authorization identity (RFC 6120 section 6.3.8)")
    func ownAuthorizationIdentity() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let client = try await server.connect()
            try await client.open()
            let verdict = try await client.plain(
                "juliet", authorizationID: "Juliet@capulet.example")
            #expect(verdict.name == "success")
            let other = try await server.connect()
            try await other.open()
            let scram = SCRAMClient(
                username: "juliet", authorizationID: "juliet@capulet.example")
            #expect(try await other.scram(scram).name == "success")
        }
    }
}
