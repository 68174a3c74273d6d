// Another server's stream to us: carries out what `IncomingNegotiation` wants done.

internal import Addresses
internal import Logging
internal import NIOCore
internal import Options
internal import Prometheus
internal import TLS
internal import XML
internal import XMPP

/// A stream that another server opened. Owner: the connection's event loop.
public final class IncomingServerStream: PeerStream {
    /// The other server's address, for the log.
    let address: String
    /// What limits count as one.
    private let network: String
    private var negotiation: IncomingNegotiation
    /// Why it was refused, once it was.
    private var refusal: FederationFailure?

    override var admission: Admission? { host.serverAdmission }

    /// Creates the stream of a connection that was admitted; TLS that comes first (XEP-0368) is
    /// announced by `didSecure`.
    ///
    /// - Parameters:
    ///   - address: the other server's address, for the log.
    ///   - network: what limits count as one; the address if nil.
    public init(
        host: Host, loop: Loop, transport: any StreamTransport, address: String,
        network: String? = nil
    ) {
        self.address = address
        self.network = network ?? address
        let federation = host.federation
        negotiation = IncomingNegotiation(
            IncomingNegotiation.Rules(
                isServed: { host.isLocal($0) || host.components[$0] != nil },
                isAllowed: { federation.policy.allows($0, .incoming) },
                maySend: { federation.policy.allows($0, .outgoing) },
                dialback: federation.dialback,
                defaultDomain: host.domains.first ?? ""),
            identifier: { SecureRandom.identifier(bytes: 18) })
        super.init(
            host: host, loop: loop, transport: transport,
            limits: host.limits.unauthenticatedReader, mapping: ServerStream.mapping)
    }

    override var isNegotiated: Bool { isAuthenticated }

    override var openingBytes: [UInt8] { negotiation.openingBytes() }

    override var peerLanguage: String? { negotiation.language }

    override func countConnection(_ change: Int) {
        host.federation.metrics.streams[.incoming, isAuthenticated ? .open : .negotiating]
            .add(Double(change))
    }

    override func count(_ kind: Stanza.Kind, _ direction: Direction) {
        host.federation.metrics.stanzas[StanzaKindLabel(kind), direction].add(1, cell: loop.cell)
    }

    // MARK: Events of the connection

    override func tlsBegan() { negotiation.isSecure = true }

    public override func didFailToSecure(_ reason: String) {
        super.didFailToSecure(reason)
        note(FederationFailure(.tls, reason))
    }

    override func timeIsUp() {
        if isAuthenticated {
            count(.stanzaTimeout)
            note(FederationFailure(.timeout, "it did not finish a stanza in time"))
            end(StreamError(.policyViolation, "too slow"))
        } else {
            count(.negotiationTimeout)
            note(FederationFailure(.timeout, "it did not authenticate in time"))
            end(StreamError(.connectionTimeout, "too slow"))
        }
    }

    override func willEnd(with error: StreamError) {
        if let failure = FederationFailure(error) { note(failure) }
    }

    override func handle(_ event: StreamEvent) {
        switch event {
        case .header(let header): perform(negotiation.receive(header))
        case .element(let fragment):
            let isDialback = isAuthenticated && fragment.namespace == Dialback.namespace
            defer { if isDialback { takeElement() } }
            perform(negotiation.receive(fragment))
        case .end: peerLeaves()
        }
    }

    // MARK: What the negotiation wants done

    private func perform(_ actions: [IncomingNegotiation.Action]) {
        for action in actions where !hasEnded {
            switch action {
            case .send(let bytes):
                hasSentHeader = true
                send(bytes)
            case .startTLS: startTLS()
            case .restart:
                reader.restart(keepingBytes: true)
                hasSentHeader = false
            case .judge(let domain): judge(domain)
            case .authenticated(let domain, let mechanism): authenticated(domain, mechanism)
            case .verify(let pair, let key, let id): verify(pair, key, id)
            case .take(let fragment): take(fragment)
            case .refuse(let failure, let error):
                note(failure)
                refuse(error)
            case .end(let error): end(error)
            }
        }
    }

    private func judge(_ domain: String) {
        let verdict = (try? Preparation.domainASCII(domain)).map { transport.verdict(for: $0) }
        let known = verdict ?? .wrongName
        // Remembers a valid one, for our own streams to the domain.
        _ = host.federation.mayDial(domain, known)
        host.federation.metrics.certificates[known].add(
            1, cell: loop.cell)
        let text = known.explanation(transport.peerCertificate, domain: domain)
        // One name is judged on a connection, and no other one later.
        transport.forgetPeerCertificate()
        perform(negotiation.judged(known, text))
    }

    private func authenticated(_ domain: String, _ mechanism: ServerMechanism) {
        host.federation.metrics.authentications[.incoming, mechanism].add(1, cell: loop.cell)
        host.log.debug(
            "another server authenticated",
            metadata: ["domain": "\(domain)", "mechanism": "\(mechanism.rawValue)"])
        host.federation.isThere(domain, host)
        host.federation.openStreams.note(
            origin,
            ServerStreamDescription(
                direction: .incoming, local: negotiation.domain,
                remotes: negotiation.provenDomains, since: Clock.secondsSince1970(),
                address: address, tls: tls == .none ? nil : tls.rawValue, mechanism: mechanism,
                returning: negotiation.isBidirectional ? negotiation.remote : nil))
        guard !isAuthenticated else { return }
        countConnection(-1)
        isAuthenticated = true
        countConnection(1)
        reader.limits = host.limits.authenticatedReader
        if !reader.isInsideElement { setDeadline(nil) }
        // A stream that only receives waits longer, so that it is the sender who closes and
        // nothing is under way.
        endWhenIdle(after: TimeAmount(host.federation.options.idle.value * 2))
    }

    private func verify(_ pair: DomainPair, _ key: String, _ id: String) {
        guard let connector = host.federation.connector else {
            return perform(negotiation.verified(pair, nil))
        }
        let host = host
        let origin = origin
        let question = DialbackQuestion(streamID: id, key: key) { isValid in
            origin.run {
                guard let stream = origin.streamHere as? IncomingServerStream else { return }
                stream.perform(stream.negotiation.verified(pair, isValid))
            }
        }
        host.federation.ask(question, pair, for: network, connector, host)
    }

    /// A stanza, or stream management.
    private func take(_ fragment: Fragment) {
        if takesError(fragment) { return peerLeaves(inPeace: false) }
        // Only to who has proved to be there: by dialback it may be another than the header says.
        if outlet == nil, negotiation.isBidirectional, let remote = negotiation.remote,
            negotiation.mayUse(DomainPair(from: remote, to: negotiation.domain))
        {
            // It counts from <enable/> on, if it wants to count.
            if fragment.namespace == StreamManagement.namespace { receive(fragment) }
            let key = RouteKey(local: negotiation.domain, remote: remote)
            if !hasEnded, host.federation.policy.allows(remote, .outgoing) {
                _ = host.federation.route(key, host).attach(self)
            }
            if fragment.namespace == StreamManagement.namespace { return }
        }
        receive(fragment)
    }

    override func refusal(from sender: String, to receiver: String) -> StreamError? {
        let isServed = host.isLocal(receiver) || host.components[receiver] != nil
        // An address that cannot be read has no domain to be checked.
        if receiver.isEmpty {
            return negotiation.speaks(for: sender) ? nil : StreamError(.invalidFrom)
        }
        guard negotiation.speaks(for: sender) else {
            return StreamError(.invalidFrom, "you did not authenticate as that domain")
        }
        guard isServed else { return StreamError(.hostUnknown, "no such domain here") }
        guard negotiation.mayUse(DomainPair(from: sender, to: receiver)) else {
            return StreamError(.invalidFrom, "you did not authenticate for that pair of domains")
        }
        // The rules may have changed since.
        guard host.federation.policy.allows(sender, .incoming) else {
            return StreamError(.policyViolation, "stanzas from there are not allowed")
        }
        return nil
    }

    /// Counts why a stream was refused, and logs it unless that was done lately.
    private func note(_ failure: FederationFailure) {
        guard refusal == nil else { return }
        refusal = failure
        host.federation.metrics.refusedStreams[RefusedStreamReason(failure.reason)].add(
            1, cell: loop.cell)
        guard
            host.federation.isNew(
                failure.reason, of: network, domain: isAuthenticated ? negotiation.remote : nil,
                now: loop.eventLoop.now)
        else { return }
        host.log.info(
            "another server was refused",
            metadata: [
                "domain": "\(negotiation.remote ?? "unknown")", "address": "\(address)",
                "reason": "\(failure.reason.rawValue)", "text": "\(failure.text)",
            ])
    }
}
