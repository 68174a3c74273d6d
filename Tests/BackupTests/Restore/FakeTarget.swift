// A target that is in memory, and the parts of a restore without their formats.

import Glibc
import TLS
import Testing

@testable import Backup

/// Snapshots of one manifest; files that are fetched have the bytes given.
struct FakeTarget: BackupTarget {
    var contents: [String: [UInt8]] = [:]
    var folders: [String] = []
    var links: [String: String] = [:]
    var databases: [Manifest.Database] = []
    var modes: [String: UInt32] = [:]
    var extra: [String: String] = [:]
    var named: [String: String]?
    /// Links whose paths are no text.
    var oddLinks: [(path: [UInt8], to: [UInt8])] = []
    /// What `fetch` fails with.
    var failure: BackupError?

    let name = "memory"
    let needsMD5 = false
    let isOnSameMedium = false
    let canRemove = false

    /// A small snapshot of everything.
    static func example() -> FakeTarget {
        var target = FakeTarget()
        let base = Array("SQLite".utf8)
        let hash = Self.hash(base)
        let part = "database/kinglet.db/base-\(hash.prefix(16))"
        target.contents = [
            part: base, "config/kinglet.yaml": Array("domain: a\ndata_dir: /srv/x\n".utf8),
            "data/ca.crt": Array("ca".utf8), "secrets.age": Array("sealed".utf8),
            "uploads/ab/cd": Array("picture".utf8), "extra/1/notes.txt": Array("notes".utf8),
        ]
        target.folders = ["uploads/empty"]
        target.links = ["extra/1/link": "/etc/passwd"]
        target.modes = ["uploads/ab/cd": 0o4751]
        target.extra = ["1": "/home/me/notes"]
        target.databases = [
            Manifest.Database(
                name: "kinglet.db",
                base: .init(path: part, sha256: hash, size: Int64(base.count)), changes: [],
                pageSize: 4096, pageCount: 10, rows: ["messages": 3, "accounts": 1],
                lastMessage: 3, isChecked: true)
        ]
        return target
    }

    static func hash(_ bytes: [UInt8]) -> String {
        let digits = Array("0123456789abcdef")
        return String(
            DigestAlgorithm.sha256.hash(bytes).flatMap {
                [digits[Int($0 >> 4)], digits[Int($0 & 15)]]
            })
    }

    func manifest() throws -> Manifest {
        var manifest = Manifest(
            id: try #require(SnapshotID(time: 1_800_000_000, sequence: 7)),
            instance: String(repeating: "a", count: 32), backup: "nightly", domains: ["a"],
            software: ["kinglet": "1"], previous: nil)
        manifest.databases = databases
        manifest.extra = extra
        manifest.named = named
        return manifest
    }

    func list() throws -> FileList {
        func entry(_ path: String, _ kind: FileEntry.Kind) throws -> FileEntry {
            FileEntry(
                path: try #require(SnapshotPath(path)), kind: kind,
                mode: modes[path] ?? 0o640, modified: 1_500_000_000_000_000_000)
        }
        return FileList(
            try contents.map { path, bytes in
                try entry(
                    path,
                    .file(
                        size: Int64(bytes.count),
                        hash: try #require(ContentHash(hexadecimal: Self.hash(bytes)))))
            } + folders.map { try entry($0, .folder) }
                + links.map { try entry($0, .link(to: Array($1.utf8))) }
                + oddLinks.map {
                    FileEntry(
                        path: try #require(SnapshotPath($0.path)), kind: .link(to: $0.to),
                        mode: 0o777, modified: 0)
                })
    }

    func fetch(
        _ entries: [FileEntry], of manifest: Manifest, into folder: String,
        _ context: TargetContext
    ) throws(BackupError) {
        for entry in entries {
            let path = "\(folder)/\(entry.path)"
            if case .folder = entry.kind {
                try Files.makeFolder(path)
            } else {
                try Files.makeFolder(Files.parent(of: path))
                try Files.replace(path, contents[entry.path.description] ?? [], mode: 0o600)
            }
        }
        if let failure { throw failure }
    }

    private var unused: BackupError {
        BackupError(.permanent, subject: name, "a restore has no use for this")
    }
    func open(_ context: TargetContext, forWriting: Bool) throws(BackupError) { throw unused }
    func snapshots(_ context: TargetContext) throws(BackupError) -> [SnapshotID] { throw unused }
    func manifest(
        of id: SnapshotID, _ context: TargetContext
    ) throws(BackupError) -> Manifest { throw unused }
    func list(
        of manifest: Manifest, _ context: TargetContext
    ) throws(BackupError) -> FileList { throw unused }
    func placeForDatabase(
        of id: SnapshotID, _ context: TargetContext
    ) throws(BackupError) -> String? { throw unused }
    func store(
        _ snapshot: PreparedSnapshot, _ context: TargetContext,
        check: (Stored) throws(BackupError) -> Void
    ) throws(BackupError) -> TransferReport { throw unused }
    func verify(
        _ entries: [FileEntry], of manifest: Manifest, _ context: TargetContext
    ) throws(BackupError) -> VerificationReport { throw unused }
    func remove(_ id: SnapshotID, _ context: TargetContext) throws(BackupError) { throw unused }
    func cleanUp(_ context: TargetContext) throws(BackupError) { throw unused }
    func pins(_ context: TargetContext) throws(BackupError) -> Set<SnapshotID> { throw unused }
    func setPins(_ pins: Set<SnapshotID>, _ context: TargetContext) throws(BackupError) {
        throw unused
    }
    func space(_ context: TargetContext) throws(BackupError) -> TargetSpace? { throw unused }
}

/// Databases are their base, and secrets one file.
struct FakeParts: RestoreParts {
    var rows: [String: Int64] = ["messages": 3, "accounts": 1]

    func assemble(
        _ record: Manifest.Database, in folder: String, to file: String
    ) throws(BackupError) {
        let bytes = try Files.read("\(folder)/\(record.base.path)", limit: 1 << 20)
        try Files.replace(file, bytes ?? [], mode: 0o644)
    }
    func check(_ file: String) throws(BackupError) -> [String: Int64] { rows }
    func extractSecrets(
        _ file: String, key: RecoveryKey, into folder: String
    ) throws(BackupError) {
        try Files.replace("\(folder)/ca.key", Array("key".utf8), mode: 0o644)
    }
    func mergeAccount(_ address: String, from file: String) throws(BackupError) -> [String] {
        guard Files.exists(file) else {
            throw BackupError(.damaged, subject: file, "is not there")
        }
        return ["\(address) has its messages again"]
    }
}

/// A folder for one test, and what a command has at hand.
final class RestoreFolder {
    let path: String

    init() throws {
        var template = Array("/tmp/kinglet-restore-XXXXXX".utf8CString)
        path = try template.withUnsafeMutableBufferPointer { buffer in
            let base = try #require(buffer.baseAddress)
            return String(cString: try #require(mkdtemp(base)))
        }
    }

    deinit { try? Files.remove(path) }

    var context: TargetContext {
        TargetContext(
            key: RecoveryKey(secret: [UInt8](repeating: 1, count: 32)), instance: "",
            memory: path, staging: path, bandwidth: nil, lock: -1, cancellation: Cancellation(),
            progress: { _ in }, warn: { _ in })
    }

    func write(_ name: String, _ text: String) throws {
        try Files.makeFolder(Files.parent(of: "\(path)/\(name)"))
        try Files.replace("\(path)/\(name)", Array(text.utf8), mode: 0o600)
    }

    func read(_ name: String) throws -> String? {
        try Files.read("\(path)/\(name)", limit: 1 << 20).map {
            String(decoding: $0, as: UTF8.self)
        }
    }

    func names(_ name: String = "") throws -> Set<String> {
        Set(try Files.names(in: "\(path)/\(name)").map { String(decoding: $0, as: UTF8.self) })
    }

    func mode(_ name: String) throws -> mode_t {
        var status = stat()
        try #require(lstat("\(path)/\(name)", &status) == 0)
        return status.st_mode & 0o7777
    }
}
