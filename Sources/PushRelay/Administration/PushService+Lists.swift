// What an administrator can see of the push relay. Every function waits for the database: never on
// an event loop.

public import Addresses
internal import Engine
internal import Options
internal import Storage

extension PushService {
    /// More targets are not listed at one time.
    private static let longestList = 10_000
    /// Nor more ways to providers.
    private static let mostCircuits = 1_000

    /// What does the work; it is there when the data is open.
    func dispatcher() throws(PushRefused) -> PushDispatcher {
        guard let dispatcher = state.dispatcher else {
            throw PushRefused("the push relay has not started")
        }
        return dispatcher
    }

    /// Targets: an account's, or all, those of our own app server's devices among them.
    public func list(of account: BareJID?) throws -> PushTargetList {
        let dispatcher = try dispatcher()
        let circuits = circuits(dispatcher)
        return try dispatcher.host.database.readNow { connection in
            let rows =
                try account.map { try PushTargetStore.targets(connection, of: $0) }
                ?? PushTargetStore.targets(connection, after: 0, limit: Self.longestList + 1)
            let targets = try rows.prefix(Self.longestList).map { row in
                let queued = try PushQueueStore.find(connection, row.id)
                let way = queued?.due == nil ? row.circuit : queued?.circuit
                guard let number = row.device,
                    let device = try PushDeviceStore.device(connection, number)
                else { return row.description(dispatcher.keys, queued, circuits[way ?? ""]) }
                let tokens = try PushDeviceStore.tokens(connection, of: number)
                return row.description(
                    dispatcher.keys, queued, circuits[way ?? ""], device: device,
                    reached: Reached(device, tokens))
            }
            return PushTargetList(targets: targets, hasMore: rows.count > targets.count)
        }
    }

    private func circuits(_ dispatcher: PushDispatcher) -> [String: PushCircuitDescription] {
        let now = dispatcher.now
        var circuits: [String: PushCircuitDescription] = [:]
        for (name, circuit) in dispatcher.circuits {
            circuits[name] = PushCircuitDescription(name, circuit, now: now)
        }
        return circuits
    }

    /// What waits, the oldest first.
    public func queue(limit: Int) throws -> PushQueueDescription {
        let dispatcher = try dispatcher()
        let circuits = circuits(dispatcher)
        let now = dispatcher.now.wall
        return try dispatcher.host.database.readNow { connection in
            let depth = try PushQueueStore.depth(connection)
            let limit = min(max(0, limit), Self.longestList)
            var entries = try PushQueueStore.waiting(connection, limit: limit).compactMap { entry in
                WaitingPush(entry.row).map {
                    PushQueueDescription.Entry(
                        target: entry.target, jid: entry.account, provider: entry.row.provider,
                        push: $0, circuit: circuits[entry.row.circuit]?.state)
                }
            }
            let parcels = try ParcelStore.waiting(connection, limit: limit - entries.count)
            entries += parcels.map { row in
                PushQueueDescription.Entry(
                    target: row.parcel.first, provider: row.provider, task: row.parcel.task,
                    targets: row.parcel.count, push: WaitingPush(row),
                    circuit: circuits[row.circuit]?.state)
            }
            return PushQueueDescription(
                entries: entries, total: depth.count, oldestAge: Self.age(depth.oldest, now))
        }
    }

    private static func age(_ oldest: Int64?, _ now: Int64) -> Int? {
        oldest.map { Int(clamping: max(0, now - $0) / 1000) }
    }

    /// What was given up, the newest first.
    public func dead(limit: Int) throws -> DeadPushList {
        try dispatcher().host.database.readNow { connection in
            let limit = min(max(0, limit), Self.longestList)
            return DeadPushList(
                letters: try PushQueueStore.dead(connection, limit: limit).map { .init($0) },
                total: try PushQueueStore.deadCount(connection))
        }
    }

    /// Those who deliver, and what became of all that was asked of them.
    ///
    /// - Parameter isRunning: whether a server runs.
    public func providers(isRunning: Bool) throws -> PushProvidersDescription {
        let dispatcher = try dispatcher()
        let circuits = circuits(dispatcher).values.sorted { $0.name < $1.name }
        let books = try dispatcher.host.database.readNow { try PushQueueStore.books($0) }
        return PushProvidersDescription(
            sending: isRunning && sends,
            apps: dispatcher.providers.current.map(apps) ?? [],
            circuits: Array(circuits.prefix(Self.mostCircuits)),
            omitted: max(0, circuits.count - Self.mostCircuits),
            books: books.map { PushBooksDescription($0.key, $0.value) }
                .sorted { $0.provider.rawValue < $1.provider.rawValue })
    }

    private func apps(_ providers: PushProviders) -> [PushAppDescription] {
        let own = (NewPushTarget.kinds + [.webPush]).compactMap { providers.own($0) }
        return providers.apps.map { app in
            PushAppDescription(
                provider: app.provider.kind, app: app.name, environment: app.environment,
                expiries: Self.expiries(app.provider),
                receipts: Receipt.way(of: app.provider.kind) == .console
                    ? state.receipts.url(app.provider.kind, app: app.name) : nil)
        }
            + own.map { PushAppDescription(provider: $0.kind, expiries: Self.expiries($0)) }
    }

    private static func expiries(
        _ provider: any PushProvider
    ) -> [PushAppDescription.Expiry] {
        provider.expiries.map { .init(kind: $0.kind, time: Clock.timestamp($0.time)) }
    }

    /// Whether anything would go out.
    private var sends: Bool {
        options.isEnabled.value && !(state.dispatcher?.transport is NoTransport)
    }

    /// How it is, in short.
    public func summary(isRunning: Bool) throws -> PushSummary {
        let dispatcher = try dispatcher()
        let now = dispatcher.now.wall
        let open = dispatcher.circuits.values.count { $0.breaker.state != .closed }
        return try dispatcher.host.database.readNow { connection in
            let counts = try PushTargetStore.counts(connection)
            let depth = try PushQueueStore.depth(connection)
            return PushSummary(
                targets: counts.reduce(0) { $0 + ($1.isEnabled ? $1.count : 0) },
                disabled: counts.reduce(0) { $0 + ($1.isEnabled ? 0 : $1.count) },
                waiting: depth.count, oldestAge: Self.age(depth.oldest, now),
                openCircuits: isRunning ? open : nil)
        }
    }
}
