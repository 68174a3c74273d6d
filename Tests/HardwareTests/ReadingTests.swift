// Each reading by itself: its sources, their order, and what is absent or broken.

import Prometheus
import Testing

@testable import Hardware

@Suite("All readings")
struct AllReadingsTests {
    @Test("Names of readings and families are unique")
    func unique() {
        let names = allReadings().map { type(of: $0).name }
        #expect(Set(names).count == names.count)
        let families = allReadings().flatMap { type(of: $0).families.map(\.name) }
        #expect(Set(families).count == families.count)
    }

    @Test("Every sample belongs to a declared family", arguments: RecordedTree.allCases)
    func declared(_ tree: RecordedTree) throws {
        for reading in allReadings() {
            var samples: [Sample] = []
            try reading.read(Machine(roots: tree.roots), into: &samples)
            let declared = Set(type(of: reading).families.map(\.name))
            #expect(samples.allSatisfy { declared.contains($0.name) })
            #expect(tree != .pc || !samples.contains { $0.name.hasPrefix("rpi_") })
        }
    }
}

@Suite("Board model")
struct BoardModelTests {
    @Test("Without cpuinfo's line the revision comes from the device tree's word")
    func revisionFromDeviceTree() {
        let tree = piTree()
        tree.write("proc/cpuinfo", "processor\t: 0\n")
        tree.write("proc/device-tree/system/linux,revision", "\0\u{11}\u{22}\u{33}")
        let labels = read(BoardModel(), tree).samples.first?.labels
        #expect(labels?.last?.0 == "revision")
        #expect(labels?.last?.1 == "112233")
    }

    @Test("An unknown revision is left out")
    func noRevision() {
        #expect(read(BoardModel(), piTree()).samples.first?.labels.map(\.0) == ["model"])
    }

    @Test("Bytes that no model has become question marks, and the label stays short")
    func garbageModel() {
        let tree = ScratchTree()
        tree.write(
            "proc/device-tree/model",
            "Raspberry Pi \u{1}\u{e9}" + String(repeating: "x", count: 9000))
        let model = read(BoardModel(), tree).samples.first?.labels.first?.1
        #expect(model?.hasPrefix("Raspberry Pi ??x") == true)
        #expect(model?.count == 80)
    }

    @Test("Another board with a device tree is no Raspberry Pi")
    func otherBoard() {
        let tree = ScratchTree()
        tree.write("proc/device-tree/model", "Pine64 Rock64\0")
        for reading in allReadings() {
            let samples = read(reading, tree).samples
            #expect(!samples.contains { $0.name.hasPrefix("rpi_") })
        }
    }
}

@Suite("CPU frequency")
struct CPUFrequencyTests {
    @Test("CPUs are in the order of their numbers, and folders beside them are none")
    func order() {
        let tree = piTree()
        for cpu in ["cpu10", "cpu2", "cpufreq", "cpuidle"] {
            tree.write("sys/devices/system/cpu/\(cpu)/cpufreq/scaling_cur_freq", "600000\n")
        }
        let samples = read(CPUFrequency(), tree).samples
        #expect(samples.map { $0.labels.first?.1 } == ["2", "10"])
        #expect(samples.allSatisfy { $0.value == 600_000_000 })
    }

    @Test("Each CPU has the governor that chooses its frequency")
    func governor() {
        let tree = piTree()
        tree.write("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "schedutil\n")
        tree.write("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "\n")
        let result = read(CPUFrequency(), tree)
        #expect(
            result.samples == [
                Sample(
                    "rpi_cpu_governor_info", labels: [("cpu", "0"), ("governor", "schedutil")],
                    value: 1)
            ])
        #expect(result.failure == nil)
    }

    @Test("A frequency that no CPU has is a failure", arguments: ["-1", "10000001"])
    func implausible(_ kilohertz: String) {
        let tree = piTree()
        tree.write("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", kilohertz)
        let result = read(CPUFrequency(), tree)
        #expect(result.samples.isEmpty)
        #expect(result.failure?.code == .malformed)
    }

    @Test("One CPU's garbage is a failure that leaves the other CPUs")
    func garbage() {
        let tree = piTree()
        tree.write("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "<unknown>\n")
        tree.write("sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq", "600000\n")
        let result = read(CPUFrequency(), tree)
        #expect(result.samples.map { $0.labels.first?.1 } == ["1"])
        #expect(result.failure?.code == .malformed)
    }
}

@Suite("System files")
struct SystemFileTests {
    @Test("A file ends at its limit, a text at its NUL")
    func bounds() throws {
        let tree = ScratchTree()
        tree.write("long", String(repeating: "7", count: 10_000))
        tree.write("text", " one\n\0two")
        #expect(try SystemFile.bytes("\(tree.path)/long")?.count == 4096)
        #expect(throws: ReadingError.self) { try SystemFile.integer("\(tree.path)/long") }
        #expect(try SystemFile.text("\(tree.path)/text") == "one")
    }

    @Test("A folder where a file is expected is an error, a file where a folder is, an absence")
    func wrongKind() throws {
        let tree = ScratchTree()
        tree.write("folder/file", "")
        #expect(throws: ReadingError.self) { try SystemFile.bytes("\(tree.path)/folder") }
        #expect(try SystemFile.entries("\(tree.path)/folder/file", prefix: "") == [])
        #expect(try SystemFile.bytes("\(tree.path)/folder/file/below") == nil)
    }
}
