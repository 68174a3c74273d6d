// Disks: what counts as one, their counters, and what is remembered of each medium.

import Glibc
import Prometheus
import Testing

@testable import Hardware

/// A line of `/proc/diskstats` for a disk that wrote so many sectors.
private func line(_ name: String, written: String = "20") -> String {
    "   8       0 \(name) 5 1 10 1500 7 2 \(written) 2500 0 3250 4000 0 0 0 0 0 0\n"
}

private func named(_ name: String, _ samples: [Sample]) -> [Double] {
    samples.filter { $0.name == "kinglet_machine_disk_\(name)" }.map(\.value)
}

@Suite("Disks")
struct DisksTests {
    private let tree = ScratchTree()

    private func add(_ disk: String, cid: String? = nil) {
        tree.write("sys/block/\(disk)/size", "1\n")
        if let cid { tree.write("sys/block/\(disk)/device/cid", "\(cid)\n") }
    }

    @Test("Sectors are 512 bytes, times are in milliseconds")
    func normal() {
        add("sda")
        tree.write("sys/block/sda/device/ioerr_cnt", "0x1f\n")
        tree.write("proc/diskstats", line("sda") + line("sda1"))
        let (samples, failure) = tree.read(Disks())
        #expect(failure == nil)
        #expect(samples.map(\.value) == [5120, 10240, 5, 7, 1.5, 2.5, 3.25, 31])
        #expect(samples.allSatisfy { $0.labels.first?.1 == "sda" })
    }

    @Test("Without a table there is nothing, and nothing fails")
    func absent() {
        let result = tree.read(Disks())
        #expect(result.samples.isEmpty && result.failure == nil)
    }

    @Test(
        "Partitions, areas of a card and what is no disk of its own are not shown",
        arguments: [
            "sda1", "mmcblk0p1", "nvme0n1p2", "mmcblk0boot0", "mmcblk0rpmb", "mmcblk0gp0", "loop0",
            "ram0", "zram0", "dm-0", "md127", "sr0", "fd0", "nbd3", "../sda", "-sda", "cciss!c0d0",
        ])
    func others(_ name: String) {
        // A partition has no folder of its own in /sys/block; all others here have one.
        if !["sda1", "mmcblk0p1", "nvme0n1p2"].contains(name) { add(name) }
        tree.write("proc/diskstats", line(name))
        #expect(tree.read(Disks()).samples.isEmpty)
    }

    @Test("Disks are shown", arguments: ["sda", "sdaa", "mmcblk0", "mmcblk12", "nvme0n1", "vda"])
    func disks(_ name: String) {
        add(name)
        tree.write("proc/diskstats", line(name))
        #expect(tree.read(Disks()).samples.count == 7)
    }

    @Test(
        "A number that is none or too large is a failure that leaves the other disk",
        arguments: ["-1", "x", "18446744073709551615", "99999999999999999999999", "20000000000000"])
    func garbage(_ number: String) {
        add("sda")
        add("sdb")
        tree.write("proc/diskstats", line("sda", written: number) + line("sdb"))
        let (samples, failure) = tree.read(Disks())
        #expect(failure?.code == .malformed)
        #expect(samples.map { $0.labels.first?.1 } == Array(repeating: "sdb", count: 7))
    }

    @Test("A line that ends early is a failure, one without a name is nothing")
    func partial() {
        add("sda")
        tree.write("proc/diskstats", "\n   8\n   8 0 sda 1 2 3\n")
        #expect(tree.read(Disks()).failure?.code == .malformed)
    }

    @Test(
        "SCSI's errors are hexadecimal; other text is a failure", arguments: ["12", "0x", "-0x1"])
    func errors(_ text: String) {
        add("sda")
        tree.write("sys/block/sda/device/ioerr_cnt", "\(text)\n")
        tree.write("proc/diskstats", line("sda"))
        let (samples, failure) = tree.read(Disks())
        #expect(samples.count == 7 && failure?.code == .malformed)
    }

    @Test("Eight of many disks are shown, and ten thousand lines do no harm")
    func bounded() {
        var table = ""
        for number in 0..<10_000 { table += line("sda\(number)") }
        for number in 0..<20 { add("sda\(number)") }
        tree.write("proc/diskstats", table)
        let (samples, failure) = tree.read(Disks())
        #expect(samples.count == 8 * 7)
        #expect(failure == nil)
    }

    @Test("Where the limit cuts the table is no garbage")
    func cut() {
        add("sdb")
        // Exactly so long that the limit falls into the line of sdb.
        let filler = String(repeating: "x", count: SystemFile.tableLimit - 40)
        tree.write("proc/diskstats", "\(filler)\n" + line("sdb"))
        let result = tree.read(Disks())
        #expect(result.samples.isEmpty && result.failure == nil)
    }

    @Test("Nothing is counted until the memory is there")
    func notLoaded() {
        add("mmcblk0", cid: "03")
        tree.write("proc/diskstats", line("mmcblk0"))
        #expect(named("lifetime_written_bytes_total", tree.read(Disks()).samples).isEmpty)
    }

    @Test("A medium's total goes on; another one in the same slot has its own")
    func lifetime() {
        let machine = Machine(roots: tree.roots, mailbox: ScriptedMailbox())
        machine.memory.load([])
        func total(_ cid: String, written: String) -> [Double] {
            add("mmcblk0", cid: cid)
            tree.write("proc/diskstats", line("mmcblk0", written: written))
            return named("lifetime_written_bytes_total", tree.read(Disks(), machine).samples)
        }
        #expect(total("first", written: "100") == [51_200])
        #expect(total("first", written: "150") == [76_800])
        #expect(total("second", written: "10") == [5120])
        // It was taken out and put back: the kernel began again.
        #expect(total("first", written: "20") == [87_040])
    }

    @Test("The memory's keys hold no serial number")
    func keys() {
        let machine = Machine(roots: tree.roots, mailbox: ScriptedMailbox())
        machine.memory.load([])
        add("sda")
        tree.write("sys/block/sda/device/model", "PSSD T7\n")
        tree.write("sys/block/sda/device/serial", "S5T0NS0R000001\n")
        tree.write("proc/diskstats", line("sda"))
        _ = tree.read(Disks(), machine)
        let keys = machine.memory.takeChanges().map(\.key)
        #expect(keys.count == 1 && keys.first?.hasPrefix("written ") == true)
        #expect(keys.first?.contains("S5T0") == false)
    }

    @Test("The key is the medium's: its cid, its wwid, or its model and serial number together")
    func identity() throws {
        let roots = tree.roots
        add("sda")
        tree.write("sys/block/sda/device/model", "Stick\n")
        #expect(try WholeDisk.mediumKey("sda", roots) == nil)
        tree.write("sys/block/sda/device/vpd_pg80", "\u{0}\u{1}\u{0}\u{4}  A1")
        let first = try WholeDisk.mediumKey("sda", roots)
        #expect(first != nil)
        tree.write("sys/block/sda/device/vpd_pg80", "\u{0}\u{1}\u{0}\u{4}  A2")
        #expect(try WholeDisk.mediumKey("sda", roots) != first)
        tree.write("sys/block/sda/device/wwid", "naa.5002538e00000001\n")
        let wide = try WholeDisk.mediumKey("sda", roots)
        tree.write("sys/block/sda/device/model", "Other\n")
        #expect(try WholeDisk.mediumKey("sda", roots) == wide)
        // FNV-1a's published value of "foobar", so that a key of today is found again.
        tree.write("sys/block/mmcblk0/device/cid", "foobar\n")
        #expect(try WholeDisk.mediumKey("mmcblk0", roots) == "written 85944171f73967e8")
    }

    @Test("Two media that call themselves the same do not disturb one another")
    func sameIdentity() {
        let machine = Machine(roots: tree.roots, mailbox: ScriptedMailbox())
        machine.memory.load([])
        for disk in ["sda", "sdb"] {
            add(disk)
            tree.write("sys/block/\(disk)/device/wwid", "t10.Generic 0123456789\n")
        }
        tree.write("proc/diskstats", line("sda", written: "100") + line("sdb", written: "10"))
        for _ in 0..<3 {
            let samples = tree.read(Disks(), machine).samples
            #expect(named("lifetime_written_bytes_total", samples) == [51_200])
        }
    }
}
