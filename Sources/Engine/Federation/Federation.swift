// Streams to and from other servers, and what waits for them (RFC 6120 sections 4 and 10.4). A
// message is kept in the database until the other domain has it; presence and requests wait in
// memory for as long as an attempt takes.

public import Addresses
internal import Logging
internal import NIOCore
internal import Options
internal import Prometheus
public import Storage
internal import Synchronization
internal import TLS
internal import XML
internal import XMPP

/// Federation with other servers. Safe on any thread.
public final class Federation: Sendable {
    static let specifications = [
        Specification(
            "XEP-0178", version: "1.2",
            "Best Practices for Use of SASL EXTERNAL with Certificates"),
        Specification("XEP-0185", version: "1.0", "Dialback Key Generation and Validation"),
        Specification("XEP-0220", version: "1.1.1", "Server Dialback"),
        Specification("XEP-0288", version: "1.0.1", "Bidirectional Server-to-Server Connections"),
    ]

    private struct State {
        var connector: (any ServerConnector)?
        var routes: [RouteKey: ServerRoute] = [:]
        /// When routes were last forgotten for want of room.
        var clearedAt: NIODeadline?
        var queuedStanzas = 0
        var queuedBytes = 0
        /// Attempts under way by number, those that made way for others, and routes that wait for
        /// their turn.
        var quick: Set<Int> = []
        var slow: Set<Int> = []
        /// Those that take long and found no room among the slow ones, the oldest first.
        var overdue = CircularBuffer<Int>()
        var lastAttempt = 0
        var waiting = CircularBuffer<ServerRoute>()
        /// Questions about dialback keys under way, by the network that they were made for.
        var asking: [String: Int] = [:]
        /// What waited for a domain that is served here now.
        var strays: [OutgoingStore.Row] = []
        var isStopped = false
        /// Who waits for the attempts to end.
        var stopping: CheckedContinuation<Void, Never>?

        /// Takes that, if there is nothing more to wait for.
        mutating func takeStopping() -> CheckedContinuation<Void, Never>? {
            guard quick.isEmpty, slow.isEmpty, asking.isEmpty else { return nil }
            defer { stopping = nil }
            return stopping
        }
    }

    /// Presence and requests wait so long at most.
    private static let patience = TimeAmount.seconds(60)
    /// A route that nobody uses is remembered so long.
    private static let memory = TimeAmount.hours(1)
    /// More of them are not kept; the names of domains are for anybody to make up.
    private static let mostRoutes = 10_000
    /// Dialback keys that are asked about at one time.
    private static let mostQuestions = 32
    /// Of those, so many for servers of one network.
    private static let mostQuestionsOfNetwork = 4
    /// An attempt that takes longer makes way for others: servers that do not answer would hold up
    /// those that do.
    private static let turn = TimeAmount.seconds(2)
    /// So many times `federation.connecting` may have made way.
    private static let slowShare = 7
    /// The same network, refused for the same reason, is logged no more often.
    static let refusalPause = TimeAmount.minutes(10)
    /// How often what waits is looked through.
    private static let sweep = TimeAmount.seconds(5)

    /// The options.
    public let options: FederationOptions
    /// With whom.
    public let policy: FederationPolicy
    let metrics: FederationMetrics
    private let keys: Dialback
    let openStreams = ServerStreamTable()
    let failing = FailingRoutes()
    /// Whose senders are limited.
    let strangers = Strangers()
    let refused = Mutex(RecentTable<Refused, NIODeadline>(limit: 1024))
    let certified = Mutex(CertifiedDomains())
    private let deletions = OutgoingDeletions()
    /// Errors about messages that were kept, and room for presence that could not be told.
    let returned = ReturnedErrors(), untold = UntoldBudget()
    private let state = Mutex(State())

    init(_ options: FederationOptions, _ metrics: FederationMetrics, dialback keys: Dialback) {
        self.options = options
        self.metrics = metrics
        self.keys = keys
        policy = FederationPolicy(options)
    }

    /// The keys of dialback; nil where the owner does not want it.
    var dialback: Dialback? { options.dialback.value ? keys : nil }

    // MARK: Start and stop

    /// Reads the rules and what waits; before the start.
    func load(_ host: Host) throws {
        let rows = try host.database.readNow { connection in
            try policy.load(connection)
            returned.load(try OutgoingStore.accountsWithReturned(connection))
            return try OutgoingStore.all(connection)
        }
        let now = Clock.millisecondsSince1970()
        let age = options.queueAge.value.components.seconds * 1000
        // Their senders are gone with their domain.
        forget(rows.filter { !host.serves($0.local) }.map(\.id), host)
        let known = rows.filter { host.serves($0.local) }
        state.withLock { $0.strays = known.filter { host.serves($0.remote) } }
        for row in known where !host.serves(row.remote) {
            // A clock that was set back makes nothing wait longer.
            let waited = max(0, now - row.addedAt)
            let entry = QueuedStanza(
                stanza: OutboundStanza(row.kind, row.stanza), id: row.id, arrivedAt: row.addedAt,
                expiresAt: host.loopTime + .milliseconds(max(0, age - waited)))
            _ = deliver(entry, RouteKey(local: row.local, remote: row.remote), host)
        }
    }

    /// Begins to connect to others.
    public func start(_ connector: any ServerConnector, _ host: Host) {
        let (waiting, strays) = state.withLock { state in
            state.connector = connector
            defer { (state.waiting, state.strays) = ([], []) }
            return (state.waiting, state.strays)
        }
        let errors = strays.compactMap { host.deliverHere($0) }
        returned.keep(errors, host)
        let done = Set(strays.map(\.id)).subtracting(errors.map(\.id))
        // After what is stored instead.
        host.database.writer.afterQueued { self.forget(Array(done), host) }
        for route in waiting { connect(route, host) }
        scheduleSweep(host)
    }

    /// Whether the server stops.
    var isStopped: Bool { state.withLock { $0.isStopped } }

    /// Makes no further attempt.
    func stop() {
        let (routes, connector) = state.withLock { state in
            defer { state.connector = nil }
            state.isStopped = true
            state.waiting = []
            return (Array(state.routes.values), state.connector)
        }
        for route in routes { route.stop() }
        connector?.stop()
    }

    /// Waits for the end of all attempts; after `stop`, and while the loops turn, which they need.
    func attemptsEnded() async {
        await withCheckedContinuation { continuation in
            state.withLock { state in
                state.stopping = continuation
                return state.takeStopping()
            }?.resume()
        }
    }

    private func scheduleSweep(_ host: Host) {
        guard let loop = host.loops.first else { return }
        loop.eventLoop.scheduleTask(in: Self.sweep) { [weak host] in
            guard let host, !self.isStopped else { return }
            let now = host.loopTime
            for route in self.routes { route.expire(now) }
            self.metrics.oldest.set(self.routes.compactMap(\.oldest).min())
            self.forgetIdleRoutes(now)
            self.noteReachability()
            self.deletions.goOn(host)
            self.returned.goOn(host)
            self.scheduleSweep(host)
        }
    }

    // MARK: Routes

    var routes: [ServerRoute] { state.withLock { Array($0.routes.values) } }

    /// What an administrator sees, by domain.
    public var descriptions: [RouteDescription] {
        routes.map(\.description).sorted { ($0.remote, $0.local) < ($1.remote, $1.local) }
    }

    func route(_ key: RouteKey, _ host: Host) -> ServerRoute {
        state.withLock { state in
            if let route = state.routes[key] { return route }
            let route = ServerRoute(key, host: host)
            state.routes[key] = route
            return route
        }
    }

    private func deliver(_ entry: QueuedStanza, _ key: RouteKey, _ host: Host) -> Bool {
        while true {
            let route = route(key, host)
            switch route.deliver(entry) {
            case .taken: return true
            case .full: return false
            case .forgotten: remove([route])
            }
        }
    }

    private func remove(_ forgotten: [ServerRoute]) {
        guard !forgotten.isEmpty else { return }
        state.withLock { state in
            for route in forgotten where state.routes[route.key] === route {
                state.routes[route.key] = nil
            }
        }
    }

    /// Routes that failed are kept for a while, for an administrator to see why.
    private func forgetIdleRoutes(_ now: NIODeadline) {
        remove(routes.filter { $0.forget(now, unusedFor: Self.memory, keepsUntold: true) })
    }

    /// There are too many.
    private func makeRoom(_ now: NIODeadline) {
        remove(routes.filter { $0.forget(now, unusedFor: .seconds(10), keepsUntold: false) })
    }

    /// The loop on which a route's streams live.
    func loop(for key: RouteKey, _ host: Host) -> Loop {
        host.loops.first { !$0.isBusy } ?? host.loops[0]
    }

    /// Another server has shown itself: what waits for it need not wait longer.
    func isThere(_ domain: String, _ host: Host) {
        let locals = host.domains + host.components.domains
        let routes = state.withLock { state in
            locals.compactMap { state.routes[RouteKey(local: $0, remote: domain)] }
        }
        for route in routes { route.hurryOnce() }
    }

    /// A test got there and back: what failed before has been mended.
    func testSucceeded(_ key: RouteKey) { state.withLock { $0.routes[key] }?.testSucceeded() }

    // MARK: Stanzas to another domain

    /// Why nothing may go to a domain at this moment; nil if it may. Who sends more than that domain
    /// takes is read more slowly.
    func refusal(
        from local: String, to domain: String, by sender: Session?, _ host: Host
    ) -> StanzaError? {
        guard policy.allows(domain, .outgoing) else {
            let isOff = options.policy.value == .off
            return StanzaError(
                .remoteServerNotFound,
                isOff
                    ? "this server does not talk to others"
                    : "this server may not talk to \(domain); its administrator can allow that")
        }
        guard hasRoom(RouteKey(local: local, remote: domain), for: sender, host) else {
            metrics.refusedFull.add()
            return StanzaError(
                .resourceConstraint, "too much waits for \(domain) already; try again later")
        }
        return nil
    }

    /// Whether anything more may wait for one domain and for all.
    private func hasRoom(_ key: RouteKey, for sender: Session?, _ host: Host) -> Bool {
        let now = host.loopTime
        enum Room { case none, some(ServerRoute?), crowded }
        let room: Room = state.withLock { state in
            guard state.queuedBytes < options.queueTotal.value else { return .none }
            if let route = state.routes[key] { return .some(route) }
            guard state.routes.count >= Self.mostRoutes else { return .some(nil) }
            if let last = state.clearedAt, now - last <= .seconds(1) { return .none }
            state.clearedAt = now
            return .crowded
        }
        switch room {
        case .none: return false
        case .some(let route): return route?.hasRoom(for: sender) ?? true
        case .crowded:
            makeRoom(now)
            return state.withLock { $0.routes.count < Self.mostRoutes }
        }
    }

    /// Sends a stanza that is not kept over a restart.
    func send(_ stanza: OutboundStanza, from: JID, to: JID, _ host: Host) {
        guard policy.allows(to.domain, .outgoing) else { return }
        let entry = QueuedStanza(
            stanza: stanza, id: nil, arrivedAt: Clock.millisecondsSince1970(),
            expiresAt: host.loopTime + Self.patience)
        let key = RouteKey(local: from.domain, remote: to.domain)
        if !hasRoom(key, for: nil, host) || !deliver(entry, key, host) {
            metrics.refusedFull.add()
            state.withLock { $0.routes[key] }?.noteLostPresence(in: [entry])
            bounce(
                [entry], FederationFailure(.timeout, "too much waits for it already"), key, host)
        }
    }

    /// Keeps a stanza until another domain has it, in a transaction; `enqueue` follows when that is
    /// committed.
    public func keep(
        _ stanza: OutboundStanza, from: JID, to: JID, _ connection: Connection
    ) throws -> Int64 {
        try OutgoingStore.insert(
            connection, from: from.domain, to: to.domain, kind: stanza.kind,
            addedAt: Clock.millisecondsSince1970(), stanza.bytes)
    }

    /// Sends a stanza that is kept under a number.
    public func enqueue(
        _ id: Int64, _ stanza: OutboundStanza, from: JID, to: JID, _ host: Host
    ) {
        if stanza.kind == .message { certified.withLock { $0.noteMessage(to: to.domain) } }
        let entry = QueuedStanza(
            stanza: stanza, id: id, arrivedAt: Clock.millisecondsSince1970(),
            expiresAt: host.loopTime + TimeAmount(options.queueAge.value))
        _ = deliver(entry, RouteKey(local: from.domain, remote: to.domain), host)
    }

    /// Another domain has these.
    func delivered(_ entries: [QueuedStanza], _ host: Host) {
        guard !entries.isEmpty else { return }
        noteQueued(-entries.count, -entries.reduce(0) { $0 + $1.stanza.bytes.count })
        forget(entries.compactMap(\.id), host)
    }

    /// These are to be deleted from the database.
    func forget(_ ids: [Int64], _ host: Host) { deletions.add(ids, host) }

    // MARK: Connections

    /// Opens a stream for a route, when it is its turn.
    func connect(_ route: ServerRoute, _ host: Host) {
        let (connector, attempt) = state.withLock { state -> ((any ServerConnector)?, Int) in
            guard !state.isStopped else { return (nil, 0) }
            guard let connector = state.connector, state.quick.count < options.connecting.value
            else {
                state.waiting.append(route)
                return (nil, 0)
            }
            state.lastAttempt &+= 1
            state.quick.insert(state.lastAttempt)
            return (connector, state.lastAttempt)
        }
        guard let connector else { return }
        let turn = loop(for: route.key, host).eventLoop.scheduleTask(in: Self.turn) {
            self.makeWay(attempt, host)
        }
        Task {
            let started = NIODeadline.now()
            do throws(FederationFailure) {
                try await OutgoingAttempt(route.key, .stanzas(route), host, connector).run()
                self.metrics.connectTime.observe((NIODeadline.now() - started).seconds)
            } catch {
                self.metrics.failures[error.reason].add()
                route.attemptFailed(error)
            }
            turn.cancel()
            self.attemptEnded(attempt, host)
        }
    }

    /// Lets another attempt begin beside one that takes long.
    private func makeWay(_ attempt: Int, _ host: Host) {
        let next = state.withLock { state -> ServerRoute? in
            guard state.quick.contains(attempt) else { return nil }
            state.overdue.append(attempt)
            return makeWay(&state)
        }
        if let next { connect(next, host) }
    }

    /// Counts the attempt that is overdue for longest among the slow ones, if there is room; gives
    /// the route whose turn it is then.
    private func makeWay(_ state: inout State) -> ServerRoute? {
        guard state.slow.count < options.connecting.value * Self.slowShare,
            let attempt = state.overdue.popFirst()
        else { return nil }
        state.quick.remove(attempt)
        state.slow.insert(attempt)
        return state.quick.count < options.connecting.value ? state.waiting.popFirst() : nil
    }

    private func attemptEnded(_ attempt: Int, _ host: Host) {
        let (next, stopping) = state.withLock {
            state -> (ServerRoute?, CheckedContinuation<Void, Never>?) in
            state.quick.remove(attempt)
            state.slow.remove(attempt)
            state.overdue.removeAll { $0 == attempt }
            var next = makeWay(&state)
            if next == nil, state.quick.count < options.connecting.value {
                next = state.waiting.popFirst()
            }
            return (next, state.takeStopping())
        }
        stopping?.resume()
        if let next { connect(next, host) }
    }

    /// The connector, once the server has started and until it stops.
    var connector: (any ServerConnector)? { state.withLock { $0.connector } }

    /// Asks a domain's own server about a dialback key (XEP-0220 section 2.2), for a server of a
    /// network.
    func ask(
        _ question: DialbackQuestion, _ pair: DomainPair, for network: String,
        _ connector: any ServerConnector, _ host: Host
    ) {
        let mayAsk = state.withLock { state in
            let same = state.asking[network] ?? 0
            guard same < Self.mostQuestionsOfNetwork,
                state.asking.values.reduce(0, +) < Self.mostQuestions
            else { return false }
            state.asking[network] = same + 1
            return true
        }
        guard mayAsk else { return question.then(nil) }
        Task {
            do throws(FederationFailure) {
                try await OutgoingAttempt(
                    RouteKey(local: pair.to, remote: pair.from), .verification(question), host,
                    connector
                ).run()
            } catch {
                self.metrics.failures[error.reason].add()
                question.then(nil)
            }
            let stopping = self.state.withLock { state in
                let same = (state.asking[network] ?? 1) - 1
                state.asking[network] = same > 0 ? same : nil
                return state.takeStopping()
            }
            stopping?.resume()
        }
    }

    // MARK: Metrics

    func noteQueued(_ stanzas: Int, _ bytes: Int) {
        state.withLock { state in
            state.queuedStanzas += stanzas
            state.queuedBytes += bytes
            metrics.queued.set(Double(state.queuedStanzas))
            metrics.queuedBytes.set(Double(state.queuedBytes))
        }
    }

    /// An attempt to reach a domain has succeeded or failed; there may be thousands of domains.
    func noteReachability(of domain: String) {
        if FederationPolicy.isPushDomain(domain) { noteReachability() }
    }

    private func noteReachability() {
        let failing = Set(routes.filter(\.isFailing).map(\.key.remote))
        metrics.unreachablePushDomains.set(
            Double(failing.filter(FederationPolicy.isPushDomain).count))
    }
}
