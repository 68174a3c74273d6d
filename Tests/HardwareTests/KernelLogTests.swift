// The kernel's log: its form, whose records count, what they tell, and that none counts twice.

import Glibc
import Prometheus
import Testing

@testable import Hardware

/// A machine whose log is in a scratch tree, with an empty memory that was loaded.
private func machine(_ tree: ScratchTree, saved: [MachineMemory.Entry]? = []) -> Machine {
    let machine = Machine(roots: tree.roots, mailbox: ScriptedMailbox())
    if let saved { machine.memory.load(saved) }
    return machine
}

/// What is counted above 0, by kind, and why the read failed if it did.
private func counts(
    _ machine: Machine, _ reading: KernelLog = KernelLog()
) -> (events: [String: Double], failure: ReadingError?) {
    var samples: [Sample] = []
    var failure: ReadingError?
    do throws(ReadingError) { try reading.read(machine, into: &samples) } catch { failure = error }
    let pairs = samples.map { ($0.labels[0].1, $0.value) }.filter { $0.1 > 0 }
    return (Dictionary(uniqueKeysWithValues: pairs), failure)
}

private func record(_ sequence: UInt64, _ text: String, priority: Int = 4) -> String {
    "\(priority),\(sequence),\(sequence * 1000),-;\(text)\n SUBSYSTEM=hwmon\n DEVICE=+hwmon:hwmon1\n"
}

private let dip = "hwmon hwmon1: Undervoltage detected!"

@Suite("Kernel log")
struct KernelLogTests {
    @Test("A source that gives bytes without end and never a line is a failure, in bounded time")
    func endless() {
        let tree = ScratchTree()
        tree.write("dev/other", "")
        symlink("/dev/zero", "\(tree.path)/dev/kmsg")
        let result = counts(machine(tree))
        #expect(result.events.isEmpty)
        #expect(result.failure?.code == .malformed)
    }

    @Test("A machine without the log, or with a memory that is not loaded, shows nothing")
    func absent() throws {
        let tree = ScratchTree()
        var samples: [Sample] = []
        try KernelLog().read(machine(tree), into: &samples)
        #expect(samples.isEmpty)
        tree.write("dev/kmsg", record(1, dip))
        try KernelLog().read(machine(tree, saved: nil), into: &samples)
        #expect(samples.isEmpty)
    }

    @Test("Every kind is shown from 0 on, so that a rise can be seen")
    func fromZero() throws {
        let tree = ScratchTree()
        tree.write("dev/kmsg", record(1, "Booting Linux"))
        var samples: [Sample] = []
        try KernelLog().read(machine(tree), into: &samples)
        #expect(samples.map { $0.labels[0].1 } == KernelEvent.allCases.map(\.rawValue))
        #expect(samples.allSatisfy { $0.value == 0 })
    }

    @Test("The kernel's words count, in any case, old and new")
    func words() {
        let expected: [(String, Set<KernelEvent>)] = [
            ("Under-voltage detected! (0x00050005)", [.undervoltage]),
            (dip, [.undervoltage]),
            ("Voltage normalised (0x00000000)", [.voltageNormalised]),
            (
                "CPU0: Core temperature above threshold, cpu clock throttled (total events = 1)",
                [.throttling]
            ),
            (
                "mce: CPU2: Core temperature is above threshold, cpu clock is throttled",
                [.throttling]
            ),
            ("thermal thermal_zone0: cpu-thermal: critical temperature reached", [.throttling]),
            ("mmc0: error -110 whilst initialising SD card", [.storageError]),
            ("mmcblk0: error -84 transferring data, sector 2048, nr 8", [.storageError]),
            ("mmc0: Timeout waiting for hardware cmd interrupt.", [.storageError]),
            ("blk_update_request: I/O error, dev mmcblk0, sector 123", [.storageError]),
            ("I/O error, dev sda, sector 8 op 0x0:(READ) flags 0x0", [.storageError]),
            ("critical medium error, dev sda, sector 8", [.storageError]),
            (
                "Buffer I/O error on dev mmcblk0p2, logical block 5, lost async page write",
                [.storageError]
            ),
            ("nvme nvme0: I/O 23 QID 4 timeout, aborting", [.storageError]),
            ("ata1.00: failed command: READ FPDMA QUEUED", [.storageError]),
            ("sd 0:0:0:0: [sda] tag#20 uas_eh_abort_handler 0 uas-tag 21", [.storageError]),
            ("EXT4-fs error (device mmcblk0p2): ext4_lookup:1855: inode #131", [.filesystemError]),
            (
                "FAT-fs (mmcblk0p1): error, fat_get_cluster: invalid cluster chain",
                [.filesystemError]
            ),
            ("BTRFS error (device sda1): bdev /dev/sda1 errs: wr 1", [.filesystemError]),
            ("EXT4-fs (mmcblk0p2): Remounting filesystem read-only", [.remountReadOnly]),
            ("FAT-fs (sda1): Filesystem has been set read-only", [.remountReadOnly]),
            ("Out of memory: Killed process 812 (node) total-vm:1kB", [.outOfMemory]),
            ("Memory cgroup out of memory: Killed process 9 (x)", [.outOfMemory]),
            ("usb usb1-port1: over-current condition", [.usbOverCurrent]),
            ("hub 1-0:1.0: over-current change on port 1", [.usbOverCurrent]),
            ("INFO: task kworker/0:1:17 blocked for more than 120 seconds.", [.hungTask]),
        ]
        for (text, events) in expected {
            #expect(KernelEvent.events(in: Array(text.utf8)[...]) == events, "\(text)")
            let shouted = Array(text.uppercased().utf8)[...]
            #expect(KernelEvent.events(in: shouted) == events, "\(text)")
        }
        #expect(Set(expected.flatMap(\.1)) == Set(KernelEvent.allCases))
    }

    @Test(
        "What only looks like trouble does not count",
        arguments: [
            "", "sched: RT throttling activated", "EXT4-fs (mmcblk0p2): mounted filesystem",
            "EXT4-fs (mmcblk0p2): error count since last fsck: 4",
            "operation not supported error, dev loop0, sector 8 op 0x9:(WRITE_ZEROES)",
            "sdhci-iproc fe300000.mmcnr: probe failed with error -517",
            "hub 1-1:1.0: individual port over-current protection",
            "FAT-fs (sda1): Volume was not properly unmounted. Some data may be corrupt.",
            "systemd-journald: the under-voltage page",
        ])
    func others(_ text: String) {
        #expect(KernelEvent.events(in: Array(text.utf8)[...]).isEmpty)
    }

    @Test("What programs write into the log does not count, whatever they write")
    func facility() {
        let tree = ScratchTree()
        // 12: facility user; 30: daemon; 2: kernel.
        tree.write(
            "dev/kmsg",
            record(1, dip, priority: 12) + record(2, dip, priority: 30)
                + record(3, dip, priority: 2) + "4,4,4,-;tail\n \(dip)\n")
        #expect(counts(machine(tree)).events == ["undervoltage": 1])
    }

    @Test("A restart counts nothing twice; what came meanwhile counts")
    func restart() {
        let tree = ScratchTree()
        tree.write("proc/sys/kernel/random/boot_id", "one\n")
        tree.write("dev/kmsg", record(7, dip) + record(8, "quiet"))
        let first = machine(tree)
        let reading = KernelLog()
        #expect(counts(first, reading).events == ["undervoltage": 1])
        #expect(counts(first, reading).events == ["undervoltage": 1])

        let saved = first.memory.takeChanges()
        #expect(counts(machine(tree, saved: saved)).events == ["undervoltage": 1])
        tree.write("dev/kmsg", record(7, dip) + record(8, "quiet") + record(9, dip))
        #expect(counts(machine(tree, saved: saved)).events == ["undervoltage": 2])
        #expect(counts(first, reading).events == ["undervoltage": 2])
    }

    @Test("Another boot begins its numbers again, and its events are added")
    func reboot() {
        let tree = ScratchTree()
        tree.write("proc/sys/kernel/random/boot_id", "one\n")
        tree.write("dev/kmsg", record(900, dip))
        let first = machine(tree)
        #expect(counts(first).events == ["undervoltage": 1])
        tree.write("proc/sys/kernel/random/boot_id", "two\n")
        tree.write("dev/kmsg", record(3, dip))
        let saved = first.memory.takeChanges()
        #expect(counts(machine(tree, saved: saved)).events == ["undervoltage": 2])
    }

    @Test("Records without an event change nothing that would have to be saved")
    func quiet() {
        let tree = ScratchTree()
        tree.write("dev/kmsg", record(1, "quiet"))
        let machine = machine(tree)
        let reading = KernelLog()
        _ = counts(machine, reading)
        _ = machine.memory.takeChanges()
        tree.write("dev/kmsg", record(1, "quiet") + record(2, "quiet"))
        _ = counts(machine, reading)
        #expect(machine.memory.takeChanges().isEmpty)
    }

    @Test("One look takes a bounded number of records; the next goes on where it ended")
    func bounded() {
        let tree = ScratchTree()
        let count = UInt64(KernelLogSource.recordLimit) + 1500
        tree.write("dev/kmsg", (1...count).map { record($0, dip) }.joined())
        let machine = machine(tree)
        let reading = KernelLog()
        let first = counts(machine, reading).events["undervoltage"] ?? 0
        #expect(first >= Double(KernelLogSource.recordLimit) && first < Double(count))
        #expect(counts(machine, reading).events == ["undervoltage": Double(count)])
    }

    @Test("The lines are the same however the stream was cut")
    func cuts() {
        let stream = Array((record(1, dip) + record(2, "a;b,c") + record(3, "")).utf8)
        func lines(_ length: Int) -> [[UInt8]] {
            var found: [[UInt8]] = []
            var lines = KernelLogLines()
            for start in stride(from: 0, to: stream.count, by: length) {
                let end = min(start + length, stream.count)
                lines.receive(stream[start..<end]) { found.append(Array($0)) }
            }
            return found
        }
        let whole = lines(stream.count)
        #expect(whole.count == 9)
        for length in 1..<stream.count { #expect(lines(length) == whole) }
    }

    @Test("A line without end is left out, and the next one is read")
    func endlessLine() {
        var lines = KernelLogLines()
        var found: [[UInt8]] = []
        for _ in 0..<100 {
            lines.receive([UInt8](repeating: 0x78, count: 1000)[...]) { found.append(Array($0)) }
        }
        lines.receive(Array("x\nnext\n".utf8)[...]) { found.append(Array($0)) }
        #expect(found == [Array("next".utf8)])
    }

    @Test(
        "What is no record is not read as one",
        arguments: [
            "", ";", "4,1,2;x", "4,1,2,-", "-4,1,2,-;x", "4,,2,-;x", "x,1,2,-;x",
            "4,99999999999999999999999,2,-;x",
        ])
    func noRecord(_ line: String) {
        #expect(KernelLogRecord(line: Array(line.utf8)[...]) == nil)
    }

    @Test("The largest numbers of a record trap nothing")
    func largest() {
        let tree = ScratchTree()
        tree.write("dev/kmsg", "4,\(UInt64.max),\(UInt64.max),-;\(dip)\n")
        #expect(counts(machine(tree)).events == ["undervoltage": 1])
    }

    @Test("Garbage is a failure; a record beside it is read")
    func garbage() {
        let tree = ScratchTree()
        tree.write("dev/kmsg", "what is\nthis\n")
        #expect(counts(machine(tree)).failure?.code == .malformed)
        tree.write("dev/kmsg", "half of a record\n" + record(1, dip))
        let result = counts(machine(tree))
        #expect(result.events == ["undervoltage": 1])
        #expect(result.failure == nil)
    }

    @Test("A log that vanishes is absent, and is opened again when it is back")
    func vanishes() throws {
        let tree = ScratchTree()
        let machine = machine(tree)
        let reading = KernelLog()
        tree.write("dev/kmsg", record(1, dip))
        #expect(counts(machine, reading).events == ["undervoltage": 1])
        unlink("\(tree.path)/dev/kmsg")
        var samples: [Sample] = []
        try reading.read(machine, into: &samples)
        #expect(samples.isEmpty)
        tree.write("dev/kmsg", record(2, dip))
        #expect(counts(machine, reading).events == ["undervoltage": 2])
    }

    @Test("A log that must not be read fails, and the advice says what it needs")
    func permission() {
        let tree = ScratchTree()
        tree.write("dev/kmsg", record(1, dip))
        chmod("\(tree.path)/dev/kmsg", 0)
        guard access("\(tree.path)/dev/kmsg", R_OK) != 0 else { return asRoot(tree) }
        let failure = counts(machine(tree)).failure
        #expect(failure?.code == .permission)
        #expect(failure?.advice.contains("CAP_SYSLOG") == true)
    }

    /// Root reads files of any mode; a folder in the log's place cannot be read by anybody.
    private func asRoot(_ tree: ScratchTree) {
        unlink("\(tree.path)/dev/kmsg")
        mkdir("\(tree.path)/dev/kmsg", 0o755)
        #expect(counts(machine(tree)).failure?.code == .inputOutput)
        #expect(KernelLogSource.failure(EPERM, "kmsg").advice.contains("CAP_SYSLOG"))
        #expect(KernelLogSource.failure(EACCES, "kmsg").code == .permission)
    }

    @Test("The device of this machine can be read, where it has one that may be")
    func device() throws {
        let descriptor = open("/dev/kmsg", O_RDONLY | O_NONBLOCK)
        guard descriptor >= 0 else { return }
        close(descriptor)
        let source = KernelLogSource()
        let first = try #require(try source.harvest("/dev/kmsg", from: 0))
        #expect(first.failure == nil)
        #expect(first.strayLines == 0)
        #expect(first.records <= KernelLogSource.recordLimit)
        var last = first
        for _ in 0..<1000 where last.records > 0 {
            last = try #require(try source.harvest("/dev/kmsg", from: 0))
        }
        #expect(last.records < max(first.records, 1), "what was read comes again")
    }
}
