// Our half of a stream to another server, step by step and without a connection.

import TLS
import Testing
import XML
import XMPP

@testable import Engine

@Suite("Streams to other servers, as a state machine")
struct OutgoingNegotiationTests {
    private static let key = RouteKey(local: "capulet.example", remote: "montague.example")
    private static let opening = """
        <stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
        xmlns:db='jabber:server:dialback' from='montague.example' id='s1' version='1.0'>
        """
    private static let tls = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
    private static let external = """
        <mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>EXTERNAL</mechanism>\
        </mechanisms>
        """

    /// The other server, whose words go through a real reader; the answers as text.
    private final class Dialogue {
        var negotiation: OutgoingNegotiation
        private var reader = StreamReader(
            limits: ReaderLimits(), mapping: ServerStream.mapping)
        var verdict = CertificateVerdict.valid
        var mayDial = true

        init(
            _ goal: OutgoingNegotiation.Goal = .stanzas, dialback: Dialback? = nil,
            takesStanzas: Bool = true
        ) {
            negotiation = OutgoingNegotiation(
                key, goal, dialback: dialback, takesStanzas: takesStanzas)
        }

        func say(_ text: String) throws -> [String] {
            let bytes = Array(text.utf8)
            var offset = 0
            var said: [String] = []
            while let event = try reader.next(in: bytes.span, at: &offset) {
                switch event {
                case .header(let header): said += tell(negotiation.receive(header))
                case .element(let fragment): said += tell(negotiation.receive(fragment))
                case .end: said.append("end")
                }
            }
            return said
        }

        func tell(_ actions: [OutgoingNegotiation.Action]) -> [String] {
            actions.flatMap { action -> [String] in
                switch action {
                case .send(let bytes):
                    let text = String(decoding: bytes, as: UTF8.self)
                    return [text.hasPrefix("<?xml") ? "header" : text]
                case .startTLS:
                    reader.restart()
                    return ["TLS"]
                case .restart:
                    reader.restart(keepingBytes: true)
                    return []
                case .judge:
                    return tell(negotiation.judged(verdict, "because", mayDial: mayDial))
                case .authenticated(let mechanism): return ["by \(mechanism.rawValue)"]
                case .establish(let isManaged): return [isManaged ? "managed" : "established"]
                case .take: return ["stanza"]
                case .answered(let isValid):
                    return [isValid.map { $0 ? "valid" : "invalid" } ?? "no answer"]
                case .fail(let failure, _):
                    return ["\(failure.reason.rawValue)\(failure.isPermanent ? "" : ", try again")"]
                }
            }
        }

        /// Up to the features behind TLS, which are given.
        func secure(_ features: String, header: String = opening) throws -> [String] {
            _ = tell(negotiation.start())
            _ = try say(header + "<stream:features>\(tls)</stream:features>")
            _ = try say("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
            _ = tell(negotiation.secured())
            return try say(header + "<stream:features>\(features)</stream:features>")
        }
    }

    @Test("STARTTLS, EXTERNAL and stream management in their order")
    func wholeWay() throws {
        let other = Dialogue()
        #expect(other.tell(other.negotiation.start()) == ["header"])
        #expect(
            try other.say(Self.opening + "<stream:features>\(Self.tls)</stream:features>")
                == [Self.tls])
        #expect(try other.say("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>") == ["TLS"])
        #expect(other.tell(other.negotiation.secured()) == ["header"])
        let auth =
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>"
        #expect(
            try other.say(Self.opening + "<stream:features>\(Self.external)</stream:features>")
                == [auth])
        #expect(
            try other.say("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
                == ["by EXTERNAL", "header"])
        #expect(
            try other.say(
                Self.opening + "<stream:features><sm xmlns='urn:xmpp:sm:3'/></stream:features>")
                == ["<enable xmlns='urn:xmpp:sm:3'/>"])
        #expect(try other.say("<enabled xmlns='urn:xmpp:sm:3'/>") == ["managed"])
    }

    @Test("Without stream management, or when it fails, the stream takes stanzas too")
    func unmanaged() throws {
        let other = Dialogue()
        _ = try other.secure(Self.external)
        _ = try other.say("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
        #expect(
            try other.say(Self.opening + "<stream:features/>") == ["established"])
        let failing = Dialogue()
        _ = try failing.secure(Self.external)
        _ = try failing.say("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
        _ = try failing.say(
            Self.opening + "<stream:features><sm xmlns='urn:xmpp:sm:3'/></stream:features>")
        #expect(try failing.say("<failed xmlns='urn:xmpp:sm:3'/>") == ["established"])
    }

    @Test("Without TLS nothing is said")
    func noTLS() throws {
        let other = Dialogue()
        _ = other.tell(other.negotiation.start())
        #expect(
            try other.say(Self.opening + "<stream:features>\(Self.external)</stream:features>")
                == ["no_tls"])
    }

    @Test(
        "Features that come behind <proceed/> in clear are the owner's to drop; TLS refused fails")
    func refusedTLS() throws {
        let other = Dialogue()
        _ = other.tell(other.negotiation.start())
        _ = try other.say(Self.opening + "<stream:features>\(Self.tls)</stream:features>")
        #expect(
            try other.say("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>") == ["no_tls"])
    }

    @Test(
        "A certificate that is not valid ends the attempt",
        arguments: [
            (CertificateVerdict.expired, "certificate_expired"),
            (.wrongName, "certificate_wrong_name"), (.selfSigned, "certificate_self_signed"),
            (.revoked, "certificate_revoked"), (.untrusted, "certificate_untrusted"),
            (.absent, "certificate_absent"), (.notYetValid, "certificate_not_yet_valid"),
            (.invalid, "certificate_invalid"),
        ])
    func certificate(verdict: CertificateVerdict, reason: String) throws {
        let other = Dialogue()
        other.verdict = verdict
        #expect(try other.secure(Self.external) == [reason])
    }

    @Test(
        "A server that does not trust our certificate offers nothing; without dialback that is the end"
    )
    func noMechanism() throws {
        let other = Dialogue()
        #expect(
            try other.secure("<dialback xmlns='urn:xmpp:features:dialback'/>") == [
                "no_authentication"
            ])
    }

    @Test("With dialback a bad certificate is no obstacle; the key is bound to the stream")
    func dialback() throws {
        let keys = Dialback(secret: [1, 2, 3])
        let other = Dialogue(dialback: keys)
        other.verdict = .selfSigned
        let proof = keys.key(
            receiving: "montague.example", originating: "capulet.example", streamID: "s1")
        #expect(
            try other.secure("") == [
                "<db:result from='capulet.example' to='montague.example'>\(proof)</db:result>"
            ])
        #expect(
            try other.say(
                "<db:result from='montague.example' to='capulet.example' type='valid'/>")
                == ["by dialback", "established"])
    }

    @Test("A dialback key that is not believed, or refused, ends the attempt")
    func dialbackRefused() throws {
        for answer in [
            "type='invalid'/>",
            "type='error'><error type='cancel'><item-not-found"
                + " xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:result>",
        ] {
            let other = Dialogue(dialback: Dialback(secret: []))
            _ = try other.secure("")
            #expect(
                try other.say(
                    "<db:result from='montague.example' to='capulet.example' \(answer)")
                    == ["dialback"])
        }
    }

    @Test("A question about a key needs no authentication")
    func verification() throws {
        let keys = Dialback(secret: [])
        let other = Dialogue(.verification(streamID: "x9", key: "abc"), dialback: keys)
        other.verdict = .untrusted
        #expect(
            try other.secure("") == [
                "<db:verify from='capulet.example' to='montague.example' id='x9'>abc</db:verify>"
            ])
        #expect(
            try other.say(
                "<db:verify from='montague.example' to='capulet.example' id='other' type='valid'/>")
                == [], "an answer to another question")
        #expect(
            try other.say(
                "<db:verify from='montague.example' to='capulet.example' id='x9' type='invalid'/>")
                == ["invalid"])
    }

    @Test("Bidirectional streams are asked for before authentication (XEP-0288 section 2.2)")
    func bidi() throws {
        let other = Dialogue()
        let said = try other.secure(
            Self.external + "<bidi xmlns='urn:xmpp:features:bidi'/>")
        #expect(said.first == "<bidi xmlns='urn:xmpp:bidi'/>" && said.count == 2)
    }

    @Test("Who may not send to us is not asked to (XEP-0288 section 2.2)")
    func noBidi() throws {
        let other = Dialogue(takesStanzas: false)
        let said = try other.secure(
            Self.external + "<bidi xmlns='urn:xmpp:features:bidi'/>")
        #expect(said.count == 1 && !said[0].contains("bidi"))
        #expect(!other.negotiation.isBidirectional)
    }

    @Test(
        "What the other server refuses says whether another attempt makes sense",
        arguments: [
            (
                "<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
                "stream_error"
            ),
            (
                "<stream:error><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
                "stream_error"
            ),
            (
                "<stream:error><system-shutdown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
                "stream_error, try again"
            ),
            ("<message/>", "protocol_error, try again"),
        ])
    func errors(text: String, outcome: String) throws {
        let other = Dialogue()
        _ = other.tell(other.negotiation.start())
        #expect(try other.say(Self.opening + text) == [outcome])
    }

    @Test(
        "SASL's refusal is the other server's last word, unless it is for now (RFC 6120 section 6.5)",
        arguments: [
            ("not-authorized", "authentication_refused"),
            ("temporary-auth-failure", "authentication_refused, try again"),
            ("aborted", "authentication_refused, try again"),
        ])
    func refused(condition: String, outcome: String) throws {
        let other = Dialogue()
        _ = try other.secure(Self.external)
        #expect(
            try other.say(
                "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><\(condition)/></failure>")
                == [outcome])
    }

    @Test(
        "That our own server could not be asked about a key passes (XEP-0220 section 2.5)",
        arguments: [
            "remote-connection-failed", "remote-server-not-found", "remote-server-timeout",
            "resource-constraint",
        ])
    func dialbackLater(condition: String) throws {
        let other = Dialogue(dialback: Dialback(secret: []))
        _ = try other.secure("")
        #expect(
            try other.say(
                "<db:result from='montague.example' to='capulet.example' type='error'>"
                    + "<error type='cancel'><\(condition)"
                    + " xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:result>")
                == ["dialback, try again"])
    }

    @Test("Who let us in and then finds fault may let us in again")
    func violationLater() throws {
        let other = Dialogue()
        _ = try other.secure(Self.external)
        _ = try other.say("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
        #expect(
            try other.say(
                Self.opening + "<stream:error><policy-violation"
                    + " xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>")
                == ["stream_error, try again"])
    }

    @Test("A server that answers for another domain is not believed")
    func otherDomain() throws {
        let other = Dialogue()
        _ = other.tell(other.negotiation.start())
        let header = Self.opening.replacing("montague", with: "verona")
        #expect(
            try other.say(header + "<stream:features>\(Self.tls)</stream:features>")
                == ["protocol_error, try again"])
    }

    @Test("The server of a domain that had a valid certificate is not believed about a key without")
    func verificationWithoutCertificate() throws {
        let other = Dialogue(
            .verification(streamID: "x9", key: "abc"), dialback: Dialback(secret: []))
        other.verdict = .wrongName
        other.mayDial = false
        #expect(try other.secure("") == ["certificate_wrong_name"], "and hears no key")
    }
}
