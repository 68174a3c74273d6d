// Our stream to another server: carries out what `OutgoingNegotiation` wants done, then hands the
// stream to its route.

internal import Addresses
internal import Logging
internal import NIOCore
internal import Options
internal import Prometheus
internal import TLS
internal import XML
internal import XMPP

/// A stream that this server opened. Owner: the connection's event loop.
final class OutgoingServerStream: PeerStream {
    let key: RouteKey
    let purpose: OutgoingPurpose
    private let isDirectTLS: Bool
    private let report: @Sendable (FederationStep) -> Void
    /// Called once: the stream is established, or why not.
    private var done: ((OutgoingServerStream, FederationFailure?) -> Void)?
    private var negotiation: OutgoingNegotiation
    private var mechanism: ServerMechanism?
    /// Why it is of no use was told.
    private var hasFailed = false

    init(
        host: Host, loop: Loop, transport: any StreamTransport, key: RouteKey, isDirectTLS: Bool,
        purpose: OutgoingPurpose, report: @escaping @Sendable (FederationStep) -> Void,
        done: @escaping (OutgoingServerStream, FederationFailure?) -> Void
    ) {
        self.key = key
        self.purpose = purpose
        self.isDirectTLS = isDirectTLS
        self.report = report
        self.done = done
        let goal: OutgoingNegotiation.Goal =
            switch purpose {
            case .stanzas: .stanzas
            case .test: .test
            case .verification(let question):
                .verification(streamID: question.streamID, key: question.key)
            }
        negotiation = OutgoingNegotiation(
            key, goal, dialback: host.federation.dialback,
            takesStanzas: host.federation.policy.allows(key.remote, .incoming))
        super.init(
            host: host, loop: loop, transport: transport,
            limits: host.limits.unauthenticatedReader, mapping: ServerStream.mapping)
        if !isDirectTLS { perform(negotiation.start()) }
    }

    override var isNegotiated: Bool { isEstablished }

    override var openingBytes: [UInt8] { negotiation.openingBytes() }

    override var peerLanguage: String? { negotiation.language }

    /// Whether it has become what it was opened for.
    private var isEstablished: Bool { done == nil && isAuthenticated }

    override func countConnection(_ change: Int) {
        host.federation.metrics.streams[.outgoing, isAuthenticated ? .open : .negotiating]
            .add(Double(change))
    }

    override func count(_ kind: Stanza.Kind, _ direction: Direction) {
        host.federation.metrics.stanzas[StanzaKindLabel(kind), direction].add(1, cell: loop.cell)
    }

    // MARK: Events of the connection

    override func tlsBegan() { perform(negotiation.secured()) }

    override func didFailToSecure(_ reason: String) {
        super.didFailToSecure(reason)
        conclude(FederationFailure(.tls, reason))
    }

    override func timeIsUp() {
        if isEstablished {
            count(.stanzaTimeout)
            note(FederationFailure(.timeout, "it did not finish a stanza in time"))
            end(StreamError(.policyViolation, "too slow"))
        } else {
            conclude(FederationFailure(.timeout, "it did not answer in time"))
            end(StreamError(.connectionTimeout, "too slow"))
        }
    }

    override func willEnd(with error: StreamError) {
        guard let failure = FederationFailure(error) else { return }
        if done == nil { note(failure) } else { conclude(failure) }
    }

    override func lose() {
        if isEstablished, !host.isStopping, outlet?.isWaiting == true {
            note(FederationFailure(.connectionLost, "the connection broke"))
        }
        super.lose()
    }

    override func didEnd() {
        super.didEnd()
        conclude(
            host.isStopping
                ? FederationFailure(.shutdown, "this server stops")
                : FederationFailure(.connectionLost, "it closed the connection"))
    }

    override func handle(_ event: StreamEvent) {
        switch event {
        case .header(let header): perform(negotiation.receive(header))
        case .end: peerLeaves()
        case .element(let fragment):
            guard negotiation.isDone else { return perform(negotiation.receive(fragment)) }
            take(fragment)
        }
    }

    /// What comes once the stream is established.
    private func take(_ fragment: Fragment) {
        if takesError(fragment) {
            note(OutgoingNegotiation.failure(of: fragment.element(), isAuthenticated: true))
            return peerLeaves(inPeace: false)
        }
        if negotiation.isBidirectional { return receive(fragment) }
        // It opened no stream to send stanzas (RFC 6120 section 4.5).
        if fragment.holds(fragment.name, "enable") || !manage(fragment) {
            refuse(StreamError(.notAuthorized, "stanzas to this server need a stream of their own"))
        }
    }

    /// Counts and logs, once, why a stream was lost that stood.
    private func note(_ failure: FederationFailure) {
        guard !hasFailed else { return }
        hasFailed = true
        host.federation.metrics.failures[failure.reason].add(1, cell: loop.cell)
        host.log.info(
            "a stream to another server was lost",
            metadata: [
                "domain": "\(key.remote)", "reason": "\(failure.reason.rawValue)",
                "text": "\(failure.text)",
            ])
    }

    // MARK: What the negotiation wants done

    private func perform(_ actions: [OutgoingNegotiation.Action]) {
        for action in actions where !hasEnded {
            switch action {
            case .send(let bytes):
                hasSentHeader = true
                send(bytes)
            case .startTLS: startTLS()
            case .restart: reader.restart(keepingBytes: true)
            case .judge: judge()
            case .authenticated(let mechanism): authenticated(mechanism)
            case .establish(let isManaged): establish(isManaged: isManaged)
            case .take(let fragment): receive(fragment)
            case .answered(let isValid):
                if case .verification(let question) = purpose { question.then(isValid) }
                conclude(nil)
                end(nil)
            case .fail(let failure, let error):
                conclude(failure)
                end(error)
            }
        }
    }

    private func judge() {
        let verdict = (try? Preparation.domainASCII(key.remote)).map { transport.verdict(for: $0) }
        let known = verdict ?? .wrongName
        let certificate = transport.peerCertificate
        transport.forgetPeerCertificate()
        host.federation.metrics.certificates[known].add(
            1, cell: loop.cell)
        report(
            .certificate(
                verdict: known, subject: certificate?.subject ?? "",
                issuer: certificate?.issuer ?? "", notAfter: certificate?.notAfter ?? 0))
        perform(
            negotiation.judged(
                known, known.explanation(certificate, domain: key.remote),
                mayDial: host.federation.mayDial(key.remote, known)))
    }

    private func authenticated(_ mechanism: ServerMechanism) {
        host.federation.metrics.authentications[.outgoing, mechanism].add(1, cell: loop.cell)
        report(.authenticated(mechanism.rawValue))
        self.mechanism = mechanism
        countConnection(-1)
        isAuthenticated = true
        countConnection(1)
        reader.limits = host.limits.authenticatedReader
    }

    private func establish(isManaged: Bool) {
        if isManaged { beginCounting() }
        endWhenIdle(after: TimeAmount(host.federation.options.idle.value))
        guard case .stanzas(let route) = purpose else { return conclude(nil) }
        host.federation.openStreams.note(
            origin,
            ServerStreamDescription(
                direction: .outgoing, local: key.local, remotes: [key.remote],
                since: Clock.secondsSince1970(), tls: tls == .none ? nil : tls.rawValue,
                mechanism: mechanism,
                returning: negotiation.isBidirectional ? key.remote : nil))
        let isWanted = route.attach(self)
        conclude(nil)
        if !isWanted { end(nil) }
    }

    private func conclude(_ failure: FederationFailure?) {
        if failure != nil { hasFailed = true }
        let done = done
        self.done = nil
        done?(self, failure)
    }

    override func refusal(from sender: String, to receiver: String) -> StreamError? {
        guard sender == key.remote, receiver.isEmpty || receiver == key.local else {
            return StreamError(.invalidFrom, "this stream is for one pair of domains")
        }
        // The rules may have changed since.
        guard host.federation.policy.allows(sender, .incoming) else {
            return StreamError(.policyViolation, "stanzas from there are not allowed")
        }
        return nil
    }
}
