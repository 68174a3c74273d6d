// The right to touch backups, for the length of one command or run: the lock, the key and what a
// target needs to know of them.

/// Everything that a command that works on backups needs. Holds the lock while it lives.
struct BackupSession: ~Copyable {
    let folder: BackupFolder
    let key: RecoveryKey
    let instance: String
    let cancellation: Cancellation
    let progress: @Sendable (Progress) -> Void
    let warn: @Sendable (String) -> Void
    private let lock: BackupLock

    /// Throws `busy` when somebody else is at work.
    ///
    /// - Parameter purpose: what others are told, such as `backup run`.
    init(
        _ folder: BackupFolder, purpose: String, parts: RunParts, cancellation: Cancellation,
        progress: @escaping @Sendable (Progress) -> Void = { _ in },
        warn: @escaping @Sendable (String) -> Void
    ) throws(BackupError) {
        let lock = try BackupLock.acquire(folder, purpose: purpose)
        let key = try parts.key()
        try self.init(
            folder, lock, key, InstanceName.load(folder, key: key), cancellation, progress, warn)
    }

    private init(
        _ folder: BackupFolder, _ lock: consuming BackupLock, _ key: RecoveryKey,
        _ instance: String, _ cancellation: Cancellation,
        _ progress: @escaping @Sendable (Progress) -> Void,
        _ warn: @escaping @Sendable (String) -> Void
    ) {
        self.folder = folder
        self.key = key
        self.instance = instance
        self.cancellation = cancellation
        self.progress = progress
        self.warn = warn
        self.lock = lock
    }

    /// What a target may use.
    func context(
        for target: String, bandwidth: Int? = nil,
        warn: (@Sendable (String) -> Void)? = nil
    ) throws(BackupError) -> TargetContext {
        let memory = folder.memory(of: target)
        try Files.makeFolder(memory)
        try folder.emptyStaging()
        return TargetContext(
            key: key, instance: instance, memory: memory, staging: folder.staging,
            bandwidth: bandwidth, lock: lock.descriptor, cancellation: cancellation,
            progress: progress, warn: warn ?? self.warn)
    }
}
