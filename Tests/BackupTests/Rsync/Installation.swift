// A small installation to be backed up, and what a target needs to know of it.

import Foundation
import Glibc
import TLS
import Testing

@testable import Backup

/// Files as a run prepares them, and a context.
final class Installation {
    let base: String
    let context: TargetContext
    let heard = Heard()

    /// What was warned of and how far it was. Unchecked: both lists are touched with the lock held.
    final class Heard: @unchecked Sendable {
        private let lock = NSLock()
        private var lines: [String] = []
        private var states: [Backup.Progress] = []
        var warnings: [String] { lock.withLock { lines } }
        var progress: [Backup.Progress] { lock.withLock { states } }
        func warn(_ text: String) { lock.withLock { lines.append(text) } }
        func see(_ state: Backup.Progress) { lock.withLock { states.append(state) } }
    }

    init(bandwidth: Int? = nil, cancellation: Cancellation = Cancellation()) throws {
        base = FileManager.default.temporaryDirectory.path + "/installation-\(UUID().uuidString)"
        for folder in ["/memory", "/staging/database/kinglet.db", "/uploads/ab"] {
            try Files.makeFolder(base + folder)
        }
        context = TargetContext(
            key: RecoveryKey(secret: [UInt8](repeating: 7, count: 32)),
            instance: String(repeating: "0a", count: 16), memory: base + "/memory",
            staging: base + "/staging", bandwidth: bandwidth, lock: -1,
            cancellation: cancellation, progress: { [heard] in heard.see($0) },
            warn: { [heard] in heard.warn($0) })
    }

    deinit { try? FileManager.default.removeItem(atPath: base) }

    /// A file at a path of the snapshot.
    func write(_ path: SnapshotPath, _ bytes: [UInt8]) throws {
        let place = self.place(of: path)
        try Files.makeFolder(Files.parent(of: String(decoding: place, as: UTF8.self)))
        let file = open(
            (place + [0]).map { CChar(bitPattern: $0) }, O_WRONLY | O_CREAT | O_TRUNC, 0o640)
        guard file >= 0 else { throw Files.error(path.description, "write") }
        defer { close(file) }
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
            guard count > 0 else { throw Files.error(path.description, "write") }
            rest = rest.dropFirst(count)
        }
    }

    func write(_ path: String, _ bytes: [UInt8]) throws {
        try write(try #require(SnapshotPath(path)), bytes)
    }

    private func place(of path: SnapshotPath) -> [UInt8] {
        Array((path.isBelow("uploads") ? base + "/" : base + "/staging/").utf8) + path.bytes
    }

    /// The entry of a file that was written.
    func entry(_ path: SnapshotPath) throws -> FileEntry {
        let place = self.place(of: path)
        let file = open((place + [0]).map { CChar(bitPattern: $0) }, O_RDONLY)
        guard file >= 0 else { throw Files.error(path.description, "read") }
        defer { close(file) }
        var status = stat()
        fstat(file, &status)
        let sha256 = StreamingDigest(.sha256)
        let md5 = StreamingDigest(.md5)
        var buffer = [UInt8](repeating: 0, count: 1 << 20)
        while case let count = read(file, &buffer, buffer.count), count > 0 {
            sha256.update(buffer[..<count])
            md5.update(buffer[..<count])
        }
        return FileEntry(
            path: path,
            kind: .file(
                size: Int64(status.st_size), hash: try #require(ContentHash(sha256.finish()))),
            mode: UInt32(status.st_mode) & 0o7777,
            modified: Int64(status.st_mtim.tv_sec) * 1_000_000_000
                + Int64(status.st_mtim.tv_nsec),
            md5: MD5Digest(md5.finish()))
    }

    /// A snapshot of some paths.
    ///
    /// - Parameter kept: entries whose bytes are in the previous snapshot only.
    func prepare(
        _ sequence: Int, _ paths: [SnapshotPath], kept: [FileEntry] = [],
        after previous: PreparedSnapshot? = nil
    ) throws -> PreparedSnapshot {
        let id = try #require(SnapshotID(time: 1_800_000_000 + Int64(sequence), sequence: sequence))
        let list = FileList(try paths.map { try entry($0) } + kept)
        var manifest = Manifest(
            id: id, instance: context.instance, backup: "nightly", domains: ["example.test"],
            software: ["kinglet": "0.6"], previous: previous?.manifest.id)
        manifest.lists = FileListCodec.encode(list).map(\.list)
        manifest.files = list.entries.count
        var sources: [(folder: SnapshotPath, place: String)] = []
        for (folder, place) in [
            ("uploads", base + "/uploads"), ("database", base + "/staging/database"),
        ] {
            sources.append((try #require(SnapshotPath(folder)), place))
        }
        return PreparedSnapshot(
            manifest: manifest, list: list, sources: sources, kept: Set(kept.map(\.path)),
            previous: previous.map { ($0.manifest, $0.list) })
    }

    /// Stores it, with everything verified before it is published.
    @discardableResult
    func store(_ snapshot: PreparedSnapshot, _ target: RsyncTarget) throws -> TransferReport {
        var report: TransferReport?
        report = try target.store(snapshot, context) { stored throws(BackupError) in
            let found = try stored.verify(stored.list?.entries ?? [])
            guard found.faultCount == 0 else {
                throw BackupError(.damaged, subject: "check", found.faults.joined(separator: ", "))
            }
        }
        return try #require(report)
    }
}

/// The error that something throws.
func failure(_ body: () throws -> Void) throws -> BackupError {
    do {
        try body()
    } catch let error as BackupError {
        return error
    }
    Issue.record("nothing was thrown")
    throw Missing(description: "nothing was thrown")
}
