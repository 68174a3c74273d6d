// File systems and ext4's error counters: which mounts count, and what a broken one says.

import Glibc
import Prometheus
import Testing

@testable import Hardware

@Suite("File systems")
struct FilesystemsTests {
    private static let root = "28 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw"

    /// A machine with these mounts, whose file systems answer with the same numbers.
    private func read(
        _ mounts: [String], calls: String = "statvfs / 1000 400 100 60\n"
    ) -> (samples: [Sample], failure: ReadingError?) {
        let tree = ScratchTree()
        tree.write("proc/1/mountinfo", mounts.map { $0 + "\n" }.joined())
        tree.write("calls", calls)
        return tree.read(Filesystems())
    }

    private func points(_ samples: [Sample]) -> [String] {
        samples.filter { $0.name == "kinglet_machine_filesystem_readonly" }
            .compactMap { $0.labels.first?.1 }
    }

    @Test("Size, space, inodes and whether it can be written, in base units")
    func normal() {
        let (samples, failure) = read([Self.root])
        #expect(failure == nil)
        #expect(
            samples.map { $0.name.dropFirst(27) } == [
                "size_bytes", "available_bytes", "inodes", "inodes_free", "readonly",
            ])
        #expect(samples.map(\.value) == [1000, 400, 100, 60, 0])
    }

    @Test("Without a table of mounts there is nothing, and nothing fails")
    func absent() {
        let result = ScratchTree().read(Filesystems())
        #expect(result.samples.isEmpty && result.failure == nil)
    }

    @Test("A file system that is read-only itself is, one that only we may not write to is not")
    func readOnly() {
        let dying = read(["28 1 8:2 / / rw shared:1 - ext4 /dev/sda2 ro,errors=remount-ro"])
        #expect(dying.samples.last?.value == 1)
        // What ProtectSystem=strict makes of it in the unit's own view.
        let sandboxed = read(["28 1 8:2 / / ro,relatime shared:1 - ext4 /dev/sda2 rw"])
        #expect(sandboxed.samples.last?.value == 0)
        let options = read(["28 1 8:2 / / rw - ext4 /dev/sda2 rw,errors=remount-ro,prot"])
        #expect(options.samples.last?.value == 0)
    }

    @Test(
        "Only the types of disks on real block devices are shown",
        arguments: [
            "30 28 0:25 / /run rw - tmpfs tmpfs rw",
            "30 28 7:0 / /snap rw - squashfs /dev/loop0 ro",
            "30 28 7:1 / /image rw - ext4 /dev/loop1 rw",
            "30 28 252:0 / /z rw - ext4 /dev/zram0 rw",
            "30 28 0:40 / /nas rw - nfs4 nas:/export rw", "30 28 0:41 / /o rw - overlay overlay rw",
            "30 28 0:42 / /n rw - tmpfs  rw", "30 28 11:0 / /cd ro - iso9660 /dev/sr0 ro",
        ])
    func others(_ mount: String) {
        let (samples, failure) = read([Self.root, mount])
        #expect(points(samples) == ["/"])
        #expect(failure == nil)
    }

    @Test("A bind mount and a subvolume are the file system that they belong to, in any order")
    func bindMounts() {
        let bind = "40 28 8:2 /var/www /srv/www rw - ext4 /dev/sda2 rw"
        #expect(points(read([Self.root, bind]).samples) == ["/"])
        #expect(points(read([bind, Self.root]).samples) == ["/"])
        let home = "41 28 0:30 /@home /home rw - btrfs /dev/sdb1 rw"
        let top = "42 28 0:30 /@ /data rw - btrfs /dev/sdb1 rw"
        #expect(points(read([home, top]).samples) == ["/data"])
    }

    @Test("What another mount hides is not shown under that one's numbers")
    func hidden() {
        let home = "40 28 8:5 / /home rw - ext4 /dev/sda5 rw"
        let cover = "90 40 0:25 /inaccessible /home ro - tmpfs tmpfs rw"
        #expect(points(read([Self.root, home, cover]).samples) == ["/"])
    }

    @Test("Escaped characters are what they stand for, and a label stays printable")
    func escapes() {
        let stick = #"40 28 8:17 / /media/a\040b\134c\011d rw - vfat /dev/sdb1 rw"#
        #expect(points(read([stick]).samples) == [#"/media/a b\c?d"#])
        let strange = #"40 28 8:17 / /media/\999\01 rw - vfat /dev/sdb1 rw"#
        #expect(points(read([strange]).samples) == [#"/media/\999\01"#])
    }

    @Test("A file system without a limit of files has no inodes to show")
    func noInodes() {
        let (samples, failure) = read([Self.root], calls: "statvfs / 1000 400 0 0\n")
        #expect(samples.count == 3 && failure == nil)
    }

    @Test("One that is gone when it is asked is left out")
    func vanished() {
        let (samples, failure) = read([Self.root], calls: "\n")
        #expect(samples.map(\.value) == [0])
        #expect(failure == nil)
    }

    @Test("A failing medium is a failure, beside which the others stand")
    func inputOutput() {
        let other = "40 28 8:17 / /srv rw - ext4 /dev/sdb1 rw"
        let (samples, failure) = read(
            [Self.root, other], calls: "statvfs / errno 5\nstatvfs /srv 1 1 1 1\n")
        #expect(failure?.code == .inputOutput)
        #expect(samples.count == 6)
    }

    @Test("A folder that is closed to us is nobody's fault")
    func permission() {
        let (samples, failure) = read([Self.root], calls: "statvfs / errno 13\n")
        #expect(samples.count == 1 && failure == nil)
    }

    @Test(
        "Sizes that cannot be are a failure",
        arguments: ["-1 4 1 1", "1e300 4 1 1", "nan 4 1 1", "inf 4 1 1", "1 4 1 -5"])
    func implausible(_ numbers: String) {
        let (samples, failure) = read([Self.root], calls: "statvfs / \(numbers)\n")
        #expect(failure?.code == .malformed)
        #expect(samples.count == 1)
    }

    @Test(
        "A line that is none is a failure that leaves the others",
        arguments: ["garbage", "1 2 3 4 5 6 7 8 9 10 11", "28 1 8:2 / / rw -", "\u{0}\u{1}"])
    func garbage(_ line: String) {
        let (samples, failure) = read([line, Self.root])
        #expect(failure?.code == .malformed)
        #expect(points(samples) == ["/"])
    }

    @Test("Sixteen of ten thousand are shown, and what the limit cuts off is no garbage")
    func bounded() {
        let mounts = (0..<10_000).map {
            "\($0 + 40) 28 8:\($0) / /mnt/\($0) rw - ext4 /dev/sd\($0) rw"
        }
        let (samples, failure) = read(mounts)
        #expect(points(samples) == (0..<16).map { "/mnt/\($0)" })
        #expect(failure == nil)
    }

    @Test("Mount points that look the same when shortened give one series")
    func sameLabel() {
        let long = String(repeating: "x", count: 200)
        let mounts = (0..<2).map { "4\($0) 28 8:\($0) / /\(long)\($0) rw - ext4 /dev/sd\($0) rw" }
        #expect(points(read(mounts).samples).map(\.count) == [128])
    }

    @Test("The running machine's own root is asked by the system call")
    func kernel() throws {
        let answer = try #require(try KernelCalls().filesystem(at: "/", below: ""))
        #expect(answer.size > 0 && answer.available <= answer.size)
        #expect(try KernelCalls().filesystem(at: "/there/is/none", below: "") == nil)
    }
}

@Suite("ext4's error counters")
struct Ext4ErrorsTests {
    @Test("A file system without errors has no time of the last one")
    func healthy() {
        let tree = ScratchTree()
        tree.write("sys/fs/ext4/features/metadata_csum_seed", "supported\n")
        tree.write("sys/fs/ext4/mmcblk0p2/errors_count", "0\n")
        tree.write("sys/fs/ext4/mmcblk0p2/last_error_time", "0\n")
        let (samples, failure) = tree.read(Ext4Errors())
        #expect(failure == nil)
        #expect(
            samples == [
                Sample(
                    "kinglet_machine_ext4_errors_total", labels: [("device", "mmcblk0p2")], value: 0
                )
            ])
    }

    @Test("Errors and the time of the last one, as the superblock has them")
    func errors() {
        let tree = ScratchTree()
        tree.write("sys/fs/ext4/sda1/errors_count", "4294967295\n")
        tree.write("sys/fs/ext4/sda1/last_error_time", "1763628114\n")
        let (samples, failure) = tree.read(Ext4Errors())
        #expect(samples.map(\.value) == [4_294_967_295, 1_763_628_114])
        #expect(failure == nil)
    }

    @Test("Neither ext4 nor its counters on this machine: nothing, and nothing fails")
    func absent() {
        let tree = ScratchTree()
        #expect(tree.read(Ext4Errors()).samples.isEmpty)
        tree.write("sys/fs/ext4/sda1/lifetime_write_kbytes", "1\n")
        let result = tree.read(Ext4Errors())
        #expect(result.samples.isEmpty && result.failure == nil)
    }

    @Test(
        "A count that cannot be is a failure that leaves the other file system",
        arguments: ["-1", "4294967296", "99999999999999999999", "many", ""])
    func garbage(_ text: String) {
        let tree = ScratchTree()
        tree.write("sys/fs/ext4/sda1/errors_count", "\(text)\n")
        tree.write("sys/fs/ext4/sdb1/errors_count", "1\n")
        let (samples, failure) = tree.read(Ext4Errors())
        #expect(failure?.code == .malformed)
        #expect(samples.map { $0.labels.first?.1 } == ["sdb1"])
    }

    @Test("A time that cannot be is a failure that leaves the count")
    func garbageTime() {
        let tree = ScratchTree()
        tree.write("sys/fs/ext4/sda1/errors_count", "1\n")
        tree.write("sys/fs/ext4/sda1/last_error_time", "-5\n")
        let (samples, failure) = tree.read(Ext4Errors())
        #expect(samples.count == 1 && failure?.code == .malformed)
    }

    @Test("Sixteen file systems are shown")
    func bounded() {
        let tree = ScratchTree()
        for number in 0..<40 { tree.write("sys/fs/ext4/sda\(number)/errors_count", "0\n") }
        #expect(tree.read(Ext4Errors()).samples.count == 16)
    }
}
