// A database of a snapshot that lies in a folder: checked there, or put together for a restore.

internal import Storage

/// What can be done with the parts of a database.
enum DatabaseParts {
    /// Opens the image, whose parts lie below a folder under their paths in the snapshot. Reads all
    /// logs and checks their chain.
    static func image(
        of record: Manifest.Database, in folder: String
    ) throws(BackupError) -> DatabaseImage {
        func place(_ part: Manifest.Part) throws(BackupError) -> String {
            // It may have been written by anybody.
            guard let path = SnapshotPath(part.path),
                path.isBelow(DatabaseCopier.folder(of: record.name))
            else { throw BackupError(.damaged, subject: record.name, "a part lies elsewhere") }
            return "\(folder)/\(path)"
        }
        let base = try place(record.base)
        var logs: [String] = []
        for part in record.changes { logs.append(try place(part)) }
        let image: DatabaseImage
        do {
            image = try DatabaseImage(base: base, logs: logs)
        } catch {
            throw BackupError(storage: error)
        }
        guard image.pageSize == record.pageSize, Int64(image.pageCount) == record.pageCount else {
            throw BackupError(
                .damaged, subject: record.name,
                "its parts make \(image.pageCount) pages, the manifest says \(record.pageCount)")
        }
        return image
    }

    /// Puts the database together as one file, which must not exist.
    static func assemble(
        _ record: Manifest.Database, in folder: String, to file: String,
        cancellation: Cancellation = Cancellation()
    ) throws(BackupError) {
        let image = try image(of: record, in: folder)
        do {
            try image.assemble(to: file) { cancellation.reason == nil }
        } catch {
            try cancellation.check()
            throw BackupError(storage: error)
        }
        try Files.syncFolder(Files.parent(of: file))
    }

    /// What SQLite finds wrong with the database as it lies there; empty when nothing is.
    ///
    /// - Parameter full: `integrity_check` and `foreign_key_check` in place of `quick_check`.
    static func check(
        _ record: Manifest.Database, in folder: String, full: Bool,
        cancellation: Cancellation = Cancellation()
    ) throws(BackupError) -> [String] {
        let image = try image(of: record, in: folder)
        let faults: [String]?
        do {
            faults = try image.check(isFull: full) {
                cancellation.pace?.rest { cancellation.reason == nil }
                return cancellation.reason == nil
            }
        } catch {
            throw BackupError(storage: error)
        }
        try cancellation.check()
        return faults ?? []
    }
}
