// Takes what programs want to tell, looks up by and by whom that is for, and says what became of it.

internal import Addresses
internal import Engine
internal import NIOCore
internal import Prometheus
internal import Storage
internal import Synchronization

/// Why a task is not taken.
enum PushTaskRefusal: Error, Sendable, Equatable {
    /// Nobody that it is for has a device.
    case nobody
    /// Its dedupe key was used for something else.
    case conflict(task: Int64)
    /// The token was taken away meanwhile.
    case revoked
    /// So much waits that no more is taken.
    case full
    /// Nobody knows when it would be over.
    case clock
    case storage
}

/// A task that was taken.
struct TakenTask: Sendable, Equatable {
    var id: Int64
    /// Parts of the audience that lead to nobody.
    var unreached: [PushTask.Audience.Selection] = []
    /// The same was asked for before: nothing is sent for it.
    var isRepeated = false
}

/// A task and what became of it so far.
struct PushTaskReport: Sendable {
    var row: PushTaskRow
    var counts: [(provider: ProviderKind, counts: PushTaskCounts)]
}

/// The tasks. Safe on any thread.
final class PushTasks: Sendable {
    /// Targets that are looked up in one transaction, so that nobody waits long for it.
    static let chunk = 1000
    /// Targets that may wait; tasks and milliseconds that are remembered.
    private static let mostWaiting = 1_000_000
    private static let mostTasks = 10_000
    /// So many may be there before some have been forgotten.
    private static let tasksAtOnce = 12_000
    private static let memory: Int64 = 7 * 86_400_000

    /// Milliseconds for which even what is of use now or never is tried: it has to get out.
    private static let leastTime: Int64 = 30_000

    /// Targets that are ended in one transaction.
    static let part = 2_000

    private struct State {
        var isExpanding = false
        /// How many waited when it was looked last, and since then more; the same of tasks.
        var waiting = 0
        var tasks = 0
    }

    let dispatcher: PushDispatcher
    private let state = Mutex(State())

    init(_ dispatcher: PushDispatcher) { self.dispatcher = dispatcher }

    private var database: Database { dispatcher.host.database }

    /// Goes on with what an earlier process has begun, and looks after the tables.
    func start() {
        expand()
        sweep()
        guard let loop = dispatcher.host.loops.first else { return }
        loop.eventLoop.scheduleRepeatedTask(initialDelay: .seconds(60), delay: .seconds(60)) {
            [weak self] task in
            guard let self, !self.dispatcher.isStopping else { return task.cancel() }
            self.sweep()
            self.expand()
        }
    }

    // MARK: In

    /// Takes a task. `then` is called once it is durable, on any thread.
    ///
    /// - Parameters:
    ///   - token: whose it is.
    ///   - dedupe: one with the same is not taken twice.
    ///   - digest: of what was asked for.
    func take(
        _ task: PushTask, token: Int64, dedupe: String?, digest: [UInt8],
        then: @escaping @Sendable (Result<TakenTask, PushTaskRefusal>) -> Void
    ) {
        let hasRoom = state.withLock {
            $0.waiting < Self.mostWaiting && $0.tasks < Self.tasksAtOnce
        }
        guard hasRoom else { return then(.failure(.full)) }
        guard dispatcher.isClockRight() else { return then(.failure(.clock)) }
        let now = dispatcher.now.wall
        let content: [UInt8]
        do {
            content = try dispatcher.keys.seal(task.json.bytes, for: "task")
        } catch {
            return then(.failure(.storage))
        }
        let row = PushTaskRow(
            token: token, dedupe: dedupe, digest: digest, created: now,
            expires: now + max(Self.leastTime, Int64(task.lifetime) * 1000), selection: 0,
            content: content)
        let expansion = TaskExpansion(batchSize: dispatcher.batchSize)
        database.writer.submit(
            size: content.count,
            { connection -> (Result<TakenTask, PushTaskRefusal>, [ParcelRow]) in
                guard try APITokenStore.contains(connection, token) else {
                    return (.failure(.revoked), [])
                }
                if let dedupe,
                    let known = try PushTaskStore.find(connection, token: token, dedupe: dedupe)
                {
                    guard known.digest == digest else {
                        return (.failure(.conflict(task: known.id)), [])
                    }
                    return (.success(TakenTask(id: known.id, isRepeated: true)), [])
                }
                var row = row
                row.id = try PushTaskStore.insert(connection, row)
                let part = try expansion.next(of: row, task, now: now, connection)
                guard !part.parcels.isEmpty || !part.isLast else {
                    try PushTaskStore.remove(connection, row.id)
                    return (.failure(.nobody), [])
                }
                let taken = TakenTask(id: row.id, unreached: part.unreached)
                return (.success(taken), part.parcels)
            },
            then: { result in
                guard case .success((let taken, let parcels)) = result else {
                    return then(.failure(.storage))
                }
                self.note(parcels)
                if case .success(let task) = taken, !task.isRepeated {
                    self.state.withLock { $0.tasks += 1 }
                }
                then(taken)
                if case .success(let task) = taken, !task.isRepeated { self.expand() }
            })
    }

    private func note(_ parcels: [ParcelRow]) {
        let count = parcels.reduce(0) { $0 + $1.parcel.count }
        state.withLock { $0.waiting += count }
        dispatcher.didCommit(parcels)
    }

    /// Looks up some more of the audiences that are not all known.
    private func expand() {
        let mayBegin = state.withLock { state in
            guard !state.isExpanding else { return false }
            state.isExpanding = true
            return true
        }
        if mayBegin { expandNext() }
    }

    private func expandNext() {
        let expansion = TaskExpansion(batchSize: dispatcher.batchSize)
        let now = dispatcher.now.wall
        let keys = dispatcher.keys
        database.writer.submit(
            { connection -> (parcels: [ParcelRow], isMore: Bool) in
                guard let row = try PushTaskStore.open(connection) else { return ([], false) }
                guard row.cancelled == nil, row.expires > now,
                    let bytes = keys.open(row.content, for: "task"),
                    let task = JSONValue(bytes).flatMap(PushTask.init)
                else {
                    try PushTaskStore.advance(connection, row.id, selection: nil, cursor: 0)
                    return ([], true)
                }
                return (try expansion.next(of: row, task, now: now, connection).parcels, true)
            },
            then: { result in
                guard case .success(let part) = result, part.isMore, !self.dispatcher.isStopping
                else { return self.state.withLock { $0.isExpanding = false } }
                self.note(part.parcels)
                self.expandNext()
            })
    }

    // MARK: Looking after

    private func sweep() {
        let now = dispatcher.now.wall
        let wakeups = dispatcher.wakeups
        let batchSize = dispatcher.batchSize
        database.writer.submit(
            size: 0,
            { connection -> Swept in
                let ended = try ParcelStore.ended(connection, now: now, members: Self.part)
                var all: [Written] = []
                let moment = PushMoment(monotonic: 0, wall: now)
                for row in ended.rows {
                    let record = ParcelRecord(
                        item: row.item, outcome: ParcelOutcome(),
                        answer: PushAnswer(.rejected, .expired), end: .dead(disables: false),
                        now: moment, wakeups: wakeups, batchSize: batchSize)
                    all.append(try record.write(connection))
                }
                let isMore = try PushTaskStore.forget(
                    connection, before: now - Self.memory, most: Self.mostTasks)
                var swept = Swept(written: all, keys: ended.rows.map { -$0.parcel.id })
                swept.isMore = isMore || ended.isMore
                guard !swept.isMore else { return swept }
                swept.waiting = try ParcelStore.waiting(connection)
                swept.tasks = try PushTaskStore.count(connection)
                return swept
            },
            then: { result in
                guard case .success(let done) = result else { return }
                self.state.withLock { state in
                    state.waiting = done.waiting ?? state.waiting
                    state.tasks = done.tasks ?? state.tasks
                }
                for written in done.written { self.dispatcher.metrics.count(written) }
                self.dispatcher.didSuppress(done.keys)
                if done.isMore, !self.dispatcher.isStopping { self.sweep() }
            })
    }

    /// What looking after has brought.
    private struct Swept: Sendable {
        var written: [Written]
        var keys: [Int64]
        var isMore = false
        /// Counted with the last part.
        var waiting: Int?
        var tasks: Int?
    }

    /// Sends nothing more of a task. `then` gets false if there is none of this token's.
    func cancel(
        _ id: Int64, token: Int64?,
        then: @escaping @Sendable (Result<Bool, PushTaskRefusal>) -> Void
    ) {
        let now = dispatcher.now.wall
        database.writer.submit(
            { connection -> (keys: [Int64], isMore: Bool)? in
                guard let row = try PushTaskStore.find(connection, id),
                    token == nil || row.token == token
                else { return nil }
                return try Self.cancel(row.id, now: now, connection)
            },
            then: { result in
                guard case .success(let done) = result else { return then(.failure(.storage)) }
                self.dispatcher.didSuppress(done?.keys ?? [])
                guard let done, done.isMore else { return then(.success(done != nil)) }
                self.cancel(id, token: token, then: then)
            })
    }

    /// Sends nothing more of a task, or of a part of it, in a transaction; gives what stands for its
    /// parcels, and whether there are more.
    static func cancel(
        _ id: Int64, now: Int64, _ connection: Connection
    ) throws -> (keys: [Int64], isMore: Bool) {
        try PushTaskStore.cancel(connection, id, now: now)
        let parcels = try ParcelStore.parcels(connection, of: id, members: part)
        for row in parcels.rows {
            var counts = PushTaskCounts()
            counts.dropped = try ParcelStore.endAll(
                connection, row.parcel, .dropped, nil, now: now)
            try PushTaskStore.count(connection, id, row.provider, counts)
        }
        return (parcels.rows.map { -$0.parcel.id }, parcels.isMore)
    }

    // MARK: Questions

    /// A task of a token's, with what became of it; nil if there is none.
    func report(
        _ id: Int64, token: Int64,
        then: @escaping @Sendable (Result<PushTaskReport?, StorageError>) -> Void
    ) {
        database.read(
            { connection in
                guard let row = try PushTaskStore.find(connection, id), row.token == token else {
                    return nil
                }
                return PushTaskReport(row: row, counts: try PushTaskStore.counts(connection, id))
            }, then: then)
    }

    /// What became of a task for each target; nil if there is no such task.
    func results(
        _ id: Int64, token: Int64, after target: Int64, limit: Int,
        then: @escaping @Sendable (Result<[PushSending]?, StorageError>) -> Void
    ) {
        database.read(
            { connection in
                guard let row = try PushTaskStore.find(connection, id), row.token == token else {
                    return nil
                }
                return try PushTaskStore.sendings(connection, id, after: target, limit: limit)
            }, then: then)
    }
}

/// Looks up whom a task is for. Safe on any thread; in a transaction.
struct TaskExpansion: Sendable {
    private let batchSize: @Sendable (ProviderKind, String) -> Int

    init(batchSize: @escaping @Sendable (ProviderKind, String) -> Int) {
        self.batchSize = batchSize
    }

    private struct Way: Hashable {
        var circuit: String
        var provider: ProviderKind
        var app: String
        var hasNext: Bool
    }

    /// Makes parcels of the next targets, and remembers how far it is.
    func next(
        of row: PushTaskRow, _ task: PushTask, now: Int64, _ connection: Connection
    ) throws -> (
        parcels: [ParcelRow], unreached: [PushTask.Audience.Selection], isLast: Bool
    ) {
        let selections = task.audience.selections
        var unreached: [PushTask.Audience.Selection] = []
        var place = Int(row.selection ?? 0)
        var cursor = row.cursor
        var ways: [Way: [(target: Int64, badge: Int64?)]] = [:]
        var taken: Set<Int64> = []
        var room = PushTasks.chunk
        while place < selections.count, room > 0 {
            let found = try PushTaskStore.receivers(
                connection, selections[place], after: cursor, limit: room)
            if found.isEmpty, cursor == 0 { unreached.append(selections[place]) }
            for receiver in found {
                cursor = receiver.cursor
                // Who is in several parts of the audience is told once.
                guard !taken.contains(receiver.target),
                    try !ParcelStore.contains(connection, row.id, receiver.target)
                else { continue }
                taken.insert(receiver.target)
                let way = Way(
                    circuit: receiver.circuit, provider: receiver.provider, app: receiver.app,
                    hasNext: receiver.hasNext)
                ways[way, default: []].append(
                    (receiver.target, try badge(task, receiver.device, connection)))
            }
            if found.count < room {
                place += 1
                cursor = 0
            }
            // A selection without anybody is work as well.
            room -= max(1, found.count)
        }
        let isLast = place >= selections.count
        try PushTaskStore.advance(
            connection, row.id, selection: isLast ? nil : Int64(place),
            cursor: isLast ? 0 : cursor)
        return (try parcels(ways, row, now: now, connection), unreached, isLast)
    }

    private func badge(
        _ task: PushTask, _ device: Int64?, _ connection: Connection
    ) throws -> Int64? {
        guard let badge = task.badge else { return nil }
        if let device { return try PushDeviceStore.setBadge(connection, device, badge) }
        // Of others nobody knows what they show.
        if case .set(let count) = badge { return Int64(count) }
        return nil
    }

    private func parcels(
        _ ways: [Way: [(target: Int64, badge: Int64?)]], _ row: PushTaskRow, now: Int64,
        _ connection: Connection
    ) throws -> [ParcelRow] {
        var parcels: [ParcelRow] = []
        for (way, members) in ways {
            var counts = PushTaskCounts()
            counts.requested = members.count
            try PushTaskStore.count(connection, row.id, way.provider, counts)
            let size = max(1, batchSize(way.provider, way.app))
            let sorted = members.sorted { $0.target < $1.target }
            for start in stride(from: 0, to: sorted.count, by: size) {
                let content = ParcelStore.Content(
                    task: row.id, circuit: way.circuit, provider: way.provider, app: way.app,
                    hasNext: way.hasNext, due: now, expires: row.expires,
                    members: Array(sorted[start..<min(start + size, sorted.count)]))
                if let parcel = try ParcelStore.insert(connection, content, added: row.created) {
                    parcels.append(parcel)
                }
            }
        }
        return parcels
    }
}
