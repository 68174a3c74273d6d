// SASL failures (RFC 6120 section 6.5) and what they cost.

import Addresses
import Engine
import NIOCore
import SASL
import Storage
import Testing
import XML
import XMPP

@Suite struct AuthenticationFailureTests {
    private static func plain(_ text: String) -> String {
        "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>"
            + "\(Base64.encode(Array(text.utf8)))</auth>"
    }

    @Test(
        "Each failure has its condition, and the stream goes on (RFC 6120 section 6.5)",
        arguments: [
            (plain("\0juliet\0wrong"), .notAuthorized),
            (plain("\0nobody\0wrong"), .notAuthorized),
            (plain("\0bad name\0wrong"), .notAuthorized),
            (plain("romeo@capulet.example\0juliet\0\(TestServer.password)"), .invalidAuthzid),
            (plain("juliet"), .malformedRequest),
            (plain("\0\0"), .malformedRequest),
            (
                "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>no base64</auth>",
                .incorrectEncoding
            ),
            (
                "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>=</auth>",
                .malformedRequest
            ),
            (
                "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='DIGEST-MD5'/>",
                .invalidMechanism
            ),
            ("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", .invalidMechanism),
            (
                "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1-PLUS'/>",
                .invalidMechanism
            ),
            (
                "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>"
                    + "bm9uc2Vuc2U=</auth>", .malformedRequest
            ),
        ] as [(String, SASLCondition)])
    func conditions(xml: String, condition: SASLCondition) async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let client = try await server.connect()
            try await client.open()
            await client.send(xml)
            let failure = try await client.next()
            #expect(failure.name == "failure")
            #expect(failure.namespace == Namespaces.sasl)
            #expect(failure.elements.map(\.name) == [condition.rawValue])
            #expect(try await client.plain("juliet").name == "success")
        }
    }

    @Test("PLAIN in clear is told to encrypt (RFC 6120 section 6.5.4)")
    func encryptionRequired() async throws {
        try await withServer { server in
            let client = try await server.connect(offersTLS: true, allowsPlaintext: false)
            try await client.open()
            #expect(try await client.plain("juliet").condition == "encryption-required")
            await client.auth("SCRAM-SHA-1", nil)
            #expect(try await client.next().condition == "invalid-mechanism")
        }
    }

    @Test("An exchange can be aborted and begun anew (RFC 6120 section 6.4.4)")
    func aborts() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let client = try await server.connect()
            try await client.open()
            await client.auth("SCRAM-SHA-1", SCRAMClient(username: "juliet").first)
            #expect(try await client.next().name == "challenge")
            await client.send("<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
            #expect(try await client.next().condition == "aborted")
            #expect(
                try await client.scram(SCRAMClient(username: "juliet")).name == "success")
        }
    }

    @Test("A wrong proof fails (RFC 5802 section 3)")
    func wrongProof() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let client = try await server.connect()
            try await client.open()
            let verdict = try await client.scram(
                SCRAMClient(username: "juliet", password: "wrong"))
            #expect(verdict.condition == "not-authorized")
        }
    }

    @Test("Who does not exist is challenged like who does, always with the same salt")
    func unknownUser() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            func challenge(_ user: String) async throws -> [String] {
                let client = try await server.connect()
                try await client.open()
                let scram = SCRAMClient(username: user, password: "guess")
                await client.auth("SCRAM-SHA-1", scram.first)
                let message = try #require(Base64.decode(try await client.next().text))
                await client.respond(try scram.final(after: message).message)
                #expect(try await client.next().condition == "not-authorized")
                return String(decoding: message, as: UTF8.self).split(separator: ",")
                    .map(String.init)
            }
            let known = try await challenge("juliet")
            let unknown = try await challenge("nobody")
            let again = try await challenge("nobody")
            #expect(unknown[1] == again[1], "the salt")
            #expect(unknown[1].count == known[1].count)
            #expect(unknown[2] == known[2], "the rounds")
        }
    }

    @Test("That an account is disabled is told only to who has the password (6.5.2)")
    func disabledAccount() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            try await server.disable("juliet@capulet.example")
            let client = try await server.connect()
            try await client.open()
            #expect(try await client.plain("juliet", "wrong").condition == "not-authorized")
            #expect(try await client.plain("juliet").condition == "account-disabled")
            let wrong = SCRAMClient(username: "juliet", password: "wrong")
            #expect(try await client.scram(wrong).condition == "not-authorized")
            let right = SCRAMClient(username: "juliet")
            #expect(try await client.scram(right).condition == "account-disabled")
        }
    }

    @Test("A database that fails is no wrong password (RFC 6120 section 6.5.11)")
    func storageFailure() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let client = try await server.connect()
            try await client.open()
            _ = try server.host.database.writeNow { try $0.execute("DROP TABLE scram_keys") }
            #expect(try await client.plain("juliet").condition == "temporary-auth-failure")
            let scram = try await client.scram(SCRAMClient(username: "juliet"))
            #expect(scram.condition == "temporary-auth-failure")
        }
    }

    @Test("Too many failures end the stream (RFC 6120 section 6.4.5)")
    func attempts() async throws {
        try await withServer("limits.login_attempts=3") { server in
            let client = try await server.connect()
            try await client.open()
            for _ in 0..<3 {
                #expect(try await client.plain("juliet", "x").condition == "not-authorized")
            }
            try await client.expectStreamError(.policyViolation)
            #expect(server.refusals(.loginAttempts) == 1)
        }
    }

    @Test("After a failure the next login waits for its turn, even with the right password")
    func delays() async throws {
        try await withServer("limits.login_delay=10s") { server in
            try await server.addAccount("juliet")
            let client = try await server.connect()
            try await client.open()
            await client.auth("PLAIN", Array("\0juliet\0wrong".utf8))
            #expect(try await client.next().condition == "not-authorized")
            await client.auth("PLAIN", Array("\0juliet\0\(TestServer.password)".utf8))
            #expect(await client.isPaused())
            await client.pass(.milliseconds(99))
            #expect(client.hasNothing)
            await client.pass(.milliseconds(1))
            #expect(try await client.next().name == "success")
        }
    }

    @Test("Who does not guess at passwords slows nobody down")
    func harmlessFailures() async throws {
        try await withServer("limits.login_delay=10s") { server in
            try await server.addAccount("juliet")
            let client = try await server.connect()
            try await client.open()
            await client.auth("NO-SUCH-MECHANISM", [])
            #expect(try await client.next().condition == "invalid-mechanism")
            await client.auth("PLAIN", Array("\0juliet\0\(TestServer.password)".utf8))
            #expect(try await client.next().name == "success")
        }
    }

    @Test("A login that is not bound yet ends when its account is disabled")
    func disabledBeforeBinding() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let client = try await server.connect()
            try await client.open()
            await client.auth("PLAIN", Array("\0juliet\0\(TestServer.password)".utf8))
            #expect(try await client.next().name == "success")
            try await client.open()
            try await server.disable("juliet@\(TestServer.domain)")
            server.host.endSessions(
                of: BareJID(preparedLocal: "juliet", preparedDomain: TestServer.domain),
                StreamError(.policyViolation))
            await client.send(
                "<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
            _ = try await client.next()
            try await client.expectStreamError(.notAuthorized)
        }
    }
}
