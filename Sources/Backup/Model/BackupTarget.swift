// A place that holds snapshots, whatever it is. All calls block and belong to the one thread that
// has the backup lock.

/// What a target may use for the length of one command.
public struct TargetContext: Sendable {
    /// The key of everything that is encrypted, and of the manifests' seals.
    public var key: RecoveryKey
    /// This installation: 32 hexadecimal digits.
    public var instance: String
    /// A private folder for what this program remembers of the target; exists.
    public var memory: String
    /// A private folder for what is on its way; exists, and is emptied before each run.
    public var staging: String
    /// Bytes a second at most; nil for no limit.
    public var bandwidth: Int?
    /// The lock on all of this, kept open by programs that are started, so that none of them still
    /// writes when the next run begins.
    public var lock: Int32
    /// Ends it.
    public var cancellation: Cancellation
    /// Hears how far it is.
    public var progress: @Sendable (Progress) -> Void
    /// Hears what a person should know though it is no failure.
    public var warn: @Sendable (String) -> Void

    /// Hears of a file that cannot be brought back, and why; true when all others are wanted without
    /// it.
    var mayMiss: @Sendable (FileEntry, String) -> Bool = { _, _ in false }

    /// Creates a context.
    public init(
        key: RecoveryKey, instance: String, memory: String, staging: String, bandwidth: Int?,
        lock: Int32, cancellation: Cancellation, progress: @escaping @Sendable (Progress) -> Void,
        warn: @escaping @Sendable (String) -> Void
    ) {
        self.key = key
        self.instance = instance
        self.memory = memory
        self.staging = staging
        self.bandwidth = bandwidth
        self.lock = lock
        self.cancellation = cancellation
        self.progress = progress
        self.warn = warn
    }
}

/// A snapshot whose parts are all on this machine or in the previous snapshot, ready to be stored.
public struct PreparedSnapshot: Sendable {
    /// The manifest; complete but for `archive`.
    public var manifest: Manifest
    /// All its files but the manifest and the lists.
    public var list: FileList
    /// Where the bytes are: a folder or file of the snapshot and its place on this machine. The
    /// longest that fits counts: `uploads` → `/var/lib/kinglet/uploads`, `database/…`,
    /// `config/…`, `secrets.age`, `extra/1` → `/etc/nginx`.
    public var sources: [(folder: SnapshotPath, place: String)]
    /// Paths whose bytes are in the previous snapshot only (parts of the database).
    public var kept: Set<SnapshotPath>
    /// The snapshot that this one follows, and its files.
    public var previous: (manifest: Manifest, list: FileList)?
    /// The newest snapshot of the same job, which may be an older one: what is below `extra` is
    /// another job's in any other. Only the files below `extra` are looked at.
    public var previousOfJob: (manifest: Manifest, list: FileList)?
    /// What is left out below `extra`, as the owner wrote it; see `ExcludePattern`.
    public var excludes: [String] = []
    /// Files and folders below the owner's paths that cannot be read, absolute: they are in no list,
    /// and whoever sends a whole path leaves them out.
    public var leftOut: Set<[UInt8]> = []
    /// Damage was found on the target: nothing that is there is shared, neither of snapshots nor of
    /// what attempts have left.
    public var sharesNothing = false

    /// Creates a description.
    public init(
        manifest: Manifest, list: FileList, sources: [(folder: SnapshotPath, place: String)],
        kept: Set<SnapshotPath>, previous: (manifest: Manifest, list: FileList)?
    ) {
        self.manifest = manifest
        self.list = list
        self.sources = sources
        self.kept = kept
        self.previous = previous
        previousOfJob = previous
    }

    /// The entry at a path in the snapshot that this one follows there.
    func before(_ path: SnapshotPath) -> FileEntry? {
        (path.isBelow("extra") ? previousOfJob : previous)?.list[path]
    }

    /// The snapshot whose files are shared.
    ///
    /// - Parameter folder: where, as in `TransferStep`.
    func base(of folder: String) -> SnapshotID? {
        (folder.hasPrefix("extra/") ? previousOfJob : previous)?.manifest.id
    }

    /// Whether a file has other content than in the previous snapshot, but the same size, and was
    /// changed within the same second: what looks at these only would take it for unchanged.
    var hasSameSecond: Bool {
        guard previous != nil || previousOfJob != nil else { return false }
        return list.entries.contains { entry in
            guard case .file(let size, let hash) = entry.kind, let old = before(entry.path),
                case .file(size, let oldHash) = old.kind, oldHash != hash
            else { return false }
            return old.modified / 1_000_000_000 == entry.modified / 1_000_000_000
        }
    }
}

/// What storing a snapshot moved.
public struct TransferReport: Sendable, Equatable, Codable {
    /// Files that were sent, whole or in part.
    public var files = 0
    /// Bytes that went to the target, protocol included.
    public var bytesSent: Int64 = 0
    /// Bytes of content that had to be sent.
    public var literalBytes: Int64 = 0
    /// Bytes of content that the target had already.
    public var matchedBytes: Int64 = 0
    /// The exit status of the program that moved it; nil when none did.
    public var exitStatus: Int?
    /// Creates a report of nothing.
    public init() {}
}

/// What a check of stored files found.
public struct VerificationReport: Sendable, Equatable {
    /// Files that were read back.
    public var files = 0
    /// Their bytes.
    public var bytes: Int64 = 0
    /// What is wrong, one sentence for each file, at most a hundred.
    public var faults: [String] = []
    /// Faults in all.
    public var faultCount = 0
    /// Creates a report of nothing.
    public init() {}
    /// Notes a fault.
    public mutating func add(_ fault: String) {
        faultCount += 1
        if faults.count < 100 { faults.append(fault) }
    }
}

/// Space on a target's medium, in bytes.
public struct TargetSpace: Sendable, Equatable, Codable {
    /// Space that we may use.
    public var free: Int64
    /// Space in all.
    public var total: Int64
    /// Creates a record.
    public init(free: Int64, total: Int64) {
        self.free = free
        self.total = total
    }
}

/// A place that holds snapshots of one or more installations.
public protocol BackupTarget {
    /// Its name in the configuration.
    var name: String { get }
    /// Whether what it stores needs the MD5 digests of `FileEntry`.
    var needsMD5: Bool { get }
    /// Whether it lies on the medium that the data is on, and so does not protect from its death.
    var isOnSameMedium: Bool { get }
    /// Whether snapshots can be removed by this machine; not with a key that may only add.
    var canRemove: Bool { get }
    /// Versions of programs that bring files there, for the manifest.
    var software: [String: String] { get }

    /// Finds out that it is there, is what it was and can be written (when `forWriting`), and makes
    /// it a target of this installation at the first use. Throws `absent` when it is not there.
    func open(_ context: TargetContext, forWriting: Bool) throws(BackupError)
    /// Complete snapshots, oldest first. Others' and unfinished ones are left out.
    func snapshots(_ context: TargetContext) throws(BackupError) -> [SnapshotID]
    /// A snapshot's manifest, its seal checked.
    func manifest(of id: SnapshotID, _ context: TargetContext) throws(BackupError) -> Manifest
    /// All files of a snapshot; each list's digest is checked.
    func list(of manifest: Manifest, _ context: TargetContext) throws(BackupError) -> FileList
    /// Where new parts of the database are best written; nil for the staging folder.
    func placeForDatabase(of id: SnapshotID, _ context: TargetContext) throws(BackupError)
        -> String?
    /// Stores and publishes a snapshot: everything is synced, `check` gives its consent (it may
    /// verify), then the manifest is written, and last the snapshot gets its name.
    func store(
        _ snapshot: PreparedSnapshot, _ context: TargetContext,
        check: (Stored) throws(BackupError) -> Void
    ) throws(BackupError) -> TransferReport
    /// Reads files back and compares them with the list.
    func verify(
        _ entries: [FileEntry], of manifest: Manifest, _ context: TargetContext
    ) throws(BackupError) -> VerificationReport
    /// Brings files of a snapshot, under their paths there, into an empty private folder. Makes
    /// nothing but files and folders there, and compares sizes and digests.
    func fetch(
        _ entries: [FileEntry], of manifest: Manifest, into folder: String,
        _ context: TargetContext
    ) throws(BackupError)
    /// Removes a snapshot, slowly; one that is gone already is no failure.
    func remove(_ id: SnapshotID, _ context: TargetContext) throws(BackupError)
    /// Removes what runs that did not end have left, and what no snapshot needs any more.
    func cleanUp(_ context: TargetContext) throws(BackupError)
    /// Snapshots that are never pruned.
    func pins(_ context: TargetContext) throws(BackupError) -> Set<SnapshotID>
    /// Replaces them.
    func setPins(_ pins: Set<SnapshotID>, _ context: TargetContext) throws(BackupError)
    /// Space on its medium; nil when it does not tell.
    func space(_ context: TargetContext) throws(BackupError) -> TargetSpace?
}

extension BackupTarget {
    /// None that it knows of.
    public var software: [String: String] { [:] }
}

/// A snapshot that is stored but not published, as a check sees it.
public struct Stored {
    /// Files that were not on the target before.
    public let new: [FileEntry]
    /// Reads files back and compares them.
    public let verify: (_ entries: [FileEntry]) throws(BackupError) -> VerificationReport
    /// The folder that holds it, on targets that are folders; nil elsewhere.
    public let folder: String?
    /// All its files as they are stored, which may have changed or vanished since they were seen;
    /// nil when that is what was prepared.
    public let list: FileList?
    /// Creates a description.
    public init(
        new: [FileEntry],
        verify: @escaping (_ entries: [FileEntry]) throws(BackupError) -> VerificationReport,
        folder: String?, list: FileList? = nil
    ) {
        self.new = new
        self.list = list
        self.verify = verify
        self.folder = folder
    }
}
