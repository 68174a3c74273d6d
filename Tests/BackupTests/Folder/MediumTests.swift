import Foundation
import Glibc
import Testing

@testable import Backup

@Suite("Which disk a folder is on")
struct MediumTests {
    let rig: FolderRig
    let system: ScratchFolder
    var roots: MediumRoots {
        MediumRoots(
            byUUID: system.path + "/by-uuid", mounts: system.path + "/mounts",
            devices: system.path + "/devices")
    }

    init() throws {
        rig = try FolderRig()
        system = try ScratchFolder()
        for folder in ["by-uuid", "devices", "block"] {
            try Files.makeFolder("\(system.path)/\(folder)")
        }
        try rig.mountTarget("size=4m")
        rig.target.roots = roots
    }

    func device(_ path: String) throws -> dev_t { try #require(Medium(of: path)).device }

    func name(_ path: String) throws -> String {
        let device = UInt64(try device(path))
        return "\(device >> 8 & 0xFFF):\(device & 0xFF)"
    }

    @Test("Only the file system with the owner's UUID is written to")
    func uuid() throws {
        rig.target.uuid = "1234-ABCD"
        func code() -> BackupError.Code? {
            do {
                try rig.target.open(rig.context, forWriting: true)
            } catch {
                return error.code
            }
            return nil
        }
        #expect(code() == .absent)
        let node = system.path + "/by-uuid/1234-ABCD"
        #expect(mknod(node, S_IFBLK | 0o600, try device(rig.data)) == 0)
        #expect(code() == .absent)
        #expect(rig.names == [])
        unlink(node)
        #expect(mknod(node, S_IFBLK | 0o600, try device(rig.place)) == 0)
        #expect(code() == nil)
        rig.target.uuid = "../../etc"
        #expect(code() == .permanent)
    }

    @Test("A file system of several disks is recognised by what is mounted")
    func severalDisks() throws {
        rig.target.uuid = "1234-ABCD"
        let disk = system.path + "/disk"
        #expect(mknod(disk, S_IFBLK | 0o600, 0x812) == 0)
        #expect(symlink(disk, system.path + "/by-uuid/1234-ABCD") == 0)
        #expect(throws: BackupError.self) { try rig.target.open(rig.context, forWriting: true) }
        try system.write(
            "mounts",
            "36 35 \(try name(rig.place)) / /mnt rw,noatime shared:1 - btrfs \(disk) rw\nx\n\n")
        try rig.target.open(rig.context, forWriting: true)
    }

    @Test("Two partitions of one disk die together; two disks do not")
    func partitions() throws {
        for (folder, partition) in [(rig.data, "sda/sda1"), (rig.place, "sda/sda2")] {
            try system.write("block/\(partition)/partition", "1")
            #expect(
                symlink("../block/\(partition)", "\(roots.devices)/\(try name(folder))") == 0)
        }
        #expect(rig.target.isOnSameMedium)
        unlink("\(roots.devices)/\(try name(rig.place))")
        #expect(!rig.target.isOnSameMedium)
        try system.write("block/sdb/sdb1/partition", "1")
        #expect(symlink("../block/sdb/sdb1", "\(roots.devices)/\(try name(rig.place))") == 0)
        #expect(!rig.target.isOnSameMedium)
        // A volume that is encrypted or of LVM is on the disk below it.
        unlink("\(roots.devices)/\(try name(rig.place))")
        try Files.makeFolder(system.path + "/block/dm-0/slaves")
        #expect(symlink("../../sda/sda2", system.path + "/block/dm-0/slaves/sda2") == 0)
        #expect(symlink("../block/dm-0", "\(roots.devices)/\(try name(rig.place))") == 0)
        #expect(rig.target.isOnSameMedium)
    }

    @Test("One file system is one medium, and nothing is known of a folder that is not there")
    func oneFileSystem() {
        rig.target.dataFolder = rig.place
        #expect(rig.target.isOnSameMedium)
        rig.target.dataFolder = "/nowhere"
        #expect(!rig.target.isOnSameMedium)
    }
}
