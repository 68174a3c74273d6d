// Times of the CPUs, load and open files.

import Testing

@testable import Hardware

@Suite("Processor")
struct ProcessorTests {
    private let tree = ScratchTree()

    private func seconds(_ reading: Processor, _ ticks: String) -> [String] {
        tree.write("proc/stat", "cpu  \(ticks) 0 0\n")
        return tree.read(once: reading).lines.map {
            String($0.dropFirst("cpu_seconds_total ".count))
        }
    }

    @Test("The line of all CPUs is in hundredths of a second; the CPUs' own lines are counted")
    func statistics() {
        tree.write(
            "proc/stat",
            "cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 1 1 1 1 1 1 1 1 1\ncpu3 0 1 2 3 4 5 6 7 8 9\n"
                + "intr 9 9 9\nbtime 1766966400\nprocs_running 3\nprocs_blocked 2\n")
        let result = tree.read(once: Processor())
        #expect(
            result.lines == [
                "cpu_seconds_total user 0.01", "cpu_seconds_total nice 0.02",
                "cpu_seconds_total system 0.03", "cpu_seconds_total idle 0.04",
                "cpu_seconds_total iowait 0.05", "cpu_seconds_total irq 0.06",
                "cpu_seconds_total softirq 0.07", "cpu_seconds_total steal 0.08",
                "boot_timestamp_seconds 1766966400.0", "processes_blocked 2.0", "cpus 2.0",
            ])
        #expect(result.failure == nil)
    }

    @Test("proc_stat(5): iowait may go back, which a counter must not")
    func goesBack() {
        let reading = Processor()
        #expect(seconds(reading, "0 0 0 0 500 0 0 0").contains("iowait 5.0"))
        #expect(seconds(reading, "0 0 0 0 497 0 0 0").contains("iowait 5.0"))
        #expect(seconds(reading, "0 0 0 0 501 0 0 0").contains("iowait 5.01"))
    }

    @Test("Times that go back by more than a minute began again")
    func beginsAgain() {
        let reading = Processor()
        #expect(seconds(reading, "0 0 0 6100 0 0 0 0").contains("idle 61.0"))
        #expect(seconds(reading, "0 0 0 99 0 0 0 0").contains("idle 0.99"))
    }

    @Test("The largest times are numbers like others")
    func huge() {
        let lines = seconds(Processor(), "18446744073709551615 0 0 0 0 0 0 0")
        #expect(lines.first == "user 1.8446744073709552e+17")
    }

    @Test(
        "A broken line is a failure that leaves the others",
        arguments: [
            "cpu  1 2 3 4 5 6 7", "cpu  1 2 3 -4 5 6 7 8", "cpu", "cpu  a b c d e f g h",
            "cpu  18446744073709551616 2 3 4 5 6 7 8",
        ])
    func brokenLine(_ line: String) {
        tree.write("proc/stat", "\(line)\nbtime 253402300800\nprocs_blocked 1\n\u{0}\u{ff}\n")
        tree.write("proc/loadavg", "0.10 0.20 0.30 1/2 3\n")
        let result = tree.read(once: Processor())
        #expect(
            result.lines == [
                "processes_blocked 1.0", "load_average 1m 0.1", "load_average 5m 0.2",
                "load_average 15m 0.3",
            ])
        #expect(result.failure?.code == .malformed)
    }

    @Test(
        "A load that no machine has is malformed",
        arguments: ["-0.1 0 0", "1e9 0 0", "1000001 0 0", "nan 0 0", "0.1"])
    func load(_ text: String) {
        tree.write("proc/loadavg", text)
        #expect(tree.read(once: Processor()).failure?.code == .malformed)
    }

    @Test("Open files and their limit come together, or not at all")
    func openFiles() {
        tree.write("proc/sys/fs/file-nr", "1344\t0\t9223372036854775807\n")
        let whole = tree.read(once: Processor())
        #expect(whole.lines == ["open_files 1344.0", "max_open_files 9.223372036854776e+18"])
        for text in ["1344\n", "-1\t0\t10\n", "1 0 x\n", "9223372036854775808 0 1"] {
            tree.write("proc/sys/fs/file-nr", text)
            let result = tree.read(once: Processor())
            #expect(result.lines.isEmpty)
            #expect(result.failure?.code == .malformed)
        }
    }

    @Test("A machine without these files has none of it, and what cannot be read is a failure")
    func sources() {
        #expect(tree.read(once: Processor()).lines.isEmpty)
        #expect(tree.read(once: Processor()).failure == nil)
        tree.write("proc/stat/folder", "")
        tree.write("proc/sys/fs/file-nr", "1 0 2\n")
        let result = tree.read(once: Processor())
        #expect(result.lines == ["open_files 1.0", "max_open_files 2.0"])
        #expect(result.failure?.code == .inputOutput)
    }
}
