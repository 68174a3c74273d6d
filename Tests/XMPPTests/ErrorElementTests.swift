// Errors as they stand on the wire.

import Testing
import XML
import XMPP

@Suite struct ErrorElementTests {
    @Test(
        "Each stanza error condition has the type of RFC 6120 section 8.3.3",
        arguments: [
            (.badRequest, .modify), (.conflict, .cancel), (.featureNotImplemented, .cancel),
            (.forbidden, .auth), (.gone, .cancel), (.internalServerError, .cancel),
            (.itemNotFound, .cancel), (.jidMalformed, .modify), (.notAcceptable, .modify),
            (.notAllowed, .cancel), (.notAuthorized, .auth), (.policyViolation, .modify),
            (.recipientUnavailable, .wait), (.redirect, .modify), (.registrationRequired, .auth),
            (.remoteServerNotFound, .cancel), (.remoteServerTimeout, .wait),
            (.resourceConstraint, .wait), (.serviceUnavailable, .cancel),
            (.subscriptionRequired, .auth), (.undefinedCondition, .cancel),
            (.unexpectedRequest, .wait),
        ] as [(StanzaError.Condition, StanzaError.Kind)])
    func kinds(condition: StanzaError.Condition, kind: StanzaError.Kind) {
        let element = StanzaError(condition).element
        #expect(element["type"] == kind.rawValue)
        #expect(
            element.elements.map(\.name) == [condition.rawValue],
            "one condition and no text")
    }

    @Test("A stanza error's text has a language (RFC 6120 section 8.3.2)")
    func stanzaErrorText() throws {
        let element = StanzaError(.policyViolation, "<too much>", kind: .wait).element
        #expect(element["type"] == "wait")
        let text = try #require(element.child("text", Namespaces.stanzaErrors))
        #expect(text.text == "<too much>")
        #expect(text.attributes == [Attribute("lang", "en", namespace: Namespaces.xml)])
    }

    @Test("An extension's own condition comes last (RFC 6120 section 8.3.4)")
    func applicationError() {
        let application = Element("blocked", "urn:xmpp:blocking:errors")
        let element = StanzaError(.notAcceptable, "why", application: application).element
        #expect(element.elements.map(\.name) == ["not-acceptable", "text", "blocked"])
        #expect(element.elements.last == application)
    }

    @Test(
        "A stream error is one condition in its namespace (RFC 6120 section 4.9.2)",
        arguments: StreamError.Condition.allCases)
    func streamError(condition: StreamError.Condition) {
        #expect(
            text(StreamError(condition).bytes)
                == "<stream:error><\(condition.rawValue)"
                + " xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>")
    }

    @Test("A stream error's text follows the condition and is escaped")
    func streamErrorText() {
        #expect(
            text(StreamError(.conflict, "a < b").bytes)
                == "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
                + "<text xmlns='urn:ietf:params:xml:ns:xmpp-streams' xml:lang='en'>a &lt; b</text>"
                + "</stream:error>")
    }

    @Test(
        "What the reader refuses has the stream error of RFC 6120 section 4.9.3",
        arguments: [
            ("<a></b>", StreamError.Condition.notWellFormed), ("<!DOCTYPE x>", .restrictedXML),
            ("<!-- c -->", .restrictedXML), ("<a>&nbsp;</a>", .restrictedXML), ("x", .badFormat),
        ])
    func readerErrors(xml: String, condition: StreamError.Condition) throws {
        let error = try #require(throws: XMLError.self) { try fragment(xml) }
        #expect(StreamError(error).condition == condition)
    }
}
