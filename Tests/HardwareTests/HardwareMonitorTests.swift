// The monitor: its thread, what a scrape sees of reads that fail or hang, and its end.

import Prometheus
import Synchronization
import Testing

@testable import Hardware

/// A reading that does as it is told.
private struct ScriptedReading: Reading {
    static let name = "scripted"
    static let families = [
        FamilyDescription(name: "test_value", kind: .gauge, help: "A value of the test.")
    ]
    var period = Duration.seconds(3600)
    let body: @Sendable (inout [Sample]) throws(ReadingError) -> Void

    func read(_ machine: Machine, into samples: inout [Sample]) throws(ReadingError) {
        try body(&samples)
    }
}

private let failure = ReadingError(systemError: 5, subject: "test")

@Suite("Hardware monitor", .timeLimit(.minutes(1)))
struct HardwareMonitorTests {
    private let registry = Registry()
    private let machine = Machine(roots: RecordedTree.pc.roots)

    @Test("Nothing is shown before the first read")
    func nothingYet() {
        let monitor = HardwareMonitor(roots: RecordedTree.pi4Healthy.roots, registry: registry)
        #expect(registry.render(.text004).isEmpty)
        monitor.readNow()
        #expect(!registry.samples("rpi_info").isEmpty)
    }

    @Test("A reading that begins to fail loses its values and is reported once, as is its recovery")
    func failureAndRecovery() {
        let fails = Atomic(false)
        let reports = Mutex<[String]>([])
        let reading = ScriptedReading { samples throws(ReadingError) in
            if fails.load(ordering: .relaxed) { throw failure }
            samples.append(Sample("test_value", value: 7))
        }
        let monitor = HardwareMonitor(
            machine: machine, readings: [reading], registry: registry,
            report: { name, failure in
                reports.withLock { $0.append("\(name) \(failure?.code.rawValue ?? "works")") }
            })
        let success = "kinglet_hardware_reading_success{reading=\"scripted\"}"

        monitor.readNow()
        #expect(registry.samples("test_value") == ["test_value 7"])
        #expect(registry.samples(success) == ["\(success) 1"])

        fails.store(true, ordering: .relaxed)
        monitor.readNow()
        monitor.readNow()
        #expect(registry.samples("test_value").isEmpty)
        #expect(registry.samples(success) == ["\(success) 0"])
        #expect(monitor.failures == ["scripted": failure])

        fails.store(false, ordering: .relaxed)
        monitor.readNow()
        #expect(registry.samples("test_value") == ["test_value 7"])
        #expect(reports.withLock { $0 } == ["scripted inputOutput", "scripted works"])
    }

    @Test("What was found before a failure is shown beside success 0")
    func partialRead() {
        let reading = ScriptedReading { samples throws(ReadingError) in
            samples.append(Sample("test_value", value: 1))
            throw failure
        }
        let monitor = HardwareMonitor(machine: machine, readings: [reading], registry: registry)
        monitor.readNow()
        #expect(registry.samples("test_value") == ["test_value 1"])
        #expect(
            registry.samples("kinglet_hardware_reading_success{").first?.hasSuffix(" 0") == true)
    }

    @Test("A reading that hangs holds up no scrape, and its old value disappears")
    func hangingReading() async {
        let (hanging, hangs) = AsyncStream.makeStream(of: Void.self)
        let (ended, end) = AsyncStream.makeStream(of: Void.self)
        let release = StopSignal()
        let reads = Atomic(0)
        let now = Mutex(ContinuousClock.now)
        let reading = ScriptedReading(period: .zero) { samples in
            if reads.add(1, ordering: .relaxed).newValue > 1 {
                hangs.yield()
                while !release.isRaised { release.wait(atMost: .seconds(60)) }
            }
            samples.append(Sample("test_value", value: 7))
        }
        let monitor = HardwareMonitor(
            machine: machine, readings: [reading], registry: registry,
            now: { now.withLock { $0 } }, threadEnded: { end.yield() })
        monitor.start()
        for await _ in hanging { break }
        #expect(registry.samples("test_value") == ["test_value 7"])

        now.withLock { $0 += .seconds(31) }
        #expect(registry.samples("test_value").isEmpty)
        #expect(
            registry.samples("kinglet_hardware_reading_success{").first?.hasSuffix(" 0") == true)
        monitor.stop()
        release.raise()
        for await _ in ended { break }
    }

    @Test("The thread reads at once; stop wakes and ends it although nothing is due for an hour")
    func stopWakes() async {
        let (read, reads) = AsyncStream.makeStream(of: Void.self)
        let (ended, end) = AsyncStream.makeStream(of: Void.self)
        let monitor = HardwareMonitor(
            machine: machine, readings: [ScriptedReading { _ in reads.yield() }],
            registry: registry, threadEnded: { end.yield() })
        monitor.start()
        monitor.start()
        for await _ in read { break }
        monitor.stop()
        for await _ in ended { break }

        monitor.start()
        for await _ in read { break }
        monitor.stop()
        for await _ in ended { break }
    }

    @Test("The end of the monitor ends its thread")
    func deinitStops() async {
        let (ended, end) = AsyncStream.makeStream(of: Void.self)
        do {
            let monitor = HardwareMonitor(
                machine: machine, readings: [ScriptedReading { _ in }], registry: registry,
                threadEnded: { end.yield() })
            monitor.start()
        }
        for await _ in ended { break }
    }
}

@Suite("Reading schedule")
struct ReadingScheduleTests {
    private let start = ContinuousClock.now

    @Test("Everything is due at the start, then each in its own rhythm")
    func rhythm() {
        var schedule = ReadingSchedule(periods: [.seconds(2), .seconds(5)], start: start)
        #expect(schedule.takeDue(at: start) == [0, 1])
        #expect(schedule.takeDue(at: start) == [])
        #expect(schedule.next == start + .seconds(2))
        #expect(schedule.takeDue(at: start + .seconds(2)) == [0])
        #expect(schedule.takeDue(at: start + .seconds(5)) == [0, 1])
    }

    @Test("Missed reads are not made up for")
    func missed() {
        var schedule = ReadingSchedule(periods: [.seconds(2)], start: start)
        _ = schedule.takeDue(at: start)
        #expect(schedule.takeDue(at: start + .seconds(60)) == [0])
        #expect(schedule.takeDue(at: start + .seconds(60)) == [])
        #expect(schedule.next == start + .seconds(62))
    }

    @Test("Without readings nothing is ever due")
    func empty() {
        #expect(ReadingSchedule(periods: [], start: start).next == nil)
    }
}
