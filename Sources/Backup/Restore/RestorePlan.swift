// What a restore will do, known before anything is written. Everything in it was checked: a
// manifest may come from a disk that anybody could write to.

/// What a restore will do.
public struct RestorePlan: Sendable {
    /// The snapshot.
    public let manifest: Manifest
    /// What is wanted of it.
    public let scope: RestoreScope
    /// Where it goes.
    public let destination: RestoreDestination
    /// The files that are brought from the target.
    public let files: [FileEntry]
    /// Their bytes.
    public let bytes: Int64
    /// Bytes that the destination's file system needs at most, while it goes on.
    public let neededBytes: Int64
    /// The database, where it is wanted.
    let database: Manifest.Database?
    /// Links below `extra/`, which are made last.
    let links: [FileEntry]

    /// The only database that there is; another name in a manifest could be any file.
    static let databaseName = "kinglet.db"
    /// Names in the data directory that are not restored from `data/`: they are made otherwise.
    private static let reserved: Set<String> = [
        databaseName, databaseName + "-wal", databaseName + "-shm", "kinglet.lock",
        "control.sock", "kinglet.yaml", "initial-password", "secrets", "uploads", "extra",
        "config", "backups", "backup-state", Restore.markName, Restore.workName,
    ]

    /// Looks through a snapshot for what is wanted of it.
    public init(
        _ manifest: Manifest, _ list: FileList, scope: RestoreScope,
        to destination: RestoreDestination
    ) throws(BackupError) {
        self.manifest = manifest
        self.scope = scope
        self.destination = destination
        let subject = "snapshot \(manifest.id)"
        try Self.check(list, subject)
        var wanted: [FileEntry] = []
        var links: [FileEntry] = []
        let takesExtra = if case .folder = destination { true } else { false }
        for entry in list.entries {
            switch (entry.path.top, scope) {
            case ("uploads", .everything), ("uploads", .uploads),
                ("config", .everything), ("config", .configuration),
                ("data", .everything), ("secrets.age", .everything),
                ("database", .everything), ("database", .user):
                wanted.append(entry)
            case ("extra", .everything) where takesExtra:
                if case .link = entry.kind { links.append(entry) } else { wanted.append(entry) }
            default: break
            }
        }
        self.links = links
        database = try Self.database(manifest, list, scope, subject)
        if let database {
            // Of the parts only those that the manifest names.
            let parts = Set(([database.base] + database.changes).map(\.path))
            wanted.removeAll {
                $0.path.top == "database" && !parts.contains($0.path.description)
            }
        }
        files = wanted
        var bytes: Int64 = 0
        for entry in wanted {
            let (sum, isOver) = bytes.addingReportingOverflow(entry.size)
            guard entry.size >= 0, !isOver else { throw Self.damaged(subject, "sizes are wrong") }
            bytes = sum
        }
        self.bytes = bytes
        var needed = bytes
        if let database {
            let (image, isOver) = database.pageCount.multipliedReportingOverflow(
                by: Int64(database.pageSize))
            let (sum, isTooMuch) = needed.addingReportingOverflow(image)
            guard image >= 0, !isOver, !isTooMuch else {
                throw Self.damaged(subject, "the database's size is wrong")
            }
            needed = sum
        }
        // Folders and ends of blocks.
        let margin = needed / 20 + 4_194_304
        let (sum, isOver) = needed.addingReportingOverflow(margin)
        guard !isOver else { throw Self.damaged(subject, "sizes are wrong") }
        neededBytes = sum
        guard !wanted.isEmpty || !links.isEmpty else {
            throw BackupError(
                .permanent, subject: subject, "there is nothing of that kind in it")
        }
    }

    /// What in a data directory gives way to restored data, as far as it is known before that is
    /// there; nil when nothing does.
    var replacedNames: [String]? {
        switch scope {
        case .everything:
            [Self.databaseName, "secrets", "uploads"]
                + files.lazy.filter { $0.path.top == "data" }.compactMap { entry in
                    entry.path.components.last.map { String(decoding: $0, as: UTF8.self) }
                }
        case .uploads: ["uploads"]
        case .user, .configuration: nil
        }
    }

    static func damaged(_ subject: String, _ message: String) -> BackupError {
        BackupError(
            .damaged, subject: subject, message,
            advice: "take another snapshot; kinglet backup list shows them")
    }

    /// Refuses what could make a file through something that is no folder, links elsewhere than
    /// below `extra/`, and names in the data directory that are not for files.
    private static func check(_ list: FileList, _ subject: String) throws(BackupError) {
        var leaves: Set<SnapshotPath> = []
        for entry in list.entries {
            if case .folder = entry.kind { continue }
            leaves.insert(entry.path)
        }
        for entry in list.entries {
            var above = entry.path.parent
            while let path = above {
                guard !leaves.contains(path) else {
                    throw damaged(subject, "\(path) is a file and a folder")
                }
                above = path.parent
            }
            if case .link = entry.kind, entry.path.top != "extra" {
                throw damaged(subject, "\(entry.path) is a link")
            }
            guard entry.path.top == "data" else { continue }
            let names = entry.path.components
            let name = String(decoding: names.last ?? [], as: UTF8.self)
            guard names.count == 2, !reserved.contains(name), !name.hasPrefix(Restore.keptPrefix),
                case .file = entry.kind
            else { throw damaged(subject, "\(entry.path) cannot be in a data directory") }
        }
    }

    private static func database(
        _ manifest: Manifest, _ list: FileList, _ scope: RestoreScope, _ subject: String
    ) throws(BackupError) -> Manifest.Database? {
        switch scope {
        case .uploads, .configuration: return nil
        case .everything, .user: break
        }
        guard manifest.databases.count == 1, let database = manifest.databases.first,
            database.name == databaseName
        else {
            throw damaged(subject, "it does not hold one database of the name \(databaseName)")
        }
        for part in [database.base] + database.changes {
            guard let path = SnapshotPath(part.path), path.isBelow("database/\(databaseName)"),
                case .file(part.size, let hash)? = list[path]?.kind,
                hash.description == part.sha256
            else { throw damaged(subject, "\(part.path) is not what the manifest says") }
        }
        guard database.pageSize >= 512, database.pageSize <= 65_536, database.pageCount > 0 else {
            throw damaged(subject, "the database's pages are wrong")
        }
        return database
    }
}

extension SnapshotPath {
    /// The first component.
    var top: String { String(decoding: components.first ?? [], as: UTF8.self) }

    /// The folder that it lies in; nil at the top.
    var parent: SnapshotPath? {
        bytes.lastIndex(of: UInt8(ascii: "/")).flatMap { SnapshotPath(bytes[..<$0]) }
    }
}
