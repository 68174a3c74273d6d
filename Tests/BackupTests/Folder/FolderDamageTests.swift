import Foundation
import Glibc
import Testing

@testable import Backup

@Suite("Snapshots in a folder that somebody or something changed")
struct FolderDamageTests {
    /// Turns one bit of a file, keeping its time.
    static func turnBit(_ path: String) throws {
        var status = stat()
        try #require(lstat(path, &status) == 0)
        let file = open(path, O_RDWR)
        defer { close(file) }
        var byte: UInt8 = 0
        try #require(pread(file, &byte, 1, status.st_size / 2) == 1)
        byte ^= 4
        try #require(pwrite(file, &byte, 1, status.st_size / 2) == 1)
        futimens(file, [status.st_mtim, status.st_mtim])
    }

    @Test("One bit is found in every file of a snapshot, and in those that share it")
    func everyFile() throws {
        let rig = try FolderRig()
        try rig.back(up: 1)
        try rig.back(up: 2)
        let manifest = try rig.target.manifest(of: FolderRig.id(1), rig.context)
        let entries = try rig.target.list(of: manifest, rig.context).entries
        for path in entries.map(\.path.description).filter({ !$0.contains("/0/") }) {
            let place = "\(rig.place)/\(try FolderRig.id(1))/\(path)"
            try Self.turnBit(place)
            for sequence in 1...2 {
                let report = try rig.verify(sequence)
                #expect(report.faultCount == 1)
                #expect(report.faults.first?.contains(path) == true)
                #expect(report.faults.first?.contains("not what was stored") == true)
            }
            try Self.turnBit(place)
        }
        #expect(try rig.verify(1).faultCount == 0)
        let list = try "\(rig.place)/\(FolderRig.id(2))/\(manifest.lists[0].path)"
        try Self.turnBit(list)
        #expect(throws: BackupError.self) { try rig.target.list(of: manifest, rig.context) }
        try Self.turnBit(list)
        try Self.turnBit("\(rig.place)/\(FolderRig.id(2))/manifest")
        let error = #expect(throws: BackupError.self) {
            try rig.target.manifest(of: FolderRig.id(2), rig.context)
        }
        #expect(error?.code == .damaged)
        // It is still there to be looked at, and to be removed.
        #expect(try rig.target.snapshots(rig.context).count == 2)
        try rig.target.remove(FolderRig.id(2), rig.context)
    }

    @Test("A part of the database that somebody changed in its place gets into no other snapshot")
    func changedPart() throws {
        let rig = try FolderRig()
        try rig.scratch.write("staging/database/kinglet.db/base", "pages")
        let staged = rig.scratch.path + "/staging/database"
        try rig.target.open(rig.context, forWriting: true)
        let first = try rig.prepare(FolderRig.id(1), database: staged)
        _ = try rig.target.store(first, rig.context) { _ throws(BackupError) in }
        let part = try #require(SnapshotPath("database/kinglet.db/base"))
        let place = "\(rig.place)/\(try FolderRig.id(1))/\(part)"
        try Self.turnBit(place)
        setTime(of: place)
        let second = try rig.prepare(FolderRig.id(2), kept: [part])
        let error = #expect(throws: BackupError.self) {
            try rig.target.store(second, rig.context) { _ throws(BackupError) in }
        }
        #expect(error?.code == .damaged)
        #expect(try rig.target.snapshots(rig.context).count == 1)
    }

    /// Gives a file another time.
    private func setTime(of path: String) {
        let time = timespec(tv_sec: 1_500_000_000, tv_nsec: 0)
        utimensat(AT_FDCWD, path, [time, time], 0)
    }

    @Test("Damage that an attempt leaves does not get into the snapshot of a run that distrusts it")
    func damagedAttempt() throws {
        let rig = try FolderRig()
        let path = "\(rig.target.partial(of: try FolderRig.id(1)))/uploads/readable"
        #expect(throws: BackupError.self) {
            try rig.back(up: 1) { stored throws(BackupError) in
                do { try Self.turnBit(path) } catch { throw Fault.error() }
                let faults = try stored.verify(stored.new).faults
                throw BackupError(.damaged, subject: "test", faults.joined())
            }
        }
        func faults(_ sequence: Int, sharesNothing: Bool) throws -> Int {
            var snapshot = try rig.prepare(FolderRig.id(sequence))
            snapshot.sharesNothing = sharesNothing
            var count = 0
            _ = try rig.target.store(snapshot, rig.context) { stored throws(BackupError) in
                count = try stored.verify(stored.new).faultCount
            }
            return count
        }
        #expect(try faults(2, sharesNothing: true) == 0)
        #expect(try rig.verify(2).faultCount == 0)
    }

    @Test("Files that are missing, longer, of another kind or mode are found")
    func kinds() throws {
        let rig = try FolderRig()
        try rig.back(up: 1)
        let file = try "\(rig.place)/\(FolderRig.id(1))/uploads/readable"
        let content = try #require(try Files.read(file, limit: 1000))
        func faults() throws -> String {
            let report = try rig.verify(1)
            #expect(report.faultCount == 1)
            return report.faults.first ?? ""
        }
        #expect(chmod(file, 0o4755) == 0)
        #expect(try faults().contains("mode is 4755 instead of 644"))
        try Files.replace(file, content + [0], mode: 0o644)
        #expect(try faults().contains("14 bytes instead of 13"))
        unlink(file)
        #expect(try faults().contains("missing"))
        #expect(symlink("/etc/hostname", file) == 0)
        #expect(try faults().contains("link"))
        unlink(file)
        #expect(mkfifo(file, 0o644) == 0)
        #expect(try faults().contains("not a file"))
        unlink(file)
        #expect(mknod(file, S_IFCHR | 0o644, 0x105) == 0)
        #expect(try faults().contains("not a file"))
    }

    @Test(
        "A snapshot whose folders are links to elsewhere is neither read, shared nor written to",
        arguments: Mover.allCases)
    func plantedFolder(mover: Mover) throws {
        let rig = try FolderRig(mover)
        try rig.back(up: 1)
        let outside = rig.scratch.path + "/outside"
        let uploads = try "\(rig.place)/\(FolderRig.id(1))/uploads"
        #expect(rename(uploads, outside) == 0)
        #expect(symlink(outside, uploads) == 0)
        let before = try FolderRig.description(of: outside)
        let manifest = try rig.target.manifest(of: FolderRig.id(1), rig.context)
        let entries = try rig.target.list(of: manifest, rig.context).entries
        #expect(try rig.verify(1).faultCount == 31)
        let place = rig.scratch.path + "/restored"
        try Files.makeFolder(place)
        let error = #expect(throws: BackupError.self) {
            try rig.target.fetch(entries, of: manifest, into: place, rig.context)
        }
        #expect(error?.code == .damaged)
        try rig.back(up: 2)
        #expect(try rig.verify(2).faultCount == 0)
        #expect(try rig.file(2, "uploads/readable").links == 1)
        #expect(rig.notes.all.contains { $0.contains("changed by somebody") })
        try rig.target.remove(FolderRig.id(1), rig.context)
        #expect(try FolderRig.description(of: outside) == before)
    }

    @Test(
        "A link in the place of a snapshot or of one in the making is not followed",
        arguments: Mover.allCases)
    func plantedSnapshot(mover: Mover) throws {
        let rig = try FolderRig(mover)
        try rig.back(up: 1)
        let outside = rig.scratch.path + "/outside"
        try Files.makeFolder(outside)
        #expect(try symlink(outside, rig.target.partial(of: FolderRig.id(2))) == 0)
        let error = #expect(throws: BackupError.self) { try rig.back(up: 2) }
        #expect(error?.code == .damaged)
        #expect(throws: BackupError.self) {
            try rig.target.placeForDatabase(of: FolderRig.id(2), rig.context)
        }
        #expect(try Files.names(in: outside).isEmpty)

        // Within one that was begun.
        _ = try rig.target.placeForDatabase(of: FolderRig.id(3), rig.context)
        for name in ["uploads", "config", "files"] {
            #expect(try symlink(outside, rig.target.partial(of: FolderRig.id(3)) + "/" + name) == 0)
        }
        _ = try? rig.back(up: 3)
        #expect(try Files.names(in: outside).isEmpty)

        #expect(
            try symlink(rig.target.folder(of: FolderRig.id(1)), rig.place + "/\(FolderRig.id(9))")
                == 0)
        #expect(try !rig.target.snapshots(rig.context).contains(FolderRig.id(9)))
        #expect(throws: BackupError.self) {
            try rig.target.manifest(of: FolderRig.id(9), rig.context)
        }
        try rig.target.remove(FolderRig.id(9), rig.context)
        #expect(try rig.verify(1).faultCount == 0)
    }

    @Test("What is fetched never leaves its folder, whatever the list and the folder hold")
    func fetch() throws {
        let rig = try FolderRig()
        try rig.back(up: 1)
        let manifest = try rig.target.manifest(of: FolderRig.id(1), rig.context)
        let list = try rig.target.list(of: manifest, rig.context)
        let path = try #require(SnapshotPath("uploads/readable"))
        let readable = try #require(list[path])
        let outside = rig.scratch.path + "/outside"
        try Files.makeFolder(outside)
        func place() throws -> String {
            let place = rig.scratch.path + "/restored-\(UUID().uuidString)"
            try Files.makeFolder(place)
            return place
        }
        // A folder of the list that is a link here.
        let linked = try place()
        #expect(symlink(outside, linked + "/uploads") == 0)
        #expect(throws: BackupError.self) {
            try rig.target.fetch([readable], of: manifest, into: linked, rig.context)
        }
        // A file of the list that is a link here.
        let target = try place()
        try Files.makeFolder(target + "/uploads")
        #expect(symlink(outside + "/made", target + "/uploads/readable") == 0)
        #expect(throws: BackupError.self) {
            try rig.target.fetch([readable], of: manifest, into: target, rig.context)
        }
        #expect(try Files.names(in: outside).isEmpty)
        // A link of the list with a file below it.
        var link = readable
        link.path = try #require(SnapshotPath("uploads"))
        link.kind = .link(to: Array(outside.utf8))
        let plain = try place()
        try rig.target.fetch([link, readable], of: manifest, into: plain, rig.context)
        #expect(Files.exists(plain + "/uploads/readable"))
        #expect(try Files.names(in: outside).isEmpty)
        // Twice the same, and content that is not what the list says.
        #expect(throws: BackupError.self) {
            try rig.target.fetch([readable], of: manifest, into: plain, rig.context)
        }
        var wrong = readable
        wrong.kind = .file(size: readable.size, hash: try #require(contentHash([1])))
        let empty = try place()
        let error = #expect(throws: BackupError.self) {
            try rig.target.fetch([wrong], of: manifest, into: empty, rig.context)
        }
        #expect(error?.code == .damaged)
        #expect(!Files.exists(empty + "/uploads/readable"))
        // Nothing that runs as its owner.
        var special = readable
        special.mode = 0o6755
        let modes = try place()
        try rig.target.fetch([special], of: manifest, into: modes, rig.context)
        var status = stat()
        #expect(stat(modes + "/uploads/readable", &status) == 0)
        #expect(status.st_mode & 0o7777 == 0o755)
        // A device in the place of a file.
        let stored = try "\(rig.place)/\(FolderRig.id(1))/uploads/readable"
        unlink(stored)
        #expect(mknod(stored, S_IFCHR | 0o644, 0x105) == 0)
        let device = try place()
        #expect(throws: BackupError.self) {
            try rig.target.fetch([readable], of: manifest, into: device, rig.context)
        }
    }
}
