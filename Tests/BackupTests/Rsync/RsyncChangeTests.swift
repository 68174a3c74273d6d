import Foundation
import Glibc
import Testing

@testable import Backup

/// Between the walk over the sources and the transfer the owner's files live on.
@Suite("Files that change while they are sent by rsync", .serialized)
struct RsyncChangeTests {
    private static let names = ["same", "grown", "rewritten", "unsteady", "gone", "touched"]

    private func snapshot(
        _ sequence: Int, of installation: Installation, after previous: PreparedSnapshot? = nil
    ) throws -> PreparedSnapshot {
        let paths = try RsyncTargetTests.written(installation)
        let place = installation.base + "/site"
        try Files.makeFolder(place)
        var entries: [FileEntry] = []
        for name in Self.names {
            let file = "\(place)/\(name)"
            try Files.replace(file, Array("\(name) as it was\n".utf8), mode: 0o640)
            // Where an entry looks for it.
            let path = try #require(SnapshotPath("extra/1/\(name)"))
            try installation.write(path, Array("\(name) as it was\n".utf8))
            var entry = try installation.entry(path)
            var status = stat()
            #expect(lstat(file, &status) == 0)
            entry.modified = nanoseconds(status)
            entry.mode = 0o640
            entries.append(entry)
        }
        var snapshot = try installation.prepare(sequence, paths, after: previous)
        snapshot.list = FileList(snapshot.list.entries + entries)
        snapshot.sources.append((try #require(SnapshotPath("extra/1")), place))
        return snapshot
    }

    private func change(_ installation: Installation) throws {
        let place = installation.base + "/site/"
        let log = try #require(FileHandle(forWritingAtPath: place + "grown"))
        try log.seekToEnd()
        try log.write(contentsOf: Data("and a line more\n".utf8))
        try log.close()
        // Of the same length, as fast as it can be.
        try Files.replace(place + "rewritten", Array("REWRITTEN as it is\n".utf8), mode: 0o640)
        try Files.remove(place + "gone")
        #expect(utimensat(AT_FDCWD, place + "touched", nil, 0) == 0)
    }

    @Test(
        "They are described as they are stored",
        arguments: [RemoteSite.Kind.daemon, .restricted])
    func changed(kind: RemoteSite.Kind) throws {
        let site = try RemoteSite(kind, isDirect: true)
        let installation = try Installation()
        let context = installation.context
        let target = try site.target()
        try target.open(context, forWriting: true)
        _ = try target.snapshots(context)
        let first = try snapshot(1, of: installation)
        try change(installation)
        // It changes again when rsync has it.
        let there = "\(site.store)/\(first.manifest.id)/extra/1/unsteady"
        let again = installation.base + "/site/unsteady"
        try Files.replace(again, Array("sent\n".utf8), mode: 0o640)
        let writer = Thread {
            let deadline = ContinuousClock.now + .seconds(120)
            while !Files.exists(there), ContinuousClock.now < deadline { poll(nil, 0, 1) }
            try? Files.replace(again, Array("never sent\n".utf8), mode: 0o640)
        }
        writer.start()
        var stored: FileList?
        _ = try target.store(first, context) { found throws(BackupError) in
            stored = found.list
            let report = try found.verify(found.list?.entries ?? [])
            if report.faultCount > 0 { throw BackupError(.damaged, subject: "", "\(report)") }
        }
        let list = try #require(stored)
        func content(_ name: String) throws -> [UInt8]? {
            let path = try #require(SnapshotPath("extra/1/\(name)"))
            let entry = try #require(list[path])
            let place = "\(site.store)/\(first.manifest.id)/\(entry.path)"
            let bytes = try #require(try Files.read(place, limit: 999))
            #expect(entry.size == bytes.count && entry.hash == contentHash(bytes), "\(name)")
            return bytes
        }
        #expect(try content("grown") == Array("grown as it was\nand a line more\n".utf8))
        #expect(try content("rewritten") == Array("REWRITTEN as it is\n".utf8))
        #expect(try content("unsteady") == Array("sent\n".utf8))
        #expect(try content("touched") == Array("touched as it was\n".utf8))
        let gone = try #require(SnapshotPath("extra/1/gone"))
        #expect(list[gone] == nil)
        #expect(list.entries.count == first.list.entries.count - 1)
        let warnings = installation.heard.warnings
        #expect(warnings.contains { $0.hasPrefix("1 files vanished") })
        #expect(warnings.contains { $0.hasPrefix("3 files changed") })

        let manifest = try target.manifest(of: first.manifest.id, context)
        #expect(manifest.files == list.entries.count)
        #expect(try target.list(of: manifest, context) == list)
        #expect(try target.verify(list.entries, of: manifest, context).faults == [])
    }

    @Test("A file that is other than its source, which did not change, is damage")
    func storedWrongly() throws {
        let site = try RemoteSite(.daemon)
        let installation = try Installation()
        let target = try site.target()
        try target.open(installation.context, forWriting: true)
        _ = try target.snapshots(installation.context)
        var snapshot = try snapshot(1, of: installation)
        let path = try #require(SnapshotPath("extra/1/same"))
        var entries = snapshot.list.entries
        let index = try #require(snapshot.list.index(of: path))
        entries[index].md5 = MD5Digest([UInt8](repeating: 1, count: 16))
        snapshot.list = FileList(entries)
        let error = try failure { try installation.store(snapshot, target) }
        #expect(error.code == .damaged && error.message.contains("extra/1/same"))
    }
}
