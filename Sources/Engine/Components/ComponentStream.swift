// A component's stream (XEP-0114 section 3): header, handshake, stanzas.

internal import Addresses
internal import Logging
internal import NIOCore
internal import Options
internal import Prometheus
internal import TLS
internal import XML
internal import XMPP

/// A stream that a component opened. Owner: the connection's event loop.
public final class ComponentStream: PeerStream {
    static let namespace = "jabber:component:accept"

    private enum State {
        /// Nothing has come.
        case opening
        /// Our header is out, and with it the id that the handshake has to cover.
        case waiting(Component, id: String)
        /// A handshake is there and waits for its turn.
        case checking
        /// Stanzas flow.
        case attached(Component)
    }

    private let address: String
    private let network: String
    private var state = State.opening
    private var language: String?

    /// Creates the stream of a connection that was admitted.
    ///
    /// - Parameters:
    ///   - address: the component's address, for the log.
    ///   - network: what delays count as one.
    public init(
        host: Host, loop: Loop, transport: any StreamTransport, address: String, network: String
    ) {
        self.address = address
        self.network = network
        let limits = host.limits.unauthenticatedReader
        super.init(host: host, loop: loop, transport: transport, limits: limits)
        reader = StreamReader(
            limits: limits,
            mapping: NamespaceMapping("jabber:component:accept", as: Namespaces.client))
    }

    private var metrics: ComponentMetrics { host.components.metrics }

    private var component: Component? {
        if case .attached(let component) = state { component } else { nil }
    }

    override var admission: Admission? { host.admission }

    override var isNegotiated: Bool { component != nil }

    override var peerLanguage: String? { language }

    override var openingBytes: [UInt8] { header(from: nil, id: nil) }

    private func header(from domain: String?, id: String?) -> [UInt8] {
        var writer = XMLWriter(contentNamespace: Namespaces.client)
        writer.raw("<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept'")
        writer.raw(" xmlns:stream='http://etherx.jabber.org/streams'")
        if let domain { writer.attribute("from", domain) }
        if let id { writer.attribute("id", id) }
        writer.raw(">")
        return writer.bytes
    }

    // MARK: Reading

    override func handle(_ event: StreamEvent) {
        switch event {
        case .header(let header): open(header)
        case .element(let fragment): handle(fragment)
        case .end:
            isLeaving = true
            endSoon()
        }
    }

    private func open(_ header: StreamHeader) {
        guard header.namespace == Namespaces.streams, header.contentNamespace == Self.namespace
        else { return refuse(StreamError(.invalidNamespace, "this is a port for components")) }
        guard header.name == "stream" else { return refuse(StreamError(.badFormat)) }
        guard let domain = header.to.flatMap({ try? Preparation.domain($0) }),
            let component = host.components[domain], component.isAttachable
        else {
            metrics.refusals[.unknownDomain].add()
            host.log.debug(
                "a component asks for a domain that none has",
                metadata: ["address": "\(address)"])
            return end(StreamError(.hostUnknown, "no component of this name is configured"))
        }
        let id = SecureRandom.identifier(bytes: 18)
        language = header.lang
        state = .waiting(component, id: id)
        hasSentHeader = true
        send(self.header(from: domain, id: id))
    }

    private func handle(_ fragment: Fragment) {
        switch state {
        case .attached: receive(fragment)
        case .opening, .checking:
            refuse(StreamError(.notAuthorized))
        case .waiting(let component, let id):
            guard fragment.isNamed("handshake", "jabber:client") else {
                host.metrics.refusals[.beforeAuthentication].add(1, cell: loop.cell)
                return end(StreamError(.notAuthorized, "a handshake comes first"))
            }
            state = .checking
            check(fragment.element().text, component, id)
        }
    }

    // MARK: The handshake

    /// Looks at a handshake when its turn has come: wrong ones slow down those that follow from
    /// the same network, as logins do.
    private func check(_ handshake: String, _ component: Component, _ id: String) {
        let account = BareJID(preparedDomain: component.domain)
        let now = loop.eventLoop.now
        switch host.loginThrottle.turn(network: network, account: account, now: now) {
        case .refused:
            metrics.refusals[.throttled].add()
            end(StreamError(.policyViolation, "too many wrong handshakes; try again later"))
        case .after(let delay):
            guard delay > .zero else { return verify(handshake, component, id) }
            pause()
            setDeadline(now + delay + TimeAmount(host.limits.negotiation.value))
            pauseEnd = loop.eventLoop.assumeIsolated().scheduleTask(in: delay) {
                self.pauseEnd = nil
                guard !self.hasEnded else { return }
                self.verify(handshake, component, id)
                self.goOn()
            }
        }
    }

    private func verify(_ handshake: String, _ component: Component, _ id: String) {
        let account = BareJID(preparedDomain: component.domain)
        guard component.accepts(handshake, streamID: id) else {
            host.loginThrottle.failed(
                network: network, account: account, now: loop.eventLoop.now)
            metrics.refusals[.wrongSecret].add()
            if component.shouldLogRefusal() {
                host.log.warning(
                    "a component was refused: its secret is wrong",
                    metadata: ["domain": "\(component.domain)", "address": "\(address)"])
            }
            return end(StreamError(.notAuthorized))
        }
        guard !host.isStopping else { return end(StreamError(.systemShutdown)) }
        host.loginThrottle.succeeded(network: network, account: account)
        isAuthenticated = true
        reader.limits = host.limits.authenticatedReader
        state = .attached(component)
        setDeadline(nil)
        send(Array("<handshake/>".utf8))
        host.log.info(
            "component attached",
            metadata: ["domain": "\(component.domain)", "address": "\(address)"])
        component.attach(self)
    }

    // MARK: Stanzas

    override func receive(_ fragment: Fragment) {
        // Many components forget it, and an error helps more than the stream's end does.
        if fragment.to == nil, let kind = Stanza.kind(of: fragment),
            let from = fragment.from.flatMap({ try? JID(fragment.value($0)) }),
            from.domain == component?.domain
        {
            count(kind, .received)
            return host.bounce(
                Stanza(fragment, kind, from: from, to: nil),
                StanzaError(.badRequest, "a component's stanza has both addresses"))
        }
        super.receive(fragment)
    }

    /// Any address at the component's domain, and no other.
    override func refusal(from sender: String, to receiver: String) -> StreamError? {
        guard let domain = component?.domain, sender != domain else { return nil }
        metrics.refusals[.spoofedAddress].add()
        return StreamError(.invalidFrom, "\(domain) has no addresses at other domains")
    }

    override func count(_ kind: Stanza.Kind, _ direction: Direction) {
        metrics.stanzas[StanzaKindLabel(kind), direction].add(1, cell: loop.cell)
    }

    /// It never hears of anything.
    override var sendsAgain: Bool { false }

    /// There is no stream management (XEP-0198) in XEP-0114.
    override func manage(_ fragment: Fragment) -> Bool { false }

    // MARK: The end

    override func timeIsUp() {
        count(isNegotiated ? .stanzaTimeout : .negotiationTimeout)
        end(StreamError(isNegotiated ? .policyViolation : .connectionTimeout, "too slow"))
    }

    override func didEnd() {
        if let component {
            host.log.info("component left", metadata: ["domain": "\(component.domain)"])
        }
        super.didEnd()
    }
}
