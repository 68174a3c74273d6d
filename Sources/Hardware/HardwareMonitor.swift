// Reads the machine on schedule on a thread of its own and shows the last values to the registry.

public import Prometheus
import Synchronization

/// The readings of this machine, in a registry.
///
/// A scrape renders what was read last and waits for nothing: a reading that hangs holds up the
/// readings after it, and their values disappear once they are too old, but no scrape.
public final class HardwareMonitor: Sendable {
    /// Called when a reading begins to fail, and with nil when it works again, on the thread that
    /// reads. Meant for the log.
    public typealias Report = @Sendable (_ reading: String, _ failure: ReadingError?) -> Void

    private let work: ReadingWork
    private let running = Mutex<StopSignal?>(nil)
    private let threadEnded: @Sendable () -> Void

    /// Declares the readings' metrics in `registry`. Nothing is read before ``start()`` or
    /// ``readNow()``.
    ///
    /// - Parameters:
    ///   - roots: Where the machine's files are.
    ///   - registry: Where the values are shown.
    ///   - mailbox: How the firmware is asked; nil for the recorded answers of a recorded tree, or
    ///     the device nodes below `roots.dev`.
    ///   - report: Told of failures that begin and end.
    public convenience init(
        roots: HardwareRoots, registry: Registry, mailbox: (any FirmwareMailbox)? = nil,
        report: @escaping Report = { _, _ in }
    ) {
        self.init(
            machine: Machine(roots: roots, mailbox: mailbox), readings: allReadings,
            registry: registry, report: report)
    }

    /// The same with every dependency given, for tests.
    init(
        machine: Machine, readings: [any Reading], registry: Registry,
        report: @escaping Report = { _, _ in },
        now: @escaping @Sendable () -> ContinuousClock.Instant = { .now },
        threadEnded: @escaping @Sendable () -> Void = {}
    ) {
        let latest = LatestReadings(readings)
        work = ReadingWork(
            machine: machine, readings: readings, latest: latest, report: report, now: now)
        self.threadEnded = threadEnded
        let families = LatestReadings.families + readings.flatMap { type(of: $0).families }
        registry.collect(families) { sink in latest.render(into: &sink, now: now()) }
    }

    deinit { stop() }

    /// Starts the thread that reads, unless it runs already. That it could not be started is
    /// reported under the name `schedule`.
    public func start() {
        do throws(ReadingError) {
            try running.withLock { (running) throws(ReadingError) in
                guard running == nil else { return }
                let signal = StopSignal()
                try ReadingThread.start { [work, threadEnded] in
                    work.run(until: signal)
                    threadEnded()
                }
                running = signal
            }
        } catch {
            work.report("schedule", error)
        }
    }

    /// Ends the thread: at once when it sleeps, else after the reading that it is at. Does not
    /// wait for that.
    public func stop() {
        running.withLock { running in
            running?.raise()
            running = nil
        }
    }

    /// Reads everything once on the calling thread; may block as long as the machine's sources do.
    public func readNow() {
        for index in work.readings.indices { work.read(index) }
    }

    /// What the readings remember across restarts and boots. Nothing that counts over boots is
    /// shown before it was loaded.
    public var memory: MachineMemory { work.machine.memory }

    /// The readings that fail now, by name, and why.
    public var failures: [String: ReadingError] { work.latest.failures }
}

/// What the thread needs. It does not hold the monitor, whose end is what stops it.
private struct ReadingWork: Sendable {
    let machine: Machine
    let readings: [any Reading]
    let latest: LatestReadings
    let report: HardwareMonitor.Report
    let now: @Sendable () -> ContinuousClock.Instant

    /// Reads what is due until the signal is raised.
    func run(until signal: StopSignal) {
        var schedule = ReadingSchedule(periods: readings.map(\.period), start: now())
        while !signal.isRaised {
            for index in schedule.takeDue(at: now()) where !signal.isRaised { read(index) }
            guard let next = schedule.next else { return }
            signal.wait(atMost: now().duration(to: next))
        }
    }

    /// Reads one source and records the outcome, whatever it is.
    func read(_ index: Int) {
        let reading = readings[index]
        var samples: [Sample] = []
        var failure: ReadingError?
        let begin = now()
        do throws(ReadingError) {
            try reading.read(machine, into: &samples)
        } catch {
            failure = error
        }
        let end = now()
        let before = latest.record(
            ReadingOutcome(
                samples: samples, failure: failure, duration: begin.duration(to: end), end: end),
            at: index)
        if (failure == nil) != (before == nil) { report(type(of: reading).name, failure) }
    }
}
