// The archive form, stored and brought back for real.

import Foundation
import Glibc
import Programs
import Testing

@testable import Backup

@Suite("Archives of encrypted packs")
struct ArchiveTargetTests {
    @Test("What was stored comes back byte by byte, and only what changed is sent")
    func roundTrip() throws {
        let fixture = try ArchiveFixture()
        defer { try? fixture.end() }
        var random = ArchiveRandom(state: 1)
        var files: [String: [UInt8]] = [
            "uploads/large": random.bytes(40_000_000), "uploads/empty": [],
            "config/kinglet.yaml": Array("domain: example.test\n".utf8),
        ]
        for index in 0..<200 { files["uploads/a/\(index)"] = random.bytes(index * 50) }
        files["uploads/twin"] = files["uploads/a/7"]
        for (path, bytes) in files { try fixture.write(path, bytes) }
        let target = fixture.target()
        let first = try fixture.store(on: target)
        #expect(first.report.literalBytes < first.report.bytesSent)
        try fixture.expectRestores(first.id, files, from: target)

        let unchanged = try fixture.store(on: target)
        #expect(unchanged.report.literalBytes == 0)
        #expect(unchanged.report.bytesSent < 4096)

        let before = files
        files["uploads/new"] = random.bytes(300_000)
        files["uploads/a/3"] = nil
        try fixture.write("uploads/new", files["uploads/new"] ?? [])
        try Files.remove(fixture.source + "/uploads/a/3")
        let second = try fixture.store(on: target)
        #expect(second.report.literalBytes == 300_000)
        #expect(second.report.bytesSent < 390_000)
        try fixture.expectRestores(second.id, files, from: target)
        try fixture.expectRestores(first.id, before, from: target)

        // Another machine that has nothing but the key.
        try Files.remove(fixture.memory)
        try Files.makeFolder(fixture.memory)
        try fixture.expectRestores(second.id, files, from: fixture.target())
    }

    @Test("What only the job's own older snapshot has is not sent again")
    func extraOfTwoJobs() throws {
        let fixture = try ArchiveFixture()
        defer { try? fixture.end() }
        var random = ArchiveRandom(state: 4)
        let target = fixture.target()
        let photo = random.bytes(300_000)
        try fixture.write("uploads/a", random.bytes(1000))
        try fixture.write("extra/1/photo", photo)
        let first = try fixture.store(on: target).id
        try Files.remove(fixture.source + "/extra")
        try fixture.store(on: target)
        try fixture.write("extra/1/photo", photo)
        var third = try fixture.prepare(on: target)
        let own = try target.manifest(of: first, fixture.context)
        third.previousOfJob = (own, try target.list(of: own, fixture.context))
        let report = try target.store(third, fixture.context) { (_) throws(BackupError) in }
        #expect(report.literalBytes == 0)
        #expect(report.bytesSent < 8192)
    }

    @Test("Removed snapshots take along the packs that no other one needs")
    func pruning() throws {
        let fixture = try ArchiveFixture()
        defer { try? fixture.end() }
        var random = ArchiveRandom(state: 2)
        let target = fixture.target()
        let kept = random.bytes(100_000)
        try fixture.write("uploads/kept", kept)
        let first = try fixture.store(on: target).id
        try fixture.write("uploads/gone", random.bytes(9_000_000))
        let second = try fixture.store(on: target).id
        try Files.remove(fixture.source + "/uploads/gone")
        let third = try fixture.store(on: target).id
        let before = try fixture.packs().count
        try target.cleanUp(fixture.context)
        #expect(try fixture.packs().count == before)
        try target.remove(second, fixture.context)
        try target.remove(second, fixture.context)
        try target.cleanUp(fixture.context)
        let sizes = try FolderStore(fixture.place).list("packs").map(\.size)
        #expect(sizes.allSatisfy { $0 < 1_000_000 })
        #expect(try target.snapshots(fixture.context) == [first, third])
        for id in [first, third] {
            try fixture.expectRestores(id, ["uploads/kept": kept], from: target)
        }
    }

    @Test("A listing that lacks what was there removes nothing; seen a day later, it is believed")
    func incompleteListing() throws {
        let fixture = try ArchiveFixture()
        defer { try? fixture.end() }
        let target = fixture.target()
        let list = "\(fixture.place)/snapshots"
        try fixture.write("uploads/a", [1])
        let first = try fixture.store(on: target).id
        let before = try fixture.packs()
        try #require(rename(list, list + ".away") == 0)
        try target.cleanUp(fixture.context)
        #expect(try fixture.packs() == before)
        try #require(rename(list + ".away", list) == 0)
        try fixture.expectRestores(first, ["uploads/a": [1]], from: target)
        try #require(unlink("\(list)/\(first).age") == 0)
        var time: Int64 = 1_000_000
        target.now = { time }
        for step in [0, 3600, 82_799, -500_000, 86_399] {
            time += Int64(step)
            try target.cleanUp(fixture.context)
            #expect(try fixture.packs() == before, "at \(time)")
        }
        time += 1
        try target.cleanUp(fixture.context)
        #expect(try fixture.packs().isEmpty)
        let warnings = fixture.warnings.lines.count
        try target.cleanUp(fixture.context)
        #expect(fixture.warnings.lines.count == warnings)
    }

    @Test("While a manifest cannot be read, nothing is removed, and it is said")
    func unreadableManifest() throws {
        let fixture = try ArchiveFixture()
        defer { try? fixture.end() }
        let target = fixture.target()
        try fixture.write("uploads/a", [1])
        let first = try fixture.store(on: target).id
        try fixture.write("uploads/a", [2])
        let second = try fixture.store(on: target).id
        try Files.replace("\(fixture.place)/snapshots/\(first).age", [1, 2, 3], mode: 0o600)
        try target.remove(second, fixture.context)
        let before = try fixture.packs()
        try Files.remove(fixture.memory + "/manifests")
        try target.cleanUp(fixture.context)
        #expect(try fixture.packs() == before)
        #expect(fixture.warnings.lines.contains { $0.contains("\(first)") })
        // Without a later one that can be read, it never goes by itself.
        target.now = { Int64(time(nil)) + 2 * ArchiveSightings.day }
        try target.cleanUp(fixture.context)
        #expect(try fixture.packs() == before)
        try target.remove(first, fixture.context)
        try target.cleanUp(fixture.context)
        #expect(try fixture.packs().isEmpty)
    }

    @Test(
        "A manifest that was cut off holds the removal of packs up for a day, others for good",
        arguments: ["cut", "empty", "pinned", "another key's"])
    func cutOffManifest(kind: String) throws {
        let fixture = try ArchiveFixture()
        defer { try? fixture.end() }
        let target = fixture.target()
        try fixture.write("uploads/a", [1])
        let first = try fixture.store(on: target).id
        try fixture.write("uploads/b", [2])
        let second = try fixture.store(on: target).id
        try Files.remove(fixture.source + "/uploads/b")
        let third = try fixture.store(on: target).id
        let place = "\(fixture.place)/\(ArchiveNames.snapshot(second))"
        let bytes = try #require(try Files.read(place, limit: 1 << 20))
        let broken =
            switch kind {
            case "empty": [UInt8]()
            case "another key's": try AgeFile.seal([1], key: .generate())
            default: Array(bytes.dropLast(20))
            }
        try Files.replace(place, broken, mode: 0o600)
        if kind == "pinned" { try target.setPins([second], fixture.context) }
        try Files.remove(fixture.memory + "/manifests")
        let before = try fixture.packs()
        var time: Int64 = 1_000_000
        target.now = { time }
        try target.cleanUp(fixture.context)
        time += ArchiveSightings.day - 1
        try target.cleanUp(fixture.context)
        #expect(try fixture.packs() == before && Files.exists(place))
        #expect(fixture.warnings.lines.allSatisfy { $0.contains("\(second)") })
        time += 1
        try target.cleanUp(fixture.context)
        let goes = kind == "cut" || kind == "empty"
        #expect(Files.exists(place) != goes)
        #expect(try (fixture.packs().count < before.count) == goes)
        for id in [first, third] {
            try fixture.expectRestores(id, ["uploads/a": [1]], from: target)
        }
    }

    @Test("One flipped bit, a cut, a swap or a loss is found in every pack, and named")
    func damage() throws {
        let fixture = try ArchiveFixture()
        defer { try? fixture.end() }
        var random = ArchiveRandom(state: 3)
        let target = fixture.target()
        for index in 0..<20 { try fixture.write("uploads/\(index)", random.bytes(1_000_000)) }
        let id = try fixture.store(on: target).id
        let manifest = try target.manifest(of: id, fixture.context)
        let list = try target.list(of: manifest, fixture.context)
        let packs = try fixture.packs()
        #expect(packs.count == 3)
        func faults() throws -> [String] {
            let report = try target.verify(list.entries, of: manifest, fixture.context)
            #expect(report.files == 21)
            return report.faults
        }
        func fetch() throws -> BackupError.Code? {
            let output = fixture.folder + "/damaged"
            try Files.remove(output)
            try Files.makeFolder(output)
            do throws(BackupError) {
                try target.fetch(list.entries, of: manifest, into: output, fixture.context)
                return nil
            } catch {
                return error.code
            }
        }
        #expect(try faults() == [])
        for (index, pack) in packs.enumerated() {
            let whole = try #require(try Files.read(pack, limit: 1 << 30))
            let other = try #require(
                try Files.read(packs[(index + 1) % packs.count], limit: 1 << 30))
            var flipped = whole
            flipped[Int.random(in: whole.indices, using: &random)] ^= 1 << UInt8.random(in: 0..<8)
            for damaged in [flipped, Array(whole.dropLast()), whole + [0], [], other] {
                try Files.replace(pack, damaged, mode: 0o600)
                let found = try faults()
                #expect(found.contains { $0.contains((pack as NSString).lastPathComponent) })
            }
            // The lists are remembered here; their pack holds no file.
            #expect(try fetch() == (whole.count > 1_000_000 ? .damaged : nil))
            try Files.remove(pack)
            #expect(try faults().contains { $0.contains("is missing") })
            try Files.replace(pack, whole, mode: 0o600)
        }
        #expect(try fetch() == nil)
        let path = "\(fixture.place)/snapshots/\(id).age"
        var sealed = try #require(try Files.read(path, limit: 1 << 20))
        sealed[sealed.count - 20] ^= 4
        try Files.replace(path, sealed, mode: 0o600)
        #expect(try faults().contains { $0.contains("manifest of \(id)") })
    }

    @Test("A pack that is lost is sent again, unless nobody here has its content any more")
    func lostPack() throws {
        let fixture = try ArchiveFixture()
        defer { try? fixture.end() }
        let target = fixture.target()
        try fixture.write("uploads/a", [1, 2, 3])
        try fixture.store(on: target)
        for pack in try fixture.packs() { try Files.remove(pack) }
        let again = try fixture.store(on: target)
        #expect(again.report.literalBytes == 3)
        try fixture.expectRestores(again.id, ["uploads/a": [1, 2, 3]], from: target)
        for pack in try fixture.packs() { try Files.remove(pack) }
        let path = try #require(SnapshotPath("uploads/a"))
        let snapshot = try fixture.prepare(on: target, kept: [path])
        let error = #expect(throws: BackupError.self) {
            try target.store(snapshot, fixture.context) { _ throws(BackupError) in }
        }
        #expect(error?.code == .damaged)
    }

    @Test("The program age opens a pack and a manifest with the recovery key")
    func interoperability() throws {
        let age = try #require(Program.find("age"))
        let fixture = try ArchiveFixture()
        defer { try? fixture.end() }
        let target = fixture.target()
        try fixture.write("uploads/a", Array("the content\n".utf8))
        let id = try fixture.store(on: target).id
        let keyFile = fixture.folder + "/key"
        try fixture.key.store(file: keyFile)
        func opened(_ path: String) throws -> String {
            var text: [UInt8] = []
            let end = try Program(age, ["-d", "-i", keyFile, path]).run(output: { text += $0 })
            #expect(end == .exited(0))
            return String(decoding: text, as: UTF8.self)
        }
        #expect(try fixture.packs().map(opened).contains("the content\n"))
        #expect(try opened("\(fixture.place)/snapshots/\(id).age").contains("\"\(id)\""))
    }

    @Test("A wrong recovery key is told from damage")
    func wrongKey() throws {
        let fixture = try ArchiveFixture()
        defer { try? fixture.end() }
        try fixture.write("uploads/a", [1])
        let id = try fixture.store(on: fixture.target()).id
        var context = fixture.context
        context.key = RecoveryKey.generate()
        let other = context
        let target = fixture.target()
        let error = #expect(throws: BackupError.self) { try target.open(other, forWriting: true) }
        #expect(error?.code == .key)
        // Past the marker too.
        try target.open(fixture.context, forWriting: false)
        try Files.remove(fixture.memory + "/manifests")
        let second = #expect(throws: BackupError.self) { try target.manifest(of: id, other) }
        #expect(second?.code == .key)
    }

    @Test("An unmounted disk, another disk and another installation are told apart")
    func places() throws {
        let fixture = try ArchiveFixture()
        defer { try? fixture.end() }
        try fixture.write("uploads/a", [1])
        try fixture.store(on: fixture.target())
        func code(at place: String) -> BackupError.Code? {
            let target = fixture.target { _ throws(BackupError) in FolderStore(place) }
            do throws(BackupError) {
                try target.open(fixture.context, forWriting: true)
                return nil
            } catch {
                return error.code
            }
        }
        let empty = fixture.folder + "/empty"
        try Files.makeFolder(empty)
        #expect(code(at: empty) == .absent)
        #expect(try Files.names(in: empty).isEmpty)
        #expect(code(at: fixture.folder + "/nowhere") == .absent)
        #expect(!Files.exists(fixture.folder + "/nowhere"))
        let other = try ArchiveFixture()
        defer { try? other.end() }
        try other.write("uploads/b", [1])
        try other.store(on: other.target())
        #expect(code(at: other.place) == .foreign)
        // A restored machine with the same key, which remembers nothing, goes on; the first stops.
        let memory = fixture.memory
        #expect(rename(memory, memory + "-old") == 0)
        try Files.makeFolder(memory)
        fixture.instance = String(repeating: "b", count: 32)
        #expect(code(at: fixture.place) == nil)
        #expect(code(at: fixture.place) == nil)
        try Files.remove(memory)
        #expect(rename(memory + "-old", memory) == 0)
        fixture.instance = String(repeating: "a", count: 32)
        #expect(code(at: fixture.place) == .foreign)
    }

    @Test("The owner's own file that changes or goes is taken as it is; ours must be as described")
    func changingFiles() throws {
        let fixture = try ArchiveFixture()
        defer { try? fixture.end() }
        let target = fixture.target()
        try fixture.write("extra/0/log", [1, 2, 3])
        try fixture.write("extra/0/twin", [1, 2, 3])
        try fixture.write("extra/0/gone", [7])
        try fixture.write("uploads/a", [4])
        try target.open(fixture.context, forWriting: true)
        let snapshot = try fixture.prepare(on: target)
        try fixture.write("extra/0/log", [1, 2, 3, 4])
        try Files.remove(fixture.source + "/extra/0/gone")
        _ = try target.store(snapshot, fixture.context) { _ throws(BackupError) in }
        try fixture.expectRestores(
            snapshot.manifest.id,
            ["extra/0/log": [1, 2, 3, 4], "extra/0/twin": [1, 2, 3], "uploads/a": [4]],
            from: target)
        #expect(try target.manifest(of: snapshot.manifest.id, fixture.context).files == 3)

        try fixture.write("uploads/b", [5])
        let next = try fixture.prepare(on: target)
        try fixture.write("uploads/b", [6])
        let error = #expect(throws: BackupError.self) {
            try target.store(next, fixture.context) { _ throws(BackupError) in }
        }
        #expect(error?.code == .temporary)
        #expect(try target.snapshots(fixture.context) == [snapshot.manifest.id])
    }

    @Test("Pins are kept on the target, and a line that is none is not passed over")
    func pins() throws {
        let fixture = try ArchiveFixture()
        defer { try? fixture.end() }
        let target = fixture.target()
        try target.open(fixture.context, forWriting: true)
        #expect(try target.pins(fixture.context) == [])
        let id = try #require(SnapshotID(time: 1_800_000_000, sequence: 3))
        try target.setPins([id], fixture.context)
        #expect(try target.pins(fixture.context) == [id])
        try Files.replace(fixture.place + "/pins", Array("../x\n".utf8), mode: 0o600)
        #expect(throws: BackupError.self) { try target.pins(fixture.context) }
    }
}
