// What is offered at which moment (RFC 6120 sections 4.3.2, 5.3.1, 6.3 and 7.3).

import Addresses
import Engine
import Testing
import XML
import XMPP

@Suite struct StreamFeaturesTests {
    private func mechanisms(_ features: Element) -> [String] {
        features.child("mechanisms", Namespaces.sasl)?.elements.map(\.text) ?? []
    }

    @Test("Before TLS only STARTTLS is offered, as required (RFC 6120 section 5.3.1)")
    func beforeTLS() async throws {
        try await withServer { server in
            let client = try await server.connect(offersTLS: true, allowsPlaintext: false)
            let features = try await client.open()
            #expect(features.elements.map(\.name) == ["starttls"])
            let starttls = try #require(features.child("starttls", Namespaces.tls))
            #expect(starttls.child("required") != nil)
        }
    }

    @Test("Where logins in clear are allowed, STARTTLS is offered and not required")
    func plaintextAllowed() async throws {
        try await withServer { server in
            let client = try await server.connect(offersTLS: true, allowsPlaintext: true)
            let features = try await client.open()
            let starttls = try #require(features.child("starttls", Namespaces.tls))
            #expect(starttls.child("required") == nil)
            #expect(!mechanisms(features).isEmpty)
        }
    }

    @Test("Inside TLS the mechanisms come strongest first, with their bindings (XEP-0440)")
    func insideTLS() async throws {
        try await withServer { server in
            let client = try await server.connect(offersTLS: true, allowsPlaintext: false)
            await client.secure(["tls-exporter": [1], "tls-server-end-point": [2]])
            let features = try await client.open()
            #expect(features.child("starttls", Namespaces.tls) == nil)
            #expect(
                mechanisms(features) == [
                    "SCRAM-SHA-512-PLUS", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS",
                    "SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN",
                ])
            let bindings = features.child("sasl-channel-binding", Namespaces.channelBinding)
            #expect(
                bindings?.elements.compactMap { $0["type"] } == [
                    "tls-exporter", "tls-server-end-point",
                ])
        }
    }

    @Test("Without channel bindings no -PLUS mechanism is offered (RFC 5802 section 6)")
    func withoutBindings() async throws {
        try await withServer { server in
            let client = try await server.connect()
            let features = try await client.open()
            #expect(
                mechanisms(features) == ["SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"])
            #expect(features.child("sasl-channel-binding", Namespaces.channelBinding) == nil)
        }
    }

    @Test("After the login resource binding is offered, and no mechanism (RFC 6120 section 7.3)")
    func afterLogin() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let client = try await server.connect(offersTLS: true)
            try await client.open()
            #expect(try await client.plain("juliet").name == "success")
            let features = try await client.open()
            #expect(features.child("bind", Namespaces.bind) != nil)
            #expect(features.child("mechanisms", Namespaces.sasl) == nil)
            #expect(features.child("starttls", Namespaces.tls) == nil)
            let session = try #require(features.child("session", Namespaces.session))
            #expect(session.child("optional") != nil)
        }
    }
}
