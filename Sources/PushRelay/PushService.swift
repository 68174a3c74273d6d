// The push relay as a part of the server: declared before the start, given its key and its transport,
// started last and drained first.

internal import Addresses
public import Engine
internal import NIOCore
internal import Options
internal import Prometheus
internal import Storage
internal import Synchronization
internal import XMPP

/// What the running program gives to the push relay.
public struct PushSurroundings: Sendable {
    /// 32 random bytes that stay the same from start to start.
    public var key: [UInt8]
    /// Nil where nothing goes out.
    public var transport: (any PushTransport)?
    /// Whether what needs the time may be signed.
    public var isClockRight: @Sendable () -> Bool
    /// The keys of our own endpoints; nil where none are given.
    public var endpointKeys: EndpointKeyFile?
    /// Another clock, for tests.
    var clock: @Sendable () -> PushMoment = { PushClock.now }

    /// Creates them.
    public init(
        key: [UInt8], transport: (any PushTransport)?,
        isClockRight: @escaping @Sendable () -> Bool, endpointKeys: EndpointKeyFile? = nil
    ) {
        self.key = key
        self.transport = transport
        self.isClockRight = isClockRight
        self.endpointKeys = endpointKeys
    }
}

/// The push relay. Safe on any thread.
public final class PushService: Sendable {
    /// What the configuration says.
    public let options: PushOptions
    /// Our own endpoints (UnifiedPush).
    public let endpoints: UnifiedPushProvider
    /// For programs and apps, by HTTP.
    public let api: PushAPI
    let state: PushRelayState
    let notifications: PushNotifications
    private let surroundings = Mutex<PushSurroundings?>(nil)
    private let memory = Mutex<StoredMemory?>(nil)

    /// Declares everything. Before the start, on one thread.
    public init(in builder: HostBuilder) {
        options = PushOptions(builder.options)
        state = PushRelayState(options, builder.registry)
        api = PushAPI(state, APIMetrics(builder.registry))
        endpoints = UnifiedPushProvider(options.endpoints, EndpointMetrics(builder.registry))
        for step in PushSchema.steps { builder.schema(step) }
        builder.follow(PushNotifications.specifications)
        notifications = PushNotifications(in: builder, state)
        let notifications = notifications
        builder.hooks.sessionHibernated.append { notifications.sessionHibernated($0, $1, $2) }
        builder.hooks.sessionActive.append { notifications.sessionActive($0, $1) }
        builder.hooks.messageSent = { stanza, host in
            guard WakeRule.saysRead(stanza) else { return }
            guard let peer = stanza.to else { return }
            notifications.didRead(stanza.from.bare, in: peer.bare, host)
        }
        builder.hooks.started.append { [self] host in try started(host) }
        _ = PushCommands(in: builder, self)
    }

    /// Has the app server answer at `push.` of each of these domains. Before the start.
    ///
    /// - Parameter hasWeb: whether there is HTTPS, without which there are no endpoints.
    public func serve(_ domains: [String], hasWeb: Bool = false, in builder: HostBuilder) {
        guard options.hasAppServer.value else { return }
        for domain in domains where !domain.isEmpty {
            let service = PushAppService("push.\(domain)", state)
            state.services.add(service)
            if hasWeb { endpoints.serve(at: service, for: domain) }
            builder.add(service, key: "push.app_server")
        }
    }

    /// Gives what a host needs that is about to be opened.
    public func prepare(_ surroundings: PushSurroundings) {
        state.set(PushKeys(key: surroundings.key))
        self.surroundings.withLock { $0 = surroundings }
    }

    /// The database is open.
    private func started(_ host: Host) throws {
        guard let surroundings = surroundings.withLock({ $0 }), let keys = state.keys else {
            return
        }
        let endpoints = endpoints
        let domain = host.domains.first ?? ""
        state.receipts.set(keys) { endpoints.publicBase(domain) }
        let providers = ProviderTable()
        let wakeups = Wakeups(keys: keys, options: options, services: services(host))
        let dispatcher = PushDispatcher(
            host: host, keys: keys, relay: state,
            providers: providers, wakeups: wakeups,
            transport: surroundings.transport ?? NoTransport(),
            isClockRight: surroundings.isClockRight, clock: surroundings.clock)
        let memory = try StoredMemory(host, keys)
        self.memory.withLock { $0 = memory }
        providers.replace(try configured(memory))
        state.set(dispatcher)
        if surroundings.transport != nil { state.gauges.start(dispatcher) }
        notifications.load(host)
        let watched = notifications.watched
        try api.open(host) { watched.insert($0) }
        try endpoints.open(
            host, surroundings.endpointKeys, isClockRight: surroundings.isClockRight)
    }

    /// Makes the providers of the configuration.
    private func configured(_ memory: any PushMemory) throws(PushCredentialError) -> PushProviders {
        let providers = try PushProviders(
            options.apps.records.value, contact: options.apps.contact.value, memory: memory,
            allowsHTTP: options.allowsPrivateTargets.value)
        for app in providers.apps { state.metrics.used.insert(app.provider.kind) }
        return providers
    }

    private func services(_ host: Host) -> Set<String> {
        guard options.hasAppServer.value else { return [] }
        return Set(host.domains.map { "push.\($0)" })
    }

    /// Begins to send.
    public func start() {
        endpoints.start()
        state.tasks?.start()
        guard options.isEnabled.value, surroundings.withLock({ $0?.transport != nil }) else {
            return
        }
        state.dispatcher?.start()
    }

    /// Reads again what a reload may have changed: credentials among it. If one of them cannot be
    /// used, all stay as they were.
    public func reload() throws {
        guard let dispatcher = state.dispatcher, let memory = memory.withLock({ $0 }) else {
            return
        }
        dispatcher.providers.replace(try configured(memory))
        dispatcher.reload()
    }

    /// Sends nothing more and waits for what is under way, but not for ever.
    public func stop(within time: Duration) async {
        endpoints.stop()
        guard let dispatcher = state.dispatcher else { return }
        defer { dispatcher.transport.stop() }
        await withCheckedContinuation { continuation in
            let once = Once { continuation.resume() }
            dispatcher.drain { once.run() }
            Task {
                try? await Task.sleep(for: time)
                once.run()
            }
        }
    }
}

/// Runs something the first time it is asked to. Safe on any thread.
private final class Once: Sendable {
    private let body: Mutex<(@Sendable () -> Void)?>

    init(_ body: @escaping @Sendable () -> Void) { self.body = Mutex(body) }

    func run() {
        let body = body.withLock { body in
            defer { body = nil }
            return body
        }
        body?()
    }
}
