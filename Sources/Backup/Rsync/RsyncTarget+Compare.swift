// What was stored, compared with what was seen when the sources were walked: files may have vanished
// or changed in between, and the snapshot has them as rsync found them.

internal import Glibc
internal import TLS

extension RsyncTarget {
    /// Bytes that are brought back at most to learn what is stored.
    private static let mostReturned: Int64 = 256 << 20

    /// The files as they are stored; nil when that is what was prepared. Only a change of the source
    /// is believed: a file that is other than its source was stored wrongly.
    func listAsStored(
        _ snapshot: PreparedSnapshot, _ context: TargetContext
    ) throws(BackupError) -> FileList? {
        let id = snapshot.manifest.id
        let places = SourcePlaces(snapshot.sources)
        let doubtful = snapshot.list.entries.filter { entry in
            // Parts of the database are written once; the manifest has their digests.
            entry.hash != nil && entry.md5 != nil && !entry.path.isBelow("database")
                && !snapshot.kept.contains(entry.path) && !places.isUnchanged(entry)
        }
        var found: [SnapshotPath: FileEntry] = [:]
        var gone: Set<SnapshotPath> = []
        var unsteady: [(entry: FileEntry, size: Int64)] = []
        for start in stride(from: 0, to: doubtful.count, by: 5000) {
            let part = doubtful[start..<min(start + 5000, doubtful.count)]
            let answers = try digests(of: part, in: id, context)
            for entry in part {
                guard let answer = answers[entry.path.bytes] else {
                    gone.insert(entry.path)
                    continue
                }
                // It was changed after it had been sent.
                if answer.size == entry.size, answer.md5 == entry.md5 { continue }
                if let stored = try beginning(of: entry, answer, places, context) {
                    found[entry.path] = stored
                } else {
                    unsteady.append((entry, answer.size))
                }
            }
        }
        for entry in try broughtBack(unsteady, from: id, context) { found[entry.path] = entry }
        let lost = unsteady.map(\.entry.path).filter { found[$0] == nil }
        warn(vanished: gone.count, changed: found.count, lost: lost, context)
        gone.formUnion(lost)
        guard !gone.isEmpty || !found.isEmpty else { return nil }
        return FileList(
            snapshot.list.entries.compactMap { entry in
                gone.contains(entry.path) ? nil : found[entry.path] ?? entry
            })
    }

    private func warn(
        vanished: Int, changed: Int, lost: [SnapshotPath], _ context: TargetContext
    ) {
        if vanished > 0 { context.warn("\(vanished) files vanished while they were backed up") }
        if changed > 0 { context.warn("\(changed) files changed while they were backed up") }
        if let first = lost.first {
            context.warn(
                "\(lost.count) files change all the time and are left out, such as \(first)")
        }
    }

    /// The entry of what is stored, when the source begins with that: nothing has happened since, or
    /// it was only added to.
    private func beginning(
        of entry: FileEntry, _ answer: Answer, _ places: SourcePlaces, _ context: TargetContext
    ) throws(BackupError) -> FileEntry? {
        guard let place = places.place(of: entry.path) else { return nil }
        let file = Glibc.open(place, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        let found = try Self.read(file, entry, size: answer.size, context)
        return found?.md5 == answer.md5 ? found : nil
    }

    /// The entries of what is stored, by fetching it.
    private func broughtBack(
        _ files: [(entry: FileEntry, size: Int64)], from id: SnapshotID, _ context: TargetContext
    ) throws(BackupError) -> [FileEntry] {
        var wanted: [(entry: FileEntry, size: Int64)] = []
        var room = Self.mostReturned
        for file in files where (0...room).contains(file.size) {
            room -= file.size
            wanted.append(file)
        }
        guard !wanted.isEmpty else { return [] }
        let folder = try scratch("changed", context)
        try download(
            wanted.map(\.entry.path.bytes), from: "\(id)", into: folder,
            largest: Int(clamping: max(1, wanted.map(\.size).max() ?? 1)), context)
        var entries: [FileEntry] = []
        for (entry, size) in wanted {
            guard let file = FetchedFile.open(entry.path, below: folder) else { continue }
            defer { close(file) }
            if let found = try Self.read(file, entry, size: size, context) {
                entries.append(found)
            }
        }
        try Files.remove(folder)
        return entries
    }

    /// An entry that has the digests of a file's beginning; nil when it is shorter, or no file.
    private static func read(
        _ file: Int32, _ entry: FileEntry, size: Int64, _ context: TargetContext
    ) throws(BackupError) -> FileEntry? {
        var status = stat()
        guard fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG,
            status.st_size >= size
        else { return nil }
        let sha256 = StreamingDigest(.sha256)
        let md5 = StreamingDigest(.md5)
        var piece = [UInt8](repeating: 0, count: 262_144)
        var rest = size
        while rest > 0 {
            try context.cancellation.check()
            let count = Glibc.read(file, &piece, Int(min(rest, Int64(piece.count))))
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return nil }
            sha256.update(piece[..<count])
            md5.update(piece[..<count])
            rest -= Int64(count)
        }
        guard let hash = ContentHash(sha256.finish()) else { return nil }
        // Of one that has grown the time from before, so that the next run reads it again.
        return FileEntry(
            path: entry.path, kind: .file(size: size, hash: hash), mode: entry.mode,
            modified: status.st_size == size ? nanoseconds(status) : entry.modified,
            md5: MD5Digest(md5.finish()))
    }
}
