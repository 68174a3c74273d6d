// Reads the machine on schedule on threads of its own and shows the last values to the registry.

public import Prometheus
import Synchronization

/// The readings of this machine, in a registry.
///
/// A scrape renders what was read last and waits for nothing. A reading that hangs has failed once
/// its time is over, and holds up neither a scrape nor another reading.
public final class HardwareMonitor: Sendable {
    /// Called when a reading begins to fail, and with nil when it works again, on the thread that
    /// reads. Meant for the log.
    public typealias Report = @Sendable (_ reading: String, _ failure: ReadingError?) -> Void

    private let machine: Machine
    private let readings: [any Reading]
    private let latest: LatestReadings
    private let report: Report
    private let now: @Sendable () -> ContinuousClock.Instant
    private let threadsEnded: @Sendable () -> Void
    private let running = Mutex<ReadingPool?>(nil)

    /// Declares the readings' metrics in `registry`. Nothing is read before ``start(turned:)`` or
    /// ``readNow()``.
    ///
    /// - Parameters:
    ///   - roots: Where the machine's files are.
    ///   - registry: Where the values are shown.
    ///   - settings: What the owner chose about the readings.
    ///   - report: Told of failures that begin and end.
    public convenience init(
        roots: HardwareRoots, registry: Registry,
        settings: HardwareSettings = HardwareSettings(), report: @escaping Report = { _, _ in }
    ) {
        self.init(
            machine: Machine(roots: roots), readings: allReadings(settings),
            registry: registry, report: report)
    }

    /// The same with every dependency given, for tests.
    init(
        machine: Machine, readings: [any Reading], registry: Registry,
        report: @escaping Report = { _, _ in },
        now: @escaping @Sendable () -> ContinuousClock.Instant = { .now },
        threadsEnded: @escaping @Sendable () -> Void = {}
    ) {
        let latest = LatestReadings(readings)
        self.machine = machine
        self.readings = readings
        self.latest = latest
        self.report = report
        self.now = now
        self.threadsEnded = threadsEnded
        let families = LatestReadings.families + readings.flatMap { type(of: $0).families }
        registry.collect(families) { sink in latest.render(into: &sink, now: now()) }
    }

    deinit { stop() }

    /// The values that a reading has found lately, one for each set of labels; empty when it is not
    /// known. Waits for nothing.
    public func latestValues(of name: String) -> [Double] { latest.values(of: name, now: now()) }

    /// Starts the threads that read, unless they run already. That they could not be started is
    /// reported under the name `schedule`.
    /// - Parameter turned: called every few seconds on a thread that never reads; must not block.
    public func start(turned: @escaping @Sendable () -> Void = {}) {
        do throws(ReadingError) {
            try running.withLock { (running) throws(ReadingError) in
                guard running == nil else { return }
                // The pool does not hold the monitor, whose end is what stops it.
                let pool = ReadingPool(
                    readings: readings, now: now,
                    read: { [machine, readings, now] index in
                        Self.read(readings[index], of: machine, now)
                    },
                    record: { [readings, latest, report] index, outcome in
                        Self.record(outcome, of: readings[index], at: index, latest, report)
                    },
                    report: report, turned: turned, ended: threadsEnded)
                try pool.start()
                machine.memory.whenLoaded { [weak pool] in pool?.readRemembering() }
                running = pool
            }
        } catch {
            report("schedule", error)
        }
    }

    /// Ends the threads: at once those that wait, the others after the reading that they are at.
    /// Does not wait for that.
    public func stop() {
        running.withLock { running in
            running?.stop()
            running = nil
        }
    }

    /// Reads everything once on the calling thread; may block as long as the machine's sources do.
    func readNow() {
        for (index, reading) in readings.enumerated() {
            Self.record(
                Self.read(reading, of: machine, now), of: reading, at: index, latest, report)
        }
    }

    /// What the readings remember across restarts and boots. Nothing that counts over boots is
    /// shown before it was loaded.
    public var memory: MachineMemory { machine.memory }

    /// The readings that fail now, by name, and why.
    var failures: [String: ReadingError] { latest.failures }

    /// Reads one source; the outcome says what was found, whatever that is.
    private static func read(
        _ reading: any Reading, of machine: Machine,
        _ now: @Sendable () -> ContinuousClock.Instant
    ) -> ReadingOutcome {
        var samples: [Sample] = []
        var failure: ReadingError?
        let begin = now()
        do throws(ReadingError) {
            try reading.read(machine, into: &samples)
        } catch {
            failure = error
        }
        let end = now()
        return ReadingOutcome(
            samples: samples, failure: failure, duration: begin.duration(to: end), end: end)
    }

    private static func record(
        _ outcome: ReadingOutcome, of reading: any Reading, at index: Int,
        _ latest: LatestReadings, _ report: Report
    ) {
        let before = latest.record(outcome, at: index)
        if (outcome.failure == nil) != (before == nil) {
            report(type(of: reading).name, outcome.failure)
        }
    }
}
