// Whether a snapshot that is about to be stored looks like a mistake: a source that was emptied, an
// unmounted disk, an exclusion too many, or something that rewrites all files.

/// What is compared: files by their number. Only files that somebody else made count (uploads,
/// paths that the owner added), not the parts of the database, whose names change.
struct SnapshotChange: Sendable, Equatable {
    /// Files of the previous snapshot; nil when there is none.
    var previousFiles: Int?
    /// Files now.
    var files: Int
    /// Files of the previous snapshot that are gone.
    var vanished: Int
    /// Files that are new or other than they were.
    var changed: Int
    /// `changed` of the runs before, the newest last; at most 1,000 are looked at.
    var changedBefore: [Int] = []
}

/// How much may change.
struct SuspicionLimits: Sendable, Equatable {
    /// The part of the files that may vanish, 0 to 1.
    var vanished = 0.2
    /// So many may always vanish, unless it is all of them.
    var leastVanished = 10
    /// So many times the usual number may change.
    var spike = 10
    /// So many may always change.
    var leastChanged = 100
}

/// What comes of it.
enum Suspicion: Sendable, Equatable {
    case none
    /// It is stored, and somebody is told.
    case warning(String)
    /// It is not stored.
    case stop(BackupError)

    /// Recent runs that there have to be before one can be unusual.
    static let leastRuns = 3

    /// Judges.
    ///
    /// - Parameters:
    ///   - source: what the files are, such as `uploads`; for the messages.
    ///   - isAccepted: somebody has said that the changes are right.
    static func judge(
        _ change: SnapshotChange, source: String, limits: SuspicionLimits = SuspicionLimits(),
        isAccepted: Bool = false
    ) -> Suspicion {
        if isAccepted { return .none }
        let previous = max(0, change.previousFiles ?? 0)
        let vanished = min(max(0, change.vanished), previous)
        let advice =
            "if that is right, type `kinglet backup run --accept-changes`; if not, look whether "
            + "the disk is mounted and the files are where they were"
        if previous > 0, change.files <= 0 {
            return .stop(
                BackupError(
                    .suspicious, subject: source,
                    "there are no files any more, and the previous snapshot has \(previous)",
                    advice: advice))
        }
        let share = limits.vanished.isFinite ? min(max(limits.vanished, 0), 1) : 0
        let isAll = previous > 0 && vanished == previous
        let isMuch =
            vanished >= limits.leastVanished && Double(vanished) > share * Double(previous)
        if isAll || isMuch {
            let allowed = percent(share)
            let sentence =
                isAll
                ? "all \(previous) files of the previous snapshot are gone"
                : "\(vanished) of \(previous) files (\(percent(vanished, of: previous))) are gone "
                    + "since the previous snapshot, and max_delete allows \(allowed)"
            return .stop(
                BackupError(.suspicious, subject: source, sentence, advice: advice))
        }
        let usual = median(change.changedBefore.suffix(1_000))
        if let usual, change.changed > limits.leastChanged,
            Double(change.changed) > Double(limits.spike) * usual
        {
            return .warning(
                "\(source): \(change.changed) files changed, and in recent runs it was "
                    + "\(Int(usual.rounded())) as a rule; if nobody did that on purpose, look at "
                    + "them before older snapshots are pruned (`kinglet backup list`)")
        }
        return .none
    }

    /// The middle one; nil of too few.
    private static func median(_ counts: ArraySlice<Int>) -> Double? {
        let sorted = counts.map { max(0, $0) }.sorted()
        guard sorted.count >= leastRuns else { return nil }
        let middle = sorted.count / 2
        return sorted.count.isMultiple(of: 2)
            ? (Double(sorted[middle - 1]) + Double(sorted[middle])) / 2 : Double(sorted[middle])
    }

    private static func percent(_ part: Int, of whole: Int) -> String {
        percent(whole > 0 ? Double(part) / Double(whole) : 0)
    }

    /// `0.205` as `20.5 %`.
    private static func percent(_ share: Double) -> String {
        let tenths = Int((share * 1_000).rounded())
        return tenths % 10 == 0 ? "\(tenths / 10) %" : "\(tenths / 10).\(tenths % 10) %"
    }
}
