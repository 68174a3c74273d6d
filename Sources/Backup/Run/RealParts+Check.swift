// SQLite's look at all of a database, once a week on each target.

internal import Glibc

extension BackupProgram {
    /// Once a week, SQLite looks at all of what is stored where it can be read in its place, or at
    /// a new base while it still waits on this machine; on other days, a part that was added is
    /// checked to continue the one before it.
    func checkDatabase(
        _ prepared: PreparedSnapshot, _ stored: Stored, _ context: TargetContext
    ) throws(BackupError) {
        var note = try WholeCheckNote(context)
        let isNew = stored.new.contains { $0.path.isBelow("database") }
        var isChecked = false
        for record in prepared.manifest.databases {
            // The first whole check is due a week after the first snapshot, unless there was none.
            let isDue = note.isDue || (note.isNew && record.isChecked == nil)
            if isDue, let folder = stored.folder ?? staged(record, prepared, context) {
                let faults = try DatabaseParts.check(
                    record, in: folder, full: true, cancellation: context.cancellation)
                guard faults.isEmpty else {
                    throw BackupError(
                        .damaged, subject: record.name,
                        "the stored copy is damaged: \(faults.prefix(3).joined(separator: "; "))",
                        advice: "the next run copies everything anew")
                }
                isChecked = true
            } else if isNew, let folder = stored.folder {
                _ = try DatabaseParts.image(of: record, in: folder)
            }
        }
        if isChecked {
            try note.succeed()
        } else if note.isNew {
            try note.begin()
        }
    }

    /// Where all parts of a database are on this machine; nil when the target has some of them.
    private func staged(
        _ record: Manifest.Database, _ prepared: PreparedSnapshot, _ context: TargetContext
    ) -> String? {
        let parts = DatabaseCopier.paths(of: record)
        // What stands in for a part that is kept has its name, too.
        guard prepared.kept.isDisjoint(with: parts),
            parts.allSatisfy({ Files.exists("\(context.staging)/\($0)") })
        else { return nil }
        return context.staging
    }
}

/// What is remembered of the whole checks of a target's database: three times in seconds since
/// 1970, 0 for never.
struct WholeCheckNote {
    private static let day: Int64 = 86_400
    private static let period = 7 * day
    /// After so long without one, the owner hears of it.
    private static let tooLong = 14 * day

    /// When the first snapshot was made, a check last worked, and one last did not end.
    private(set) var since: Int64 = 0
    private(set) var worked: Int64 = 0
    private(set) var failed: Int64 = 0
    /// There was no snapshot yet.
    let isNew: Bool

    private let path: String
    private let now: Int64

    init(_ context: TargetContext, now: Int64 = Int64(time(nil))) throws(BackupError) {
        path = context.memory + "/integrity-checked"
        self.now = now
        let numbers = try Files.read(path, limit: 128).map { bytes in
            String(decoding: bytes, as: UTF8.self).split(separator: " ").map { Int64($0) ?? 0 }
        }
        isNew = numbers?.first == nil
        since = max(0, numbers?.first ?? 0)
        if let numbers, numbers.count == 3 { (worked, failed) = (max(0, numbers[1]), numbers[2]) }
    }

    /// A week has gone by, and a day since one did not end. A clock that was set back counts.
    var isDue: Bool {
        guard !isNew else { return false }
        return isPast(max(since, worked), Self.period) && isPast(failed, Self.day)
    }

    private func isPast(_ time: Int64, _ duration: Int64) -> Bool {
        time > now || time <= now - duration
    }

    /// The first snapshot is there.
    mutating func begin() throws(BackupError) {
        since = now
        try save()
    }

    /// A check has ended and found nothing.
    mutating func succeed() throws(BackupError) {
        if isNew { since = now }
        worked = now
        failed = 0
        try save()
    }

    /// One has not ended.
    mutating func fail(_ context: TargetContext) throws(BackupError) {
        failed = now
        try save()
        guard isPast(max(since, worked), Self.tooLong) else { return }
        context.warn("no whole check (integrity_check) of the database has ended for two weeks")
    }

    private func save() throws(BackupError) {
        try Files.replace(path, Array("\(since) \(worked) \(failed)".utf8), mode: 0o600)
    }
}
