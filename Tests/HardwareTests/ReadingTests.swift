// Each reading by itself: its sources, their order, and what is absent or broken.

import Prometheus
import Testing

@testable import Hardware

/// A scratch tree that passes for a Raspberry Pi.
private func piTree() -> ScratchTree {
    let tree = ScratchTree()
    tree.write("proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0")
    return tree
}

/// What a reading sampled, and why it failed if it did.
private func read(
    _ reading: some Reading, _ tree: ScratchTree, _ mailbox: any FirmwareMailbox = ScriptedMailbox()
) -> (samples: [Sample], failure: ReadingError?) {
    var samples: [Sample] = []
    do throws(ReadingError) {
        try reading.read(Machine(roots: tree.roots, mailbox: mailbox), into: &samples)
        return (samples, nil)
    } catch {
        return (samples, error)
    }
}

private let denied = ReadingError(systemError: 13, subject: "/dev/vcio_gencmd")

@Suite("All readings")
struct AllReadingsTests {
    @Test("Names of readings and families are unique")
    func unique() {
        let names = allReadings.map { type(of: $0).name }
        #expect(Set(names).count == names.count)
        let families = allReadings.flatMap { type(of: $0).families.map(\.name) }
        #expect(Set(families).count == families.count)
    }

    @Test(
        "Every sample belongs to a declared family, and no PC has one of a Pi",
        arguments: RecordedTree.allCases)
    func declared(_ tree: RecordedTree) throws {
        for reading in allReadings {
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
        for reading in allReadings {
            #expect(!read(reading, tree).samples.contains { $0.name.hasPrefix("rpi_") })
        }
    }
}

@Suite("SoC temperature")
struct SoCTemperatureTests {
    @Test("A zone without a value and a firmware without a device are absent")
    func absent() {
        let tree = piTree()
        tree.write("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n")
        let result = read(SoCTemperature(), tree)
        #expect(result.samples.isEmpty)
        #expect(result.failure == nil)
    }

    @Test("A broken zone does not hide the firmware's measure")
    func brokenZone() {
        let tree = piTree()
        tree.write("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n")
        tree.write("sys/class/thermal/thermal_zone0/temp", "warm\n")
        let result = read(SoCTemperature(), tree, ScriptedMailbox(command: { _ in "temp=48.3'C" }))
        #expect(
            result.samples == [
                Sample("rpi_temperature_celsius", labels: [("sensor", "soc_firmware")], value: 48.3)
            ])
        #expect(result.failure?.code == .malformed)
    }

    @Test("Frost is a negative number in both forms")
    func frost() {
        let words: [UInt32] = [0, UInt32(bitPattern: -1500)]
        #expect(SoCTemperature.question.parseWords(words) == -1.5)
        #expect(SoCTemperature.question.parseText("temp=-1.5'C") == -1.5)
    }

    @Test(
        "Other text than a finite temperature is not read",
        arguments: ["", "temp=", "temp='C", "temp=nan'C", "temp=48.3", "error=1"])
    func otherText(_ text: String) {
        #expect(SoCTemperature.question.parseText(text) == nil)
    }
}

@Suite("Throttling")
struct ThrottlingTests {
    @Test("Bits 0 to 3 are now, bits 16 to 19 since boot", arguments: 0..<20)
    func bits(_ bit: Int) {
        let mailbox = ScriptedMailbox(property: { _ in [1 << UInt32(bit)] })
        let (samples, failure) = read(Throttling(), piTree(), mailbox)
        #expect(failure == nil)
        #expect(samples.count == 8)
        let expected: [Int: String] = [
            0: "rpi_undervoltage_active", 1: "rpi_frequency_capped_active",
            2: "rpi_throttled_active", 3: "rpi_soft_temperature_limit_active",
            16: "undervoltage", 17: "frequency_capped", 18: "throttled",
            19: "soft_temperature_limit",
        ]
        let set = samples.filter { $0.value == 1 }.map { $0.labels.first?.1 ?? $0.name }
        #expect(set == [expected[bit]].compactMap { $0 })
    }

    @Test("The command is asked first; when it answers, the property is not")
    func commandFirst() {
        let mailbox = ScriptedMailbox(
            command: { _ in "throttled=0x0" }, property: { _ in [0xFFFF_FFFF] })
        let result = read(Throttling(), piTree(), mailbox)
        #expect(result.samples.allSatisfy { $0.value == 0 })
        #expect(mailbox.questions == ["gencmd get_throttled"])
    }

    @Test("A command that is refused is no failure when the property answers")
    func propertyNext() {
        let mailbox = ScriptedMailbox(
            command: { _ throws(ReadingError) in throw denied }, property: { _ in [1] })
        let result = read(Throttling(), piTree(), mailbox)
        #expect(result.samples.first == Sample("rpi_undervoltage_active", value: 1))
        #expect(result.failure == nil)
    }

    @Test("Without a mailbox, rpi_volt tells of under-voltage and nothing else is claimed")
    func voltageFallback() {
        let tree = piTree()
        tree.write("sys/class/hwmon/hwmon0/name", "cpu_thermal\n")
        tree.write("sys/class/hwmon/hwmon1/name", "rpi_volt\n")
        tree.write("sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n")
        let result = read(Throttling(), tree)
        #expect(result.samples == [Sample("rpi_undervoltage_active", value: 1)])
        #expect(result.failure == nil)
    }

    @Test("A mailbox that is refused is a failure even beside rpi_volt's value")
    func refusedMailbox() {
        let tree = piTree()
        tree.write("sys/class/hwmon/hwmon0/name", "rpi_volt\n")
        tree.write("sys/class/hwmon/hwmon0/in0_lcrit_alarm", "0\n")
        let mailbox = ScriptedMailbox(command: { _ throws(ReadingError) in throw denied })
        let result = read(Throttling(), tree, mailbox)
        #expect(result.samples == [Sample("rpi_undervoltage_active", value: 0)])
        #expect(result.failure == denied)
    }

    @Test(
        "Text that is not a word of throttling bits is malformed",
        arguments: ["", "throttled=", "throttled=50005", "throttled=0x1ffffffff", "throttled=0x+1"])
    func otherText(_ text: String) {
        let result = read(Throttling(), piTree(), ScriptedMailbox(command: { _ in text }))
        #expect(result.samples.isEmpty)
        #expect(result.failure?.code == .malformed)
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
