// What goes wrong while an archive is written, and what somebody may have written into one.

import Foundation
import Glibc
import TLS
import Testing

@testable import Backup

/// A folder whose writing fails at a given time.
private final class FailingStore: ArchiveStore {
    enum Way: CaseIterable { case before, after, cut }

    let base: FolderStore
    let place: String
    /// Puts until it fails.
    private var left: Int
    private let way: Way

    init(_ folder: String, failsAt put: Int, _ way: Way) {
        base = FolderStore(folder)
        place = folder
        left = put
        self.way = way
    }

    func prepare() throws(BackupError) { try base.prepare() }

    func put(_ name: String, _ bytes: [UInt8], moved: (Int) -> Void) throws(BackupError) {
        left -= 1
        guard left == 0 else { return try base.put(name, bytes, moved: moved) }
        switch way {
        case .before: break
        case .after: try base.put(name, bytes, moved: moved)
        // As a remote without renaming does. A manifest is never cut (`RcloneStore.put`).
        case .cut where name.hasPrefix("packs/"):
            try base.put(name, Array(bytes.dropLast(bytes.count / 3)), moved: moved)
        case .cut: break
        }
        throw BackupError(.temporary, subject: place, "the line is cut")
    }

    func flush() throws(BackupError) {}
    func get(
        _ name: String, _ sink: (ArraySlice<UInt8>) throws(BackupError) -> Void
    ) throws(BackupError) -> Bool { try base.get(name, sink) }
    func list(_ folder: String) throws(BackupError) -> [ArchiveFile] { try base.list(folder) }
    func size(of name: String) throws(BackupError) -> Int64? { try base.size(of: name) }
    func delete(_ name: String) throws(BackupError) { try base.delete(name) }
    func space() throws(BackupError) -> TargetSpace? { nil }
}

@Suite("Archives and what befalls them")
struct ArchiveFaultTests {
    @Test("Cut off at any put, the next attempt goes on, and older snapshots stay whole")
    func interruptions() throws {
        for way in FailingStore.Way.allCases {
            let fixture = try ArchiveFixture()
            defer { try? fixture.end() }
            var random = ArchiveRandom(state: 4)
            let whole = fixture.target()
            var files: [String: [UInt8]] = ["uploads/old": random.bytes(1000)]
            try fixture.write("uploads/old", files["uploads/old"] ?? [])
            let first = try fixture.store(on: whole).id
            let before = files
            for index in 0..<9 {
                files["uploads/\(index)"] = random.bytes(5_000_000)
                try fixture.write("uploads/\(index)", files["uploads/\(index)"] ?? [])
            }
            // Three packs of contents, one of lists, the manifest.
            var failures = 0
            var literal: Int64 = 0
            for put in 1...6 {
                let place = fixture.place
                let target = fixture.target { _ throws(BackupError) in
                    FailingStore(place, failsAt: put, way)
                }
                try target.open(fixture.context, forWriting: true)
                let snapshot = try fixture.prepare(on: target)
                do {
                    let report = try target.store(snapshot, fixture.context) {
                        _ throws(BackupError) in
                    }
                    literal = report.literalBytes
                    break
                } catch {
                    failures += 1
                    let count = try whole.snapshots(fixture.context).count
                    let isPublished = count > 1
                    if isPublished { break }
                    // What a clean-up leaves is enough for the next attempt.
                    try whole.cleanUp(fixture.context)
                    try fixture.expectRestores(first, before, from: whole)
                }
            }
            #expect(failures >= 3)
            // Whole packs that arrived were not sent again.
            #expect(literal < 20_000_000)
            let last = try fixture.store(on: whole)
            #expect(last.report.literalBytes == 0)
            try fixture.expectRestores(last.id, files, from: whole)
            try whole.cleanUp(fixture.context)
            try fixture.expectRestores(last.id, files, from: whole)
            let named = try whole.snapshots(fixture.context).flatMap { id in
                try whole.manifest(of: id, fixture.context).archive?.packs ?? []
            }
            #expect(try fixture.packs().count == Set(named).count)
            #expect(!Files.exists(fixture.memory + "/" + ArchiveJournal.name))
        }
    }

    @Test("What an attempt has left is read back by the next, and sent anew when it is damaged")
    func damagedAttempt() throws {
        let fixture = try ArchiveFixture()
        defer { try? fixture.end() }
        var random = ArchiveRandom(state: 5)
        let files = ["uploads/a": random.bytes(100_000)]
        try fixture.write("uploads/a", files["uploads/a"] ?? [])
        let target = fixture.target()
        func attempt(sharesNothing: Bool = false) throws -> SnapshotID {
            try target.open(fixture.context, forWriting: true)
            var snapshot = try fixture.prepare(on: target)
            snapshot.sharesNothing = sharesNothing
            _ = try target.store(snapshot, fixture.context) { stored throws(BackupError) in
                let faults = try stored.verify(stored.new).faults
                guard faults.isEmpty else {
                    throw BackupError(.damaged, subject: "test", faults.joined())
                }
                guard try target.snapshots(fixture.context).isEmpty, sharesNothing else {
                    throw BackupError(.temporary, subject: "test", "the power failed")
                }
            }
            return snapshot.manifest.id
        }
        let cut = #expect(throws: BackupError.self) { try attempt() }
        #expect(cut?.code == .temporary)
        for pack in try fixture.packs() { try FolderDamageTests.turnBit(pack) }
        let found = #expect(throws: BackupError.self) { try attempt() }
        #expect(found?.code == .damaged)
        try fixture.expectRestores(attempt(sharesNothing: true), files, from: target)
    }

    @Test("A run that is cancelled ends, and no snapshot comes of it")
    func cancellation() throws {
        let fixture = try ArchiveFixture()
        defer { try? fixture.end() }
        try fixture.write("uploads/a", [1, 2, 3])
        let target = fixture.target()
        try target.open(fixture.context, forWriting: true)
        let snapshot = try fixture.prepare(on: target)
        fixture.cancellation.cancel("enough")
        let error = #expect(throws: BackupError.self) {
            try target.store(snapshot, fixture.context) { _ throws(BackupError) in }
        }
        #expect(error?.code == .cancelled)
        #expect(try FolderStore(fixture.place).list("snapshots").isEmpty)
    }

    @Test("Whoever checks can refuse, and then there is no snapshot")
    func refusal() throws {
        let fixture = try ArchiveFixture()
        defer { try? fixture.end() }
        try fixture.write("uploads/a", [1, 2, 3])
        let target = fixture.target()
        try target.open(fixture.context, forWriting: true)
        let snapshot = try fixture.prepare(on: target)
        let place = fixture.place
        let error = #expect(throws: BackupError.self) {
            try target.store(snapshot, fixture.context) { stored throws(BackupError) in
                #expect(stored.new.map(\.path.description) == ["uploads/a"])
                for file in try FolderStore(place).list("packs") {
                    try Files.replace("\(place)/\(file.name)", [1], mode: 0o600)
                }
                let report = try stored.verify(stored.new)
                #expect(report.faultCount == 1)
                throw BackupError(.damaged, subject: "check", report.faults.joined())
            }
        }
        #expect(error?.subject == "check")
        #expect(try target.snapshots(fixture.context).isEmpty)
    }

    @Test("A torn or edited journal makes nothing believed that is not there whole")
    func journal() throws {
        let fixture = try ArchiveFixture()
        defer { try? fixture.end() }
        let journal = ArchiveJournal(memory: fixture.memory)
        func digest(_ byte: UInt8) throws -> ContentHash {
            try #require(ContentHash([UInt8](repeating: byte, count: 32)))
        }
        let (a, b, c) = (try digest(1), try digest(2), try digest(3))
        func part(_ hash: ContentHash, _ size: Int64, _ begin: Int64, _ length: Int64)
            -> ArchiveJournal.Part
        { .init(hash: hash, size: size, begin: begin, offset: 5, length: length) }
        try journal.append(pack: "\(a)", [part(a, 10, 0, 10), part(b, 20, 0, 15)])
        try journal.append(pack: "\(b)", [part(b, 20, 15, 5), part(c, 9, 0, 4)])
        let whole = journal.read()
        #expect(whole.packs == ["\(a)", "\(b)"])
        #expect(whole.contents.map(\.hash) == [a, b])
        #expect(whole.contents.last?.pieces.map(\.pack) == [0, 1])
        let bytes = try #require(
            try Files.read(fixture.memory + "/" + ArchiveJournal.name, limit: 10_000))
        for count in bytes.indices {
            try Files.replace(
                fixture.memory + "/" + ArchiveJournal.name, Array(bytes[..<count]), mode: 0o600)
            let read = journal.read()
            #expect(whole.packs.starts(with: read.packs))
            #expect(whole.contents.map(\.hash).starts(with: read.contents.map(\.hash)))
        }
        for line in [
            "\(a) 10 11 0 1", "\(a) -1 0 0 1", "\(a) 10 0 0 11", "\(a) 9223372036854775807 1 0 1",
            "\(a) 10 0 9223372036854775807 1", "x", "pack ..", "\(a) 10 0 0 0",
        ] {
            let text = "\(ArchiveJournal.header)\npack \(b)\n\(line)\n\(c) 1 0 0 1\n"
            try Files.replace(
                fixture.memory + "/" + ArchiveJournal.name, Array(text.utf8), mode: 0o600)
            #expect(journal.read().contents.isEmpty)
        }
    }

    // MARK: Malice

    @Test("A manifest that was edited, renamed or made with another key is not believed")
    func forgedManifests() throws {
        let fixture = try ArchiveFixture()
        defer { try? fixture.end() }
        try fixture.write("uploads/a", [1])
        let target = fixture.target()
        let id = try fixture.store(on: target).id
        let manifest = try target.manifest(of: id, fixture.context)
        let whole = try ManifestFile.encode(manifest, key: fixture.key)
        var edited = whole
        let place = try #require(edited.firstIndex(of: UInt8(ascii: "d")))
        edited[place] = UInt8(ascii: "e")
        var later = manifest
        later.id = try #require(SnapshotID(time: 1_800_000_000, sequence: 99))
        later.archive = nil
        // Anybody can encrypt for the key; only its owner can seal.
        for (name, bytes) in [
            (id, edited), (id, try ManifestFile.encode(manifest, key: .generate())),
            (later.id, whole), (later.id, try ManifestFile.encode(later, key: fixture.key)),
            (id, []), (id, Array(whole.prefix(whole.count / 2))),
        ] {
            try Files.remove(fixture.memory + "/manifests")
            try Files.replace(
                "\(fixture.place)/snapshots/\(name).age",
                try AgeFile.seal(bytes, key: fixture.key), mode: 0o600)
            let error = #expect(throws: BackupError.self) {
                try target.manifest(of: name, fixture.context)
            }
            #expect(error?.code == .damaged)
        }
    }

    @Test("Pieces where nothing can be, too long ones and those in no order are refused")
    func maliciousPieces() throws {
        let fixture = try ArchiveFixture()
        defer { try? fixture.end() }
        let content: [UInt8] = Array(0..<100)
        let writer = PackBytes()
        for part in [content, content.reversed()] {
            let pack = PackWriter(key: fixture.key) { digest, bytes, _ throws(BackupError) in
                writer.packs.append((digest, bytes))
            }
            pack.beginContent()
            try pack.write(part[...], of: nil)
            _ = pack.endContent()
            try pack.finishPack()
        }
        let store = FolderStore(fixture.place)
        for (digest, bytes) in writer.packs { try store.put(ArchiveNames.pack(digest), bytes) }
        let hash = try #require(ContentHash(DigestAlgorithm.sha256.hash(content)))
        func outcome(_ pieces: [(Int, Int64, Int64)], size: Int64 = 100) throws -> ReadOutcome? {
            let reader = PackReader(
                store: store, key: fixture.key, packs: writer.packs.map(\.0)
            ) { _ throws(BackupError) in }
            let file = WantedFile(
                entry: FileEntry(
                    path: try #require(SnapshotPath("uploads/a")),
                    kind: .file(size: size, hash: hash), mode: 0, modified: 0),
                pieces: pieces.map { .init(pack: $0.0, offset: $0.1, length: $0.2) })
            var outcome: ReadOutcome?
            try reader.read([file]) { _, _, _ throws(BackupError) in
            } done: { _, result throws(BackupError) in
                outcome = result
            }
            return outcome
        }
        #expect(try outcome([(0, 0, 100)]) == .intact)
        #expect(try outcome([(0, 0, 40), (0, 40, 60)]) == .intact)
        let wrong: [([(Int, Int64, Int64)], Int64)] = [
            ([(1, 0, 100)], 100), ([(2, 0, 100)], 100), ([(-1, 0, 100)], 100),
            ([(0, -1, 100)], 100), ([(0, 1, 100)], 100), ([(0, 0, 101)], 101),
            ([(0, 0, 99)], 100), ([(0, 0, 0)], 100), ([], 100), ([(0, 0, -100)], -100),
            ([(0, 0, .max)], .max), ([(0, .max, 100)], 100), ([(0, .max, .max)], 100),
            ([(0, 0, .max), (0, 0, .max)], 100), ([(0, 0, 60), (0, 40, 40)], 100),
            ([(0, 40, 60), (0, 0, 40)], 100),
            ([(0, 0, 40), (1, 0, 20), (0, 40, 40)], 100), ([(0, 0, .max), (0, 0, 101)], 100),
        ]
        for (pieces, size) in wrong {
            let result = try outcome(pieces, size: size)
            guard case .fault = result else {
                Issue.record("\(pieces) gave \(String(describing: result))")
                continue
            }
        }
    }

    private final class PackBytes {
        var packs: [(String, [UInt8])] = []
    }

    @Test("Nothing is written outside of the folder that files are fetched into")
    func pathTricks() throws {
        let fixture = try ArchiveFixture()
        defer { try? fixture.end() }
        try fixture.write("uploads/a/b", [1, 2, 3])
        try fixture.write("uploads/c", [4])
        let target = fixture.target()
        let id = try fixture.store(on: target).id
        let manifest = try target.manifest(of: id, fixture.context)
        let list = try target.list(of: manifest, fixture.context)
        let outside = fixture.folder + "/outside"
        let output = fixture.folder + "/output"
        for link in ["uploads", "uploads/a", "uploads/a/b"] {
            try Files.remove(outside)
            try Files.makeFolder(outside)
            try Files.remove(output)
            try Files.makeFolder(Files.parent(of: "\(output)/\(link)"))
            #expect(
                symlink(link.hasSuffix("b") ? outside + "/x" : outside, "\(output)/\(link)") == 0)
            let error = #expect(throws: BackupError.self) {
                try target.fetch(list.entries, of: manifest, into: output, fixture.context)
            }
            #expect(error?.code == .damaged)
            #expect(try Files.names(in: outside).isEmpty)
        }
        // A link in a list makes nothing, and one whose path is a file's folder neither.
        try Files.remove(output)
        try Files.makeFolder(output)
        let path = try #require(SnapshotPath("uploads/link"))
        let link = FileEntry(
            path: path, kind: .link(to: Array("/etc".utf8)), mode: 0o777, modified: 0)
        try target.fetch(list.entries + [link], of: manifest, into: output, fixture.context)
        #expect(!Files.exists(output + "/uploads/link"))
        // An entry that the snapshot does not have.
        let foreign = FileEntry(
            path: path, kind: .file(size: 3, hash: try #require(list.entries[0].hash)),
            mode: 0o600, modified: 0)
        try Files.remove(output)
        try Files.makeFolder(output)
        #expect(throws: BackupError.self) {
            try target.fetch([foreign], of: manifest, into: output, fixture.context)
        }
        #expect(!Files.exists(output + "/uploads/link"))
    }
}
