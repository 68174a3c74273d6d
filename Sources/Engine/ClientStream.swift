// One client's stream: stanzas to the router; stanzas in, bytes out. Negotiation is decided in
// `ClientNegotiation` and carried out in the extensions of this class.

internal import Addresses
internal import Logging
internal import NIOCore
internal import Options
internal import Prometheus
internal import SASL
internal import TLS
internal import XML
internal import XMPP

/// A client's stream (RFC 6120 section 4).
public final class ClientStream: XMLStream {
    static let specifications = [
        Specification(
            "RFC 4616", "The PLAIN Simple Authentication and Security Layer (SASL) Mechanism"),
        Specification(
            "RFC 5802", "Salted Challenge Response Authentication Mechanism (SCRAM) for SASL"),
        Specification("RFC 5929", "Channel Bindings for TLS"),
        Specification("RFC 6120", "XMPP: Core"),
        Specification("RFC 6121", "XMPP: Instant Messaging and Presence"),
        Specification("RFC 7590", "Use of TLS in XMPP"),
        Specification("RFC 7622", "XMPP: Address Format"),
        Specification("RFC 7677", "SCRAM-SHA-256 and SCRAM-SHA-256-PLUS SASL Mechanisms"),
        Specification("RFC 8265", "PRECIS: Usernames and Passwords"),
        Specification("RFC 9266", "Channel Bindings for TLS 1.3"),
        Specification("XEP-0082", version: "1.1.1", "XMPP Date and Time Profiles"),
        Specification("XEP-0198", version: "1.6.3", "Stream Management"),
        Specification("XEP-0368", version: "1.1.0", "SRV records for XMPP over TLS"),
        Specification("XEP-0440", version: "1.0.0", "SASL Channel-Binding Type Capability"),
    ]

    let description: ConnectionDescription
    var negotiation: ClientNegotiation
    /// What the client is once it has bound a resource; it may outlive this stream.
    var state: SessionState?
    var session: Session? { state?.session }
    /// When the client proved who it is.
    var loggedInAt = NIODeadline.distantPast
    /// The account's last login before this one, seconds since 1970.
    var lastLogin: Int64?
    /// The account of a stream whose `prepareSession` hooks were run.
    var preparedAccount: BareJID?

    /// Creates the stream of a connection that was admitted.
    public init(
        host: Host, loop: Loop, transport: any StreamTransport,
        description: ConnectionDescription
    ) {
        self.description = description
        negotiation = ClientNegotiation(
            security: TransportSecurity(
                offersTLS: description.offersTLS, allowsPlaintext: description.allowsPlaintext),
            domains: host.domains, isLocal: { host.isLocal($0) },
            redirection: description.redirection,
            maximumFailures: host.limits.loginAttempts.value, fake: host.fakeCredentials,
            identifier: { SecureRandom.identifier(bytes: 18) })
        super.init(
            host: host, loop: loop, transport: transport,
            limits: host.limits.unauthenticatedReader)
    }

    override var isNegotiated: Bool { state != nil }

    override var admission: Admission? { host.admission }

    override var openingBytes: [UInt8] { negotiation.openingBytes(nil) }

    // MARK: Events of the connection

    override func countConnection(_ change: Int) {
        host.metrics.connections[description.type, tls].add(Double(change))
    }

    override func tlsBegan() {
        negotiation.security.isSecure = true
        negotiation.security.bindings = transport.channelBindings
    }

    override func timeIsUp() {
        let isLate = state == nil
        count(isLate ? .negotiationTimeout : .stanzaTimeout)
        end(StreamError(isLate ? .connectionTimeout : .policyViolation, "too slow"))
    }

    // MARK: Reading

    override func handle(_ event: StreamEvent) {
        switch event {
        case .header(let header):
            perform(negotiation.receive(header)[...])
        case .end:
            isLeaving = true
            endSoon()
        case .element(let fragment):
            guard let state else { return perform(negotiation.receive(fragment)[...]) }
            receive(fragment, state)
        }
    }

    /// A stanza of a client that has a session.
    private func receive(_ fragment: Fragment, _ state: SessionState) {
        let session = state.session
        defer {
            if let excess = takeStanza() { throttle(excess, .stanzaRate) }
        }
        guard let kind = Stanza.kind(of: fragment) else {
            if manage(fragment, state) { return }
            guard let handler = host.streamElements[fragment.namespace], handler(fragment, session)
            else { return refuse(StreamError(.unsupportedStanzaType)) }
            return
        }
        host.metrics.stanzas[StanzaKindLabel(kind), .received].add(1, cell: loop.cell)
        let number = state.inbound.receive()
        defer {
            state.inbound.didHandle()
            if state.inbound.openCount >= host.limits.unstored.value { waitForDisk() }
        }
        if let from = fragment.from, !isSender(fragment.value(from), session) {
            return refuse(StreamError(.invalidFrom))
        }
        var to: JID?
        if let address = fragment.to {
            do throws(JIDError) {
                to = try JID(fragment.value(address))
            } catch {
                let stanza = Stanza(fragment, kind, from: session.jid, to: nil)
                return host.bounce(stanza, StanzaError(.jidMalformed, error.message))
            }
        }
        host.handle(
            Stanza(
                fragment, kind, from: session.jid, to: to, streamLanguage: negotiation.language,
                receivedAt: NIODeadline.now().uptimeNanoseconds, number: number),
            from: session)
    }

    /// RFC 6120 section 8.1.2.1: the bare or the full JID of the client, if anything.
    private func isSender(_ text: String, _ session: Session) -> Bool {
        guard let jid = try? JID(text) else { return false }
        return jid.bare == session.jid.bare && (jid.isBare || jid == session.jid)
    }

    // MARK: Writing

    /// Queues a stanza for the next flush.
    func write(_ stanza: OutboundStanza) {
        host.metrics.stanzas[StanzaKindLabel(stanza.kind), .sent].add(1, cell: loop.cell)
        // A client that acknowledges has it only then.
        output.append(stanza, hasItOnceWritten: state?.management == nil)
        scheduleFlush()
    }

    override func writeWaiting() {
        if state?.management?.owesAnswer == true { acknowledge() }
        if let state { state.writeQueue() } else { flush() }
    }

    // MARK: The end

    /// The connection is of no use any more. A session that its client may resume stays.
    override func lose() {
        guard !hasEnded else { return }
        guard let state, state.isResumable else { return end(nil) }
        self.state = nil
        finish()
        state.hibernate()
    }

    /// The client took its session to another stream (XEP-0198 section 5).
    func giveUpSession() {
        state = nil
        end(StreamError(.conflict, "resumed by a new connection"))
    }

    /// The server stops. A session that its client may resume stays.
    override func stop(_ error: StreamError) {
        guard let state, state.isResumable, !isLeaving else { return end(error) }
        self.state = nil
        end(error)
        state.hibernate()
    }

    override func didEnd() {
        discardPreparation()
        guard let state else { return }
        self.state = nil
        state.leave(isOver: isLeaving)
    }
}
