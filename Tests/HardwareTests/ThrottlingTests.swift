// Under-voltage and throttling: the bits, their sources, and the count of events.

import Prometheus
import Synchronization
import Testing

@testable import Hardware

private let denied = ReadingError(systemError: 13, subject: "/dev/vcio_gencmd")

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
        arguments: [
            "", "throttled=", "throttled=50005", "throttled=0x1ffffffff", "throttled=0x+1",
            "throttled=0xffffffff",
        ])
    func otherText(_ text: String) {
        let result = read(Throttling(), piTree(), ScriptedMailbox(command: { _ in text }))
        #expect(result.samples.isEmpty)
        #expect(result.failure?.code == .malformed)
    }

    @Test("The kernel's alarm sees dips that are too short for the firmware's bit")
    func shortDip() {
        let tree = piTree()
        tree.write("sys/class/hwmon/hwmon0/name", "rpi_volt\n")
        tree.write("sys/class/hwmon/hwmon0/in0_lcrit_alarm", "1\n")
        let result = read(Throttling(), tree, ScriptedMailbox(property: { _ in [0] }))
        #expect(result.samples.value("rpi_undervoltage_active") == 1)
        #expect(result.samples.value("rpi_throttled_history", "undervoltage") == 0)
        #expect(result.failure == nil)
    }

    @Test("An alarm that is no flag is a failure that leaves the firmware's word")
    func garbageAlarm() {
        let tree = piTree()
        tree.write("sys/class/hwmon/hwmon0/name", "rpi_volt\n")
        tree.write("sys/class/hwmon/hwmon0/in0_lcrit_alarm", "2\n")
        let result = read(Throttling(), tree, ScriptedMailbox(property: { _ in [1] }))
        #expect(result.samples.value("rpi_undervoltage_active") == 1)
        #expect(result.failure?.code == .malformed)
    }
}

@Suite("Throttling events")
struct ThrottlingEventsTests {
    /// A machine whose words are played one after the other, in one boot or several.
    private final class Story {
        private var saved: [MachineMemory.Entry] = []
        private let tree = piTree()
        private(set) var machine: Machine
        private let word: Word

        final class Word: Sendable {
            let value = Mutex<UInt32?>(0)
        }

        init() {
            tree.write("sys/class/hwmon/hwmon0/name", "rpi_volt\n")
            tree.write("proc/sys/kernel/random/boot_id", "first\n")
            word = Word()
            machine = Machine(roots: tree.roots)
            restart()
        }

        /// The program starts again, with what was saved until now.
        func restart(boot: String? = nil) {
            if let boot { tree.write("proc/sys/kernel/random/boot_id", "\(boot)\n") }
            for entry in machine.memory.takeChanges() {
                saved.removeAll { $0.key == entry.key }
                saved.append(entry)
            }
            machine = Machine(
                roots: tree.roots,
                mailbox: ScriptedMailbox(property: { [word] _ in
                    word.value.withLock { $0 }.map { [$0] }
                }))
            machine.memory.load(saved)
        }

        /// What is counted after a read of this word and alarm; nil where nothing is shown.
        @discardableResult
        func read(
            _ newWord: UInt32?, alarm: Bool = false, _ kind: String = "undervoltage"
        ) -> Double? {
            word.value.withLock { $0 = newWord }
            tree.write("sys/class/hwmon/hwmon0/in0_lcrit_alarm", alarm ? "1\n" : "0\n")
            let (samples, failure) = HardwareTests.read(Throttling(), machine)
            #expect(failure == nil)
            return samples.value("rpi_\(kind)_events_total")
        }
    }

    @Test("A condition that becomes active is an event; while it lasts there is no other")
    func becomesActive() {
        let story = Story()
        #expect(story.read(0) == 0)
        #expect(story.read(0x10001) == 1)
        #expect(story.read(0x10001) == 1)
        #expect(story.read(0x10000) == 1)
        #expect(story.read(0x10001) == 2)
    }

    @Test("Each condition has its own count", arguments: ThrottlingCondition.allCases)
    func ownCount(_ condition: ThrottlingCondition) {
        let story = Story()
        story.read(0)
        story.read(1 << condition.rawValue)
        for other in ThrottlingCondition.allCases {
            let expected: Double = other == condition ? 1 : 0
            #expect(story.read(1 << condition.rawValue, other.kind) == expected)
        }
    }

    @Test("A history bit that rises was a condition too short to be seen")
    func historyRises() {
        let story = Story()
        #expect(story.read(0, "throttled") == 0)
        #expect(story.read(0x40000, "throttled") == 1)
        #expect(story.read(0x40000, "throttled") == 1)
        // The kernel's driver may clear the history, and it may rise again.
        #expect(story.read(0, "throttled") == 1)
        #expect(story.read(0x40000, "throttled") == 2)
    }

    @Test("A history bit that comes with or after its condition is the same event")
    func historyOfTheSame() {
        let story = Story()
        #expect(story.read(0x0001) == 1)
        #expect(story.read(0x10001) == 1)
        let other = Story()
        #expect(other.read(0x0001) == 1)
        #expect(other.read(0x10000) == 1)
        #expect(other.read(0x10000) == 1)
    }

    @Test("A dip by the kernel's alarm is an event, once with its history bit")
    func alarm() {
        let story = Story()
        #expect(story.read(0) == 0)
        #expect(story.read(0, alarm: true) == 1)
        #expect(story.read(0, alarm: true) == 1)
        #expect(story.read(0x10000) == 1)
        #expect(story.read(0x10000, alarm: true) == 2)
    }

    @Test("The history bit may be seen before the alarm: still one event, and the next one counts")
    func alarmAfterHistory() {
        let story = Story()
        #expect(story.read(0x10000) == 1)
        #expect(story.read(0, alarm: true) == 1)
        #expect(story.read(0) == 1)
        #expect(story.read(0, alarm: true) == 2)
    }

    @Test("The alarm after a dip that was seen is no event; active again by the firmware's word is")
    func activeAfterHistory() {
        let story = Story()
        #expect(story.read(0x10000) == 1)
        #expect(story.read(0x10001, alarm: true) == 2)
    }

    @Test("A restart in the same boot doubles nothing, and loses nothing that happened meanwhile")
    func restart() {
        let story = Story()
        #expect(story.read(0x50005) == 1)
        story.restart()
        #expect(story.read(0x50005) == 1)
        #expect(story.read(0x50000) == 1)
        story.restart()
        #expect(story.read(0x50000) == 1)
        story.restart()
        #expect(story.read(0x70000, "frequency_capped") == 1)
    }

    @Test("In a new boot what is set already counts once")
    func newBoot() {
        let story = Story()
        #expect(story.read(0x50000) == 1)
        story.restart(boot: "second")
        #expect(story.read(0x50000) == 2)
        #expect(story.read(0x50000) == 2)
        story.restart(boot: "third")
        #expect(story.read(0x10001) == 3)
        story.restart(boot: "fourth")
        #expect(story.read(0) == 3)
    }

    @Test("Before the memory is there nothing is counted; what happened then counts later")
    func notLoaded() {
        let tree = piTree()
        let mailbox = ScriptedMailbox(property: { _ in [0x50005] })
        let machine = Machine(roots: tree.roots, mailbox: mailbox)
        #expect(!read(Throttling(), machine).samples.contains { $0.name.hasSuffix("_total") })
        machine.memory.load([])
        #expect(read(Throttling(), machine).samples.value("rpi_throttled_events_total") == 1)
    }

    @Test(
        "While the firmware is silent, only under-voltage is counted; its memory is taken up again")
    func silentFirmware() {
        let story = Story()
        #expect(story.read(0x40000, "throttled") == 1)
        #expect(story.read(nil, alarm: true) == 1)
        #expect(story.read(nil, "throttled") == nil)
        #expect(story.read(0x50000, "throttled") == 1)
        // The dip's history bit had not been seen, but the dip had.
        #expect(story.read(0x50000) == 2)
    }

    @Test("An event is to be saved soon, the end of a condition is not")
    func urgency() {
        let story = Story()
        story.read(0)
        story.restart()
        story.read(1)
        #expect(story.machine.memory.isUrgent)
        story.restart()
        story.read(0)
        #expect(!story.machine.memory.isUrgent)
    }
}
