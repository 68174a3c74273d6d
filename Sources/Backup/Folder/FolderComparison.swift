// What was stored, compared with what was seen when the sources were walked: files may have vanished
// or changed in between.

internal import Glibc

/// Compares sizes, times and permission bits of a snapshot that is being made.
struct FolderComparison {
    let target: FolderTarget
    let snapshot: PreparedSnapshot
    let context: TargetContext
    let reader: FolderReader
    private let places: SourcePlaces
    private var content = FileContent()
    private var vanished = 0
    private var changed = 0
    private var otherModes = 0
    /// Unchanged files that were looked at for their links, and those that are shared.
    private var sampled = 0
    private var shared = 0

    init(
        target: FolderTarget, snapshot: PreparedSnapshot, context: TargetContext,
        reader: FolderReader
    ) {
        self.target = target
        self.snapshot = snapshot
        self.context = context
        self.reader = reader
        places = SourcePlaces(snapshot.sources)
    }

    /// The entries as they are stored.
    mutating func list() throws(BackupError) -> FileList {
        // Only where nothing changed are the entries kept as they are, which is nearly always.
        var entries: [FileEntry]?
        for (index, entry) in snapshot.list.entries.enumerated() {
            if index & 1023 == 0 { try context.cancellation.check() }
            let stored = try stored(entry)
            if stored != entry, entries == nil {
                entries = Array(snapshot.list.entries[..<index])
            }
            if let stored { entries?.append(stored) }
        }
        return entries.map { FileList($0) } ?? snapshot.list
    }

    /// Nil for one that has vanished.
    private mutating func stored(_ entry: FileEntry) throws(BackupError) -> FileEntry? {
        guard let status = try reader.status(entry.path) else {
            if case .folder = entry.kind { return try makeFolder(entry) }
            if places.status(entry.path) == nil, !snapshot.kept.contains(entry.path) {
                vanished += 1
                return nil
            }
            throw BackupError(.temporary, subject: reader.text(entry.path), "it was not stored")
        }
        switch entry.kind {
        case .folder where status.st_mode & S_IFMT == S_IFDIR: return entry
        case .link(let wanted) where status.st_mode & S_IFMT == S_IFLNK:
            let found = try reader.target(ofLink: entry.path)
            if found == wanted { return entry }
            changed += 1
            var entry = entry
            entry.kind = .link(to: found)
            return entry
        case .file(let size, _) where status.st_mode & S_IFMT == S_IFREG:
            if status.st_mode & 0o7777 != entry.mode { otherModes += 1 }
            if size == status.st_size, isAsSeen(entry, nanoseconds(status)) {
                sample(entry, status)
                return entry
            }
            return try reread(entry)
        default:
            throw BackupError(
                .temporary, subject: reader.text(entry.path), "it has become something else")
        }
    }

    /// Some file systems keep seconds only, or every other one, and rsync takes times within a second
    /// for the same: where the time is not quite what was seen, the source says whether it was
    /// changed. The owner's own files are looked at in any case, for one that is written while it is
    /// copied has the time from before.
    private func isAsSeen(_ entry: FileEntry, _ stored: Int64) -> Bool {
        let (difference, overflow) = stored.subtractingReportingOverflow(entry.modified)
        guard !overflow, difference.magnitude < 2_000_000_000 else { return false }
        if difference == 0, !entry.path.isBelow("extra") { return true }
        return entry.path.isBelow("database") || snapshot.kept.contains(entry.path)
            || places.isUnchanged(entry)
    }

    private func makeFolder(_ entry: FileEntry) throws(BackupError) -> FileEntry? {
        guard places.status(entry.path) != nil else { return nil }
        try FolderWriter(reader.place).makeFolder(entry.path)
        return entry
    }

    /// A file that was changed after it was seen: its digest is that of what was stored. Only a
    /// change of the source is believed; a file that is other than its source was stored wrongly.
    private mutating func reread(_ entry: FileEntry) throws(BackupError) -> FileEntry {
        // Parts of the database are written once; the manifest has their digests.
        guard !entry.path.isBelow("database") else {
            throw BackupError(
                .damaged, subject: reader.text(entry.path),
                "it has another size or time than what was stored",
                advice: "somebody has changed it; the next run copies everything anew")
        }
        guard !places.isUnchanged(entry) else {
            throw BackupError(
                .temporary, subject: reader.text(entry.path),
                "it was stored with another size or time than it has",
                advice: "does the file system there keep times? If not, set `encrypt: yes`")
        }
        let (file, status) = try reader.open(entry.path)
        defer { close(file) }
        let cancellation = context.cancellation
        let digest = try content.digest(file, isFresh: false) { (_) throws(BackupError) in
            try cancellation.check()
        }
        guard let digest else { throw Files.error(reader.text(entry.path), "read") }
        // It was changed after it had been copied.
        if digest.hash == entry.hash, digest.size == entry.size { return entry }
        changed += 1
        return FileEntry(
            path: entry.path, kind: .file(size: digest.size, hash: digest.hash), mode: entry.mode,
            modified: nanoseconds(status))
    }

    private mutating func sample(_ entry: FileEntry, _ status: stat) {
        guard sampled < 100, let before = snapshot.before(entry.path),
            before.kind == entry.kind, before.modified == entry.modified, before.mode == entry.mode
        else { return }
        sampled += 1
        if status.st_nlink > 1 { shared += 1 }
    }

    /// Says what a person should know.
    func warn() {
        if vanished > 0 {
            context.warn("\(vanished) files vanished while they were backed up")
        }
        if changed > 0 {
            context.warn("\(changed) files changed while they were backed up")
        }
        if otherModes > 0 {
            context.warn(
                "\(target.path) does not keep permission bits: every snapshot takes the whole"
                    + " space there; mount it without forced modes, or set `encrypt: yes`")
            FileModes.forget(context)
        } else if !snapshot.list.entries.isEmpty {
            FileModes.trust(context)
        }
        if sampled >= 10, shared * 2 < sampled {
            context.warn(
                "unchanged files are not shared with the last snapshot in \(target.path), and each"
                    + " snapshot takes the whole space; are owners or modes forced there?")
        }
    }
}

/// Whether a target keeps permission bits; some mounts force their own.
enum FileModes {
    private static func note(_ context: TargetContext) -> String {
        "\(context.memory)/modes-are-forced"
    }
    static func forget(_ context: TargetContext) {
        try? Files.replace(note(context), [], mode: 0o600)
    }
    static func trust(_ context: TargetContext) { unlink(note(context)) }
    static func areKept(_ context: TargetContext) -> Bool { !Files.exists(note(context)) }
}
