// Every condition of RFC 6120 section 4.9.3: what brings it about, or why nothing does.

import NIOCore
import Testing
import XML
import XMPP

@Suite("Stream errors (RFC 6120 section 4.9.3)")
struct StreamErrorTableTests {
    /// How far a client is when it sends the text.
    enum Stage: Sendable { case connected, opened, loggedIn, counting }

    private static let table: [(StreamError.Condition, Stage, String)] = [
        (.badFormat, .loggedIn, "text between stanzas"),
        (.hostUnknown, .connected, TestClient.header(to: "elsewhere.example")),
        (.improperAddressing, .connected, TestClient.header(to: nil)),
        (.invalidFrom, .loggedIn, "<message from='romeo@capulet.example'/>"),
        (.invalidNamespace, .connected, TestClient.header(content: "jabber:server")),
        (.invalidNamespace, .connected, TestClient.header(stream: "urn:example")),
        (.notAuthorized, .opened, "<message to='romeo@capulet.example'/>"),
        (.notWellFormed, .loggedIn, "<message></iq>"),
        (.policyViolation, .loggedIn, "<message>" + String(repeating: "x", count: 300_000)),
        (.restrictedXML, .loggedIn, "<!-- no comments -->"),
        (.undefinedCondition, .counting, "<a xmlns='urn:xmpp:sm:3' h='99'/>"),
        (.unsupportedEncoding, .connected, "<?xml version='1.0' encoding='latin-1'?>"),
        (.unsupportedStanzaType, .loggedIn, "<note/>"),
        (.unsupportedVersion, .connected, TestClient.header(version: "0.9")),
    ]

    /// What needs more than one text, and the test that holds it.
    private static let elsewhere: [StreamError.Condition: String] = [
        .conflict: "BindTests: a second connection binds the same resource",
        .connectionTimeout: "TimeoutTests: a client does not log in",
        .resourceConstraint: "FairnessTests: a client does not read",
        .seeOtherHost: "FairnessTests: listen.see_other_host",
        .systemShutdown: "StreamErrorTests: the server stops",
    ]

    private static let never: [StreamError.Condition: String] = [
        .badNamespacePrefix: "an unbound prefix is not well-formed, which is said instead",
        .hostGone: "a domain that is not served is unknown; none is remembered",
        .internalServerError: "a failure concerns a stanza, and the stanza is answered",
        .invalidXML: "stanzas are not validated against schemas",
        .remoteConnectionFailed: "no other server is asked for an account",
        .reset: "a stream's security does not change once it is there",
        .unsupportedFeature: "no feature is asked of a client",
    ]

    @Test("Every condition has its place in these tables")
    func complete() {
        let known = Self.table.map(\.0) + Array(Self.elsewhere.keys) + Array(Self.never.keys)
        #expect(Set(known) == Set(StreamError.Condition.allCases))
        #expect(Set(Self.never.keys).isDisjoint(with: Self.table.map(\.0)))
    }

    @Test("The stream ends with the condition, and nothing follows", arguments: table)
    func condition(
        _ condition: StreamError.Condition, _ stage: Stage, _ text: String
    ) async throws {
        try await withServer { server in
            let client: TestClient
            switch stage {
            case .connected, .opened:
                client = try await server.connect()
                if stage == .opened { try await client.open() }
            case .loggedIn, .counting:
                client = try await server.login("juliet@capulet.example/balcony")
            }
            if stage == .counting {
                await client.send("<enable xmlns='urn:xmpp:sm:3'/>")
                _ = try await client.next()
            }
            await client.send(text)
            // A stream that was not opened is opened first (section 4.9.1.2).
            if stage == .connected { _ = try await client.header() }
            let error = try await client.next()
            #expect(error.name == "error" && error.namespace == Namespaces.streams)
            #expect(error.elements.first?.name == condition.rawValue)
            #expect(error.elements.first?.namespace == Namespaces.streamErrors)
            try await client.expectEnd()
        }
    }
}
