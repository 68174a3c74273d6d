// The clock, its synchronisation and its steps.

import Testing

@testable import Hardware

@Suite("Clock synchronisation")
struct ClockSynchronisationTests {
    private let tree = ScratchTree()
    private let reading = ClockSynchronisation()

    /// How many steps are counted when the clocks say these seconds.
    private func jumps(wall: String, sinceBoot: String) -> [String] {
        tree.write("calls", "clocks \(wall) \(sinceBoot)\n")
        return tree.read(once: reading).lines
    }

    @Test("What the kernel knows of the clock is shown, whoever keeps it right")
    func state() {
        tree.write("calls", "adjtimex unsynchronised -0.5 16 16\n")
        let result = tree.read(once: reading)
        #expect(
            result.lines == [
                "clock_synchronised 0.0", "clock_offset_seconds -0.5",
                "clock_max_error_seconds 16.0",
            ])
        #expect(result.failure == nil)
    }

    @Test(
        "Where the kernel may not be asked, systemd says whether, and no more",
        arguments: [
            ("yes", "1.0"), ("no", "0.0"),
        ])
    func protectedClock(_ answer: String, _ value: String) {
        tree.write("calls", "adjtimex errno 1\ntimedatectl \(answer)\n")
        let result = tree.read(once: reading)
        #expect(result.lines == ["clock_synchronised \(value)"])
        #expect(result.failure == nil)
        // It is not asked again for some minutes: that starts two programs.
        tree.write("calls", "adjtimex errno 1\n")
        #expect(tree.read(once: reading).lines == ["clock_synchronised \(value)"])
    }

    @Test("A clock that goes on, is slewed or slept counts nothing; a step counts once")
    func steps() {
        #expect(jumps(wall: "1000", sinceBoot: "10") == ["clock_jumps_total 0.0"])
        #expect(jumps(wall: "1030.9", sinceBoot: "40") == ["clock_jumps_total 0.0"])
        #expect(jumps(wall: "90000", sinceBoot: "89009.5") == ["clock_jumps_total 0.0"])
        #expect(jumps(wall: "90032", sinceBoot: "89039.5") == ["clock_jumps_total 1.0"])
        #expect(jumps(wall: "90062", sinceBoot: "89069.5") == ["clock_jumps_total 1.0"])
    }

    @Test("Steps of years, forward, back and before 1970, are steps like others")
    func years() {
        #expect(jumps(wall: "0", sinceBoot: "10") == ["clock_jumps_total 0.0"])
        #expect(jumps(wall: "253402300799", sinceBoot: "40") == ["clock_jumps_total 1.0"])
        #expect(jumps(wall: "-9223372036854775808", sinceBoot: "70") == ["clock_jumps_total 2.0"])
        #expect(jumps(wall: "1767225600", sinceBoot: "100") == ["clock_jumps_total 3.0"])
        #expect(jumps(wall: "1767225630", sinceBoot: "130") == ["clock_jumps_total 3.0"])
    }

    @Test("Each half fails by itself")
    func broken() {
        tree.write("calls", "adjtimex errno 1\nclocks 5 5\n")
        let refused = tree.read(once: reading)
        #expect(refused.lines == ["clock_jumps_total 0.0"])
        #expect(refused.failure?.code == .permission)
        tree.write("calls", "adjtimex synchronised 0 0 0\nclocks noon\n")
        let garbage = tree.read(once: reading)
        #expect(garbage.lines.count == 3)
        #expect(garbage.failure?.code == .malformed)
    }

    @Test("A moment without the time leaves the count as it was")
    func noTimes() {
        tree.write("calls", "# nothing\n")
        #expect(tree.read(once: reading).lines.isEmpty)
        #expect(jumps(wall: "1000", sinceBoot: "10") == ["clock_jumps_total 0.0"])
        #expect(jumps(wall: "2000", sinceBoot: "20") == ["clock_jumps_total 1.0"])
        tree.write("calls", "# nothing\n")
        #expect(tree.read(once: reading).lines == ["clock_jumps_total 1.0"])
        #expect(jumps(wall: "3000", sinceBoot: "30") == ["clock_jumps_total 2.0"])
    }

    @Test("The running machine has both clocks, and time since its start that goes on")
    func kernel() throws {
        let first = try #require(try KernelCalls().times())
        let second = try #require(try KernelCalls().times())
        #expect(first.sinceBoot > 0 && second.sinceBoot >= first.sinceBoot)
        #expect(first.wall > first.sinceBoot)
    }
}
