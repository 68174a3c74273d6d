// What another server meets that opens a stream, right or wrong.

import Engine
import SASL
import TLS
import Testing
import XML
import XMPP

@Suite("Streams of other servers (RFC 6120, XEP-0178)")
struct IncomingServerStreamTests {
    private func withPeer(
        _ settings: String..., verdicts: [String: CertificateVerdict]? = nil,
        _ body: (TestServer, TestPeer) async throws -> Void
    ) async throws {
        let server = try TestServer(["federation.policy=open"] + settings)
        let peer = try await TestPeer(server, verdicts: verdicts)
        let result: Result<Void, any Error>
        do {
            try await body(server, peer)
            result = .success(())
        } catch {
            result = .failure(error)
        }
        await peer.drop()
        await server.stop()
        try result.get()
    }

    @Test("Before TLS nothing but TLS is offered (RFC 6120 section 5.3.1)")
    func onlyTLS() async throws {
        try await withPeer { _, peer in
            let (header, features) = try await peer.open()
            #expect(header.contentNamespace == "jabber:server")
            #expect(header.from == "capulet.example" && header.to == "montague.example")
            #expect(header.id?.isEmpty == false && header.version == "1.0")
            #expect(features.elements.map(\.name) == ["starttls"])
            await peer.auth("=")
            try await peer.expectStreamError(.notAuthorized)
        }
    }

    @Test("A header without 'from' is taken before TLS, and not behind it")
    func noSender() async throws {
        try await withPeer { _, peer in
            try await peer.open(from: nil)
            await peer.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
            _ = try await peer.next()
            _ = try await peer.event()
            await peer.secure()
            await peer.send(
                "<stream:stream xmlns='jabber:server' to='capulet.example' version='1.0'"
                    + " xmlns:stream='http://etherx.jabber.org/streams'>")
            _ = try await peer.event()
            try await peer.expectStreamError(.improperAddressing)
        }
    }

    @Test(
        "A bad header is refused (RFC 6120 section 4.9.3)",
        arguments: [
            (
                "xmlns='jabber:client' from='montague.example' to='capulet.example' version='1.0'",
                StreamError.Condition.invalidNamespace
            ),
            (
                "xmlns='jabber:server' from='montague.example' to='verona.example' version='1.0'",
                .hostUnknown
            ),
            ("xmlns='jabber:server' from='montague.example' version='1.0'", .improperAddressing),
            (
                "xmlns='jabber:server' from='capulet.example' to='capulet.example' version='1.0'",
                .invalidFrom
            ),
            ("xmlns='jabber:server' from='a b' to='capulet.example' version='1.0'", .invalidFrom),
            (
                "xmlns='jabber:server' from='montague.example' to='capulet.example'",
                .unsupportedVersion
            ),
        ])
    func badHeader(attributes: String, condition: StreamError.Condition) async throws {
        try await withPeer { _, peer in
            await peer.send(
                "<stream:stream xmlns:stream='http://etherx.jabber.org/streams' \(attributes)>")
            _ = try await peer.event()
            try await peer.expectStreamError(condition)
        }
    }

    @Test("A domain that the rules forbid hears so at once")
    func policy() async throws {
        try await withPeer("federation.deny=montague.example") { server, peer in
            await peer.send(
                "<stream:stream xmlns='jabber:server' from='montague.example' version='1.0'"
                    + " to='capulet.example' xmlns:stream='http://etherx.jabber.org/streams'>")
            _ = try await peer.event()
            try await peer.expectStreamError(.policyViolation)
            #expect(server.metric("kinglet_server_refused_streams_total{reason=\"policy\"}") == 1)
        }
    }

    @Test("What is no stanza counts, too: a peer that is too fast is read more slowly")
    func elementRate() async throws {
        for (count, element) in [
            ("acknowledgements", "<r xmlns='urn:xmpp:sm:3'/>"),
            (
                "keys",
                "<db:verify from='montague.example' to='capulet.example' id='1'>k</db:verify>"
            ),
        ] {
            try await withPeer("limits.server_stanza_rate=10") { server, peer in
                try await peer.authenticate()
                await peer.send("<enable xmlns='urn:xmpp:sm:3'/>")
                #expect(try await peer.next().name == "enabled")
                await peer.send(String(repeating: element, count: 45))
                #expect(server.refusals(.stanzaRate) == 1, "\(count)")
            }
        }
    }

    @Test("Before the login bytes count as they do behind it")
    func byteRate() async throws {
        try await withPeer("limits.byte_rate=1KiB") { server, peer in
            try await peer.open()
            await peer.send(String(repeating: " ", count: 6000))
            #expect(server.refusals(.byteRate) == 1)
        }
    }

    @Test("A certificate that proves nothing ends the stream, with a reason")
    func badCertificate() async throws {
        try await withPeer(verdicts: ["montague.example": .selfSigned]) { server, peer in
            try await peer.open()
            await peer.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
            _ = try await peer.next()
            _ = try await peer.event()
            await peer.secure()
            await peer.send(
                "<stream:stream xmlns='jabber:server' from='montague.example' version='1.0'"
                    + " to='capulet.example' xmlns:stream='http://etherx.jabber.org/streams'>")
            _ = try await peer.event()
            let error = try await peer.expectStreamError(.notAuthorized)
            #expect(
                error.child("text", Namespaces.streamErrors)?.text.contains("signed by itself")
                    == true)
            let verdict = "kinglet_server_certificates_total{verdict=\"self_signed\"}"
            #expect(server.metric(verdict) == 1)
            let refused = "kinglet_server_refused_streams_total{reason=\"certificate\"}"
            #expect(server.metric(refused) == 1)
            let ours = "kinglet_server_stream_failures_total{reason=\"certificate_self_signed\"}"
            #expect(server.metric(ours) == 0)
        }
    }

    @Test(
        "The authorization identity is empty or the domain of the header",
        arguments: [
            ("=", "success"), (Base64.encode(Array("montague.example".utf8)), "success"),
            (Base64.encode(Array("MONTAGUE.example".utf8)), "success"),
            (Base64.encode(Array("verona.example".utf8)), "invalid-authzid"),
            ("***", "incorrect-encoding"),
        ])
    func identity(text: String, answer: String) async throws {
        try await withPeer { _, peer in
            let features = try await peer.openSecurely().features
            let mechanisms = try #require(features.child("mechanisms", Namespaces.sasl))
            #expect(mechanisms.elements.map(\.text) == ["EXTERNAL"])
            await peer.auth(text)
            let verdict = try await peer.next()
            #expect((verdict.condition ?? verdict.name) == answer)
        }
    }

    @Test("An initial response may come after an empty challenge (RFC 6120 section 6.4.3)")
    func challenge() async throws {
        try await withPeer { _, peer in
            try await peer.openSecurely()
            await peer.auth("")
            #expect(try await peer.next().name == "challenge")
            await peer.send("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>=</response>")
            #expect(try await peer.next().name == "success")
        }
    }

    @Test("Stanzas need authentication")
    func early() async throws {
        try await withPeer { _, peer in
            try await peer.openSecurely()
            await peer.send(
                "<message from='romeo@montague.example' to='juliet@capulet.example'/>")
            try await peer.expectStreamError(.notAuthorized)
        }
    }

    @Test(
        "A stanza needs both addresses, and the right ones (RFC 6120 section 8.1)",
        arguments: [
            (
                "from='tybalt@verona.example' to='juliet@capulet.example'",
                StreamError.Condition.invalidFrom
            ),
            ("from='romeo@montague.example' to='juliet@verona.example'", .hostUnknown),
            ("from='romeo@montague.example'", .improperAddressing),
            ("to='juliet@capulet.example'", .improperAddressing),
            ("from='@@' to='juliet@capulet.example'", .invalidFrom),
            ("from='nurse@capulet.example' to='juliet@capulet.example'", .invalidFrom),
        ])
    func addresses(attributes: String, condition: StreamError.Condition) async throws {
        try await withPeer { _, peer in
            try await peer.authenticate()
            await peer.send("<message \(attributes)><body>x</body></message>")
            try await peer.expectStreamError(condition)
        }
    }

    @Test("Several local domains may be addressed on one stream")
    func domains() async throws {
        let server = try TestServer(
            ["federation.policy=open"], domains: ["capulet.example", "verona.example"])
        let peer = try await TestPeer(server)
        let nurse = try await server.online("nurse@verona.example/hall")
        try await peer.authenticate()
        await peer.send(
            "<message from='romeo@montague.example/a' to='nurse@verona.example' type='chat'>"
                + "<body>x</body></message>")
        #expect(try await nurse.first { $0.name == "message" }.body == "x")
        await peer.drop()
        await server.stop()
    }

    @Test("A stanza of ten megabytes ends the stream")
    func tooLarge() async throws {
        try await withPeer { server, peer in
            try await peer.authenticate()
            await peer.send(
                "<message from='romeo@montague.example' to='juliet@capulet.example'><body>")
            let piece = [UInt8](repeating: 0x61, count: 65_536)
            for _ in 0..<160 { await peer.send(piece) }
            try await peer.expectStreamError(.policyViolation)
            #expect(server.refusals(.xmlLimit) == 1)
        }
    }

    @Test(
        "A stanza may declare its namespace (RFC 6120 section 4.8.3)",
        arguments: [
            "<message xmlns='jabber:server' A><body>x</body></message>",
            "<message A><body xmlns='jabber:server'>x</body></message>",
            "<message A><body>x</body></message>",
        ])
    func namespaces(form: String) async throws {
        try await withPeer { server, peer in
            let juliet = try await server.online("juliet@capulet.example/balcony")
            try await peer.authenticate()
            await peer.send(
                form.replacing(
                    "A",
                    with: "from='romeo@montague.example/a' to='juliet@capulet.example' type='chat'")
            )
            let message = try await juliet.first { $0.name == "message" }
            #expect(message.namespace == Namespaces.client && message.body == "x")
        }
    }

    @Test("What is committed is acknowledged, and once more before the end (XEP-0198)")
    func acknowledges() async throws {
        try await withPeer { server, peer in
            try await server.addAccount("juliet")
            try await peer.authenticate()
            await peer.send("<enable xmlns='urn:xmpp:sm:3'/>")
            #expect(try await peer.next().name == "enabled")
            await peer.send(
                "<message from='romeo@montague.example/a' to='juliet@capulet.example' type='chat'"
                    + " id='1'><body>x</body></message><r xmlns='urn:xmpp:sm:3'/>")
            var answer = try await peer.next()
            if answer["h"] == "0" { answer = try await peer.next() }
            #expect(answer.name == "a" && answer["h"] == "1")
            await peer.send(
                "<message from='romeo@montague.example/a' to='juliet@capulet.example' type='chat'"
                    + " id='2'><body>y</body></message></stream:stream>")
            answer = try await peer.next()
            #expect(answer.name == "a" && answer["h"] == "2")
            guard case .end = try await peer.event() else { throw Inbox.Missing() }
        }
    }

    /// Gives a rule whose streams are not ended yet.
    private func deny(
        _ server: TestServer, _ directions: [FederationDirection]
    ) async throws {
        _ = try await withCheckedThrowingContinuation { continuation in
            server.host.federation.change(
                "montague.example", .deny, directions, server.host
            ) { continuation.resume(with: $0) }
        }
    }

    @Test("A domain that is denied sends nothing more, whatever stands (RFC 6120 section 4.9.3.14)")
    func deniedMeanwhile() async throws {
        try await withPeer { server, peer in
            let juliet = try await server.online("juliet@capulet.example/balcony")
            try await peer.authenticate()
            try await deny(server, [.incoming])
            await peer.send(
                "<message from='romeo@montague.example/a' to='juliet@capulet.example' type='chat'>"
                    + "<body>x</body></message>")
            try await peer.expectStreamError(.policyViolation)
            #expect(try await juliet.pendingMessages().isEmpty)
        }
    }

    @Test("Nor does it open a stream anew by saying no name (RFC 6120 section 4.7.1)")
    func deniedBeforeRestart() async throws {
        try await withPeer { server, peer in
            try await peer.openSecurely()
            await peer.auth("=")
            #expect(try await peer.next().name == "success")
            try await deny(server, [.incoming])
            await peer.send(
                "<stream:stream xmlns='jabber:server' to='capulet.example' version='1.0'"
                    + " xmlns:stream='http://etherx.jabber.org/streams'>")
            _ = try await peer.event()
            try await peer.expectStreamError(.policyViolation)
        }
    }

    @Test("Where nothing may go, a stream is for one way, and stands (XEP-0288 section 2.1)")
    func oneWay() async throws {
        try await withPeer { server, peer in
            try await deny(server, [.outgoing])
            let features = try await peer.openSecurely().features
            #expect(features.child("bidi", "urn:xmpp:features:bidi") == nil)
            // What was not offered is not taken either.
            await peer.send("<bidi xmlns='urn:xmpp:bidi'/>")
            await peer.auth("=")
            #expect(try await peer.next().name == "success")
            try await peer.open()
            #expect(server.host.federation.streams.map(\.isBidirectional) == [false])
            #expect(try await server.say(.deny, "other.example").endedStreams == 0)
        }
    }
}
