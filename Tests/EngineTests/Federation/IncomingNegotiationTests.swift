// Dialback on another server's stream, step by step and without a connection.

import TLS
import Testing
import XML
import XMPP

@testable import Engine

@Suite("Dialback on streams of other servers, as a state machine")
struct IncomingNegotiationTests {
    /// Our half behind TLS, and what it says as names of elements, types and conditions.
    private final class Dialogue {
        var negotiation: IncomingNegotiation
        private var reader = StreamReader(limits: ReaderLimits(), mapping: ServerStream.mapping)
        /// What the certificate proves of the header's domain.
        private let verdict: CertificateVerdict

        init(
            _ verdict: CertificateVerdict = .untrusted,
            isAllowed: @escaping (String) -> Bool = { $0 != "forbidden.example" }
        ) throws {
            self.verdict = verdict
            negotiation = IncomingNegotiation(
                IncomingNegotiation.Rules(
                    isServed: { $0 == "capulet.example" }, isAllowed: isAllowed,
                    maySend: { _ in true }, dialback: Dialback(secret: [7]),
                    defaultDomain: "capulet.example"),
                identifier: { "s1" })
            negotiation.isSecure = true
            _ = try say(
                "<stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback'"
                    + " xmlns:stream='http://etherx.jabber.org/streams' version='1.0'"
                    + " from='montague.example' to='capulet.example'>")
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

        func ask(_ domain: String) throws -> [String] {
            try say("<db:result from='\(domain)' to='capulet.example'>k</db:result>")
        }

        func answer(_ domain: String, _ isValid: Bool?) -> [String] {
            tell(
                negotiation.verified(
                    DomainPair(from: domain, to: "capulet.example"), isValid))
        }

        private func tell(_ actions: [IncomingNegotiation.Action]) -> [String] {
            actions.flatMap { action -> [String] in
                switch action {
                case .send(let bytes):
                    let text = String(decoding: bytes, as: UTF8.self)
                    let known = [
                        "'valid'", "'invalid'", "resource-constraint", "forbidden ",
                        "policy-violation", "remote-server-not-found", "not-authorized",
                    ]
                    return known.filter { text.contains($0) }
                case .judge: return tell(negotiation.judged(verdict, ""))
                case .authenticated(let domain, let mechanism):
                    return ["\(domain) by \(mechanism.rawValue)"]
                case .verify(let pair, _, _): return ["ask \(pair.from)"]
                case .take: return ["stanza"]
                case .refuse: return ["refused"]
                case .end: return ["end"]
                case .startTLS, .restart: return []
                }
            }
        }
    }

    @Test("A domain pair that was verified may be used, and no other")
    func pairs() throws {
        let other = try Dialogue()
        #expect(try other.ask("verona.example") == ["ask verona.example"])
        #expect(other.answer("verona.example", true) == ["verona.example by dialback", "'valid'"])
        let negotiation = other.negotiation
        #expect(
            negotiation.mayUse(DomainPair(from: "verona.example", to: "capulet.example")))
        #expect(
            !negotiation.mayUse(DomainPair(from: "montague.example", to: "capulet.example")),
            "the header's domain was not proved")
        #expect(!negotiation.mayUse(DomainPair(from: "verona.example", to: "x.example")))
        #expect(negotiation.provenDomains == ["verona.example"])
    }

    @Test("A domain that is forbidden while its own server is asked stays outside")
    func forbiddenMeanwhile() throws {
        var forbidden = ""
        let other = try Dialogue(isAllowed: { $0 != forbidden })
        #expect(try other.ask("montague.example") == ["ask montague.example"])
        forbidden = "montague.example"
        #expect(other.answer("montague.example", true) == ["policy-violation"])
        #expect(!other.negotiation.isAuthenticated)
    }

    @Test("An answer that nobody asked for proves nothing")
    func unasked() throws {
        let other = try Dialogue()
        #expect(other.answer("montague.example", true).isEmpty)
        #expect(!other.negotiation.isAuthenticated)
    }

    @Test("A wrong key ends a stream that has proved nothing, and only then")
    func invalid() throws {
        let first = try Dialogue()
        _ = try first.ask("montague.example")
        #expect(first.answer("montague.example", false) == ["'invalid'", "refused"])
        let second = try Dialogue()
        _ = try second.ask("montague.example")
        _ = second.answer("montague.example", true)
        _ = try second.ask("verona.example")
        #expect(second.answer("verona.example", false) == ["forbidden "])
        #expect(try second.ask("montague.example") == ["'valid'"], "it still stands")
    }

    @Test("A name's own server that cannot be asked is an error, not a proof")
    func noAnswer() throws {
        let other = try Dialogue()
        _ = try other.ask("montague.example")
        #expect(other.answer("montague.example", nil) == ["remote-server-not-found"])
        #expect(!other.negotiation.isAuthenticated)
    }

    @Test("Few questions at a time, few pairs, and none that the rules forbid")
    func bounds() throws {
        let other = try Dialogue()
        #expect(try other.ask("forbidden.example") == ["policy-violation"])
        for number in 0..<4 { _ = try other.ask("d\(number).example") }
        #expect(try other.ask("d4.example") == ["resource-constraint"])
        for number in 0..<20 {
            _ = try other.ask("d\(number).example")
            _ = other.answer("d\(number).example", true)
        }
        #expect(try other.ask("more.example") == ["resource-constraint"])
    }

    @Test("A new stream says nothing of what was asked on the old one (RFC 6120 section 6.4.6)")
    func askedBeforeRestart() throws {
        let other = try Dialogue(.valid)
        #expect(try other.ask("verona.example") == ["ask verona.example"])
        #expect(
            try other.say(
                "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>")
                == ["montague.example by EXTERNAL"])
        #expect(other.answer("verona.example", true).isEmpty, "our header is due first")
        #expect(other.negotiation.provenDomains == ["montague.example"])
    }
}
