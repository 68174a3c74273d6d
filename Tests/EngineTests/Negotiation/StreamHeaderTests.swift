// The stream header and what it is refused for (RFC 6120 sections 4.7 to 4.9).

import Addresses
import Engine
import Testing
import XML
import XMPP

@Suite struct StreamHeaderTests {
    @Test("The server answers with its own header and its features (RFC 6120 section 4.7)")
    func answersHeader() async throws {
        try await withServer { server in
            let client = try await server.connect()
            await client.send(
                "<stream:stream from='juliet@capulet.example' to='CAPULET.example' version='1.0'"
                    + " xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>")
            let header = try await client.header()
            #expect(header.name == "stream")
            #expect(header.namespace == Namespaces.streams)
            #expect(header.contentNamespace == Namespaces.client)
            #expect(header.from == "capulet.example")
            #expect(header.to == "juliet@capulet.example")
            #expect(header.version == "1.0")
            #expect(header.lang == "en")
            let features = try await client.next()
            #expect(features.name == "features")
            #expect(features.namespace == Namespaces.streams)
        }
    }

    @Test("Each stream has an id that nobody can guess (RFC 6120 section 4.7.3)")
    func unpredictableID() async throws {
        try await withServer { server in
            var ids: Set<String> = []
            for _ in 0..<3 {
                let client = try await server.connect()
                await client.send(TestClient.header())
                let id = try await client.header().id ?? ""
                #expect(id.utf8.count >= 22, "128 bits at least")
                ids.insert(id)
            }
            #expect(ids.count == 3)
        }
    }

    @Test(
        "A header that breaks a rule gets our header first, then the error (RFC 6120 section 4.9)",
        arguments: [
            (TestClient.header(to: "elsewhere.example"), .hostUnknown),
            (TestClient.header(to: "not a domain"), .hostUnknown),
            (TestClient.header(to: nil), .improperAddressing),
            (TestClient.header(version: nil), .unsupportedVersion),
            (TestClient.header(version: "0.9"), .unsupportedVersion),
            (TestClient.header(version: "one"), .unsupportedVersion),
            (TestClient.header(content: "jabber:server"), .invalidNamespace),
            (TestClient.header(stream: "urn:other"), .invalidNamespace),
            (
                "<stream:flow xmlns='jabber:client' to='capulet.example' version='1.0'"
                    + " xmlns:stream='http://etherx.jabber.org/streams'>", .invalidNamespace
            ),
        ] as [(String, StreamError.Condition)])
    func refusesHeader(header: String, condition: StreamError.Condition) async throws {
        try await withServer { server in
            let client = try await server.connect()
            await client.send(header)
            #expect(try await client.header().from == "capulet.example")
            try await client.expectStreamError(condition)
        }
    }

    @Test(
        "What is no stream at all gets our header and the error, too (RFC 6120 section 4.9.1.2)",
        arguments: [
            ("GET / HTTP/1.1\r\n\r\n", .notWellFormed), ("<!DOCTYPE x>", .restrictedXML),
            ("<?xml version='1.0' encoding='latin-1'?>", .unsupportedEncoding),
            ("<stream:stream>", .notWellFormed),
        ] as [(String, StreamError.Condition)])
    func refusesJunk(text: String, condition: StreamError.Condition) async throws {
        try await withServer { server in
            let client = try await server.connect()
            await client.send(text)
            _ = try await client.header()
            try await client.expectStreamError(condition)
        }
    }

    @Test("A later version is answered with 1.0 (RFC 6120 section 4.7.5)")
    func laterVersion() async throws {
        try await withServer { server in
            let client = try await server.connect()
            await client.send(TestClient.header(version: "2.0"))
            #expect(try await client.header().version == "1.0")
            #expect(try await client.next().name == "features")
        }
    }

    @Test(
        "Every local domain answers in its own name", arguments: ["capulet.example", "b.example"])
    func severalDomains(domain: String) async throws {
        try await withServer(domains: ["capulet.example", "b.example"]) { server in
            let client = try await server.connect()
            await client.send(TestClient.header(to: domain))
            #expect(try await client.header().from == domain)
        }
    }

    @Test("After the login the stream stays with the account's domain")
    func domainChange() async throws {
        try await withServer(domains: ["capulet.example", "b.example"]) { server in
            try await server.addAccount("juliet")
            let client = try await server.connect()
            try await client.open()
            #expect(try await client.plain("juliet").name == "success")
            await client.send(TestClient.header(to: "b.example"))
            _ = try await client.header()
            try await client.expectStreamError(.hostUnknown)
        }
    }

    @Test("A client that ends its stream gets the end of ours (RFC 6120 section 4.4)")
    func closesStream() async throws {
        try await withServer { server in
            let client = try await server.connect()
            try await client.open()
            await client.send("</stream:stream>")
            try await client.expectEnd()
        }
    }

    @Test("A connection cut into single bytes is understood all the same")
    func byteByByte() async throws {
        try await withServer { server in
            let client = try await server.connect()
            for byte in TestClient.header().utf8 { await client.send([byte]) }
            _ = try await client.header()
            #expect(try await client.next().name == "features")
        }
    }
}
