// The threads that read the machine. One plans and never reads; one reads, and as long as it is
// stuck in a source, others take its place. In a machine without broken sources these are two.
//
// THREADS: everything that is shared stands in `shared`; the readings themselves are values.

import Glibc

/// Runs readings on schedule until it is stopped.
final class ReadingPool: Sendable {
    fileprivate struct Shared {
        var schedule: ReadingSchedule
        /// Threads that read, or wait to.
        var readers = 0
        var idleReaders = 0
        /// Before this no thread is asked for, because the last one could not be had.
        var noThreadBefore: ContinuousClock.Instant
        var isStopped = false
        /// Threads of both kinds.
        var threads = 0
    }

    private enum Plan {
        case tellOverdue([Int])
        case addReader
        case turn
        case stop
    }

    private let readings: [any Reading]
    private let now: @Sendable () -> ContinuousClock.Instant
    private let read: @Sendable (Int) -> ReadingOutcome
    private let record: @Sendable (Int, ReadingOutcome) -> Void
    private let report: HardwareMonitor.Report
    private let turned: @Sendable () -> Void
    private let ended: @Sendable () -> Void
    private let shared: Condition<Shared>

    /// - Parameters:
    ///   - read: reads one; on any of the pool's threads, never twice at a time for the same.
    ///   - record: told of every outcome, also of a read that did not end in time.
    ///   - turned: called by the planning thread whenever it has looked at the schedule.
    ///   - ended: called when the last thread ends.
    init(
        readings: [any Reading], now: @escaping @Sendable () -> ContinuousClock.Instant,
        read: @escaping @Sendable (Int) -> ReadingOutcome,
        record: @escaping @Sendable (Int, ReadingOutcome) -> Void,
        report: @escaping HardwareMonitor.Report, turned: @escaping @Sendable () -> Void,
        ended: @escaping @Sendable () -> Void
    ) {
        self.readings = readings
        self.now = now
        self.read = read
        self.record = record
        self.report = report
        self.turned = turned
        self.ended = ended
        let start = now()
        shared = Condition(
            Shared(
                schedule: ReadingSchedule(
                    readings.map { ($0.period, $0.timeout) }, start: start),
                noThreadBefore: start))
    }

    /// Starts the planning thread.
    func start() throws(ReadingError) {
        try startThread { $0.plan() }
    }

    /// Ends the threads: at once those that wait, the others after the reading that they are at.
    /// Does not wait for that.
    func stop() {
        shared.with { $0.isStopped = true }
        shared.wake()
    }

    /// Reads those that need what was remembered, now that it was loaded.
    func readRemembering() {
        let now = now()
        shared.with { shared in
            for index in readings.indices where type(of: readings[index]).remembers {
                shared.schedule.hasten(index, at: now)
            }
        }
        shared.wake()
    }

    private func startThread(
        _ body: @escaping @Sendable (ReadingPool) -> Void
    ) throws(ReadingError) {
        shared.with { $0.threads += 1 }
        do throws(ReadingError) {
            try ReadingThread.start { [self] in
                body(self)
                threadEnds()
            }
        } catch {
            threadEnds()
            throw error
        }
    }

    private func threadEnds() {
        let isLast = shared.with { shared in
            shared.threads -= 1
            return shared.threads == 0
        }
        if isLast { ended() }
    }

    // MARK: The thread that plans

    private func plan() {
        // Not with the lock held: the readers would wait for whatever is done there.
        var hasTurned = false
        while true {
            let plan: Plan = shared.await { shared in
                guard !shared.isStopped else { return .found(.stop) }
                let now = now()
                let overdue = shared.schedule.takeOverdue(at: now)
                guard overdue.isEmpty else { return .found(.tellOverdue(overdue)) }
                shared.schedule.queueDue(at: now)
                if shared.needsReader(at: now) {
                    shared.readers += 1
                    return .found(.addReader)
                }
                guard hasTurned else { return .found(.turn) }
                hasTurned = false
                // The least wait is for a reader that was woken and has not come yet.
                return .wait(
                    atMost: shared.schedule.nextCheck.map {
                        max(now.duration(to: $0), ReadingSchedule.patience)
                    })
            }
            switch plan {
            case .stop: return
            case .addReader: addReader()
            case .turn:
                turned()
                hasTurned = true
            case .tellOverdue(let indices): indices.forEach(tellOverdue)
            }
        }
    }

    private func tellOverdue(_ index: Int) {
        let reading = readings[index]
        let timeout = reading.timeout
        record(
            index,
            ReadingOutcome(
                samples: [],
                failure: ReadingError(
                    .timeout, subject: type(of: reading).name,
                    message: "no answer within \(timeout.components.seconds) s",
                    advice: "look for the device in the kernel log ('journalctl -k')"),
                duration: timeout, end: now()))
    }

    private func addReader() {
        do throws(ReadingError) {
            try startThread { $0.readDue() }
        } catch {
            report("schedule", error)
            let now = now()
            shared.with { shared in
                shared.readers -= 1
                shared.noThreadBefore = now + .seconds(10)
            }
        }
    }

    // MARK: The threads that read

    private func readDue() {
        while let index = nextDue() {
            let outcome = read(index)
            let now = now()
            let end = shared.with { shared in
                shared.schedule.end(index, failed: outcome.failure != nil, at: now)
            }
            switch end {
            case .inTime: record(index, outcome)
            case .late: tellOverdue(index)
            case .overdue: break
            }
        }
        // The one that waits does not know when what this thread has read is due again.
        shared.wake()
    }

    /// The next reading for this thread, when it is due; nil when the thread is to end.
    private func nextDue() -> Int? {
        var isIdle = false
        return shared.await { shared in
            if isIdle {
                shared.idleReaders -= 1
                isIdle = false
            }
            let now = now()
            shared.schedule.queueDue(at: now)
            if !shared.isStopped, let index = shared.schedule.begin(at: now) {
                return .found(index)
            }
            // One waits for all.
            guard !shared.isStopped, shared.idleReaders == 0 else {
                shared.readers -= 1
                return .found(nil)
            }
            shared.idleReaders += 1
            isIdle = true
            return .wait(atMost: shared.schedule.nextDue.map { now.duration(to: $0) })
        }
    }
}

extension ReadingPool.Shared {
    /// Whether something waits and nobody is there for it, or those who are do not come back.
    fileprivate func needsReader(at now: ContinuousClock.Instant) -> Bool {
        guard schedule.isWaiting, idleReaders == 0, now >= noThreadBefore else { return false }
        return readers == 0 || schedule.needsAnotherThread(at: now)
    }
}
