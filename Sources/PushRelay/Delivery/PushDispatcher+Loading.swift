// What the dispatcher brings from the database, and what it looks after there.

internal import Addresses
internal import Engine
internal import NIOCore
internal import Options
internal import Prometheus
internal import Storage
internal import Synchronization

extension PushDispatcher {
    /// What a load has brought.
    private struct Loaded: Sendable {
        var items: [DeliveryItem]
        var dead: Int
        var hasMore: Bool
        var hasMoreParcels: Bool
        var next: Int64?
    }

    func load(_ load: DeliveryLoad) {
        let circuit = load.circuit
        let held = state.withLock { $0.deliveries.heldTargets(of: circuit) }
        let wakeups = wakeups
        let now = clock()
        let limit = options.deadLetters.value
        host.database.writer.submit(
            size: 0,
            { connection -> Loaded in
                let found = try PushQueueStore.due(
                    connection, circuit, now: now.wall, limit: load.wakes, held: held,
                    onlyWithNext: load.isForPassing)
                var items: [DeliveryItem] = []
                var dead = 0
                for (target, queued) in found.rows {
                    if let way = try wakeups.way(of: target, connection) {
                        items.append(way.item(for: target, queued))
                    } else {
                        let letter = DeadLetter(
                            target.id, queued, target.account?.description, .unregistered,
                            died: now.wall)
                        try PushQueueStore.noteDead(
                            connection, letter, version: queued.version, endsAll: true,
                            limit: limit)
                        dead += 1
                    }
                }
                let parcels = try ParcelStore.due(
                    connection, circuit, now: now.wall, limit: load.parcels, held: held,
                    onlyWithNext: load.isForPassing)
                items += parcels.rows.map(\.item)
                let next = [
                    try PushQueueStore.nextDue(connection, circuit, after: now.wall),
                    try ParcelStore.nextDue(connection, circuit, after: now.wall),
                ]
                return Loaded(
                    items: items, dead: dead, hasMore: found.hasMore,
                    hasMoreParcels: parcels.hasMore, next: next.compactMap { $0 }.min())
            },
            then: { result in
                self.state.withLock { state in
                    switch result {
                    case .success(let found):
                        self.metrics.dead[.unregistered].add(found.dead)
                        state.deliveries.didLoad(
                            load, found.items, hasMore: found.hasMore,
                            hasMoreParcels: found.hasMoreParcels, nextDue: found.next,
                            now: self.clock())
                    case .failure:
                        state.deliveries.didNotLoad(circuit, now: self.clock())
                    }
                }
                self.turnSoon()
            })
    }

    /// Looks for what waits in the database and is not known here.
    func lookForCircuits() {
        let limit = state.withLock { state in
            state.deliveries.overflow = false
            return state.deliveries.limits.circuits
        }
        host.database.writer.submit(
            size: 0,
            {
                try PushQueueStore.circuits($0, limit: limit)
                    + ParcelStore.circuits($0, limit: limit)
            },
            then: { result in
                guard case .success(let circuits) = result else { return }
                let now = self.clock()
                self.state.withLock { state in
                    for circuit in circuits {
                        state.deliveries.noteDue(
                            circuit.circuit, circuit.provider, at: circuit.due, now: now)
                    }
                    // There may be more.
                    if circuits.count >= limit { state.deliveries.overflow = true }
                }
                self.turnSoon()
            })
    }

    /// Every minute: what nobody needs any more, and what was overlooked.
    func sweep() {
        guard let loop = host.loops.first else { return }
        loop.eventLoop.scheduleRepeatedTask(initialDelay: .seconds(1), delay: .seconds(60)) {
            [weak self] task in
            guard let self, !self.state.withLock({ $0.deliveries.isStopping }) else {
                return task.cancel()
            }
            self.giveUpExpired()
            if self.state.withLock({ $0.deliveries.overflow }) { self.lookForCircuits() }
        }
    }

    /// What could not be signed goes out as soon as the time is known.
    func waitForClock() {
        guard !isClockRight(), let loop = host.loops.first else { return }
        loop.eventLoop.scheduleTask(in: .seconds(2)) { [weak self] in
            guard let self, self.isClockRight() else { return self?.waitForClock() ?? () }
            self.giveUpExpired()
            self.reload()
        }
    }

    private func giveUpExpired() {
        let now = clock()
        let limit = options.deadLetters.value
        let lifetime = Deliveries.milliseconds(options.lifetime.value)
        host.database.writer.submit(
            size: 0,
            { connection -> (dead: [Int64], changed: [Int64], rebased: Int) in
                // What was asked for before the clock was right has its time from now on.
                let rebased =
                    now.wall > Self.sensible
                    ? try PushQueueStore.rebase(connection, before: Self.sensible, now: now.wall)
                    : 0
                var (dead, changed): ([Int64], [Int64]) = ([], [])
                let expired = try PushQueueStore.expired(connection, now: now.wall, limit: 1000)
                for (target, account, row) in expired {
                    if try PushQueueStore.endCall(
                        connection, target, lifetime: lifetime, now: now.wall)
                    {
                        changed.append(target)
                        continue
                    }
                    let letter = DeadLetter(target, row, account, .expired, died: now.wall)
                    try PushQueueStore.noteDead(
                        connection, letter, version: row.version, endsAll: true, limit: limit)
                    dead.append(target)
                }
                return (dead, changed, rebased)
            },
            then: { result in
                guard case .success(let done) = result else { return }
                self.metrics.dead[.expired].add(done.dead.count)
                self.didSuppress(done.dead + done.changed)
                if !done.changed.isEmpty || done.rebased > 0 { self.lookForCircuits() }
            })
    }

    /// The beginning of 2025 in milliseconds: before it, no clock was right when this was written.
    private static let sensible: Int64 = 1_735_689_600_000
}
