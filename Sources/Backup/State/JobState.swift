// What is remembered of jobs and targets from run to run.
//
// A field that is added later is optional, so that what an earlier version wrote can be read.

/// How a run ended. Every run ends in exactly one of these.
public enum RunResult: String, Sendable, Codable, CaseIterable {
    case success
    /// There is a snapshot, and something that somebody should look at.
    case warning
    case failed
    /// Nothing could be done now, and nothing is wrong: the disk is not plugged in.
    case skipped
    case cancelled

    /// Whether there is a new snapshot on every target that could have one.
    public var isGood: Bool { self == .success || self == .warning }
}

/// One run, for the usual values of a job.
struct RunRecord: Codable, Sendable, Equatable {
    /// When it began, in seconds since 1970.
    var began: Int64
    /// In seconds.
    var duration: Double
    var changedFiles: Int
    var sourceFiles: Int
    var bytes: Int64
}

/// How long runs took, as a histogram that survives restarts.
struct DurationCounts: Codable, Sendable, Equatable {
    /// Upper bounds in seconds; the last bucket has none.
    static let bounds: [Double] = [1, 5, 15, 60, 300, 900, 3600, 10_800, 43_200]

    var counts = [UInt64](repeating: 0, count: Self.bounds.count + 1)
    var sum = 0.0

    mutating func observe(_ seconds: Double) {
        guard seconds.isFinite else { return }
        // From a file: its length is not ours to believe.
        if counts.count != Self.bounds.count + 1 { self = DurationCounts() }
        let value = max(0, seconds)
        counts[Self.bounds.firstIndex { value <= $0 } ?? Self.bounds.count] &+= 1
        sum += value
    }
}

/// A job.
struct JobState: Codable, Sendable, Equatable {
    /// Runs in `history` at most.
    static let historyLength = 30

    var lastAttempt: Int64?
    var lastSuccess: Int64?
    var lastResult: RunResult?
    /// Why the last one ended as it did, and what to do.
    var lastReason = ""
    var lastNextStep = ""
    /// What the last run that made a snapshot had to say.
    var lastRemarks: [String]?
    /// What kind of failure it was.
    var lastCode: BackupError.Code?
    var lastDuration: Double?
    var durations = DurationCounts()
    var runs: [String: UInt64] = [:]
    var retries: UInt64 = 0
    var suspicious: UInt64 = 0
    var consecutiveFailures = 0
    /// The latest that made a snapshot, oldest first.
    var history: [RunRecord] = []
    /// Of the last run that got so far.
    var sourceFiles: Int?
    var sourceBytes: Int64?
    var changedFiles: Int?
    var deletedFiles: Int?
    var transfer: TransferReport?
    var transferredBytes: UInt64 = 0
    var databaseDuration: Double?
    /// When the database was last copied.
    var databaseLogBytes: Int64?
    var exitStatus: Int?
    /// Whether any target was off the data's medium.
    var isProtected: Bool?
    var verifyFailures: UInt64 = 0
    var restoreTestDuration: Double?
    var restoreTestFailures: UInt64 = 0
    /// When the weekly digest was sent.
    var lastDigest: Int64?
    /// By target, how the last run ended there.
    var targets: [String: RunResult] = [:]
}

/// A snapshot that is known to be on a target.
struct SnapshotRecord: Codable, Sendable, Equatable {
    var id: SnapshotID
    /// The job that made it.
    var job: String
    var files: Int
    var bytes: Int64
    /// When all of its new files were last read back; nil for never.
    var verified: Int64?
    /// Something in it was last found damaged.
    var isDamaged: Bool?
}

/// What is remembered of one job on one target.
struct JobOnTarget: Codable, Sendable, Equatable {
    /// The path after which the rotating check goes on; nil for the beginning.
    var cursor: String?
    /// When the present turn of the rotating check began, and when the last one ended.
    var turnBegan: Int64?
    var lastFullVerification: Int64?
    /// The share of the present turn that is done, 0 to 1.
    var turnRatio: Double?
    /// When the first snapshot was stored there.
    var firstStored: Int64?
    /// When stored files were last proven good, and old snapshots last removed.
    var verified: Int64?
    var pruned: Int64?
    /// When a restore was last tried, and when one last worked.
    var restoreTestAttempt: Int64?
    var restoreTest: Int64?
}

/// What of a job is proven, on the target where that is longest ago: what one target proves says
/// nothing of another. Nil for nothing.
struct JobProof: Equatable {
    var verified: Int64?
    var pruned: Int64?
    /// A target where none was tested counts from its first snapshot, once one is tested elsewhere.
    var restoreTest: Int64?
}

/// A target, whoever used it.
struct TargetState: Codable, Sendable, Equatable {
    /// Snapshots that are remembered at most; a target that has more is asked for the older ones.
    static let snapshotLimit = 2000

    /// Oldest first.
    var snapshots: [SnapshotRecord] = []
    /// The largest number that a snapshot ever had there: numbers only grow.
    var sequence = 0
    /// By job: what each of them holds there is another matter.
    var jobs: [String: JobOnTarget]?
    var space: TargetSpace?
    var isAvailable: Bool?
    var isOnSameMedium: Bool?
    /// Whether this machine may remove snapshots there.
    var canRemove: Bool?
    var pinned: [SnapshotID] = []
    /// Damage was found there: the next run links nothing to what is there.
    var startsAnew: Bool?
    var lastSeen: Int64?
}
