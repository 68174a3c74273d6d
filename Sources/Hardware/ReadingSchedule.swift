// Which reading is due, waits, runs, or takes too long. No clock and no thread in here.

/// The state of a list of readings.
struct ReadingSchedule {
    /// So long what is due waits for those before it, before another thread takes it: a neighbour
    /// that hangs then delays nobody, and neighbours that do not share one thread.
    static let patience = Duration.milliseconds(200)
    /// So long after a read was due somebody looks whether it was begun, and is still at it. Longer
    /// than one beat of the most frequent reading: to look each time would cost as much as to read.
    static let checkDelay = Duration.seconds(3)

    /// After a failure.
    static let retryPeriod = Duration.seconds(60)

    private enum Phase: Equatable {
        /// Not before it is due.
        case idle
        /// In the queue.
        case waiting
        case running(since: ContinuousClock.Instant)
        /// It did not end in time, and still runs.
        case overdue
    }

    private struct Entry {
        let period: Duration
        let timeout: Duration
        var due: ContinuousClock.Instant
        var phase = Phase.idle
    }

    private let start: ContinuousClock.Instant
    private var entries: [Entry]
    private var queue: [Int] = []
    /// Since when the first in the queue waits.
    private var queuedSince: ContinuousClock.Instant

    /// Everything is due at `start`, and then once a period.
    init(_ rhythms: [(period: Duration, timeout: Duration)], start: ContinuousClock.Instant) {
        self.start = start
        queuedSince = start
        entries = rhythms.map { Entry(period: $0.period, timeout: $0.timeout, due: start) }
    }

    /// Has a reading be due now, also if it runs at the moment.
    mutating func hasten(_ index: Int, at now: ContinuousClock.Instant) {
        entries[index].due = now
    }

    /// When the next reading is due that neither waits nor runs; nil when there is none.
    var nextDue: ContinuousClock.Instant? {
        entries.lazy.filter { $0.phase == .idle }.map(\.due).min()
    }

    /// When somebody has to look after the threads: something runs for too long, or waits for one
    /// that does, or should have begun by then; nil when there are no readings.
    var nextCheck: ContinuousClock.Instant? {
        let timeouts = entries.compactMap { entry -> ContinuousClock.Instant? in
            guard case .running(let since) = entry.phase else { return nil }
            return since + entry.timeout
        }
        let start =
            queue.isEmpty ? nextDue.map { $0 + Self.checkDelay } : queuedSince + Self.patience
        return (timeouts + [start].compactMap { $0 }).min()
    }

    /// Puts what is due into the queue.
    mutating func queueDue(at now: ContinuousClock.Instant) {
        let isFirst = queue.isEmpty
        for index in entries.indices
        where entries[index].phase == .idle && entries[index].due <= now {
            entries[index].phase = .waiting
            queue.append(index)
        }
        if isFirst { queuedSince = now }
    }

    /// Whether a reading waits for a thread.
    var isWaiting: Bool { !queue.isEmpty }

    /// Whether one has waited long enough for a thread of its own.
    func needsAnotherThread(at now: ContinuousClock.Instant) -> Bool {
        isWaiting && now >= queuedSince + Self.patience
    }

    /// Takes the next reading out of the queue. It is read from `now` on.
    ///
    /// The next read is due on the beat of its period, counted from the start, so that readings of
    /// the same rhythm wake the machine together. A beat that was missed is not made up for.
    mutating func begin(at now: ContinuousClock.Instant) -> Int? {
        guard !queue.isEmpty else { return nil }
        let index = queue.removeFirst()
        queuedSince = now
        entries[index].phase = .running(since: now)
        let period = entries[index].period
        guard period > .zero else {
            entries[index].due = now
            return index
        }
        let beats = ((now - start) / period).rounded(.down)
        entries[index].due = start + period * (beats + 1)
        return index
    }

    /// When a read ended.
    enum End: Equatable {
        case inTime
        /// Too late, and nobody has noticed yet: its failure is still to be told.
        case late
        /// Too late, as ``takeOverdue(at:)`` has said already.
        case overdue
    }

    /// Ends a read.
    ///
    /// What failed is read again soon, however rarely it is read while it works.
    mutating func end(_ index: Int, failed: Bool, at now: ContinuousClock.Instant) -> End {
        defer { entries[index].phase = .idle }
        var end = End.overdue
        if case .running(let since) = entries[index].phase {
            end = now < since + entries[index].timeout ? .inTime : .late
        }
        if failed || end != .inTime {
            entries[index].due = min(entries[index].due, now + Self.retryPeriod)
        }
        return end
    }

    /// The readings that are found to take too long, each once.
    mutating func takeOverdue(at now: ContinuousClock.Instant) -> [Int] {
        entries.indices.filter { index in
            guard case .running(let since) = entries[index].phase,
                now >= since + entries[index].timeout
            else { return false }
            entries[index].phase = .overdue
            return true
        }
    }
}
