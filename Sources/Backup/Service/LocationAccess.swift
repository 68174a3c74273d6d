// A place that no configuration names, as whoever restores on an empty machine gives it. What is in
// it, and in which form, is found out there.

internal import Glibc

/// A location, and what it takes to read it.
public struct LocationAccess: Sendable {
    /// The place.
    public var location: BackupLocation
    /// Of an rsync daemon's user. A secret.
    public var password: String?
    /// ssh's configuration file; nil for the caller's own.
    public var sshConfiguration: String?

    /// Describes access to a place.
    public init(
        _ location: BackupLocation, password: String? = nil, sshConfiguration: String? = nil
    ) {
        self.location = location
        self.password = password
        self.sshConfiguration = sshConfiguration
    }

    /// The target that is there, not opened; only for reading.
    func target(_ context: TargetContext) throws(BackupError) -> any BackupTarget {
        let name = "\(location)"
        switch location {
        case .folder(let path):
            let marker = try? Files.read(
                path + "/" + ArchiveNames.marker, limit: ArchiveMarker.longest)
            let looksSo = [ArchiveNames.packs, ArchiveNames.snapshots].allSatisfy {
                Files.exists(path + "/" + $0)
            }
            guard ArchiveMarker.isArchive(marker ?? nil) ?? looksSo else {
                return FolderTarget(
                    name: name, path: path, dataFolder: "/", transfer: CopyTransfer())
            }
            return ArchiveTarget(name: name, isOnSameMedium: false) {
                (_) throws(BackupError) -> any ArchiveStore in FolderStore(path)
            }
        case .ssh(let user, let host, let port, let path):
            let place = RsyncPlace.ssh(user: user, host: host, port: port, path: path)
            let shell = try SSHAccess.callersCommand(port: port, configuration: sshConfiguration)
            return try remote(
                RsyncTarget(name: name, place: place, callersShell: shell), context)
        case .daemon(let user, let host, let port, let module, let path):
            let place = RsyncPlace.daemon(
                user: user, host: host, port: port, module: module, path: path)
            return try remote(RsyncTarget(name: name, place: place, password: password), context)
        case .rclone(let remote, let path):
            return ArchiveTarget(name: name, isOnSameMedium: false) {
                (context) throws(BackupError) -> any ArchiveStore in
                try RcloneStore(remote: "\(remote):\(path)", configuration: nil, context)
            }
        }
    }

    /// What rsync reaches, in the form that it has there.
    private func remote(
        _ target: RsyncTarget, _ context: TargetContext
    ) throws(BackupError) -> any BackupTarget {
        let copy = try RsyncRemoteCopy(target, context, forWriting: false)
        let marker = try target.small(
            ArchiveNames.marker, limit: ArchiveMarker.longest, context)
        var isArchive = ArchiveMarker.isArchive(marker)
        if isArchive == nil { isArchive = try !copy.list(ArchiveNames.snapshots).isEmpty }
        guard isArchive == true else { return target }
        return ArchiveTarget(name: target.name, isOnSameMedium: false) {
            (context) throws(BackupError) -> any ArchiveStore in
            try RsyncStore(copy, context)
        }
    }
}

extension TargetContext {
    /// Whether a place that has lost its marker is read all the same: only where its owner names it for
    /// a restore, and if it has snapshots. Whether these are whole, their seals say.
    func readsUnmarked(_ place: String, _ snapshots: [SnapshotID]) -> Bool {
        guard instance.isEmpty, !snapshots.isEmpty else { return false }
        warn(
            "\(place): \(TargetMarker.name) is missing there; its snapshots are read all the same, "
                + "and nothing is written")
        return true
    }
}

/// A private folder for the length of one command, where there is no data directory to work in.
struct WorkFolder: ~Copyable {
    let path: String

    init() throws(BackupError) {
        let parent = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        // mkdtemp puts a name that nobody has in place of the X.
        var template = Array((parent + "/kinglet-XXXXXX").utf8CString)
        guard mkdtemp(&template) != nil else { throw Files.error(parent, "make a folder in") }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { try? Files.remove(path) }

    /// What a target may use that is only read, by whichever installation it was written.
    func context(
        key: RecoveryKey, cancellation: Cancellation,
        progress: @escaping @Sendable (Progress) -> Void,
        warn: @escaping @Sendable (String) -> Void
    ) throws(BackupError) -> TargetContext {
        for folder in ["memory", "staging"] { try Files.makeFolder("\(path)/\(folder)") }
        return TargetContext(
            key: key, instance: "", memory: "\(path)/memory", staging: "\(path)/staging",
            bandwidth: nil, lock: -1, cancellation: cancellation, progress: progress, warn: warn)
    }
}
