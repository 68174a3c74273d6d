import Foundation
import Glibc
import Synchronization
import Testing

@testable import Backup

/// Calls something at one step of a run, once.
final class Once: Sendable {
    private let isDone = Mutex(false)
    func callAsFunction(_ body: () -> Void) {
        if isDone.withLock({ done in
            defer { done = true }
            return !done
        }) {
            body()
        }
    }
}

@Suite("Faults of a folder and what comes after them")
struct FolderFaultTests {
    @Test(
        "Wherever a run ends, snapshots stay whole and the next one sends nothing twice",
        arguments: FolderStep.allCases, Mover.allCases)
    func ends(at step: FolderStep, mover: Mover) throws {
        let rig = try FolderRig(mover)
        try rig.back(up: 1)
        let new = try rig.scratch.write("data/uploads/new", "something new")
        let site = try rig.scratch.write("site/page", "x")
        #expect(Files.exists(new) && Files.exists(site))
        let id = try FolderRig.id(2, time: 1_700_000_100)
        func run(_ id: SnapshotID) throws -> TransferReport {
            let prepared = try rig.prepare(
                id, extra: [("extra/0/site", rig.scratch.path + "/site")])
            return try rig.target.store(prepared, rig.context) { (_) throws(BackupError) in }
        }
        rig.target.atStep = { (now) throws(BackupError) in
            if now == step { throw Fault.error() }
        }
        if step == .removing {
            #expect(throws: BackupError.self) {
                try rig.target.remove(FolderRig.id(1), rig.context)
            }
            rig.target.atStep = { _ in }
            #expect(try rig.target.snapshots(rig.context) == [])
        } else {
            let error = #expect(throws: BackupError.self) { try run(id) }
            #expect(error?.message == Fault.reason)
        }
        rig.target.atStep = { _ in }
        let isPublished = step == .published || step == .renamed
        let whole = try rig.target.snapshots(rig.context)
        #expect(whole.contains(id) == isPublished)
        for id in whole {
            let manifest = try rig.target.manifest(of: id, rig.context)
            let list = try rig.target.list(of: manifest, rig.context)
            #expect(
                try rig.target.verify(list.entries, of: manifest, rig.context).faultCount == 0)
        }
        let latest = try FileManager.default.destinationOfSymbolicLink(
            atPath: rig.place + "/latest")
        #expect(SnapshotID(latest) != nil)

        let next = try FolderRig.id(isPublished ? 3 : 2, time: 1_700_000_200)
        let report = try run(next)
        if step != .removing && step != .begun && step != .databaseLinked {
            // What an ended run had sent is linked from there.
            #expect(report.files == (step == .sent ? 1 : 0))
        }
        try rig.target.cleanUp(rig.context)
        #expect(!rig.names.contains { $0.hasPrefix(".partial") || $0.hasPrefix(".deleting") })
        let manifest = try rig.target.manifest(of: next, rig.context)
        let list = try rig.target.list(of: manifest, rig.context)
        #expect(try rig.target.verify(list.entries, of: manifest, rig.context).faults == [])
        #expect(list.entries.count == 35)
        #expect(
            try Files.names(in: rig.scratch.path + "/memory") == [Array("target".utf8)])
    }

    @Test("A check that refuses keeps the snapshot from being published")
    func refused() throws {
        let rig = try FolderRig()
        #expect(throws: BackupError.self) {
            try rig.back(up: 1) { (_) throws(BackupError) in throw Fault.error() }
        }
        #expect(try rig.target.snapshots(rig.context) == [])
        #expect(!Files.exists(rig.place + "/latest"))
    }

    @Test("A run that is called off ends, and its files serve the next one")
    func cancelled() throws {
        let rig = try FolderRig(.copy)
        rig.target.atStep = { [cancellation = rig.cancellation] (step) throws(BackupError) in
            if step == .sent { cancellation.cancel("enough") }
        }
        let error = #expect(throws: BackupError.self) { try rig.back(up: 1) }
        #expect(error?.code == .cancelled)
        rig.cancellation = Cancellation()
        rig.target.atStep = { _ in }
        #expect(try rig.back(up: 2).files == 0)
    }

    @Test(
        "What a power cut has spoilt in an attempt is sent again, and the rest is not",
        arguments: Mover.allCases)
    func spoilt(mover: Mover) throws {
        let rig = try FolderRig(mover)
        rig.target.atStep = { (step) throws(BackupError) in
            if step == .sent { throw Fault.error() }
        }
        #expect(throws: BackupError.self) { try rig.back(up: 1) }
        rig.target.atStep = { _ in }
        // Size and time were written, the content was not.
        let path = rig.place + "/.partial-\(try FolderRig.id(1))/uploads/readable"
        var status = stat()
        try #require(lstat(path, &status) == 0)
        let file = try #require(FileHandle(forWritingAtPath: path))
        try file.write(contentsOf: [UInt8](repeating: 0, count: Int(status.st_size)))
        try file.close()
        var times = [status.st_atim, status.st_mtim]
        try #require(utimensat(AT_FDCWD, path, &times, 0) == 0)
        #expect(try rig.back(up: 2).files == 1)
        #expect(try rig.verify(2).faultCount == 0)
    }

    // MARK: The target is not what it was

    @Test("An empty mount point is no target, and nothing is written there")
    func emptyMountPoint() throws {
        let rig = try FolderRig()
        try rig.back(up: 1)
        #expect(rename(rig.place, rig.place + "-away") == 0)
        let gone = #expect(throws: BackupError.self) { try rig.back(up: 2) }
        #expect(gone?.code == .absent)
        try Files.makeFolder(rig.place)
        for writing in [true, false] {
            let error = #expect(throws: BackupError.self) {
                try rig.target.open(rig.context, forWriting: writing)
            }
            #expect(error?.code == .absent)
        }
        #expect(rig.names == [])
        try Files.remove(rig.place)
        #expect(rename(rig.place + "-away", rig.place) == 0)
        try rig.back(up: 2)
    }

    @Test("A path that was never there is not made, but for the data directory's own folder")
    func firstUse() throws {
        let rig = try FolderRig()
        try Files.remove(rig.place)
        let error = #expect(throws: BackupError.self) { try rig.back(up: 1) }
        #expect(error?.code == .absent)
        #expect(!Files.exists(rig.place))
        rig.target.makesFolder = true
        #expect(throws: BackupError.self) { try rig.target.open(rig.context, forWriting: false) }
        #expect(rig.target.isOnSameMedium)
        try rig.back(up: 1)
        #expect(try rig.verify(1).faultCount == 0)
    }

    @Test("Another disk, a later kinglet's and an edited marker are told apart")
    func marker() throws {
        let rig = try FolderRig()
        try rig.back(up: 1)
        let path = rig.place + "/kinglet-backup.json"
        let good = try #require(try Files.read(path, limit: 1000))
        let other = String(repeating: "0c", count: 16)
        for (text, code) in [
            (#"{"format":1,"target":"\#(other)","instances":[]}"#, BackupError.Code.foreign),
            (#"{"format":2,"target":"\#(other)","instances":[]}"#, .permanent),
            (#"{"format":0,"target":"\#(other)","instances":[]}"#, .foreign),
            (#"{"format":1,"target":"../../x","instances":[]}"#, .foreign),
            (#"{"format":1,"target":"\#(other)","instances":["x"]}"#, .foreign),
            ("", .foreign), ("{", .foreign), ("[1]", .foreign),
        ] {
            try Files.replace(path, Array(text.utf8), mode: 0o600)
            let error = #expect(throws: BackupError.self, "\(text)") { try rig.back(up: 2) }
            #expect(error?.code == code, "\(text)")
        }
        unlink(path)
        #expect(symlink("/etc/passwd", path) == 0)
        #expect(throws: BackupError.self) { try rig.back(up: 2) }
        unlink(path)
        try Files.replace(path, good, mode: 0o600)
        try rig.back(up: 2)
    }

    @Test("A target that vanishes during a run is absent, not damaged", arguments: Mover.allCases)
    func vanishes(mover: Mover) throws {
        for step in [FolderStep.begun, .databaseLinked, .sent, .listed, .synced, .checked] {
            let rig = try FolderRig(mover)
            try rig.back(up: 1)
            let place = rig.place
            let once = Once()
            rig.target.atStep = { (now) throws(BackupError) in
                if now == step { once { rename(place, place + "-away") } }
            }
            let error = #expect(throws: BackupError.self) { try rig.back(up: 2) }
            #expect(error?.code == .absent, "\(step): \(String(describing: error))")
            // What may have been made in its place is not the target.
            try Files.remove(place)
            #expect(rename(place + "-away", place) == 0)
            rig.target.atStep = { _ in }
            #expect(try rig.target.snapshots(rig.context) == [FolderRig.id(1)])
            try rig.back(up: 3)
            #expect(try rig.verify(3).faultCount == 0)
        }
    }

    // MARK: Space and permission

    @Test("A run that does not fit is refused before anything is sent, with figures")
    func tooLarge() throws {
        let rig = try FolderRig()
        try rig.mountTarget("size=4m")
        try rig.scratch.write("data/uploads/big", String(repeating: "x", count: 5 << 20))
        let error = #expect(throws: BackupError.self) { try rig.back(up: 1) }
        #expect(error?.code == .full)
        #expect(error?.message == "the snapshot needs about 8 MB and 5 MB are free")
        #expect(unlink(rig.data + "/uploads/big") == 0)
        try rig.back(up: 2)
        #expect(try rig.verify(2).faultCount == 0)
    }

    @Test("A file system without room for so many files is full")
    func tooMany() throws {
        let rig = try FolderRig()
        try rig.mountTarget("size=4m,nr_inodes=20")
        let error = #expect(throws: BackupError.self) { try rig.back(up: 1) }
        #expect(error?.code == .full)
        #expect(error?.message.contains("33 new files") == true)
    }

    @Test("A target that fills up during a run keeps its snapshots, and goes on when there is room")
    func fills() throws {
        let rig = try FolderRig(.copy)
        try rig.mountTarget("size=8m")
        try rig.back(up: 1)
        try rig.scratch.write("data/uploads/big", String(repeating: "x", count: 3 << 20))
        let place = rig.place
        let once = Once()
        rig.target.atStep = { (step) throws(BackupError) in
            guard step == .databaseLinked else { return }
            once {
                let file = open(place + "/filler", O_WRONLY | O_CREAT, 0o600)
                let piece = [UInt8](repeating: 1, count: 65_536)
                while write(file, piece, piece.count) > 0 {}
                close(file)
            }
        }
        let error = #expect(throws: BackupError.self) { try rig.back(up: 2) }
        #expect(error?.code == .full)
        #expect(try rig.target.snapshots(rig.context) == [FolderRig.id(1)])
        #expect(try rig.verify(1).faultCount == 0)
        #expect(unlink(place + "/filler") == 0)
        try rig.back(up: 3)
        #expect(try rig.verify(3).faultCount == 0)
        #expect(!rig.names.contains { $0.hasPrefix(".partial") })
    }

    @Test("A target that is mounted read-only is refused, and can be read")
    func readOnly() throws {
        let rig = try FolderRig()
        try rig.mountTarget("size=4m")
        try rig.back(up: 1)
        let prepared = try rig.prepare(FolderRig.id(2))
        let flags = UInt(MS_REMOUNT | MS_RDONLY)
        try #require(mount("none", rig.place, "tmpfs", flags, "size=4m") == 0)
        let error = #expect(throws: BackupError.self) {
            try rig.target.open(rig.context, forWriting: true)
        }
        #expect(error?.code == .permanent)
        #expect(error?.message.contains("Read-only") == true)
        let other = #expect(throws: BackupError.self) {
            try rig.target.store(prepared, rig.context) { (_) throws(BackupError) in }
        }
        #expect(other?.code == .permanent)
        try rig.target.open(rig.context, forWriting: false)
        #expect(try rig.verify(1).faultCount == 0)
        #expect(throws: BackupError.self) {
            try rig.target.remove(FolderRig.id(1), rig.context)
        }
        #expect(try rig.target.snapshots(rig.context) == [FolderRig.id(1)])
    }

    @Test("A file system without hard links is not taken for trees")
    func hardLinks() throws {
        let rig = try FolderRig()
        #expect(try FolderTarget.supportsHardLinks(rig.place))
        #expect(rig.names == [])
        // Message queues are files that cannot have a second name.
        try #require(mount("none", rig.place, "mqueue", 0, nil) == 0)
        defer { umount2(rig.place, Int32(MNT_DETACH)) }
        #expect(try !FolderTarget.supportsHardLinks(rig.place))
        let error = #expect(throws: BackupError.self) { try rig.back(up: 1) }
        #expect(error?.code == .permanent)
        #expect(error?.advice.contains("encrypt: yes") == true)
    }
}
