import Foundation
import Glibc
import Testing

@testable import Backup

/// Every rule holds with a key that may do all and with one that may only add, and at a real rsync
/// daemon. A real sshd is between in the first test with the key that is usual; the tests of faults
/// have it with both.
@Suite("Targets behind rsync", .serialized)
struct RsyncTargetTests {
    static let paths: [SnapshotPath] = [
        SnapshotPath("uploads/ab/plain"), SnapshotPath("uploads/ab/\\#123 "),
        SnapshotPath("uploads/ab/".utf8 + [0x6F, 0x0A, 0x64, 0x5C, 0xFF, 0x01]),
        SnapshotPath("database/kinglet.db/base-00"),
    ].compactMap { $0 }

    static func written(_ installation: Installation) throws -> [SnapshotPath] {
        for (index, path) in paths.enumerated() {
            try installation.write(path, Array("content \(index)\n".utf8))
        }
        return paths
    }

    private func inode(_ path: String) -> ino_t {
        var status = stat()
        return lstat(path, &status) == 0 ? status.st_ino : 0
    }

    @Test("A snapshot is stored, listed, verified and fetched", arguments: RemoteSite.Kind.allCases)
    func everything(kind: RemoteSite.Kind) throws {
        let site = try RemoteSite(kind, isDirect: kind == .ssh)
        let installation = try Installation()
        let context = installation.context
        let target = try site.target()
        try target.open(context, forWriting: true)
        #expect(target.canRemove == (kind != .restricted))
        #expect(try target.snapshots(context) == [])
        let first = try installation.prepare(1, Self.written(installation))
        let report = try installation.store(first, target)
        #expect(report.files >= 4 && report.bytesSent > 40 && report.exitStatus == 0)

        // One changes, one is at the target only, the rest is shared.
        try installation.write(Self.paths[0], Array("changed".utf8))
        let kept = try #require(first.list[Self.paths[3]])
        try Files.remove(installation.base + "/staging/database/kinglet.db/base-00")
        let second = try installation.prepare(
            2, Array(Self.paths[0..<3]), kept: [kept], after: first)
        let next = try installation.store(second, target)
        // The list changed too.
        #expect(next.files == 2)
        let ids = [first.manifest.id, second.manifest.id]
        #expect(try target.snapshots(context) == ids)
        let folders = ids.map { "\(site.store)/\($0)" }
        for shared in ["/database/kinglet.db/base-00", "/uploads/ab/\\#123 "] {
            #expect(inode(folders[0] + shared) == inode(folders[1] + shared))
            #expect(inode(folders[0] + shared) != 0)
        }
        #expect(inode(folders[0] + "/uploads/ab/plain") != inode(folders[1] + "/uploads/ab/plain"))
        let latest = try? FileManager.default.destinationOfSymbolicLink(
            atPath: site.store + "/latest")
        // A daemon without chroot disarms links; one that may only add has none.
        if kind == .ssh { #expect(latest == "\(ids[1])") }
        if kind == .restricted { #expect(latest == nil) }

        // Another machine, with nothing but the key.
        let restored = try Installation()
        let again = try site.target()
        try again.open(restored.context, forWriting: false)
        #expect(try again.snapshots(restored.context) == ids)
        for (id, snapshot) in zip(ids, [first, second]) {
            let manifest = try again.manifest(of: id, restored.context)
            let list = try again.list(of: manifest, restored.context)
            #expect(list == snapshot.list)
            let verified = try again.verify(list.entries, of: manifest, restored.context)
            #expect(verified.faults == [])
            #expect(verified.files == 4 + 1 + manifest.lists.count)
            let folder = restored.base + "/\(id)"
            try Files.makeFolder(folder)
            try again.fetch(list.entries, of: manifest, into: folder, restored.context)
            for entry in list.entries {
                #expect(FetchedFile.fault(entry, below: folder) == nil)
            }
        }
    }

    @Test("A flipped bit is found in each kind of file", arguments: RemoteSite.Kind.allCases)
    func flippedBit(kind: RemoteSite.Kind) throws {
        let site = try RemoteSite(kind, isDirect: true)
        let installation = try Installation()
        let context = installation.context
        let target = try site.target()
        try target.open(context, forWriting: true)
        let snapshot = try installation.prepare(1, Self.written(installation))
        try installation.store(snapshot, target)
        let manifest = try target.manifest(of: snapshot.manifest.id, context)
        let top = "\(site.store)/\(snapshot.manifest.id)/"
        let list = try #require(manifest.lists.first)
        let files = ["uploads/ab/plain", "database/kinglet.db/base-00", "manifest", list.path]
        let whole = try files.map { try #require(try Files.read(top + $0, limit: 1 << 20)) }
        for isFlipped in [true, false] {
            for (path, content) in zip(files, whole) {
                var bytes = content
                if isFlipped { bytes[bytes.count / 2] ^= 1 }
                var status = stat()
                #expect(stat(top + path, &status) == 0)
                // In place and with its old time, as a dying disk does it.
                let handle = try #require(FileHandle(forUpdatingAtPath: top + path))
                try handle.write(contentsOf: bytes)
                try handle.close()
                var times = [status.st_atim, status.st_mtim]
                utimensat(AT_FDCWD, top + path, &times, 0)
            }
            let report = try target.verify(snapshot.list.entries, of: manifest, context)
            #expect(report.faultCount == (isFlipped ? files.count : 0), "\(report)")
        }
        try Files.remove(top + "uploads/ab/plain")
        let report = try target.verify(snapshot.list.entries, of: manifest, context)
        #expect(report.faultCount == 1 && report.faults[0].contains("missing"))
        let folder = installation.base + "/fetched"
        try Files.makeFolder(folder)
        let error = try failure {
            try target.fetch(snapshot.list.entries, of: manifest, into: folder, context)
        }
        #expect(error.code == .damaged)
    }

    @Test(
        "A removed snapshot is gone and the others are whole",
        arguments: [RemoteSite.Kind.ssh, .daemon, .chrootedDaemon])
    func remove(kind: RemoteSite.Kind) throws {
        let site = try RemoteSite(kind, isDirect: true)
        let installation = try Installation()
        let context = installation.context
        let target = try site.target()
        try target.open(context, forWriting: true)
        let first = try installation.prepare(1, Self.written(installation))
        try installation.store(first, target)
        let second = try installation.prepare(2, Self.paths, after: first)
        try installation.store(second, target)
        // What a run that did not end has left, and what another installation may be sending.
        let begun = try #require(SnapshotID("20260101T000000Z-000001"))
        try RsyncMemory(context.memory).noteBegun(begun)
        for folder in ["\(begun)/uploads", "20260101T000000Z-000002/uploads"] {
            try Files.makeFolder("\(site.store)/\(folder)")
        }
        try Files.makeFolder("\(site.store)/somebody's")
        try target.setPins([first.manifest.id], context)
        #expect(try target.pins(context) == [first.manifest.id])
        try target.cleanUp(context)
        #expect(!Files.exists("\(site.store)/\(begun)"))
        #expect(Files.exists("\(site.store)/20260101T000000Z-000002/uploads"))
        try target.remove(first.manifest.id, context)
        try target.remove(first.manifest.id, context)
        #expect(!Files.exists("\(site.store)/\(first.manifest.id)"))
        #expect(Files.exists("\(site.store)/somebody's"))
        #expect(try target.snapshots(context) == [second.manifest.id])
        let report = try target.verify(
            second.list.entries, of: target.manifest(of: second.manifest.id, context), context)
        #expect(report.faults == [])
    }

    @Test("What stands in for a missing file is never stored", arguments: RemoteSite.Kind.allCases)
    func keptIsGone(kind: RemoteSite.Kind) throws {
        let site = try RemoteSite(kind, isDirect: true)
        let installation = try Installation()
        let target = try site.target()
        try target.open(installation.context, forWriting: true)
        let first = try installation.prepare(1, Self.written(installation))
        try installation.store(first, target)
        let gone = "\(site.store)/\(first.manifest.id)/database/kinglet.db/base-00"
        try Files.remove(gone)
        let kept = try #require(first.list[Self.paths[3]])
        let second = try installation.prepare(
            2, Array(Self.paths[0..<3]), kept: [kept], after: first)
        let error = try failure { try installation.store(second, target) }
        #expect(error.code == .damaged && error.message.contains("base-00"))
        #expect(!Files.exists("\(site.store)/\(second.manifest.id)/database/kinglet.db/base-00"))
        #expect(try target.snapshots(installation.context) == [first.manifest.id])
    }

    @Test("A target without its marker is absent, and another one is foreign")
    func marker() throws {
        let site = try RemoteSite(.ssh, isDirect: true)
        let installation = try Installation()
        let context = installation.context
        let reading = try failure { try site.target().open(context, forWriting: false) }
        #expect(reading.code == .permanent)
        try site.target().open(context, forWriting: true)
        let marker = site.store + "/kinglet-backup.json"
        let bytes = try #require(try Files.read(marker, limit: 1000))
        // The disk is not mounted.
        try Files.remove(marker)
        #expect(try failure { try site.target().open(context, forWriting: true) }.code == .absent)
        #expect(!Files.exists(marker))
        var other = try JSONDecoder().decode(TargetMarker.self, from: Data(bytes))
        other.target = String(repeating: "1", count: 32)
        try Files.replace(marker, Array(JSONEncoder().encode(other)), mode: 0o600)
        #expect(try failure { try site.target().open(context, forWriting: true) }.code == .foreign)
        // Another machine with the same recovery key, after a restore for example.
        let fresh = try Installation()
        other.instances = [String(repeating: "b", count: 32)]
        try Files.replace(marker, Array(JSONEncoder().encode(other)), mode: 0o600)
        try site.target().open(fresh.context, forWriting: true)
        let shared = try #require(try Files.read(marker, limit: 1000))
        #expect(
            try JSONDecoder().decode(TargetMarker.self, from: Data(shared)).instances
                == [other.instances[0], fresh.context.instance])
    }

    @Test("A place that has another name than in the snapshot gets it, and shares its files")
    func otherNames() throws {
        let site = try RemoteSite(.daemon)
        let installation = try Installation()
        let target = try site.target()
        try target.open(installation.context, forWriting: true)
        let paths = try Self.written(installation)
        try Files.makeFolder(installation.base + "/nginx/sites")
        for name in ["/nginx/sites/one", "/single.conf"] {
            try Files.replace(installation.base + name, Array(name.utf8), mode: 0o640)
        }
        var previous: PreparedSnapshot?
        for sequence in 1...2 {
            var snapshot = try installation.prepare(sequence, paths, after: previous)
            for (folder, name) in [("extra/0", "/nginx"), ("extra/1", "/single.conf")] {
                let path = try #require(SnapshotPath(folder))
                snapshot.sources.append((path, installation.base + name))
            }
            let report = try installation.store(snapshot, target)
            #expect(report.files == (sequence == 1 ? paths.count + 3 : 0))
            let top = "\(site.store)/\(snapshot.manifest.id)/extra"
            #expect(try Files.read(top + "/0/sites/one", limit: 99) != nil)
            #expect(try Files.read(top + "/1", limit: 99) == Array("/single.conf".utf8))
            previous = snapshot
        }
    }
}
