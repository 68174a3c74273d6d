// What `kinglet backup list` shows: targets with their snapshots, and jobs with what is to come.

/// Everything that there is to show.
public struct BackupListing: Codable, Sendable, Equatable {
    /// A snapshot on a target.
    public struct Snapshot: Codable, Sendable, Equatable {
        /// Its name.
        public var id: SnapshotID
        /// When it was begun, in seconds since 1970.
        public var time: Int64
        /// The job that made it.
        public var job: String?
        /// Files in it.
        public var files: Int?
        /// Their bytes.
        public var bytes: Int64?
        /// When it was proven good.
        public var verified: Int64?
        /// Whether it is never pruned.
        public var pinned: Bool
        /// The domains that it serves; only where any installation's are listed.
        public var domains: [String]?
        /// Why it cannot be used; only where it was looked at.
        public var problem: String?
    }

    /// A target.
    public struct Target: Codable, Sendable, Equatable {
        /// Its name.
        public var name: String
        /// Where it is.
        public var location: String
        /// Whether it is there now; nil when nobody looked.
        public var available: Bool?
        /// Why it cannot be used.
        public var problem: String?
        /// Whether it is on the data's own medium.
        public var sameMedium: Bool?
        /// Space on it.
        public var space: TargetSpace?
        /// Oldest first.
        public var snapshots: [Snapshot]
    }

    /// A job.
    public struct Job: Codable, Sendable, Equatable {
        /// Its name.
        public var name: String
        /// Its schedule; nil when it runs by hand only.
        public var schedule: String?
        /// Its targets.
        public var targets: [String]
        /// When it runs next, in seconds since 1970; at most five.
        public var next: [Int64]
        /// How the last run ended.
        public var lastResult: RunResult?
        /// Why.
        public var lastReason: String?
        /// What to do.
        public var nextStep: String?
        /// When it last began.
        public var lastAttempt: Int64?
        /// When the last run that made snapshots began.
        public var lastSuccess: Int64?
        /// What keeps it from running.
        public var block: String?
        /// Whether a copy is on another medium than the data.
        public var protected: Bool?
    }

    /// The targets.
    public var targets: [Target]
    /// The jobs.
    public var jobs: [Job]
    /// Who is at work, so that targets were not asked; nil for nobody.
    public var busy: String?
    /// The job that runs in the server.
    public var running: String?
    /// How far it is.
    public var progress: Progress?
}

/// What was read back of one snapshot.
public struct VerificationOutcome: Codable, Sendable, Equatable {
    /// The target.
    public var target: String
    /// The snapshot; nil when the target could not be used.
    public var snapshot: SnapshotID?
    /// Files that were read back.
    public var files = 0
    /// Their bytes.
    public var bytes: Int64 = 0
    /// What is wrong, one sentence each.
    public var faults: [String] = []
}

/// What is, or would be, removed from a target.
public struct PruneOutcome: Codable, Sendable, Equatable {
    /// The target.
    public var target: String
    /// The job.
    public var job: String
    /// Snapshots that stay.
    public var kept: [SnapshotID]
    /// Snapshots that go.
    public var removed: [SnapshotID]
}
