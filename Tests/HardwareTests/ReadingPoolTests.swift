// The threads that read: a source that hangs costs its own reading and nothing else.

import Glibc
import Prometheus
import Synchronization
import Testing

@testable import Hardware

/// A reading that does as it is told, under one of two names.
private protocol ToldReading: Reading {
    var body: @Sendable (inout [Sample]) -> Void { get }
}

extension ToldReading {
    func read(_ machine: Machine, into samples: inout [Sample]) { body(&samples) }
}

private struct HangingReading: ToldReading {
    static let name = "hanging"
    static let families = [FamilyDescription(name: "test_hanging", kind: .gauge, help: "A test.")]
    let period = Duration.milliseconds(10)
    let timeout = Duration.seconds(1)
    let body: @Sendable (inout [Sample]) -> Void
}

private struct QuickReading: ToldReading {
    static let name = "quick"
    static let families = [FamilyDescription(name: "test_quick", kind: .gauge, help: "A test.")]
    let period = Duration.milliseconds(10)
    let timeout = Duration.seconds(600)
    let body: @Sendable (inout [Sample]) -> Void
}

private struct RareReading: ToldReading {
    static let name = "rare"
    static let families = [FamilyDescription(name: "test_rare", kind: .gauge, help: "A test.")]
    let period = Duration.seconds(3600)
    let timeout = Duration.milliseconds(300)
    let body: @Sendable (inout [Sample]) -> Void
}

private struct RememberingReading: Reading {
    static let name = "remembering"
    static let families: [FamilyDescription] = []
    static let remembers = true
    let period = Duration.seconds(3600)
    let body: @Sendable () -> Void

    func read(_ machine: Machine, into samples: inout [Sample]) { body() }
}

@Suite("Reading pool", .timeLimit(.minutes(10)))
struct ReadingPoolTests {
    private let registry = Registry()
    private let machine = Machine(roots: RecordedTree.pc.roots)
    /// Whether hanging readings may go on.
    private let released = Condition(false)

    private func success(_ reading: String) -> String? {
        registry.samples("kinglet_hardware_reading_success{reading=\"\(reading)\"}").first
            .flatMap { $0.split(separator: " ").last }.map(String.init)
    }

    @Test("A reading that hangs fails when its time is over, delays no other, and comes back")
    func hanging() async {
        let (quick, reads) = AsyncStream.makeStream(of: Int.self)
        let (reports, reported) = AsyncStream.makeStream(of: String.self)
        let (ended, end) = AsyncStream.makeStream(of: Void.self)
        let begun = Atomic(0)
        let count = Atomic(0)
        let hanging = HangingReading { [released] samples in
            begun.add(1, ordering: .relaxed)
            released.await { $0 ? .found(()) : .wait(atMost: nil) }
            samples.append(Sample("test_hanging", value: 1))
        }
        let other = QuickReading { samples in
            samples.append(Sample("test_quick", value: 2))
            reads.yield(count.add(1, ordering: .relaxed).newValue)
        }
        let monitor = HardwareMonitor(
            machine: machine, readings: [hanging, other], registry: registry,
            report: { reported.yield("\($0) \($1?.code.rawValue ?? "works")") },
            threadsEnded: { end.yield() })
        monitor.start()
        var report = reports.makeAsyncIterator()
        #expect(await report.next() == "hanging timeout")
        // Reads go on while the other hangs: some more than before it was told to be late.
        let before = count.load(ordering: .relaxed)
        for await number in quick where number > before + 5 { break }
        #expect(begun.load(ordering: .relaxed) == 1, "it is not read twice at a time")
        #expect(success("hanging") == "0")
        #expect(success("quick") == "1")
        #expect(registry.samples("test_hanging").isEmpty)
        #expect(registry.samples("test_quick") == ["test_quick 2"])

        released.with { $0 = true }
        released.wake()
        #expect(await report.next() == "hanging works")
        #expect(registry.samples("test_hanging") == ["test_hanging 1"])
        monitor.stop()
        for await _ in ended { break }
    }

    @Test("A read that ends too late, before anybody has noticed, has failed too")
    func late() async {
        let clock = Mutex(ContinuousClock.now)
        let (reports, reported) = AsyncStream.makeStream(of: String.self)
        let (ended, end) = AsyncStream.makeStream(of: Void.self)
        // Its time passes between two looks of the thread that plans: none sees it run too long.
        let slow = RareReading { samples in
            clock.withLock { $0 += .seconds(1) }
            samples.append(Sample("test_rare", value: 1))
        }
        let monitor = HardwareMonitor(
            machine: machine, readings: [slow], registry: registry,
            report: { reported.yield("\($0) \($1?.code.rawValue ?? "works")") },
            now: { clock.withLock { $0 } }, threadsEnded: { end.yield() })
        monitor.start()
        for await report in reports {
            #expect(report == "rare timeout")
            break
        }
        #expect(success("rare") == "0")
        #expect(registry.samples("test_rare").isEmpty)
        monitor.stop()
        for await _ in ended { break }
    }

    @Test("Readings that do not hang share one thread")
    func oneThread() async {
        let threads = Mutex<Set<pthread_t>>([])
        let (reads, read) = AsyncStream.makeStream(of: Int.self)
        let (ended, end) = AsyncStream.makeStream(of: Void.self)
        let count = Atomic(0)
        // It stands still but for what each read takes: a machine that is busy with something else
        // makes no thread look stuck.
        let clock = Mutex(ContinuousClock.now)
        let note: @Sendable (inout [Sample]) -> Void = { _ in
            clock.withLock { $0 += .milliseconds(10) }
            threads.withLock { _ = $0.insert(pthread_self()) }
            read.yield(count.add(1, ordering: .relaxed).newValue)
        }
        let monitor = HardwareMonitor(
            machine: machine, readings: [HangingReading(body: note), QuickReading(body: note)],
            registry: registry, now: { clock.withLock { $0 } }, threadsEnded: { end.yield() })
        monitor.start()
        for await number in reads where number >= 20 { break }
        monitor.stop()
        for await _ in ended { break }
        #expect(threads.withLock { $0.count } == 1)
    }

    @Test("What needs the memory is read again as soon as that is loaded, however rare it is")
    func memoryLoaded() async {
        let (reads, read) = AsyncStream.makeStream(of: UInt64?.self)
        let (ended, end) = AsyncStream.makeStream(of: Void.self)
        let machine = machine
        let monitor = HardwareMonitor(
            machine: machine,
            readings: [RememberingReading { read.yield(machine.memory.add(1, to: "test")) }],
            registry: registry, threadsEnded: { end.yield() })
        monitor.start()
        var totals = reads.makeAsyncIterator()
        #expect(await totals.next() == .some(nil))
        monitor.memory.load([])
        #expect(await totals.next() == 1)
        monitor.stop()
        for await _ in ended { break }
    }

    @Test("Stopping while a reading hangs ends its thread when it returns")
    func stopWhileHanging() async {
        let (begun, begin) = AsyncStream.makeStream(of: Void.self)
        let (ended, end) = AsyncStream.makeStream(of: Void.self)
        let hanging = HangingReading { [released] _ in
            begin.yield()
            released.await { $0 ? .found(()) : .wait(atMost: nil) }
        }
        let monitor = HardwareMonitor(
            machine: machine, readings: [hanging], registry: registry,
            threadsEnded: { end.yield() })
        monitor.start()
        for await _ in begun { break }
        monitor.stop()
        released.with { $0 = true }
        released.wake()
        for await _ in ended { break }
    }
}
