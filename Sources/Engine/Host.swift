// The running server: what every stream and feature shares.

public import Addresses
public import Logging
public import NIOCore
internal import Options
internal import Prometheus
internal import SASL
public import Storage
internal import Synchronization
internal import TLS
public import XMPP

/// One server with its domains. Safe on any thread; nothing in it changes after the start.
public final class Host: Sendable {
    /// The local domains, prepared; the first is the default.
    public let domains: [String]
    /// The open database.
    public let database: Database
    /// The accounts in it.
    public let accounts: Accounts
    /// Who is connected.
    public let sessions = SessionTable()
    /// The engine's limits.
    public let limits: Limits
    /// The engine's metrics.
    public let metrics: EngineMetrics
    /// What the features hooked in.
    public let hooks: Hooks
    /// The log. Never gets a message's content, a password or a token.
    public let log: Logger
    /// One per event loop.
    public let loops: [Loop]
    /// What the server says of itself (XEP-0030).
    public let serverInfo: DiscoveryInfo
    /// What each account says of itself.
    public let accountInfo: DiscoveryInfo
    /// Which connections of clients may come in.
    public let admission: Admission
    /// Which connections of other servers may come in.
    public let serverAdmission: Admission
    /// The other servers.
    public let federation: Federation
    /// The components that may attach (XEP-0114).
    public let components: Components
    /// What the server itself has asked others.
    public let requests = ServerRequests()

    /// The streams of other servers and of components.
    let peers = PeerOrigins()
    let iqHandlers: [String: IQHandler]
    let openHandlers: [String: OpenIQHandler]
    let streamElements: [String: StreamElementHandler]
    let recent = RecentMessages()
    let unstored = UnstoredMessages()
    let settling: Settling
    let loginThrottle: LoginThrottle
    let revocations = Revocations()
    let fakeCredentials: FakeCredentials
    let keyStretcher = KeyStretcher(threads: 2, longestQueue: 256)
    let domainSet: Set<String>
    private let stopping = Atomic<Bool>(false)

    /// Whether the clients were told that the server stops. Who becomes a session's client
    /// thereafter is told so, too.
    var isStopping: Bool { stopping.load(ordering: .sequentiallyConsistent) }

    /// Opens the database and makes the server ready; nothing listens yet.
    ///
    /// - Parameters:
    ///   - builder: all declarations.
    ///   - domains: the local domains, prepared (RFC 7622 section 3.2), at least one.
    ///   - databaseFile: the database's path.
    ///   - loginSecret: 32 random bytes that stay the same from start to start.
    ///   - eventLoops: the loops that connections will live on.
    ///   - restoration: the mark that a restore has left beside the database, to be removed when
    ///     this has returned; nil without one.
    public init(
        _ builder: HostBuilder, domains: [String], databaseFile: String, loginSecret: [UInt8],
        eventLoops: [any EventLoop], restoration: String? = nil, log: Logger
    ) throws(StorageError) {
        self.domains = domains
        domainSet = Set(domains)
        self.log = log
        database = try Database(
            file: databaseFile, steps: builder.steps, durability: builder.durability.value,
            longestQueue: builder.storageQueue.value, registry: builder.registry)
        if let restoration { try Restoration.note(restoration, database, builder.hooks) }
        settling = Settling(
            settled: try database.readNow { try MessageStore.settled($0) })
        accounts = Accounts(database, iterations: builder.iterations.value)
        limits = builder.limits
        metrics = builder.metrics
        hooks = builder.hooks
        iqHandlers = builder.iqHandlers
        openHandlers = builder.openHandlers
        federation = Federation(
            builder.federation, builder.federationMetrics,
            dialback: Dialback(
                secret: DigestAlgorithm.sha256.hmac(key: loginSecret, Array("dialback".utf8))))
        streamElements = builder.streamElements
        serverInfo = builder.serverInfo
        accountInfo = builder.accountInfo
        loops = eventLoops.enumerated().map { Loop($1, cell: $0 + 1) }
        components = Components(
            builder.components, builder.componentMetrics, builder.limits,
            services: builder.services, on: loops.first)
        loginThrottle = LoginThrottle(longestDelay: builder.limits.loginDelay)
        fakeCredentials = FakeCredentials(
            secret: loginSecret,
            iterations: try accounts.commonIterations() ?? builder.iterations.value)
        let memory = MemoryCeiling(
            limit: builder.limits.memory, registry: builder.registry, inUse: builder.memoryInUse)
        admission = Admission(
            limit: limits.connections, perAddress: limits.connectionsPerAddress,
            unauthenticated: limits.unauthenticated, metrics: metrics, memory: memory)
        serverAdmission = Admission(
            limit: federation.options.streams, perAddress: limits.serverConnectionsPerAddress,
            unauthenticated: limits.unauthenticatedServers, metrics: metrics, memory: memory)
        database.writer.onRollback { [recent] in recent.didRollBack($0) }
        for loop in loops { loop.start(metrics: metrics) }
        loops.first?.eventLoop.scheduleRepeatedTask(
            initialDelay: .seconds(1), delay: .seconds(1)
        ) { _ in memory.check(log) }
        do {
            try federation.load(self)
            for hook in hooks.started { try hook(self) }
        } catch {
            throw error as? StorageError
                ?? StorageError(
                    code: .other, operation: "starting", subject: databaseFile,
                    message: "\(error)")
        }
    }

    /// An identifier for a request of the server's own.
    public func nextIdentifier() -> String { SecureRandom.identifier(bytes: 9) }

    /// Derives the keys of a new password in the pool for such work; `then` gets nil for a
    /// password that cannot be prepared. False when too much waits already.
    public func deriveKeys(
        _ password: String, then: @escaping @Sendable (PasswordKeys?) -> Void
    ) -> Bool {
        let iterations = accounts.iterations
        return keyStretcher.run {
            then(try? PasswordKeys(password: password, iterations: iterations))
        }
    }

    /// Commits what a client's message or presence asks for. It counts in the `h` that its sender
    /// gets (XEP-0198) once `then` has returned. For requests, see `Session.answer`. The parameters
    /// are those of `GroupCommitWriter.submit`.
    public func commit<Value: Sendable>(
        for stanza: Stanza, size: Int = 1024,
        _ work: @escaping @Sendable (Connection) throws -> Value,
        then: @escaping @Sendable (Result<Value, StorageError>) -> Void
    ) {
        let sender = stanza.number.flatMap { _ in sessions.session(stanza.from) }
        commit(for: stanza, from: sender, size: size, work, then: then)
    }

    /// Commits what a stanza asks for, on the loop of its origin; the same otherwise.
    public func commit<Value: Sendable>(
        for stanza: Stanza, from origin: (any StanzaOrigin)?, size: Int = 1024,
        _ work: @escaping @Sendable (Connection) throws -> Value,
        then: @escaping @Sendable (Result<Value, StorageError>) -> Void
    ) {
        guard let origin, let number = origin.hold(stanza)
        else { return database.writer.submit(size: size, work, then: then) }
        database.writer.submit(size: size, work) { result in
            then(result)
            origin.release(number)
        }
    }

    /// Whether a domain is one of ours.
    public func isLocal(_ domain: String) -> Bool { domainSet.contains(domain) }

    /// The loops' time, which tests let pass as they like.
    var loopTime: NIODeadline { loops.first?.eventLoop.now ?? .now() }

    /// The engine's view of an event loop.
    public func loop(of eventLoop: any EventLoop) -> Loop? {
        loops.first { $0.eventLoop === eventLoop }
    }

    /// Deletes an account with everything that features keep for it, and ends its sessions;
    /// `beforeEnd` is called when it is deleted and its sessions still stand.
    public func removeAccount(
        _ jid: BareJID, beforeEnd: @escaping @Sendable () -> Void = {},
        then: @escaping @Sendable (Result<Bool, StorageError>) -> Void
    ) {
        let hooks = hooks
        let farewells = Farewells()
        accounts.remove(
            jid,
            with: { connection in
                farewells.set(try hooks.farewells?(jid, self, connection) ?? [])
                for hook in hooks.removeAccount { try hook(jid, connection) }
                try SuspendedSessionStore.delete(connection, of: jid)
                try OutgoingStore.deleteReturned(connection, to: jid)
                try MessageStore.forgetStreams(connection, of: jid)
            },
            then: { result in
                if case .success(true) = result {
                    beforeEnd()
                    self.endSessions(of: jid, StreamError(.notAuthorized, "the account is gone")) {
                        for hook in hooks.accountRemoved { hook(jid, self) }
                        for stanza in farewells.all { self.sendAway(stanza) }
                    }
                }
                then(result)
            })
    }

    /// Replaces an account's password.
    public func setPassword(
        _ jid: BareJID, _ keys: PasswordKeys,
        then: @escaping @Sendable (Result<Void, AccountError>) -> Void
    ) {
        let hooks = hooks
        accounts.setPassword(jid, keys) { result in
            if case .success = result { for hook in hooks.passwordChanged { hook(jid) } }
            then(result)
        }
    }

    /// Ends all sessions of an account, one after the other; `then` is called after the last.
    public func endSessions(
        of jid: BareJID, _ error: StreamError, then: @escaping @Sendable () -> Void = {}
    ) {
        // First, so that a login that is not bound yet finds it or is found.
        revocations.note(jid, now: .now())
        Self.end(sessions.sessions(of: jid)[...], error, then)
    }

    private static func end(
        _ sessions: ArraySlice<Session>, _ error: StreamError,
        _ then: @escaping @Sendable () -> Void
    ) {
        guard let first = sessions.first else { return then() }
        first.terminate(error) { end(sessions.dropFirst(), error, then) }
    }

    /// Waits until every loop has done what was asked of it so far.
    public func drain() async {
        for loop in loops {
            // Deliveries of one loop may wait in another's mailbox, hence twice.
            for _ in 0..<2 {
                try? await loop.eventLoop.submit {}.get()
            }
        }
    }

    /// Has ready what a session of the account needs; `done` is called on any thread.
    func prepareSession(_ account: BareJID, _ done: @escaping @Sendable (Bool) -> Void) {
        prepare(hooks.prepareSession[...], account, done)
    }

    private func prepare(
        _ hooks: ArraySlice<SessionPreparation>, _ account: BareJID,
        _ done: @escaping @Sendable (Bool) -> Void
    ) {
        guard let first = hooks.first else { return done(true) }
        first(account, self) { isReady in
            guard isReady else { return done(false) }
            self.prepare(hooks.dropFirst(), account, done)
        }
    }

    /// Gives up what was had ready for a session that never began.
    func discardPreparation(_ account: BareJID) {
        for hook in hooks.sessionEnded.reversed() { hook(account, nil, self) }
    }

    /// Tells every client that the server stops, and ends its stream, logged in or not. Sessions
    /// that can be resumed are left for `stop`.
    public func endAllStreams() {
        endSessionStreams()
        endOtherStreams()
    }

    /// The streams of who has logged in.
    func endSessionStreams() {
        keyStretcher.finish()
        stopping.store(true, ordering: .sequentiallyConsistent)
        for session in sessions.all { session.stopStream(StreamError(.systemShutdown)) }
    }

    /// All others.
    func endOtherStreams() {
        components.stop()
        peers.stop(StreamError(.systemShutdown))
        for loop in loops { loop.endTimedStreams(StreamError(.systemShutdown)) }
    }
}
