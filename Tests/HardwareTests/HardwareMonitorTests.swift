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

@Suite("Hardware monitor", .timeLimit(.minutes(10)))
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

    @Test("A value that is too old is not shown, whatever keeps it from being read")
    func staleValue() {
        let now = Mutex(ContinuousClock.now)
        let monitor = HardwareMonitor(
            machine: machine,
            readings: [
                ScriptedReading(period: .seconds(5)) { $0.append(Sample("test_value", value: 7)) }
            ],
            registry: registry, now: { now.withLock { $0 } })
        monitor.readNow()
        now.withLock { $0 += .seconds(29) }
        #expect(registry.samples("test_value") == ["test_value 7"])
        now.withLock { $0 += .seconds(2) }
        #expect(registry.samples("test_value").isEmpty)
        #expect(
            registry.samples("kinglet_hardware_reading_success{").first?.hasSuffix(" 0") == true)
    }

    @Test("The thread reads at once; stop wakes and ends it although nothing is due for an hour")
    func stopWakes() async {
        let (read, reads) = AsyncStream.makeStream(of: Void.self)
        let (ended, end) = AsyncStream.makeStream(of: Void.self)
        let monitor = HardwareMonitor(
            machine: machine, readings: [ScriptedReading { _ in reads.yield() }],
            registry: registry, threadsEnded: { end.yield() })
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
                threadsEnded: { end.yield() })
            monitor.start()
        }
        for await _ in ended { break }
    }
}

@Suite("Reading schedule")
struct ReadingScheduleTests {
    private let start = ContinuousClock.now

    private func schedule(_ periods: Duration...) -> ReadingSchedule {
        ReadingSchedule(periods.map { ($0, .seconds(5)) }, start: start)
    }

    /// Reads everything that is due, in no time.
    private func read(_ schedule: inout ReadingSchedule, at offset: Duration) -> [Int] {
        schedule.queueDue(at: start + offset)
        var read: [Int] = []
        while let index = schedule.begin(at: start + offset) {
            read.append(index)
            let value1 = schedule.end(index, failed: false, at: start + offset)
            #expect(value1 == .inTime)
        }
        return read
    }

    @Test("Everything is due at the start, then each in its own rhythm")
    func rhythm() {
        var schedule = schedule(.seconds(2), .seconds(5))
        #expect(read(&schedule, at: .zero) == [0, 1])
        let value2 = read(&schedule, at: .zero)
        #expect(value2 == [])
        #expect(schedule.nextDue == start + .seconds(2))
        let value3 = read(&schedule, at: .seconds(2))
        #expect(value3 == [0])
        #expect(read(&schedule, at: .seconds(5)) == [0, 1])
    }

    @Test("Beats stay where they are, however late a read begins; missed ones are not made up for")
    func missed() {
        var schedule = schedule(.seconds(2))
        let value4 = read(&schedule, at: .zero)
        #expect(value4 == [0])
        let value5 = read(&schedule, at: .milliseconds(61_500))
        #expect(value5 == [0])
        let value6 = read(&schedule, at: .milliseconds(61_900))
        #expect(value6 == [])
        #expect(schedule.nextDue == start + .seconds(62))
    }

    @Test("Without readings nothing is ever due")
    func empty() {
        #expect(schedule().nextDue == nil)
        #expect(schedule().nextCheck == nil)
    }

    @Test("A read that takes too long is told once, and its end does not count")
    func overdue() {
        var schedule = schedule(.seconds(2))
        schedule.queueDue(at: start)
        let value7 = schedule.begin(at: start)
        #expect(value7 == 0)
        #expect(schedule.nextCheck == start + .seconds(5))
        let value8 = schedule.takeOverdue(at: start + .milliseconds(4999))
        #expect(value8 == [])
        let value9 = schedule.takeOverdue(at: start + .seconds(5))
        #expect(value9 == [0])
        let value10 = schedule.takeOverdue(at: start + .seconds(60))
        #expect(value10 == [])
        schedule.queueDue(at: start + .seconds(60))
        let value11 = schedule.begin(at: start + .seconds(60))
        #expect(value11 == nil, "it still runs")
        let value12 = schedule.end(0, failed: false, at: start + .seconds(61))
        #expect(value12 == .overdue)
        let value13 = read(&schedule, at: .seconds(61))
        #expect(value13 == [0])
    }

    @Test("A read that ends too late, before anybody noticed, does not count either")
    func lateEnd() {
        var schedule = schedule(.seconds(2))
        schedule.queueDue(at: start)
        let value14 = schedule.begin(at: start)
        #expect(value14 == 0)
        let value15 = schedule.end(0, failed: false, at: start + .seconds(5))
        #expect(value15 == .late, "its failure is still to be told")
    }

    @Test("What failed is read again within a minute; what works keeps to its beat")
    func retry() {
        var schedule = schedule(.seconds(600), .seconds(600))
        schedule.queueDue(at: start)
        for failed in [true, false] {
            let index = schedule.begin(at: start)
            let end = schedule.end(index ?? -1, failed: failed, at: start + .seconds(1))
            #expect(end == .inTime)
        }
        #expect(schedule.nextDue == start + .seconds(61))
        let again = read(&schedule, at: .seconds(61))
        #expect(again == [0])
        #expect(schedule.nextDue == start + .seconds(600))
    }

    @Test("Who waits behind a slow neighbour gets a thread of its own after a while")
    func patience() {
        var schedule = schedule(.seconds(2), .seconds(2))
        schedule.queueDue(at: start)
        let value16 = schedule.begin(at: start)
        #expect(value16 == 0)
        #expect(!schedule.needsAnotherThread(at: start + .milliseconds(199)))
        #expect(schedule.needsAnotherThread(at: start + .milliseconds(200)))
        #expect(schedule.nextCheck == start + .milliseconds(200))
        let value17 = schedule.begin(at: start + .milliseconds(200))
        #expect(value17 == 1)
        #expect(!schedule.needsAnotherThread(at: start + .seconds(4)))
    }
}
