// The planner, held to its rules over random histories. No bytes are moved: a pack is what the
// pieces say of it.

import Foundation
import TLS
import Testing

@testable import Backup

/// A target in memory: each pack is a run of (content, begin, length).
private struct ModelTarget {
    struct Pack {
        var parts: [(hash: ContentHash, begin: Int64, length: Int64)] = []
        var size: Int64 = 0
    }
    var packs: [String: Pack] = [:]
    var snapshots: [(manifest: Manifest, list: FileList)] = []
    var made = 0

    /// Stores as `ArchiveTarget` does, and returns the bytes of content that went there.
    mutating func store(_ list: FileList, kept: Set<SnapshotPath> = []) throws -> Int64 {
        var sources: [ArchivePlan.Source] = []
        if let last = snapshots.last, let archive = last.manifest.archive {
            sources.append(.init(packs: archive.packs, list: last.list))
        }
        let plan = try ArchivePlan(
            list: list, kept: kept, sources: sources,
            stored: packs.mapValues { $0.size + 200 + $0.size / 65_536 * 16 })
        var names = plan.packs
        var places = plan.known
        var current = Pack()
        var sent: Int64 = 0
        func close(_ target: inout ModelTarget) throws {
            guard current.size > 0 else { return }
            target.made += 1
            let name = DigestAlgorithm.sha256.hash(Array("\(target.made)".utf8))
            names.append(try #require(ContentHash(name)).description)
            target.packs[names[names.count - 1]] = current
            current = Pack()
        }
        for index in plan.sent {
            let entry = list.entries[index]
            #expect(!kept.contains(entry.path))
            let hash = try #require(entry.hash)
            #expect(places[hash] == nil)
            var begin: Int64 = 0
            var pieces: [ArchiveRecord.Piece] = []
            while begin < entry.size {
                if current.size == Int64(ArchivePlan.packSize) { try close(&self) }
                let length = min(entry.size - begin, Int64(ArchivePlan.packSize) - current.size)
                pieces.append(.init(pack: names.count, offset: current.size, length: length))
                current.parts.append((hash, begin, length))
                current.size += length
                begin += length
            }
            places[hash] = pieces
            sent += entry.size
        }
        try close(&self)
        #expect(sent == plan.bytes)
        var stored = list
        stored.places = list.entries.map { entry in
            entry.size == 0 ? [] : entry.hash.flatMap { places[$0] } ?? []
        }
        let id = try #require(SnapshotID(time: 0, sequence: snapshots.count + made + 1))
        var manifest = Manifest(
            id: id, instance: "", backup: "", domains: [], software: [:], previous: nil)
        let used = Set(stored.places.joined().map { names[$0.pack] })
        #expect(used.isSuperset(of: plan.packs))
        manifest.archive = ArchiveRecord(packs: names, lists: [])
        snapshots.append((manifest, stored))
        return sent
    }

    /// Whether each file's pieces are its content.
    func isWhole(_ snapshot: (manifest: Manifest, list: FileList)) -> Bool {
        let names = snapshot.manifest.archive?.packs ?? []
        return zip(snapshot.list.entries, snapshot.list.places).allSatisfy { entry, pieces in
            var begin: Int64 = 0
            for piece in pieces {
                guard names.indices.contains(piece.pack), let pack = packs[names[piece.pack]] else {
                    return false
                }
                var offset: Int64 = 0
                var isFound = false
                for part in pack.parts {
                    if part.hash == entry.hash, part.begin == begin, offset == piece.offset,
                        part.length == piece.length
                    {
                        isFound = true
                    }
                    offset += part.length
                }
                guard isFound else { return false }
                begin += piece.length
            }
            return begin == entry.size
        }
    }

    mutating func cleanUp() {
        let gone = ArchiveSweep.packsToRemove(
            Array(packs.keys), manifests: snapshots.map(\.manifest), unfinished: [])
        for name in gone { packs[name] = nil }
    }
}

@Suite("Planning of packs")
struct ArchivePlanTests {
    private static func entry(_ name: Int, version: Int, size: Int64) throws -> FileEntry {
        let hash = try #require(
            ContentHash(DigestAlgorithm.sha256.hash(Array("\(name) \(version)".utf8))))
        return FileEntry(
            path: try #require(SnapshotPath("uploads/\(name)")),
            kind: .file(size: size, hash: hash), mode: 0o600, modified: 0)
    }

    @Test(
        "In random histories every snapshot stays whole, whatever is pruned, and waste is bounded")
    func randomHistories() throws {
        for seed in 1...8 {
            var random = ArchiveRandom(state: UInt64(seed))
            var target = ModelTarget()
            var files: [Int: FileEntry] = [:]
            var version = 0
            for run in 0..<40 {
                for _ in 0..<Int.random(in: 0...12, using: &random) {
                    let name = Int.random(in: 0..<60, using: &random)
                    version += 1
                    switch Int.random(in: 0..<5, using: &random) {
                    case 0: files[name] = nil
                    case 1:
                        // The content of another file.
                        guard let other = files.values.map(\.kind).first else { break }
                        files[name] = try Self.entry(name, version: 0, size: 1)
                        files[name]?.kind = other
                    default:
                        let size = Int64(1) << Int64.random(in: 0...26, using: &random)
                        files[name] = try Self.entry(
                            name, version: version, size: size - Int64.random(in: 0...1))
                    }
                }
                let list = FileList(Array(files.values))
                // Now and then something that is only in the previous snapshot.
                let previous = target.snapshots.last?.list
                let kept = list.entries.filter {
                    previous?[$0.path]?.kind == $0.kind
                        && Int.random(in: 0..<9, using: &random) == 0
                }
                _ = try target.store(list, kept: Set(kept.map(\.path)))
                while target.snapshots.count > Int.random(in: 1...6, using: &random) {
                    // Any but the newest.
                    target.snapshots.remove(
                        at: Int.random(in: 0..<target.snapshots.count - 1, using: &random))
                }
                target.cleanUp()
                for snapshot in target.snapshots {
                    #expect(target.isWhole(snapshot), "seed \(seed), run \(run)")
                }
            }
        }
    }

    @Test("With one hundredth changed, at most 1.3 times that is sent, and waste does not pile up")
    func sent() throws {
        var random = ArchiveRandom(state: 7)
        var target = ModelTarget()
        var files: [FileEntry] = []
        for name in 0..<2000 {
            files.append(
                try Self.entry(
                    name, version: 0, size: Int64.random(in: 1...200_000, using: &random)))
        }
        _ = try target.store(FileList(files))
        let total = files.reduce(Int64(0)) { $0 + $1.size }
        for run in 1...150 {
            var changed: Int64 = 0
            while changed < total / 100 {
                let name = Int.random(in: files.indices, using: &random)
                let size = Int64.random(in: 1...200_000, using: &random)
                files[name] = try Self.entry(name, version: run, size: size)
                changed += size
            }
            let list = FileList(files)
            let before = target.snapshots.last?.list
            let new = list.entries.filter { before?[$0.path]?.kind != $0.kind }
                .reduce(Int64(0)) { $0 + $1.size }
            #expect(Double(try target.store(list)) <= 1.3 * Double(new))
            if target.snapshots.count > 3 { target.snapshots.removeFirst() }
            target.cleanUp()
        }
        let stored = target.packs.values.reduce(Int64(0)) { $0 + $1.size }
        #expect(stored < 3 * total)
    }

    @Test("Many small packs become few")
    func smallPacks() throws {
        var target = ModelTarget()
        var files: [FileEntry] = []
        for name in 0..<200 {
            files.append(try Self.entry(name, version: 0, size: 10_000))
            _ = try target.store(FileList(files))
            target.snapshots = Array(target.snapshots.suffix(1))
            target.cleanUp()
            #expect(target.packs.count <= ArchivePlan.mostSmallPacks + 1)
        }
        let last = try #require(target.snapshots.last)
        #expect(target.isWhole(last))
    }

    @Test("What is only in the previous snapshot is never planned to be read here")
    func kept() throws {
        var target = ModelTarget()
        let part = try Self.entry(1, version: 0, size: 5_000_000)
        var others: [FileEntry] = []
        for name in 2..<7 { others.append(try Self.entry(name, version: 0, size: 2_000_000)) }
        _ = try target.store(FileList([part] + others))
        // The pack is mostly not needed any more, but the part cannot be sent again.
        let sent = try target.store(FileList([part]), kept: [part.path])
        #expect(sent == 0)
        let last = try #require(target.snapshots.last)
        #expect(target.isWhole(last))
        target.packs = [:]
        let error = #expect(throws: BackupError.self) {
            try target.store(FileList([part]), kept: [part.path])
        }
        #expect(error?.code == .damaged)
    }

    @Test("Packs that were cut, and pieces that cannot be, are as if they were not there")
    func forgedSources() throws {
        let entry = try Self.entry(1, version: 0, size: 100)
        let hash = try #require(entry.hash)
        func plan(_ pieces: [(Int, Int64, Int64)], stored: Int64) throws -> ArchivePlan {
            let source = ArchivePlan.Source(
                packs: ["p"],
                contents: [
                    (
                        hash: hash, size: 100,
                        pieces: pieces.map { .init(pack: $0.0, offset: $0.1, length: $0.2) }
                    )
                ])
            return try ArchivePlan(
                list: FileList([entry]), kept: [], sources: [source], stored: ["p": stored])
        }
        #expect(try plan([(0, 0, 100)], stored: 300).sent == [])
        #expect(try plan([(0, 0, 100)], stored: 100).sent == [0])
        for pieces: [(Int, Int64, Int64)] in [
            [(1, 0, 100)], [(-1, 0, 100)], [(0, -1, 100)], [(0, 0, 99)], [(0, 0, .max)],
            [(0, .max, 100)], [(0, 0, 0), (0, 0, 100)], [(0, 0, 200), (0, 0, -100)], [],
        ] {
            #expect(try plan(pieces, stored: 300).sent == [0])
        }
    }
}
