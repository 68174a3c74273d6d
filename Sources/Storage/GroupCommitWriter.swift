// The one writer: takes everything that is queued, commits once, then reports to everybody.
// On an idle system the first job commits at once; under load a batch grows by what arrived
// during the last commit, so the disk's own latency sets the pace and one fsync serves many.

internal import Dispatch
internal import GRDB
internal import Prometheus
internal import Synchronization

/// Queues jobs for the database and commits them in order, many at a time.
public final class GroupCommitWriter: Sendable {
    private struct Job: Sendable {
        /// What it keeps in memory while it waits, in bytes.
        let size: Int
        /// Runs the job; may be called twice when a batch has to be repeated one by one. Nil for
        /// one that only wants to know when those before it are done.
        let run: (@Sendable (Connection) throws -> Void)?
        /// Called once, on the writer's thread, after the commit or the failure.
        let report: @Sendable (StorageError?) -> Void
    }

    private struct State {
        var jobs: [Job] = []
        /// Jobs that go with the next others.
        var unhurried: [Job] = []
        /// They will be hurried.
        var isTimed = false
        /// Work between two transactions.
        var turns: [@Sendable () -> Void] = []
        /// Ends what goes over several turns, should the writer end first.
        var atEnd: (@Sendable () -> Void)?
        /// Sizes of the jobs that wait or run.
        var bytes = 0
        var isDraining = false
        /// The thread that drains waits for the next job.
        var isIdle = false
        var isFinished = false

        /// Whether the thread that drains has to be woken.
        mutating func takeIdle() -> Bool {
            defer { isIdle = false }
            return isIdle
        }
        /// Why the last commit failed; nil when it worked.
        var failure: StorageError?
        /// Somebody is asking the disk whether it is well again.
        var isProbing = false
        /// The last transaction.
        var stamp = TransactionStamp()
        /// Hears of those that failed.
        var rolledBack: (@Sendable (TransactionStamp) -> Void)?
    }

    /// While the disk fails, it is asked so often.
    private static let probeInterval = DispatchTimeInterval.seconds(2)

    /// So long its thread stays with the writer: to be given another one for every batch costs more
    /// than the batch, and leaves threads behind.
    private static let idleTime = DispatchTimeInterval.seconds(1)

    /// More jobs than this in one transaction would only delay the first of them.
    private static let largestBatch = 1024

    private let pool: DatabasePool
    private let file: String
    private let longestQueue: Int
    private let shared = Shared(State())
    private let queue = DispatchQueue(label: "kinglet.writer", qos: .userInitiated)
    private let timers = DispatchQueue(label: "kinglet.writer.timers")
    private let wake = DispatchSemaphore(value: 0)
    private let commitDuration: Histogram
    private let batchSize: Histogram
    private let failures: Counter

    init(pool: DatabasePool, file: String, longestQueue: Int, registry: Registry) {
        self.pool = pool
        self.file = file
        self.longestQueue = longestQueue
        commitDuration = registry.histogram(
            "kinglet_commit_duration_seconds",
            help: "Time from the start of a transaction to its commit on the disk.",
            buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10])
        batchSize = registry.histogram(
            "kinglet_commit_batch_size", help: "Jobs that one commit made durable.",
            buckets: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024])
        failures = registry.counter(
            "kinglet_commit_failures_total", help: "Jobs that the database refused.")
        let shared = shared
        registry.gauge(
            "kinglet_commit_queue_jobs", help: "Jobs that wait for the writer.",
            read: { Double(shared.value.withLock { $0.jobs.count }) })
        registry.gauge(
            "kinglet_storage_writable",
            help: "1 unless the last commit failed (disk full, read-only, broken).",
            read: { shared.value.withLock { $0.failure == nil } ? 1 : 0 })
    }

    /// Why the last commit failed; nil when it worked.
    public var failure: StorageError? { shared.value.withLock { $0.failure } }

    /// How many jobs wait.
    public var queuedJobs: Int { shared.value.withLock { $0.jobs.count } }

    /// Calls back, on the writer's thread, for each transaction that failed, before the next one.
    /// For who remembers what a job wrote.
    public func onRollback(_ body: @escaping @Sendable (TransactionStamp) -> Void) {
        shared.value.withLock { $0.rolledBack = body }
    }

    /// Queues a job. Jobs are committed in the order of submission. When too much waits for the
    /// disk, the job is refused at once, on the caller's thread.
    ///
    /// - Parameters:
    ///   - size: what the job keeps in memory, in bytes; 0 for one that must not be refused.
    ///   - work: reads and writes; must be free of other effects, for it may run twice.
    ///   - then: gets the result on the writer's thread once it is durable. Must not block.
    public func submit<Value: Sendable>(
        size: Int = 1024, _ work: @escaping @Sendable (Connection) throws -> Value,
        then: @escaping @Sendable (Result<Value, StorageError>) -> Void
    ) {
        enqueue(job(size, work, then))
    }

    private func job<Value: Sendable>(
        _ size: Int, _ work: @escaping @Sendable (Connection) throws -> Value,
        _ then: @escaping @Sendable (Result<Value, StorageError>) -> Void
    ) -> Job {
        let box = Shared<Value?>(nil)
        return Job(
            size: size,
            run: { connection in
                let value = try work(connection)
                box.value.withLock { $0 = value }
            },
            report: { error in
                if let error {
                    then(.failure(error))
                } else if let value = box.value.withLock({ $0 }) {
                    then(.success(value))
                }
            })
    }

    /// Queues a job that is in no hurry: it goes with the next transaction of others, after them, or
    /// in one of its own after this time at the latest. Otherwise as `submit`.
    public func submit<Value: Sendable>(
        size: Int, within time: Duration, _ work: @escaping @Sendable (Connection) throws -> Value,
        then: @escaping @Sendable (Result<Value, StorageError>) -> Void
    ) {
        enqueue(job(size, work, then), within: time)
    }

    /// Calls back once everything that was queued before is committed or has failed, on the
    /// writer's thread; or at once, on the caller's, when the server is stopping.
    public func afterQueued(_ then: @escaping @Sendable () -> Void) {
        enqueue(Job(size: 0, run: nil, report: { _ in then() }))
    }

    /// Queues a job and waits for its commit; for commands and tests, never on an event loop.
    func submitAndWait<Value: Sendable>(
        _ work: @escaping @Sendable (Connection) throws -> Value
    ) throws(StorageError) -> Value {
        let done = DispatchSemaphore(value: 0)
        let box = Shared<Result<Value, StorageError>?>(nil)
        submit(work) { result in
            box.value.withLock { $0 = result }
            done.signal()
        }
        done.wait()
        guard let result = box.value.withLock({ $0 }) else { throw closed }
        return try result.get()
    }

    /// Runs something on the writer's connection, on its thread, between two transactions, and
    /// waits for it. Whoever commits meanwhile waits too, so it must be short. Never on an event
    /// loop.
    func takeTurn<Value: Sendable>(
        _ work: @escaping @Sendable (GRDB.Database) throws -> Value
    ) throws(StorageError) -> Value {
        let done = DispatchSemaphore(value: 0)
        let box = Shared<Result<Value, StorageError>?>(nil)
        let isTaken = enqueueTurn { [pool, file] in
            let result = Result { try pool.writeWithoutTransaction(work) }
                .mapError { StorageError($0, operation: "copying the database", subject: file) }
            box.value.withLock { $0 = result }
            done.signal()
        }
        guard isTaken else { throw closed }
        done.wait()
        guard let result = box.value.withLock({ $0 }) else { throw closed }
        return try result.get()
    }

    /// Has something run before the connection is closed, in place of the turns that will not come
    /// any more. False when there is such a thing already, or the writer has ended.
    func setAtEnd(_ body: @escaping @Sendable () -> Void) -> Bool {
        shared.value.withLock { state in
            guard state.atEnd == nil, !state.isFinished else { return false }
            state.atEnd = body
            return true
        }
    }

    /// Takes it back.
    func clearAtEnd() { shared.value.withLock { $0.atEnd = nil } }

    /// Commits what is queued and takes no more.
    func finish() {
        let isIdle = shared.value.withLock { state in
            hurry(&state)
            state.isFinished = true
            return state.takeIdle()
        }
        if isIdle { wake.signal() }
        queue.sync {}
        timers.sync {}
        let atEnd = shared.value.withLock { state in
            defer { state.atEnd = nil }
            return state.atEnd
        }
        atEnd?()
    }

    private var closed: StorageError {
        StorageError(
            code: .closed, operation: "writing", subject: file, message: "the server is stopping")
    }

    private var overloaded: StorageError {
        StorageError(
            code: .overloaded, operation: "writing", subject: file,
            message: "too much waits for the disk")
    }

    private func enqueue(_ job: Job, within time: Duration? = nil) {
        let refusal: StorageError? = shared.value.withLock { state in
            guard !state.isFinished else { return closed }
            guard job.size == 0 || state.bytes + job.size <= longestQueue else { return overloaded }
            state.bytes += job.size
            if let time {
                state.unhurried.append(job)
                guard !state.isTimed else { return nil }
                state.isTimed = true
                timers.asyncAfter(deadline: .now() + time.seconds) {
                    self.shared.value.withLock { state in
                        state.isTimed = false
                        self.hurry(&state)
                    }
                }
            } else {
                state.jobs.append(job)
                startDraining(&state)
            }
            return nil
        }
        if let refusal {
            failures.add()
            job.report(refusal)
        }
    }

    /// What was in no hurry is committed now.
    private func hurry(_ state: inout State) {
        guard !state.unhurried.isEmpty else { return }
        state.jobs += state.unhurried
        state.unhurried = []
        startDraining(&state)
    }

    private func enqueueTurn(_ turn: @escaping @Sendable () -> Void) -> Bool {
        shared.value.withLock { state in
            guard !state.isFinished else { return false }
            state.turns.append(turn)
            startDraining(&state)
            return true
        }
    }

    /// Within the lock, so that `finish` waits for whatever was taken.
    private func startDraining(_ state: inout State) {
        if state.takeIdle() {
            wake.signal()
        } else if !state.isDraining {
            state.isDraining = true
            queue.async { self.drain() }
        }
    }

    /// What is to be done next.
    private struct Round {
        var batch: [Job] = []
        var turn: (@Sendable () -> Void)?
        var isOver = false
    }

    private func drain() {
        while true {
            let round = shared.value.withLock { state in
                var round = Round(batch: Array(state.jobs.prefix(Self.largestBatch)))
                state.jobs.removeFirst(round.batch.count)
                if state.jobs.isEmpty, round.batch.contains(where: { $0.run != nil }) {
                    round.batch += state.unhurried
                    state.unhurried = []
                }
                // One after each batch, so that neither waits for all of the others.
                if !state.turns.isEmpty { round.turn = state.turns.removeFirst() }
                guard round.batch.isEmpty, round.turn == nil else { return round }
                state.isDraining = !state.isFinished
                state.isIdle = !state.isFinished
                round.isOver = state.isFinished
                return round
            }
            if !round.batch.isEmpty {
                commit(round.batch)
                let size = round.batch.reduce(0) { $0 + $1.size }
                shared.value.withLock { $0.bytes -= size }
            }
            if let turn = round.turn {
                turn()
            } else if round.batch.isEmpty, round.isOver || !awaitJobs() {
                return
            }
        }
    }

    /// Waits for the next job, or for the end; false when neither comes for long.
    private func awaitJobs() -> Bool {
        if wake.wait(timeout: .now() + Self.idleTime) == .success { return true }
        let isLeaving = shared.value.withLock { state in
            guard state.takeIdle() else { return false }
            state.isDraining = false
            return true
        }
        // Else somebody has just taken it for idle, and signals.
        if !isLeaving { wake.wait() }
        return !isLeaving
    }

    private func commit(_ batch: [Job]) {
        guard batch.contains(where: { $0.run != nil }) else {
            for job in batch { job.report(nil) }
            return
        }
        let start = ContinuousClock.now
        var errors: [StorageError?] = Array(repeating: nil, count: batch.count)
        do {
            try transaction { connection in
                for job in batch { try job.run?(connection) }
            }
            shared.value.withLock { $0.failure = nil }
        } catch let error
            where StorageError(error, operation: "writing", subject: file).code == .busy
        {
            // Each would wait as long again.
            let failure = StorageError(error, operation: "writing", subject: file)
            errors = Array(repeating: failure, count: batch.count)
            failures.add(batch.count)
        } catch {
            // One of them failed, and all were rolled back: give each a transaction of its own,
            // so that only the one that fails is refused.
            for (index, job) in batch.enumerated() {
                guard let run = job.run else { continue }
                do {
                    try transaction { try run($0) }
                    shared.value.withLock { $0.failure = nil }
                } catch {
                    failures.add()
                    let failure = StorageError(error, operation: "writing", subject: file)
                    errors[index] = failure
                    if failure.concernsTheDisk { noteDiskFailure(failure) }
                }
            }
        }
        commitDuration.observe((ContinuousClock.now - start).seconds)
        batchSize.observe(Double(batch.count))
        for (job, error) in zip(batch, errors) { job.report(error) }
    }

    private func noteDiskFailure(_ failure: StorageError) {
        let isFirst = shared.value.withLock { state in
            state.failure = failure
            defer { state.isProbing = true }
            return !state.isProbing
        }
        if isFirst { timers.asyncAfter(deadline: .now() + Self.probeInterval) { self.probe() } }
    }

    /// Writes something that changes nothing, so that a disk that is well again is known to be
    /// before somebody needs it.
    private func probe() {
        let goesOn = shared.value.withLock { state in
            state.isProbing = state.failure != nil && !state.isFinished
            return state.isProbing
        }
        guard goesOn else { return }
        do {
            try transaction { try $0.execute("PRAGMA user_version = 1") }
            shared.value.withLock { state in
                state.failure = nil
                state.isProbing = false
            }
        } catch {
            timers.asyncAfter(deadline: .now() + Self.probeInterval) { self.probe() }
        }
    }

    private func transaction(_ body: (Connection) throws -> Void) throws {
        let stamp = shared.value.withLock { state in
            state.stamp.number += 1
            return state.stamp
        }
        do {
            try pool.writeWithoutTransaction { database in
                try database.inTransaction(.immediate) {
                    try body(Connection(database: database, file: file, stamp: stamp))
                    return .commit
                }
            }
        } catch {
            shared.value.withLock { $0.rolledBack }?(stamp)
            throw error
        }
    }
}

/// A `Mutex` that several closures can hold.
private final class Shared<Value: Sendable>: Sendable {
    let value: Mutex<Value>
    init(_ value: Value) { self.value = Mutex(value) }
}

extension StorageError {
    /// The fault is the disk's or the file's, not the job's.
    fileprivate var concernsTheDisk: Bool {
        switch code {
        case .diskFull, .readOnly, .inputOutput, .corrupt, .cannotOpen: true
        case .busy, .overloaded, .constraint, .newerSchema, .closed, .interrupted, .other:
            false
        }
    }
}

extension Duration {
    /// In seconds.
    var seconds: Double {
        Double(components.seconds) + Double(components.attoseconds) * 1e-18
    }
}
