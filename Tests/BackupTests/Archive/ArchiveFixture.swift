// An instance's files, a place for its archive, and snapshots of one in the other.

import Foundation
import Glibc
import TLS
import Testing

@testable import Backup

/// What the tests of the archive form work on. Removed by `end`.
final class ArchiveFixture {
    let folder: String
    var source: String { folder + "/source" }
    var place: String { folder + "/place" }
    var memory: String { folder + "/memory" }
    let key: RecoveryKey
    var instance = String(repeating: "a", count: 32)
    var cancellation = Cancellation()
    let warnings = Warnings()
    private var sequence = 0

    // Written and read by the test's thread alone.
    final class Warnings: @unchecked Sendable {
        var lines: [String] = []
    }

    init() throws {
        folder = FileManager.default.temporaryDirectory.path + "/archive-\(UUID().uuidString)"
        key = RecoveryKey.generate()
        for name in ["source/uploads", "place", "memory", "staging"] {
            try Files.makeFolder("\(folder)/\(name)")
        }
    }

    func end() throws { try Files.remove(folder) }

    var context: TargetContext {
        let warnings = warnings
        return TargetContext(
            key: key, instance: instance, memory: memory, staging: folder + "/staging",
            bandwidth: nil, lock: -1, cancellation: cancellation, progress: { _ in },
            warn: { warnings.lines.append($0) })
    }

    func write(_ path: String, _ bytes: [UInt8]) throws {
        let place = "\(source)/\(path)"
        try Files.makeFolder(Files.parent(of: place))
        try Files.replace(place, bytes, mode: 0o600)
    }

    /// The files below the source as they are.
    func list() throws -> FileList {
        var entries: [FileEntry] = []
        var folders = [""]
        while let current = folders.popLast() {
            for name in try Files.names(in: source + "/" + current) {
                let path =
                    (current.isEmpty ? "" : current + "/") + String(decoding: name, as: UTF8.self)
                var status = stat()
                guard lstat("\(source)/\(path)", &status) == 0 else { continue }
                if status.st_mode & S_IFMT == S_IFDIR {
                    folders.append(path)
                    continue
                }
                let bytes = try #require(try Files.read("\(source)/\(path)", limit: 1 << 30))
                let hash = try #require(ContentHash(DigestAlgorithm.sha256.hash(bytes)))
                entries.append(
                    FileEntry(
                        path: try #require(SnapshotPath(path)),
                        kind: .file(size: Int64(bytes.count), hash: hash), mode: 0o600,
                        modified: Int64(status.st_mtim.tv_sec) * 1_000_000_000
                            + Int64(status.st_mtim.tv_nsec)))
            }
        }
        return FileList(entries)
    }

    /// A snapshot of the source, ready to be stored after the target's newest.
    func prepare(
        on target: ArchiveTarget, kept: Set<SnapshotPath> = []
    ) throws -> PreparedSnapshot {
        let list = try list()
        let newest = try target.snapshots(context).last
        let previous = try newest.map { try target.manifest(of: $0, context) }
        sequence = max(sequence, newest?.sequence ?? 0) + 1
        var manifest = Manifest(
            id: try #require(SnapshotID(time: 1_800_000_000, sequence: sequence)),
            instance: instance, backup: "default", domains: ["example.test"],
            software: ["kinglet": "1"], previous: newest)
        manifest.files = list.entries.count
        manifest.bytes = list.entries.reduce(0) { $0 + $1.size }
        let sources = try Files.names(in: source).map { name in
            let text = String(decoding: name, as: UTF8.self)
            return (folder: try #require(SnapshotPath(text)), place: "\(source)/\(text)")
        }
        return PreparedSnapshot(
            manifest: manifest, list: list, sources: sources, kept: kept,
            previous: try previous.map { ($0, try target.list(of: $0, context)) })
    }

    func target(
        _ store: ((TargetContext) throws(BackupError) -> any ArchiveStore)? = nil
    ) -> ArchiveTarget {
        let place = place
        return ArchiveTarget(name: "test", isOnSameMedium: false) {
            context throws(BackupError) in
            if let store { return try store(context) }
            return FolderStore(place)
        }
    }

    /// Stores the source and says what that moved.
    @discardableResult
    func store(on target: ArchiveTarget) throws -> (id: SnapshotID, report: TransferReport) {
        try target.open(context, forWriting: true)
        let snapshot = try prepare(on: target)
        let report = try target.store(snapshot, context) { stored throws(BackupError) in
            let result = try stored.verify(stored.new)
            if result.faultCount > 0 {
                throw BackupError(.damaged, subject: "test", result.faults.joined(separator: "; "))
            }
        }
        return (snapshot.manifest.id, report)
    }

    /// Brings a whole snapshot back and compares it, byte by byte.
    func expectRestores(
        _ id: SnapshotID, _ expected: [String: [UInt8]], from target: ArchiveTarget
    ) throws {
        let output = "\(folder)/output"
        try Files.remove(output)
        try Files.makeFolder(output)
        let manifest = try target.manifest(of: id, context)
        let list = try target.list(of: manifest, context)
        #expect(list.entries.map(\.path.description) == expected.keys.sorted())
        try target.fetch(list.entries, of: manifest, into: output, context)
        for (path, bytes) in expected {
            let restored = try Files.read("\(output)/\(path)", limit: 1 << 30)
            #expect(restored.map { $0 == bytes } == true, "\(path)")
        }
    }

    /// The encrypted packs in the folder.
    func packs() throws -> [String] {
        try FolderStore(place).list(ArchiveNames.packs).map { "\(place)/\($0.name)" }.sorted()
    }
}

/// Numbers that look random and are the same each time.
struct ArchiveRandom: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
        return z ^ z >> 31
    }

    /// Bytes in which no block is as another, though most of a block is: to make all of them would
    /// take longer than to store them.
    mutating func bytes(_ count: Int) -> [UInt8] {
        var block: [UInt8] = []
        for _ in 0..<min(512, count / 8 + 1) { withUnsafeBytes(of: next()) { block += $0 } }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count + block.count)
        while bytes.count < count {
            withUnsafeBytes(of: next()) { block.replaceSubrange(0..<8, with: $0) }
            bytes += block
        }
        return Array(bytes.prefix(count))
    }
}
