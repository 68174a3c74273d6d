// The provider of UnifiedPush over XMPP: gives endpoints to clients that hand on what comes
// (distributors, such as Conversations), and brings what is posted there to them.
//
// The protocol is a draft by the author of Conversations, described with his provider `up`
// (https://codeberg.org/iNPUTmice/up); nobody has given it a number or a version. Nothing is stored:
// whom an endpoint leads to stands encrypted in its URL, and what cannot be handed to a client that is
// there, or comes back to its stream (XEP-0198), is refused, so that its sender tries again.

internal import Addresses
internal import Engine
internal import Logging
internal import Options
internal import Prometheus
internal import Storage
internal import Synchronization
internal import XML
internal import XMPP

/// Gives endpoints and brings what is posted there. Safe on any thread.
public final class UnifiedPushProvider: Sendable {
    static let namespace = "http://gultsch.de/xmpp/drafts/unified-push"
    /// How often it is looked whether a new key is due.
    private static let rotationPause = Duration.seconds(3600)
    /// Before 2025 the clock is certainly wrong, and so would be the end of an endpoint's life.
    private static let sensibleTime: Int64 = 1_735_689_600

    private struct State {
        var host: Host?
        var ring = EndpointKeyRing()
        var file: EndpointKeyFile?
        var isClockRight: @Sendable () -> Bool = { true }
        var port: Int?
        var services: [String: PushAppService] = [:]
        var rotation: Task<Void, Never>?
    }

    let options: EndpointOptions
    let metrics: EndpointMetrics
    /// How long a client's answer is waited for.
    let patience: Duration
    let now: @Sendable () -> PushMoment
    let endpointRates = EndpointRates()
    let deviceRates = EndpointRates()
    private let state = Mutex(State())

    init(
        _ options: EndpointOptions, _ metrics: EndpointMetrics,
        patience: Duration = .seconds(10),
        now: @escaping @Sendable () -> PushMoment = { PushClock.now }
    ) {
        self.options = options
        self.metrics = metrics
        self.patience = patience
        self.now = now
    }

    /// Whether anybody gets endpoints here.
    public var isOffered: Bool { state.withLock { !$0.services.isEmpty } }

    var host: Host? { state.withLock { $0.host } }
    var ring: EndpointKeyRing { state.withLock { $0.ring } }

    func service(_ domain: String) -> PushAppService? {
        state.withLock { $0.services[domain] }
    }

    // MARK: Start

    /// Answers at a service's address. Before the start.
    ///
    /// - Parameter domain: the server's own domain that the service is for.
    func serve(at service: PushAppService, for domain: String) {
        guard options.audience.value != .off else { return }
        state.withLock { $0.services[service.domain] = service }
        let address = service.domain
        service.add("register", Self.namespace) { [self] request, host, done in
            do throws(StanzaError) {
                let element = try register(request, at: address, for: domain, host)
                metrics.registrations[.registered].add()
                done(.success(element))
            } catch {
                metrics.registrations[Self.result(error)].add()
                done(.failure(error))
            }
        }
    }

    /// The database is open: reads the keys, and makes one if there is none.
    func open(
        _ host: Host, _ file: EndpointKeyFile?, isClockRight: @escaping @Sendable () -> Bool
    ) throws {
        guard isOffered, let file else { return }
        let ring = try file.load().map { EndpointKeyRing(file: $0) } ?? EndpointKeyRing()
        state.withLock { state in
            state.host = host
            state.ring = ring
            state.file = file
            state.isClockRight = isClockRight
        }
        try rotate()
    }

    /// Begins to look for the time of a new key.
    func start() {
        guard host != nil else { return }
        let task = Task { [weak self] in
            while !Task.isCancelled {
                try? await Task.sleep(for: Self.rotationPause)
                guard !Task.isCancelled, let self else { return }
                do {
                    try rotate()
                } catch {
                    host?.log.warning("endpoints: the next key cannot be saved: \(error)")
                }
            }
        }
        state.withLock { $0.rotation = task }
    }

    func stop() { state.withLock { $0.rotation }?.cancel() }

    /// The port at which the HTTPS listener was bound; nil where there is none.
    public func setPublicPort(_ port: Int?) { state.withLock { $0.port = port } }

    /// Makes the next key if its time has come. A key is used once it is saved. On one thread at a
    /// time.
    func rotate() throws {
        let (file, isClockRight) = state.withLock { ($0.file, $0.isClockRight) }
        guard let file else { return }
        var ring = ring
        let isChanged = ring.rotate(
            now: now().wall / 1000, life: options.keyLife.value.components.seconds,
            isClockRight: isClockRight())
        guard isChanged else { return }
        try file.save(ring.file)
        state.withLock { $0.ring = ring }
    }

    // MARK: Registrations

    private static func result(_ error: StanzaError) -> EndpointRegistrationResult {
        switch error.condition {
        case .forbidden: .forbidden
        case .badRequest, .notAcceptable: .malformed
        default: .unavailable
        }
    }

    /// What endpoints of a domain begin with.
    func base(_ domain: String) -> String? {
        options.base(domain: domain, port: state.withLock { $0.port })
    }

    /// The same where the configuration says that the internet leads there; nil otherwise.
    func publicBase(_ domain: String) -> String? {
        options.publicURL.value == nil || state.withLock({ $0.port }) == nil ? nil : base(domain)
    }

    func register(
        _ request: IQRequest, at service: String, for domain: String, _ host: Host
    ) throws(StanzaError) -> Element {
        let client = request.stanza.from
        guard request.isSet else { throw StanzaError(.badRequest, "a registration is a set") }
        guard options.audience.value == .anybody || host.isLocal(client.domain) else {
            throw StanzaError(.forbidden, "endpoints are for accounts of this server")
        }
        guard !client.isBare, !client.bare.isDomain else {
            throw StanzaError(.badRequest, "endpoints are for clients, with a full address")
        }
        func digest(_ name: String) throws(StanzaError) -> [UInt8] {
            let count = EndpointGrant.digestLength
            guard let text = request.payload[name],
                let bytes = PaddedBase64.decode(text, count: count)
            else { throw StanzaError(.badRequest, "\(name): expected base64 of \(count) bytes") }
            return bytes
        }
        let application = try digest("application")
        let instance = try digest("instance")
        let time = now().wall / 1000
        guard time >= Self.sensibleTime, let key = ring.newest, let base = base(domain) else {
            throw StanzaError(.internalServerError, "this server is not ready yet", kind: .wait)
        }
        let grant = EndpointGrant(
            client: client, application: application, instance: instance,
            expires: time + options.life.value.components.seconds, service: service)
        guard let token = try? EndpointToken.seal(grant, with: key) else {
            throw StanzaError(.internalServerError, kind: .wait)
        }
        let endpoint = base + EndpointAnswer.path + token
        // What UnifiedPush allows, for endpoints that others give us and for ours.
        guard endpoint.utf8.count <= UnifiedPush.longestEndpoint else {
            throw StanzaError(.notAcceptable, "the address is too long for an endpoint")
        }
        return Element(
            "registered", Self.namespace,
            [("endpoint", endpoint), ("expiration", Clock.timestamp(grant.expires))])
    }
}
