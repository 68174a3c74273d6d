// Which of the files that a job had on a target before are read back in a run: a share of them, going
// on where the last run ended, so that everything is read within so many runs, and within a month.

/// The state of the rotating check of one job on one target.
struct RotatingCheck {
    /// Everything is read back when that was not done for so long, in seconds.
    static let longest: Int64 = 31 * 86_400

    private var cursor: SnapshotPath?
    private var began: Int64
    private var isOverdue: Bool
    private var isComplete = false
    private var ratio = 1.0

    /// - Parameter hasSnapshots: whether the job has any there.
    init(_ record: JobOnTarget, hasSnapshots: Bool, now: Int64) {
        cursor = record.cursor.flatMap { Hexadecimal.bytes($0.utf8) }
            .flatMap { SnapshotPath($0) }
        began = record.turnBegan ?? now
        // Without an earlier check all files are new, and read back as such.
        isOverdue =
            hasSnapshots
            && (record.lastFullVerification ?? began) <= now - Self.longest
        // The clock was set back: better once too often.
        if began > now { began = now }
    }

    /// The files to read back now.
    ///
    /// - Parameters:
    ///   - new: those that are read back anyway.
    ///   - share: 0 to 1, of all files.
    mutating func next(
        of list: FileList, without new: Set<SnapshotPath>, share: Double
    ) -> [FileEntry] {
        let files = list.entries.filter { $0.hash != nil }
        guard share > 0, !files.isEmpty else { return [] }
        let old = files.filter { !new.contains($0.path) }
        if isOverdue || share >= 1 || old.isEmpty {
            isComplete = true
            cursor = nil
            return old
        }
        let count = min(files.count, max(1, Int((Double(files.count) * share).rounded(.up))))
        let start = cursor.map { last in files.firstIndex { last < $0.path } ?? 0 } ?? 0
        let end = start + count
        isComplete = end >= files.count
        cursor = isComplete ? nil : files[end - 1].path
        ratio = Double(min(end, files.count)) / Double(files.count)
        return files[start..<min(end, files.count)].filter { !new.contains($0.path) }
    }

    /// Remembers how far it came, once the snapshot is there.
    func save(to record: inout JobOnTarget, now: Int64) {
        // Paths are bytes; JSON has only text.
        record.cursor = cursor.map { Hexadecimal.text($0.bytes) }
        record.turnRatio = isComplete ? 1 : ratio
        if isComplete {
            record.lastFullVerification = now
            record.turnBegan = now
        } else if record.turnBegan == nil {
            record.turnBegan = began
        }
    }
}
