// What this machine remembers of a target that only rsync reaches, so that it need not ask again.

internal import Foundation
internal import Glibc

/// The folder `TargetContext.memory` of such a target.
struct RsyncMemory {
    /// What was found out about the other side.
    struct Findings: Codable, Equatable {
        /// The key is restricted to a folder (rrsync).
        var isRestricted = false
        /// The key may only add.
        var isAppendOnly = false
        /// Of `RsyncConnection.delivery`, what the other side does not know.
        var refused: [String]?
        /// Seconds since 1970; asked again after a day.
        var asked: Int64 = 0
        /// The marker's random name of the target.
        var target: String?
    }

    let folder: String
    private var findingsPath: String { folder + "/rsync.json" }
    var lists: String { folder + "/lists" }
    var manifests: String { folder + "/manifests" }
    private var attempts: String { folder + "/attempts" }

    init(_ folder: String) throws(BackupError) {
        self.folder = folder
        try Files.makeFolder(lists)
        try Files.makeFolder(manifests)
        try Files.makeFolder(attempts)
    }

    var findings: Findings {
        guard let bytes = try? Files.read(findingsPath, limit: 65_536),
            let findings = try? JSONDecoder().decode(Findings.self, from: Data(bytes))
        else { return Findings() }
        return findings
    }

    func remember(_ findings: Findings) throws(BackupError) {
        guard findings != self.findings else { return }
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        guard let bytes = try? encoder.encode(findings) else { return }
        try Files.replace(findingsPath, Array(bytes), mode: 0o600)
    }

    // MARK: Lists

    /// Where a list is kept.
    func path(of list: Manifest.List) -> String { lists + "/" + list.sha256.prefix(32) }

    /// Keeps a list. All have the same time, so that rsync sees that they did not change.
    func keep(_ bytes: [UInt8], of list: Manifest.List) throws(BackupError) {
        let path = path(of: list)
        var status = stat()
        if lstat(path, &status) == 0, status.st_size == off_t(bytes.count),
            status.st_mtim.tv_sec == Self.time
        {
            return
        }
        try Files.replace(path, bytes, mode: 0o600)
        var times = [
            timespec(tv_sec: Self.time, tv_nsec: 0), timespec(tv_sec: Self.time, tv_nsec: 0),
        ]
        guard utimensat(AT_FDCWD, path, &times, 0) == 0 else {
            throw Files.error(path, "set the time of")
        }
    }

    /// 2001-09-09, a time that every file system knows.
    private static let time = 1_000_000_000

    /// Forgets lists that no manifest names any more.
    func forgetLists(except manifests: [Manifest]) throws(BackupError) {
        let names = Set(manifests.flatMap { $0.lists.map { Array($0.sha256.prefix(32).utf8) } })
        for name in try Files.names(in: lists) where !names.contains(name) {
            try Files.remove(lists + "/" + String(decoding: name, as: UTF8.self))
        }
    }

    // MARK: Attempts

    /// Snapshots that this installation has begun to send or to remove. A folder without a manifest
    /// that is none of these may be what another installation is sending.
    func begun() throws(BackupError) -> Set<SnapshotID> {
        Set(
            try Files.names(in: attempts).compactMap {
                SnapshotID(String(decoding: $0, as: UTF8.self))
            })
    }

    func noteBegun(_ id: SnapshotID) throws(BackupError) {
        guard !Files.exists("\(attempts)/\(id)") else { return }
        try Files.replace("\(attempts)/\(id)", [], mode: 0o600)
    }

    func forgetBegun(_ id: SnapshotID) throws(BackupError) {
        try Files.remove("\(attempts)/\(id)")
    }

    // MARK: Manifests

    func path(of id: SnapshotID) -> String { manifests + "/\(id)" }
}
