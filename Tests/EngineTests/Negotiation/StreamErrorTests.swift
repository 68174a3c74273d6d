// What ends a stream that has logged in, and leaves all others alone (RFC 6120 section 4.9).

import Addresses
import Engine
import NIOCore
import Testing
import XML
import XMPP

@Suite struct StreamErrorTests {
    private static let deep = String(repeating: "<a>", count: 70)
    private static let large =
        "<message><body>" + String(repeating: "x", count: 20_000) + "</body></message>"

    @Test(
        "Broken and refused XML ends its own stream only (RFC 6120 sections 4.9.3 and 11)",
        arguments: [
            ("<message></presence>", .notWellFormed, .malformedXML),
            ("<message a='1' a='2'/>", .notWellFormed, .malformedXML),
            ("<x:message/>", .notWellFormed, .malformedXML),
            ("<message>&#0;</message>", .notWellFormed, .malformedXML),
            ("<message>\u{1}</message>", .notWellFormed, .malformedXML),
            ("text", .badFormat, .malformedXML),
            ("<!DOCTYPE x [<!ENTITY e 'x'>]>", .restrictedXML, .restrictedXML),
            ("<message><!-- comment --></message>", .restrictedXML, .restrictedXML),
            ("<message><?pi x?></message>", .restrictedXML, .restrictedXML),
            ("<message>&e;</message>", .restrictedXML, .restrictedXML),
            (deep, .policyViolation, .xmlLimit), (large, .policyViolation, .xmlLimit),
        ] as [(String, StreamError.Condition, RefusalReason)])
    func brokenXML(
        xml: String, condition: StreamError.Condition, reason: RefusalReason
    ) async throws {
        try await withServer("limits.stanza=10000") { server in
            let client = try await server.login("juliet@capulet.example/balcony")
            let bystander = try await server.login("romeo@capulet.example/orchard")
            await client.send(xml)
            try await client.expectStreamError(condition)
            #expect(server.refusals(reason) == 1)
            #expect(try await bystander.pending().isEmpty)
            #expect(server.metric("kinglet_sessions") == 1)
        }
    }

    @Test("Bytes that are not UTF-8 end the stream (RFC 6120 section 4.9.3.22)")
    func notUTF8() async throws {
        try await withServer { server in
            let client = try await server.login("juliet@capulet.example/balcony")
            await client.send(Array("<message><body>".utf8) + [0xC3, 0x28])
            try await client.expectStreamError(.unsupportedEncoding)
        }
    }

    @Test("Before the login the limits are tighter")
    func tighterBeforeLogin() async throws {
        try await withServer("limits.stanza_unauthenticated=10000") { server in
            let client = try await server.connect()
            try await client.open()
            await client.send(
                "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>"
                    + String(repeating: "A", count: 12_000))
            try await client.expectStreamError(.policyViolation)
            let other = try await server.connect()
            try await other.open()
            await other.send(String(repeating: "<a>", count: 9))
            try await other.expectStreamError(.policyViolation)
        }
    }

    @Test("A stanza of the largest size passes")
    func largestStanza() async throws {
        try await withServer("limits.stanza=10000") { server in
            let client = try await server.online("juliet@capulet.example/balcony")
            let frame = "<message to='juliet@capulet.example/balcony'><body></body></message>"
            let body = String(repeating: "x", count: 10_000 - frame.utf8.count)
            await client.send(
                "<message to='juliet@capulet.example/balcony'><body>\(body)</body></message>")
            #expect(try await client.next().body == body)
        }
    }

    @Test("A client that claims to be somebody else is ended (RFC 6120 section 8.1.2.1)")
    func forgedSender() async throws {
        try await withServer { server in
            let client = try await server.login("juliet@capulet.example/balcony")
            await client.send(
                "<message from='juliet@capulet.example' to='juliet@capulet.example/balcony'/>")
            #expect(try await client.next()["from"] == "juliet@capulet.example/balcony")
            await client.send("<message from='romeo@capulet.example/x' to='a@capulet.example'/>")
            try await client.expectStreamError(.invalidFrom)
        }
    }

    @Test("A malformed address is answered, not the end (RFC 6120 section 8.3.3.8)")
    func malformedReceiver() async throws {
        try await withServer { server in
            let client = try await server.login("juliet@capulet.example/balcony")
            for kind in ["message", "presence", "iq"] {
                await client.send("<\(kind) id='1' type='get' to='@@'/>")
                let answer = try await client.next()
                #expect(answer.name == kind)
                #expect(answer.condition == "jid-malformed")
                #expect(answer["from"] == "juliet@capulet.example")
            }
            await client.send("<message type='error' to='@@'/><iq type='result' id='2' to='@@'/>")
            #expect(try await client.pending().isEmpty, "answers are never answered")
        }
    }

    @Test("A server that stops says so to everybody (RFC 6120 section 4.9.3.19)")
    func shutdown() async throws {
        try await withServer(loops: 2) { server in
            let one = try await server.login("juliet@capulet.example/balcony", loop: 0)
            let two = try await server.login("romeo@capulet.example/orchard", loop: 1)
            server.host.endAllStreams()
            try await one.expectStreamError(.systemShutdown)
            try await two.expectStreamError(.systemShutdown)
        }
    }
}
