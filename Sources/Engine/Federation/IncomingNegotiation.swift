// From another server's first byte to its stanzas (RFC 6120 sections 4 to 6, XEP-0178, XEP-0220) as
// a state machine: an event in, actions out. It does no I/O and knows no time.

internal import Addresses
internal import SASL
internal import TLS
internal import XML
internal import XMPP

struct IncomingNegotiation {
    enum Action {
        case send([UInt8])
        /// Begin TLS on the transport; the stream starts anew.
        case startTLS
        /// The stream starts anew on the same transport.
        case restart
        /// Say what the certificate proves of a domain; answer with `judged`.
        case judge(domain: String)
        /// The other server is who it says it is.
        case authenticated(String, ServerMechanism)
        /// Ask the domain's own server about a key; answer with `verified`.
        case verify(DomainPair, key: String, streamID: String)
        /// Nothing more is negotiated by this element: it is a stanza, or of stream management.
        case take(Fragment)
        /// The other server was refused.
        case refuse(FederationFailure, StreamError)
        case end(StreamError?)
    }

    /// What the owner of this server wants, and what it serves.
    struct Rules {
        var isServed: (String) -> Bool
        var isAllowed: (String) -> Bool
        /// Whether stanzas may go to a domain.
        var maySend: (String) -> Bool
        var dialback: Dialback?
        var defaultDomain: String
    }

    private enum State {
        /// The stream header is due.
        case opening
        /// The header came; whether the certificate proves its name is asked.
        case judging(header: [UInt8])
        /// Features were sent; the choice of the other server is due.
        case choosing
        /// An initial response to EXTERNAL is due: it did not come with the choice.
        case awaitingResponse
        /// Stanzas may come.
        case open
        case done
    }

    /// More pairs than this are not authenticated on one stream, and more questions not asked at a
    /// time.
    private static let mostPairs = 20
    private static let mostQuestions = 4
    private static let mostFailures = 3

    var isSecure = false
    /// The local domain that the other server addressed last.
    private(set) var domain = ""
    /// Who the other server says it is, prepared.
    private(set) var remote: String?
    /// Whom its certificate proves it to be.
    private(set) var authenticated: String?
    /// For whom it may speak to whom by dialback.
    private(set) var pairs: Set<DomainPair> = []
    private(set) var language: String?
    /// The other server takes stanzas on this stream (XEP-0288).
    private(set) var isBidirectional = false
    private(set) var streamID = ""
    private var verdict: CertificateVerdict?
    private var state = State.opening
    private var failures = 0
    private var questions: Set<DomainPair> = []
    private let rules: Rules
    private let identifier: () -> String

    init(_ rules: Rules, identifier: @escaping () -> String) {
        self.rules = rules
        self.identifier = identifier
    }

    /// Whether the other server has proved any name.
    var isAuthenticated: Bool { authenticated != nil || !pairs.isEmpty }

    /// The domains that it has proved.
    var provenDomains: [String] {
        Set(pairs.map(\.from) + (authenticated.map { [$0] } ?? [])).sorted()
    }

    /// Whether it has proved to be a domain's server, towards whomever.
    func speaks(for domain: String) -> Bool {
        domain == authenticated || pairs.contains { $0.from == domain }
    }

    /// Whether it may send stanzas from one domain to another.
    func mayUse(_ pair: DomainPair) -> Bool {
        pair.from == authenticated || pairs.contains(pair)
    }

    // MARK: Stream headers (RFC 6120 section 4.7)

    mutating func receive(_ header: StreamHeader) -> [Action] {
        func refuse(_ error: StreamError) -> [Action] {
            state = .done
            return [.send(openingBytes()), .end(error)]
        }
        streamID = identifier()
        if let error = ServerStream.problem(header) { return refuse(error) }
        guard ServerStream.isSupported(header.version) else {
            return refuse(StreamError(.unsupportedVersion, "version 1.0 is needed"))
        }
        guard let to = header.to else {
            return refuse(
                StreamError(.improperAddressing, "the stream header needs a 'to' with the domain"))
        }
        guard let wanted = try? Preparation.domain(to), rules.isServed(wanted) else {
            return refuse(StreamError(.hostUnknown, "no such domain here"))
        }
        domain = wanted
        language = ServerStream.language(header)
        // Before TLS a server need not say who it is (section 4.7.1).
        guard let from = header.from ?? authenticated else {
            guard isSecure else { return greet() }
            return refuse(
                StreamError(
                    .improperAddressing, "the stream header needs a 'from' with the domain"))
        }
        guard let sender = try? Preparation.domain(from), !rules.isServed(sender),
            authenticated == nil || authenticated == sender
        else { return refuse(StreamError(.invalidFrom, "that is not the sender's domain")) }
        remote = sender
        guard rules.isAllowed(sender) else {
            state = .done
            return [
                .send(openingBytes()),
                .refuse(
                    FederationFailure(.policy, "this server's rules forbid it"),
                    StreamError(
                        .policyViolation,
                        "this server does not talk to \(sender); its administrator can allow that")),
            ]
        }
        guard isSecure, authenticated == nil, verdict == nil else { return greet() }
        state = .judging(header: openingBytes())
        return [.judge(domain: sender)]
    }

    /// What the certificate proves of the domain in the header.
    mutating func judged(_ verdict: CertificateVerdict, _ text: String) -> [Action] {
        guard case .judging(let header) = state else { return [] }
        self.verdict = verdict
        guard verdict != .valid, rules.dialback == nil else { return greet(header) }
        state = .done
        // XEP-0178 section 3 lets a server close here or go on with dialback; what it wants to say
        // is that the certificate does not authenticate, and the stream error for that is this.
        return [
            .send(header),
            .refuse(FederationFailure(verdict, text), StreamError(.notAuthorized, text)),
        ]
    }

    private mutating func greet(_ header: [UInt8]? = nil) -> [Action] {
        state = isAuthenticated ? .open : .choosing
        return [.send(header ?? openingBytes()), .send(featuresBytes())]
    }

    /// The server's header, with which it also answers a broken one (section 4.9.1.2).
    func openingBytes() -> [UInt8] {
        ServerStream.opening(
            from: domain.isEmpty ? rules.defaultDomain : domain, to: remote,
            id: streamID.isEmpty ? identifier() : streamID, dialback: rules.dialback != nil)
    }

    private var offersExternal: Bool { isSecure && verdict == .valid && authenticated == nil }

    /// Where nothing may go, a stream is for what comes (XEP-0288 section 2.1).
    private var offersBidi: Bool {
        isSecure && !isAuthenticated && remote.map(rules.maySend) ?? false
    }

    private func featuresBytes() -> [UInt8] {
        var writer = XMLWriter(contentNamespace: Namespaces.client)
        writer.raw("<stream:features>")
        if !isSecure {
            writer.write(
                Element("starttls", Namespaces.tls, [], [Element("required", Namespaces.tls)]))
        } else {
            if offersExternal {
                writer.write(
                    Element(
                        "mechanisms", Namespaces.sasl, [],
                        [Element("mechanism", Namespaces.sasl, text: "EXTERNAL")]))
            }
            if rules.dialback != nil {
                writer.write(
                    Element(
                        "dialback", Dialback.feature, [], [Element("errors", Dialback.feature)]))
            }
            if offersBidi { writer.write(Element("bidi", ServerStream.bidiFeature)) }
            if authenticated != nil || !offersExternal {
                writer.write(Element("sm", StreamManagement.namespace))
            }
        }
        writer.raw("</stream:features>")
        return writer.bytes
    }

    // MARK: First-level elements

    mutating func receive(_ fragment: Fragment) -> [Action] {
        switch state {
        case .opening, .judging, .done: return end(.policyViolation, "too early")
        case .awaitingResponse: return respond(fragment)
        case .choosing, .open: break
        }
        switch fragment.namespace {
        case Namespaces.tls: return startTLS(fragment)
        case _ where !isSecure: return end(.notAuthorized, "TLS first")
        case Dialback.namespace:
            return dialback(fragment.element())
        case ServerStream.bidi where !isAuthenticated:
            // Who was not offered it, and asks for it, gets nothing that way.
            isBidirectional = offersBidi
            return []
        case Namespaces.sasl where !isAuthenticated:
            return authenticate(fragment)
        default: break
        }
        guard case .open = state else { return end(.notAuthorized, "authenticate first") }
        return [.take(fragment)]
    }

    private mutating func startTLS(_ fragment: Fragment) -> [Action] {
        guard fragment.isNamed("starttls", "urn:ietf:params:xml:ns:xmpp-tls"), !isSecure else {
            state = .done
            return [
                .send(Array("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>".utf8)), .end(nil),
            ]
        }
        state = .opening
        // What was said in clear is not believed.
        remote = nil
        return [
            .send(Array("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>".utf8)), .startTLS,
        ]
    }

    private mutating func end(_ condition: StreamError.Condition, _ text: String?) -> [Action] {
        state = .done
        return [.end(StreamError(condition, text))]
    }

    // MARK: SASL EXTERNAL (RFC 6120 section 13.7.1.2, XEP-0178 section 3)

    private mutating func authenticate(_ fragment: Fragment) -> [Action] {
        guard fragment.isNamed("auth", "urn:ietf:params:xml:ns:xmpp-sasl") else {
            return end(.notAuthorized, "authenticate first")
        }
        let element = fragment.element()
        guard element["mechanism"] == "EXTERNAL", offersExternal else {
            return fail(.invalidMechanism)
        }
        guard !element.text.isEmpty else {
            state = .awaitingResponse
            return [.send(Array("<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>".utf8))]
        }
        return check(element.text)
    }

    private mutating func respond(_ fragment: Fragment) -> [Action] {
        state = .choosing
        if fragment.isNamed("abort", "urn:ietf:params:xml:ns:xmpp-sasl") { return fail(.aborted) }
        guard fragment.isNamed("response", "urn:ietf:params:xml:ns:xmpp-sasl") else {
            return end(.notAuthorized, "authenticate first")
        }
        return check(fragment.element().text)
    }

    /// The authorization identity is empty, or the domain that the header named.
    private mutating func check(_ text: String) -> [Action] {
        guard let identity = text == "=" ? [] : Base64.decode(text) else {
            return fail(.incorrectEncoding)
        }
        guard let remote,
            identity.isEmpty
                || (try? Preparation.domain(String(decoding: identity, as: UTF8.self))) == remote
        else { return fail(.invalidAuthzid) }
        authenticated = remote
        state = .opening
        // The stream begins anew: nothing may come before our header.
        questions = []
        return [
            .authenticated(remote, .external),
            .send(Array("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>".utf8)), .restart,
        ]
    }

    private mutating func fail(_ condition: SASLCondition) -> [Action] {
        failures += 1
        let bytes = XMLWriter.bytes(
            Element("failure", Namespaces.sasl, [], [Element(condition.rawValue, Namespaces.sasl)]),
            contentNamespace: Namespaces.client)
        guard failures < Self.mostFailures else {
            state = .done
            return [
                .send(bytes),
                .refuse(
                    FederationFailure(.authenticationRefused, condition.rawValue),
                    StreamError(.policyViolation, "too many failed attempts")),
            ]
        }
        return [.send(bytes)]
    }

    // MARK: Dialback (XEP-0220 section 2.2)

    private mutating func dialback(_ element: Element) -> [Action] {
        guard element.name == "result" || element.name == "verify" else {
            return end(.unsupportedStanzaType, nil)
        }
        // An answer to what was not asked.
        guard element["type"] == nil else { return [] }
        guard let pair = ServerStream.pair(element) else {
            return end(.improperAddressing, "dialback needs two domains")
        }
        return element.name == "result" ? result(pair, element.text) : verify(pair, element)
    }

    /// The other server wants to prove a name.
    private mutating func result(_ pair: DomainPair, _ text: String) -> [Action] {
        let key = text.filter { !$0.isWhitespace }
        guard rules.isServed(pair.to) else { return [answer(pair, StanzaError(.itemNotFound))] }
        guard !rules.isServed(pair.from) else { return [answer(pair, StanzaError(.forbidden))] }
        guard rules.dialback != nil else {
            return [
                answer(
                    pair,
                    StanzaError(.notAuthorized, "a valid certificate is needed, not dialback"))
            ]
        }
        guard rules.isAllowed(pair.from) else {
            return [answer(pair, StanzaError(.policyViolation, "not allowed by this server"))]
        }
        if mayUse(pair) { return [answer(pair, isValid: true)] }
        guard pairs.count + questions.count < Self.mostPairs,
            questions.count < Self.mostQuestions
        else { return [answer(pair, StanzaError(.resourceConstraint))] }
        guard questions.insert(pair).inserted else { return [] }
        return [.verify(pair, key: key, streamID: streamID)]
    }

    /// What the domain's own server says of a key; nil if it says nothing.
    mutating func verified(_ pair: DomainPair, _ isValid: Bool?) -> [Action] {
        guard questions.remove(pair) != nil else { return [] }
        if case .done = state { return [] }
        switch isValid {
        case true? where !rules.isAllowed(pair.from):
            // Forbidden while its own server was asked.
            return [answer(pair, StanzaError(.policyViolation, "not allowed by this server"))]
        case true?:
            pairs.insert(pair)
            if remote == nil { remote = pair.from }
            if case .choosing = state { state = .open }
            return [.authenticated(pair.from, .dialback), answer(pair, isValid: true)]
        case false? where !isAuthenticated:
            state = .done
            return [
                answer(pair, isValid: false),
                .refuse(
                    FederationFailure(.dialback, "its own server does not know the key"),
                    StreamError(.notAuthorized, "dialback failed")),
            ]
        case false?: return [answer(pair, StanzaError(.forbidden))]
        case nil: return [answer(pair, StanzaError(.remoteServerNotFound))]
        }
    }

    /// Another server asks about a key that this one is said to have made.
    private func verify(_ pair: DomainPair, _ element: Element) -> [Action] {
        guard let dialback = rules.dialback else {
            return [
                .send(
                    Dialback.bytes(
                        "verify", DomainPair(from: pair.to, to: pair.from), id: element["id"],
                        type: "error", error: StanzaError(.notAllowed, "no dialback here"),
                        declaresPrefix: true))
            ]
        }
        let isServed = rules.isServed(pair.to)
        let isValid =
            isServed
            && dialback.isValid(
                element.text.filter { !$0.isWhitespace }, receiving: pair.from,
                originating: pair.to, streamID: element["id"] ?? "")
        return [
            .send(
                Dialback.bytes(
                    "verify", DomainPair(from: pair.to, to: pair.from), id: element["id"],
                    type: isServed ? (isValid ? "valid" : "invalid") : "error",
                    error: isServed ? nil : StanzaError(.itemNotFound)))
        ]
    }

    private func answer(_ pair: DomainPair, isValid: Bool) -> Action {
        .send(
            Dialback.bytes(
                "result", DomainPair(from: pair.to, to: pair.from),
                type: isValid ? "valid" : "invalid"))
    }

    private func answer(_ pair: DomainPair, _ error: StanzaError) -> Action {
        .send(
            Dialback.bytes(
                "result", DomainPair(from: pair.to, to: pair.from), type: "error", error: error,
                declaresPrefix: rules.dialback == nil))
    }
}
