// STARTTLS (RFC 6120 section 5).

import Addresses
import Engine
import Testing
import XML
import XMPP

@Suite struct StartTLSTests {
    private static let starttls = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"

    private func expectProceed(_ client: TestClient) async throws {
        #expect(try await client.next() == Element("proceed", Namespaces.tls))
        guard case .startTLS = try await client.event() else {
            Issue.record("TLS does not begin")
            return
        }
    }

    @Test("TLS begins after <proceed/>, and the stream anew after it (RFC 6120 section 5.4.3)")
    func upgrades() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let client = try await server.connect(offersTLS: true, allowsPlaintext: false)
            try await client.open()
            await client.send(Self.starttls)
            try await expectProceed(client)
            await client.secure()
            let features = try await client.open()
            #expect(features.child("starttls", Namespaces.tls) == nil)
            #expect(try await client.plain("juliet").name == "success")
            #expect(
                server.metric("kinglet_connections{type=\"c2s\",tls=\"TLSv1.3\"}") == 1)
        }
    }

    @Test(
        "What was sent in clear behind <starttls/> is never read (RFC 6120 section 5.4.3.3)",
        arguments: [0, 5, 40])
    func ignoresInjection(cut: Int) async throws {
        try await withServer { server in
            let client = try await server.connect(offersTLS: true, allowsPlaintext: false)
            try await client.open()
            let bytes = Array((Self.starttls + TestClient.header(to: "injected.example")).utf8)
            await client.send(Array(bytes[..<cut]))
            await client.send(Array(bytes[cut...]))
            try await expectProceed(client)
            await client.send(TestClient.header(to: "injected.example"))
            await client.secure()
            let features = try await client.open()
            #expect(features.name == "features", "the injected header would be an error")
        }
    }

    @Test("STARTTLS that is not offered fails and ends the stream (RFC 6120 section 5.4.2.2)")
    func failsWhenNotOffered() async throws {
        try await withServer { server in
            let client = try await server.connect(offersTLS: false)
            try await client.open()
            await client.send(Self.starttls)
            #expect(try await client.next() == Element("failure", Namespaces.tls))
            try await client.expectEnd()
        }
    }

    @Test("STARTTLS inside TLS fails")
    func failsInsideTLS() async throws {
        try await withServer { server in
            let client = try await server.connect(offersTLS: true)
            await client.secure()
            try await client.open()
            await client.send(Self.starttls)
            #expect(try await client.next() == Element("failure", Namespaces.tls))
            try await client.expectEnd()
        }
    }

    @Test("STARTTLS after the login fails")
    func failsAfterLogin() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let client = try await server.connect(offersTLS: true)
            try await client.open()
            #expect(try await client.plain("juliet").name == "success")
            try await client.open()
            await client.send(Self.starttls)
            #expect(try await client.next() == Element("failure", Namespaces.tls))
            try await client.expectEnd()
        }
    }

    @Test("An error on the new stream comes after a header of its own (RFC 6120 section 4.9.1.2)")
    func errorOnNewStream() async throws {
        try await withServer { server in
            let client = try await server.connect(offersTLS: true, allowsPlaintext: false)
            try await client.open()
            await client.send(Self.starttls)
            try await expectProceed(client)
            await client.secure()
            await client.send("junk")
            _ = try await client.header()
            try await client.expectStreamError(.notWellFormed)
        }
    }
}
