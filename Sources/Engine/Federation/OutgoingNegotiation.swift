// From our first byte to a stream that takes stanzas (RFC 6120 sections 4 to 6, XEP-0178, XEP-0198,
// XEP-0220, XEP-0288) as a state machine: an event in, actions out. It does no I/O and knows no
// time.

internal import SASL
internal import TLS
internal import XML
internal import XMPP

struct OutgoingNegotiation {
    enum Action {
        case send([UInt8])
        /// Begin TLS on the transport; answer with `secured`.
        case startTLS
        /// The stream starts anew on the same transport.
        case restart
        /// Say what the certificate proves of the other domain; answer with `judged`.
        case judge
        /// The other server accepts who we are.
        case authenticated(ServerMechanism)
        /// The stream is what it was opened for; whether the other server counts (XEP-0198).
        case establish(isManaged: Bool)
        /// A stanza of the other server's.
        case take(Fragment)
        /// What the other server says of a dialback key.
        case answered(Bool?)
        case fail(FederationFailure, StreamError?)
    }

    /// What is wanted of the stream.
    enum Goal {
        case stanzas
        /// Authentication and no more.
        case test
        case verification(streamID: String, key: String)
    }

    private enum State {
        /// The other server's header is due.
        case opening
        /// Its features are due.
        case awaitingFeatures
        /// `<proceed/>` is due.
        case awaitingTLS
        /// Whether the certificate proves the name is asked; the features wait.
        case judging(Features)
        /// `<success/>` is due.
        case authenticating
        /// `<db:result/>` is due.
        case dialling(Features)
        /// `<enabled/>` is due.
        case enabling
        /// `<db:verify/>` is due.
        case verifying
        case done
    }

    /// What the other server offers.
    private struct Features {
        var startTLS = false
        var external = false
        var mechanisms = false
        var dialback = false
        var bidi = false
        var management = false

        init(_ element: Element) {
            startTLS = element.child("starttls", Namespaces.tls) != nil
            if let list = element.child("mechanisms", Namespaces.sasl) {
                mechanisms = true
                external = list.elements.contains {
                    $0.name == "mechanism" && $0.text == "EXTERNAL"
                }
            }
            dialback = element.child("dialback", Dialback.feature) != nil
            bidi = element.child("bidi", ServerStream.bidiFeature) != nil
            management = element.child("sm", StreamManagement.namespace) != nil
        }
    }

    private let key: RouteKey
    private let goal: Goal
    private let dialback: Dialback?
    /// Whether the rules let anything come from there.
    private let takesStanzas: Bool
    private(set) var isSecure = false
    private(set) var language: String?
    /// The other server may send stanzas on this stream.
    private(set) var isBidirectional = false
    private var state = State.opening
    private var isAuthenticated = false
    /// There is one answer, and it was given twice.
    private var wasChallenged = false
    private var streamID = ""
    /// The header declares the namespace of dialback, as servers without its feature do.
    private var declaresDialback = false
    /// What is wrong with the header; told once no error of the other server's follows it.
    private var headerFailure: FederationFailure?

    /// - Parameters:
    ///   - dialback: nil where the owner does not want it.
    ///   - takesStanzas: whether the rules let the other server send; else it is not offered to.
    init(_ key: RouteKey, _ goal: Goal, dialback: Dialback?, takesStanzas: Bool = true) {
        self.takesStanzas = takesStanzas
        self.key = key
        self.goal = goal
        self.dialback = dialback
    }

    /// Whether nothing more is negotiated.
    var isDone: Bool { if case .done = state { true } else { false } }

    // MARK: Events

    /// The connection stands and is not secure yet.
    mutating func start() -> [Action] { open() }

    /// TLS is in force from here on.
    mutating func secured() -> [Action] {
        isSecure = true
        return open()
    }

    private mutating func open() -> [Action] {
        state = .opening
        return [.send(openingBytes())]
    }

    /// Our header.
    func openingBytes() -> [UInt8] {
        var speaksDialback = dialback != nil
        if case .verification = goal { speaksDialback = true }
        return ServerStream.opening(from: key.local, to: key.remote, dialback: speaksDialback)
    }

    mutating func receive(_ header: StreamHeader) -> [Action] {
        guard case .opening = state else { return fail(.protocolError, "a second stream header") }
        if let error = ServerStream.problem(header) {
            return fail(.protocolError, error.text ?? "no stream between servers", error)
        }
        streamID = header.id ?? ""
        declaresDialback = header.prefixedNamespaces.contains(Dialback.namespace)
        language = ServerStream.language(header)
        headerFailure = nil
        if let from = header.from, !isRemote(from) {
            headerFailure = FederationFailure(
                .protocolError, "it answers for \(from.prefix(255)) instead")
        }
        guard ServerStream.isSupported(header.version) else {
            return fail(.noTLS, "it speaks no XMPP 1.0, and so offers no TLS")
        }
        state = .awaitingFeatures
        return []
    }

    private func isRemote(_ domain: String) -> Bool {
        guard let other = ServerStream.domain(domain) else { return false }
        return other == key.remote
    }

    mutating func receive(_ fragment: Fragment) -> [Action] {
        if fragment.isNamed("error", "http://etherx.jabber.org/streams") {
            return streamError(fragment.element())
        }
        switch state {
        case .awaitingFeatures: return features(fragment)
        case .awaitingTLS: return proceed(fragment)
        case .authenticating: return verdict(fragment)
        case .dialling(let features): return dialled(fragment.element(), features)
        case .enabling: return enabled(fragment)
        case .verifying: return verified(fragment.element())
        case .opening, .judging, .done: return fail(.protocolError, "it speaks out of turn")
        }
    }

    // MARK: Features

    private mutating func features(_ fragment: Fragment) -> [Action] {
        guard fragment.isNamed("features", "http://etherx.jabber.org/streams") else {
            return fail(.protocolError, "it sends no stream features")
        }
        if let headerFailure { return fail(headerFailure, StreamError(.invalidFrom)) }
        let offered = Features(fragment.element())
        guard isSecure else {
            guard offered.startTLS else { return fail(.noTLS, "it offers no TLS") }
            state = .awaitingTLS
            return [.send(Array("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>".utf8))]
        }
        if isAuthenticated { return manage(offered) }
        state = .judging(offered)
        return [.judge]
    }

    private mutating func proceed(_ fragment: Fragment) -> [Action] {
        guard fragment.isNamed("proceed", "urn:ietf:params:xml:ns:xmpp-tls") else {
            return fail(.noTLS, "it offers TLS and then refuses it")
        }
        return [.startTLS]
    }

    /// What the other server's certificate proves; and whether dialback will do.
    mutating func judged(
        _ verdict: CertificateVerdict, _ text: String, mayDial: Bool = true
    ) -> [Action] {
        guard case .judging(let features) = state else { return [] }
        if case .verification(let streamID, let key) = goal {
            // What it says counts as much as a proof of its own.
            guard mayDial else {
                return fail(FederationFailure(verdict, text), StreamError(.notAuthorized, text))
            }
            state = .verifying
            return [
                .send(
                    Dialback.bytes(
                        "verify", DomainPair(from: self.key.local, to: self.key.remote),
                        id: streamID, key: key))
            ]
        }
        let canDial = mayDial && dialback != nil && (features.dialback || declaresDialback)
        guard verdict == .valid || canDial else {
            return fail(FederationFailure(verdict, text), StreamError(.notAuthorized, text))
        }
        var actions: [Action] = []
        // Before authentication (XEP-0288 section 2.2).
        if features.bidi, takesStanzas, case .stanzas = goal {
            isBidirectional = true
            actions.append(.send(Array("<bidi xmlns='urn:xmpp:bidi'/>".utf8)))
        }
        if features.external {
            state = .authenticating
            // An empty authorization identity: the 'from' of the header says it all.
            return actions + [
                .send(
                    Array(
                        "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>"
                            .utf8))
            ]
        }
        if let dialback, canDial {
            state = .dialling(features)
            let proof = dialback.key(
                receiving: key.remote, originating: key.local, streamID: streamID)
            return actions + [
                .send(
                    Dialback.bytes(
                        "result", DomainPair(from: key.local, to: key.remote), key: proof))
            ]
        }
        return fail(
            .noAuthentication,
            "it does not let this server prove who it is: it does not trust this server's "
                + "certificate, or the certificate does not name \(key.local)")
    }

    // MARK: Authentication

    private mutating func verdict(_ fragment: Fragment) -> [Action] {
        switch fragment.text(fragment.name) {
        case "success" where fragment.namespace == Namespaces.sasl:
            isAuthenticated = true
            return [.authenticated(.external), .restart] + open()
        case "challenge" where fragment.namespace == Namespaces.sasl && !wasChallenged:
            wasChallenged = true
            return [
                .send(Array("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>=</response>".utf8))
            ]
        case "failure" where fragment.namespace == Namespaces.sasl:
            let element = fragment.element()
            let condition = element.elements.first { $0.name != "text" }?.name ?? "no reason"
            return fail(
                FederationFailure(
                    .authenticationRefused, Self.words(condition, element, Namespaces.sasl),
                    isPermanent: !["temporary-auth-failure", "aborted"].contains(condition)), nil)
        default: return fail(.protocolError, "it answers no authentication")
        }
    }

    private mutating func dialled(_ element: Element, _ features: Features) -> [Action] {
        guard element.name == "result", element.namespace == Dialback.namespace else {
            return fail(.protocolError, "it answers no dialback")
        }
        guard ServerStream.pair(element) == DomainPair(from: key.remote, to: key.local) else {
            return []
        }
        switch element["type"] {
        case "valid":
            isAuthenticated = true
            return [.authenticated(.dialback)] + manage(features)
        case "error":
            let error = element.child("error", Namespaces.client)
            let condition = error?.elements.first { $0.name != "text" }?.name ?? "no reason"
            // What it met when it asked our own server passes (XEP-0220 section 2.5).
            let isPermanent = ![
                "remote-connection-failed", "remote-server-not-found", "remote-server-timeout",
                "resource-constraint",
            ].contains(condition)
            return fail(
                FederationFailure(
                    .dialback,
                    "it refuses dialback: "
                        + Self.words(condition, error ?? element, Namespaces.stanzaErrors),
                    isPermanent: isPermanent), nil)
        default: return fail(.dialback, "it does not believe the dialback key")
        }
    }

    private mutating func verified(_ element: Element) -> [Action] {
        guard element.name == "verify", element.namespace == Dialback.namespace,
            case .verification(let streamID, _) = goal
        else { return fail(.protocolError, "it does not answer about the dialback key") }
        guard ServerStream.pair(element) == DomainPair(from: key.remote, to: key.local),
            element["id"] == streamID
        else { return [] }
        state = .done
        switch element["type"] {
        case "valid": return [.answered(true)]
        case "invalid": return [.answered(false)]
        default: return [.answered(nil)]
        }
    }

    // MARK: Stream management (XEP-0198)

    private mutating func manage(_ features: Features) -> [Action] {
        guard features.management, case .stanzas = goal else {
            state = .done
            return [.establish(isManaged: false)]
        }
        state = .enabling
        return [.send(Array("<enable xmlns='urn:xmpp:sm:3'/>".utf8))]
    }

    private mutating func enabled(_ fragment: Fragment) -> [Action] {
        guard fragment.namespace == StreamManagement.namespace else {
            // With XEP-0288 the other server may send stanzas by now.
            if isBidirectional { return [.take(fragment)] }
            return fail(.protocolError, "it does not answer <enable/>")
        }
        state = .done
        return [.establish(isManaged: fragment.holds(fragment.name, "enabled"))]
    }

    // MARK: Failures

    private mutating func streamError(_ element: Element) -> [Action] {
        state = .done
        return [.fail(Self.failure(of: element, isAuthenticated: isAuthenticated), nil)]
    }

    /// What a stream error of the other server's means.
    static func failure(of element: Element, isAuthenticated: Bool) -> FederationFailure {
        let condition =
            element.elements.first { $0.namespace == Namespaces.streamErrors && $0.name != "text" }?
            .name ?? "undefined-condition"
        // What its owner has to mend, or ours; `see-other-host` is not followed.
        let isPermanent =
            [
                "host-unknown", "host-gone", "not-authorized", "invalid-from", "see-other-host",
            ].contains(condition)
            // From one who let us in it is about what we did, as being too fast.
            || condition == "policy-violation" && !isAuthenticated
        return FederationFailure(
            .streamError,
            "it ended the stream: " + words(condition, element, Namespaces.streamErrors),
            isPermanent: isPermanent)
    }

    /// A condition with the other server's own words behind it, which are cut short.
    private static func words(
        _ condition: String, _ element: Element, _ namespace: String
    ) -> String {
        let text = element.child("text", namespace)?.text.prefix(200) ?? ""
        let clean = String(text.map { $0.isNewline ? " " : $0 })
        return condition.prefix(64) + (clean.isEmpty ? "" : " (\(clean))")
    }

    private mutating func fail(
        _ reason: FederationFailureReason, _ text: String, _ error: StreamError? = nil
    ) -> [Action] {
        fail(FederationFailure(reason, text), error)
    }

    private mutating func fail(_ failure: FederationFailure, _ error: StreamError?) -> [Action] {
        state = .done
        return [.fail(failure, error)]
    }
}
