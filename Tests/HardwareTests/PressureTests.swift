// Pressure stall information.

import Testing

@testable import Hardware

@Suite("Pressure")
struct PressureTests {
    private let tree = ScratchTree()

    @Test("Microseconds become seconds; the CPU's line 'full' means nothing")
    func totals() {
        let averages = "avg10=0.00 avg60=1.23 avg300=0.01"
        tree.write(
            "proc/pressure/cpu", "some \(averages) total=1500000\nfull \(averages) total=7\n")
        tree.write("proc/pressure/memory", "some \(averages) total=1\nfull \(averages) total=0\n")
        tree.write("proc/pressure/irq", "full \(averages) total=18446744073709551615\n")
        let result = tree.read(once: Pressure())
        #expect(
            result.lines == [
                "pressure_waiting_seconds_total cpu 1.5",
                "pressure_waiting_seconds_total memory 1e-06",
                "pressure_stalled_seconds_total memory 0.0",
                "pressure_stalled_seconds_total irq 18446744073709.55",
            ])
        #expect(result.failure == nil)
    }

    @Test("A kernel that does not keep it has none")
    func absent() {
        let result = tree.read(once: Pressure())
        #expect(result.lines.isEmpty)
        #expect(result.failure == nil)
    }

    @Test(
        "A file of another form is a failure that leaves the others",
        arguments: [
            "", "some avg10=0.00\n", "some total=-1\n", "some total=x\n", "other total=1\n",
            "some total=18446744073709551616\n", "\u{0}\u{ff}",
        ])
    func broken(_ content: String) {
        tree.write("proc/pressure/cpu", content)
        tree.write("proc/pressure/io/folder", "")
        tree.write("proc/pressure/memory", "some total=2000000\n")
        let result = tree.read(once: Pressure())
        #expect(result.lines == ["pressure_waiting_seconds_total memory 2.0"])
        #expect(result.failure?.code == .malformed)
    }
}
