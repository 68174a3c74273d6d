// What a run is made of. A run only knows the order of its steps; each step is given to it, so that
// tests can play every end that a step may have. The real ones are in RealParts.swift.

/// What the copy of the database needs to know.
struct DatabaseRequest {
    /// The snapshot that it is for.
    var id: SnapshotID
    /// The snapshot before it on the same target.
    var previous: (manifest: Manifest, list: FileList)?
    /// Where new parts are written; exists.
    var folder: String
    /// Whether entries need MD5 digests.
    var needsMD5: Bool
    /// The target's, for its memory, cancellation, progress and warnings.
    var context: TargetContext
}

/// The copy of the database.
struct DatabaseFound {
    /// For the manifest.
    var databases: [Manifest.Database]
    /// Its files, new and old.
    var entries: [FileEntry]
    /// Where the new ones are on this machine.
    var sources: [(folder: SnapshotPath, place: String)]
    /// Those whose bytes are in the previous snapshot only.
    var kept: Set<SnapshotPath>
    /// When the copy was complete, in seconds since 1970.
    var copied: Int64
    /// Bytes of the database's log when the copy began; nil when nothing had to be copied.
    var logBytes: Int64?
    /// Called when the snapshot is stored, so that the next copy goes on from here.
    var remember: () throws(BackupError) -> Void
}

/// What else belongs into the snapshot.
struct ScanRequest {
    /// The job, with its further paths.
    var job: JobSettings
    /// The files of the previous snapshot.
    var previous: FileList?
    /// Whether entries need MD5 digests.
    var needsMD5: Bool
    /// Where copies of small files are put; exists.
    var staging: String
    /// The target's.
    var context: TargetContext
}

/// Files that were found.
struct ScanFound {
    /// Without the database and the secrets.
    var entries: [FileEntry]
    /// Where they are.
    var sources: [(folder: SnapshotPath, place: String)]
    /// Where paths that the owner added came from, by their folder below `extra/`.
    var extra: [String: String] = [:]
    /// Where files that the configuration names came from, by where a restore puts them.
    var named: [String: String] = [:]
    /// See `PreparedSnapshot.leftOut`.
    var leftOut: Set<[UInt8]> = []
}

/// What retention has to judge.
struct RetentionRequest {
    /// The job.
    var job: JobSettings
    /// The job's snapshots on the target, oldest first.
    var snapshots: [SnapshotRecord]
    /// Those that are never removed.
    var pinned: Set<SnapshotID>
    /// Now, in seconds since 1970.
    var now: Int64
    /// Whether the job's last run failed; not within a run that has just stored a snapshot there.
    var lastRunFailed = false
    /// So many have to go because there is no space, those first that no rule keeps; nil when only
    /// the rules count.
    var forSpace: Int?
}

/// What a guard against mistakes and malice has to judge.
struct SuspicionRequest {
    /// The job.
    var job: JobSettings
    /// The files of the previous snapshot.
    var previous: FileList
    /// The new ones.
    var list: FileList
    /// Files outside of the database whose content is new, and that are gone.
    var changed: Int
    var deleted: Int
    /// The latest runs.
    var history: [RunRecord]
}

/// A command of the owner around a run.
struct HookRequest: Sendable {
    /// `before` or `after`.
    var name: String
    /// For the shell.
    var command: String
    /// Beside the plain one.
    var environment: [String: String]
    /// Ends it.
    var cancellation: Cancellation
}

/// What a ping says.
struct PingRequest: Sendable, Equatable {
    enum Moment: String, Sendable {
        case start, success, failure
    }
    /// The URL of the configuration. A secret.
    var url: String
    var moment: Moment
    /// The same for all pings of a run.
    var run: String
    /// A few lines for a person, without secrets.
    var text: String
    /// What else there is to say of the run, line by line, without secrets.
    var log: [String] = []
    /// How long the run has taken.
    var took = Duration.zero
    /// At most, while the service does not answer.
    var attempts = 2
}

/// The steps of a run.
struct RunParts {
    /// Seconds since 1970.
    var now: () -> Int64
    /// Random bytes.
    var random: (Int) -> [UInt8]
    /// The recovery key.
    var key: () throws(BackupError) -> RecoveryKey
    /// Versions for the manifest.
    var software: () -> [String: String]
    /// The domains that are served.
    var domains: [String]
    /// A target, not opened.
    var target: (TargetSettings) throws(BackupError) -> any BackupTarget
    var copyDatabase: (DatabaseRequest) throws(BackupError) -> DatabaseFound
    /// Judges the stored database; throws `damaged`.
    var checkDatabase: (PreparedSnapshot, Stored, TargetContext) throws(BackupError) -> Void
    var scan: (ScanRequest) throws(BackupError) -> ScanFound
    /// The secrets, encrypted into a folder; nil when there are none.
    var secrets: (ScanRequest) throws(BackupError) -> (entry: FileEntry, place: String)?
    /// What the manifest says of the lists of files.
    var describeLists: (FileList) -> [Manifest.List]
    /// Throws `suspicious` for a change that looks like a mistake; true for one that is unusual.
    var judge: (SuspicionRequest, TargetContext) throws(BackupError) -> Bool
    /// The snapshots that are to go.
    var expired: (RetentionRequest) -> [SnapshotID]
    var hook: (HookRequest) throws(BackupError) -> Void
    var ping: (PingRequest) throws(BackupError) -> Void
    /// Whether a restore is to be tested now, by when one was last tried.
    var isTestDue: (JobSettings, Int64?, Int64) -> Bool
    /// Restores a snapshot into scratch and tries it; throws when it does not work.
    var testRestore: (any BackupTarget, SnapshotID, TargetContext) throws(BackupError) -> Void
}
