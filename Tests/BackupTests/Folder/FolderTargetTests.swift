import Foundation
import Glibc
import Testing

@testable import Backup

@Suite("A folder as a target")
struct FolderTargetTests {
    @Test("What was stored is listed, verified and fetched as it was", arguments: Mover.allCases)
    func roundTrip(mover: Mover) throws {
        let rig = try FolderRig(mover)
        var fresh = 0
        try rig.back(up: 1) { (stored) throws(BackupError) in
            fresh = stored.new.count
            #expect(try stored.verify(stored.new).faultCount == 0)
            #expect(stored.folder?.hasSuffix(".partial-20231114T221321Z-000001") == true)
        }
        #expect(fresh == 33)
        #expect(try rig.target.snapshots(rig.context) == [FolderRig.id(1)])
        let manifest = try rig.target.manifest(of: FolderRig.id(1), rig.context)
        #expect(manifest.files == 33)
        let list = try rig.target.list(of: manifest, rig.context)
        #expect(list.entries.count == 33)
        #expect(manifest.bytes == list.entries.reduce(0) { $0 + $1.size })
        let report = try rig.verify(1)
        #expect(report.files == 33 && report.bytes == manifest.bytes && report.faults == [])

        let place = rig.scratch.path + "/restored"
        try Files.makeFolder(place)
        try rig.target.fetch(list.entries, of: manifest, into: place, rig.context)
        #expect(
            try FolderRig.description(of: place + "/uploads")
                == FolderRig.description(of: rig.data + "/uploads"))
        #expect(
            try Files.read(place + "/config/kinglet.yaml", limit: 100)
                == Array("domain: example.test\n".utf8))
        #expect(
            rig.names == [
                "kinglet-backup.json", "latest", "20231114T221321Z-000001",
            ])
        #expect(rig.notes.all == [])
        #expect(rig.withoutRsync.all.count == (mover == .copy ? 1 : 0))
        // No hard link of a stored file is handed out.
        #expect(try rig.file(1, "uploads/readable").links == 1)
    }

    @Test(
        "Unchanged files are shared, changed ones are new, and a second run sends nothing",
        arguments: Mover.allCases)
    func sharing(mover: Mover) throws {
        let rig = try FolderRig(mover)
        #expect(try rig.back(up: 1).files == 33)
        let second = try rig.back(up: 2) { (stored) throws(BackupError) in
            #expect(stored.new.isEmpty)
        }
        #expect(second.files == 0 && second.literalBytes == 0)
        try rig.scratch.write("data/uploads/readable", "for everybody, anew", mode: 0o644)
        #expect(try rig.back(up: 3).files == 1)
        #expect(try rig.file(1, "secrets.age") == rig.file(2, "secrets.age"))
        #expect(try rig.file(1, "secrets.age").links == 3)
        #expect(try rig.file(1, "uploads/readable") == rig.file(2, "uploads/readable"))
        #expect(try rig.file(1, "uploads/readable").inode != rig.file(3, "uploads/readable").inode)
        let first = try rig.target.manifest(of: FolderRig.id(1), rig.context)
        let again = try rig.target.manifest(of: FolderRig.id(2), rig.context)
        #expect(first.lists == again.lists)
        #expect(try rig.file(2, first.lists[0].path).links == 2)
        for sequence in 1...3 { #expect(try rig.verify(sequence).faultCount == 0) }
        let latest = try FileManager.default.destinationOfSymbolicLink(
            atPath: rig.place + "/latest")
        #expect(try latest == "\(FolderRig.id(3))")
        #expect(rig.notes.all == [])
    }

    @Test(
        "Parts of the database that only the last snapshot has are linked from there",
        arguments: Mover.allCases)
    func kept(mover: Mover) throws {
        let rig = try FolderRig(mover)
        try rig.target.open(rig.context, forWriting: true)
        let base = try #require(SnapshotPath("database/kinglet.db/base-1"))
        for sequence in 1...3 {
            let id = try FolderRig.id(sequence)
            let place = try #require(try rig.target.placeForDatabase(of: id, rig.context))
            let name = sequence == 1 ? "base-1" : "00000\(sequence)-1.wal"
            try Files.makeFolder(place + "/kinglet.db")
            try Files.replace(
                "\(place)/kinglet.db/\(name)", Array("part \(sequence)".utf8), mode: 0o600)
            let prepared = try rig.prepare(
                id, kept: sequence == 1 ? [] : [base], database: place)
            _ = try rig.target.store(prepared, rig.context) { (_) throws(BackupError) in }
            #expect(try rig.verify(sequence).faultCount == 0)
        }
        #expect(try rig.file(1, base.description) == rig.file(3, base.description))
        #expect(try rig.file(3, base.description).links == 3)

        // A part that was cut off there is not built on.
        #expect(truncate("\(rig.place)/latest/\(base)", 3) == 0)
        let prepared = try rig.prepare(FolderRig.id(4), kept: [base])
        let error = #expect(throws: BackupError.self) {
            _ = try rig.target.store(prepared, rig.context) { (_) throws(BackupError) in }
        }
        #expect(error?.code == .damaged)
    }

    @Test(
        "Paths of the owner's keep links and leave out what is excluded", arguments: Mover.allCases)
    func extra(mover: Mover) throws {
        let rig = try FolderRig(mover)
        let site = rig.scratch.path + "/site"
        try rig.scratch.write("site/page.html", "hello")
        try rig.scratch.write("site/cache/big", "x")
        try rig.scratch.write("site/a.log", "x")
        try rig.scratch.write("hosts", "127.0.0.1")
        #expect(symlink("/etc/passwd", site + "/link") == 0)
        try rig.target.open(rig.context, forWriting: true)
        var prepared = try rig.prepare(
            FolderRig.id(1),
            extra: [
                ("extra/0/site", site), ("extra/1", site),
                ("extra/2/hosts", rig.scratch.path + "/hosts"),
            ])
        prepared.excludes = ["*.log", site + "/cache"]
        let patterns = prepared.excludes.map { ExcludePattern($0) }
        prepared.list = FileList(
            prepared.list.entries.filter { entry in
                let path = entry.path.description
                return !path.hasSuffix(".log") && !path.contains("cache")
            })
        #expect(patterns[1].matches(Array((site + "/cache").utf8), isFolder: true))
        _ = try rig.target.store(prepared, rig.context) { (_) throws(BackupError) in }
        #expect(try rig.verify(1).faultCount == 0)
        let found = try FolderRig.description(of: rig.place + "/latest/extra")
        #expect(found.count == 5)
        #expect(!found.contains { $0.contains("cache") || $0.contains("a.log") })
        #expect(found.contains { $0.contains("link(to") })
        // Nothing is restored through links.
        let manifest = try rig.target.manifest(of: FolderRig.id(1), rig.context)
        let place = rig.scratch.path + "/restored"
        try Files.makeFolder(place)
        try rig.target.fetch(prepared.list.entries, of: manifest, into: place, rig.context)
        #expect(!Files.exists(place + "/extra/0/site/link"))
        #expect(Files.exists(place + "/extra/0/site/page.html"))
    }

    @Test("The owner's paths are shared with the job's own snapshot, the rest with the newest")
    func extraOfTwoJobs() throws {
        let rig = try FolderRig(.rsync)
        try rig.scratch.write("site/page.html", "hello")
        let extra = [("extra/1", rig.scratch.path + "/site")]
        try rig.target.open(rig.context, forWriting: true)
        let check: (Stored) throws(BackupError) -> Void = { (_) throws(BackupError) in }
        let own = try rig.prepare(FolderRig.id(1), extra: extra)
        _ = try rig.target.store(own, rig.context, check: check)
        // Another job's, with a file of its own under that path.
        try rig.scratch.write("other/page.html", "HELLO")
        try rig.scratch.write("data/uploads/readable", "another one by then", mode: 0o644)
        _ = try rig.target.store(
            rig.prepare(FolderRig.id(2), extra: [("extra/1", rig.scratch.path + "/other")]),
            rig.context, check: check)
        var third = try rig.prepare(FolderRig.id(3), extra: extra)
        let first = try rig.target.manifest(of: FolderRig.id(1), rig.context)
        third.previousOfJob = (first, try rig.target.list(of: first, rig.context))
        var new: [FileEntry]?
        _ = try rig.target.store(third, rig.context) { (stored) throws(BackupError) in
            new = stored.new
        }
        #expect(try #require(new).isEmpty)
        let page = "extra/1/page.html"
        #expect(try rig.file(3, page).inode == rig.file(1, page).inode)
        let upload = "uploads/readable"
        #expect(try rig.file(3, upload).inode == rig.file(2, upload).inode)
        #expect(try rig.verify(3).faultCount == 0)
    }

    @Test("Files that vanish or change between the walk and the transfer are told and described")
    func races() throws {
        let rig = try FolderRig(.rsync)
        try rig.target.open(rig.context, forWriting: true)
        let prepared = try rig.prepare(FolderRig.id(1))
        #expect(unlink(rig.data + "/uploads/readable") == 0)
        try rig.scratch.write("staging/config/kinglet.yaml", "domain: example.com, longer\n")
        _ = try rig.target.store(prepared, rig.context) { (_) throws(BackupError) in }
        let report = try rig.verify(1)
        #expect(report.faults == [] && report.files == 32)
        #expect(rig.notes.all.count == 2)
        let manifest = try rig.target.manifest(of: FolderRig.id(1), rig.context)
        #expect(manifest.files == 32)
    }

    @Test("A file that is not stored though it is there fails the run")
    func missing() throws {
        struct Forgetful: FileTransfer {
            func send(_ request: TransferRequest) throws(BackupError) -> TransferReport {
                let report = try CopyTransfer().send(request)
                unlink(request.destination + "uploads/readable")
                return report
            }
        }
        let rig = try FolderRig()
        rig.target.transfer = Forgetful()
        let error = #expect(throws: BackupError.self) { try rig.back(up: 1) }
        #expect(error?.code == .temporary)
        #expect(try rig.target.snapshots(rig.context) == [])
    }

    @Test("A mount that forces modes is noticed, and its files still verify")
    func forcedModes() throws {
        struct Forcing: FileTransfer {
            func send(_ request: TransferRequest) throws(BackupError) -> TransferReport {
                let report = try CopyTransfer().send(request)
                chmod(request.destination + "uploads/readable", 0o777)
                return report
            }
        }
        let rig = try FolderRig()
        rig.target.transfer = Forcing()
        try rig.back(up: 1)
        #expect(rig.notes.all.contains { $0.contains("does not keep permission bits") })
        #expect(try rig.verify(1).faultCount == 0)
    }

    @Test("Snapshots of which nothing is shared are noticed")
    func notShared() throws {
        struct Copying: FileTransfer {
            func send(_ request: TransferRequest) throws(BackupError) -> TransferReport {
                var request = request
                request.linkDestinations = []
                return try CopyTransfer().send(request)
            }
        }
        let rig = try FolderRig()
        rig.target.transfer = Copying()
        try rig.back(up: 1)
        #expect(rig.notes.all == [])
        try rig.back(up: 2)
        #expect(rig.notes.all.contains { $0.contains("not shared") })
    }

    @Test("The order is that of the numbers when the clock goes back")
    func clock() throws {
        let rig = try FolderRig()
        try rig.back(up: 1)
        try rig.back(up: 2, time: 5)
        try rig.back(up: 3, time: 1_900_000_000)
        try rig.back(up: 4, time: 6)
        #expect(try rig.target.snapshots(rig.context).map(\.sequence) == [1, 2, 3, 4])
        let latest = try FileManager.default.destinationOfSymbolicLink(
            atPath: rig.place + "/latest")
        #expect(latest == "19700101T000006Z-000004")
        #expect(try rig.verify(4, time: 6).faultCount == 0)
        #expect(try rig.file(1, "secrets.age").links == 4)
    }

    @Test("Pins are kept, and a file of pins that was edited does no harm")
    func pins() throws {
        let rig = try FolderRig()
        try rig.back(up: 1)
        #expect(try rig.target.pins(rig.context) == [])
        try rig.target.setPins([FolderRig.id(1), FolderRig.id(7)], rig.context)
        #expect(try rig.target.pins(rig.context) == [FolderRig.id(1), FolderRig.id(7)])
        try Files.replace(
            rig.place + "/pins", Array("../x\n\n\(FolderRig.id(2))\n\u{0}".utf8), mode: 0o600)
        #expect(try rig.target.pins(rig.context) == [FolderRig.id(2)])
    }

    @Test("Another installation's snapshots and attempts are left alone")
    func shared() throws {
        let rig = try FolderRig()
        try rig.back(up: 1)
        try Files.makeFolder(rig.place + "/.partial-20231114T221321Z-000001/uploads")
        rig.instance = String(repeating: "2e", count: 16)
        try Files.remove(rig.scratch.path + "/memory")
        try Files.makeFolder(rig.scratch.path + "/memory")
        try rig.back(up: 2)
        #expect(try rig.target.snapshots(rig.context) == [FolderRig.id(2)])
        try rig.target.cleanUp(rig.context)
        #expect(rig.names.contains(".partial-20231114T221321Z-000001"))
        rig.instance = String(repeating: "1f", count: 16)
        #expect(try rig.target.snapshots(rig.context) == [FolderRig.id(1)])
        // A machine that knows only the recovery key sees all.
        rig.instance = ""
        #expect(try rig.target.snapshots(rig.context).count == 2)
    }

    @Test("What is removed is gone, the rest stays whole, and a removal can be called off")
    func removal() throws {
        let rig = try FolderRig()
        for number in 0..<600 { try rig.scratch.write("data/uploads/n/\(number)", "\(number)") }
        for sequence in 1...3 { try rig.back(up: sequence) }
        try rig.target.remove(FolderRig.id(3), rig.context)
        try rig.target.remove(FolderRig.id(3), rig.context)
        let latest = try FileManager.default.destinationOfSymbolicLink(
            atPath: rig.place + "/latest")
        #expect(try latest == "\(FolderRig.id(2))")

        rig.target.atStep = { [cancellation = rig.cancellation] (step) throws(BackupError) in
            if step == .removing { cancellation.cancel("enough") }
        }
        let error = #expect(throws: BackupError.self) {
            try rig.target.remove(FolderRig.id(1), rig.context)
        }
        #expect(error?.code == .cancelled)
        #expect(rig.names.contains(".deleting-20231114T221321Z-000001"))
        rig.cancellation = Cancellation()
        #expect(try rig.target.snapshots(rig.context) == [FolderRig.id(2)])
        try rig.target.cleanUp(rig.context)
        #expect(rig.names == ["kinglet-backup.json", "latest", "20231114T221322Z-000002"])
        #expect(try rig.verify(2).faultCount == 0)
    }
}
