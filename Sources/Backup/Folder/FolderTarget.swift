// A folder as a target: a disk that is plugged in, or the data's own medium. Each snapshot is a
// folder with all its files, and shares unchanged files with the one before it by hard links.
//
//     kinglet-backup.json          the marker
//     pins                         snapshots that stay
//     latest -> 20261121T…         the newest
//     20261121T030000Z-000017/     a snapshot: manifest, files/, database/, uploads/, …
//     .partial-20261122T…/         one that is being made, or was when a run ended
//     .deleting-20261101T…/        one that is being removed

internal import Glibc

/// A folder that holds snapshots as trees.
struct FolderTarget: BackupTarget {
    let name: String
    /// Absolute, without a slash at the end.
    let path: String
    /// Of the file system that the owner meant; nil for whatever is there.
    var uuid: String?
    /// The data directory, to tell whether its disk is the same.
    var dataFolder: String
    /// Whether the folder is made when it is not there: only below the data directory, for a path
    /// elsewhere may be that of a disk that is not plugged in.
    var makesFolder = false
    /// How files get there.
    var transfer: any FileTransfer
    var roots = MediumRoots()
    /// Called at each step of `store` and `remove`; a test ends it there.
    var atStep: @Sendable (FolderStep) throws(BackupError) -> Void = { _ in }

    static let partialPrefix = ".partial-"
    static let deletingPrefix = ".deleting-"
    static let latest = "latest"
    static let pinsFile = "pins"
    /// Complete snapshots and other entries of the folder that are looked at.
    static let mostPins = 10_000

    init(
        name: String, path: String, uuid: String? = nil, dataFolder: String,
        makesFolder: Bool = false, transfer: any FileTransfer
    ) {
        self.name = name
        self.path = path
        self.uuid = uuid
        self.dataFolder = dataFolder
        self.makesFolder = makesFolder
        self.transfer = transfer
    }

    var needsMD5: Bool { false }
    var canRemove: Bool { true }
    var software: [String: String] {
        (transfer as? RsyncTransfer).map { ["rsync": "\($0.program.version)"] } ?? [:]
    }

    var isOnSameMedium: Bool {
        guard let data = Medium(of: dataFolder, roots: roots) else { return false }
        // Where it will be, while it is not there.
        let place = makesFolder && !Files.exists(path) ? Files.parent(of: path) : path
        return Medium(of: place, roots: roots)?.isOnSameDisk(as: data) ?? false
    }

    // MARK: Whether it is the right one

    func open(_ context: TargetContext, forWriting: Bool) throws(BackupError) {
        let memory = "\(context.memory)/\(TargetMarker.memory)"
        let known = try Files.read(memory, limit: 64).map { String(decoding: $0, as: UTF8.self) }
        if makesFolder, forWriting, known == nil { try Files.makeFolder(path) }
        var status = stat()
        guard stat(path, &status) == 0 else {
            if errno != ENOENT { throw Files.error(path, "open") }
            throw absent(
                "there is no such folder",
                advice: makesFolder
                    ? "the first run makes it"
                    : known == nil
                        ? "plug the disk in and mount it; on a new target "
                            + Files.making(path) : "plug the disk in and mount it")
        }
        guard status.st_mode & S_IFMT == S_IFDIR else {
            throw BackupError(.permanent, subject: path, "this is not a folder")
        }
        if let uuid { try Medium(of: path, roots: roots)?.check(uuid: uuid, path) }
        if forWriting { try checkWritable() }
        guard let marker = try marker() else {
            guard known == nil else {
                throw absent(
                    "it is empty of what was there",
                    advice: "the disk is probably not mounted; for a new disk in the old one's"
                        + " place remove \(memory)")
            }
            guard forWriting else {
                if context.readsUnmarked(path, try snapshots(context)) { return }
                throw absent("no backup has been made there", advice: "see `kinglet backup run`")
            }
            return try become(TargetMarker(instance: context.instance), memory)
        }
        guard known == nil || known == marker.target else {
            throw BackupError(
                .foreign, subject: path, "this is another target than the one that was there",
                advice: "mount the right disk; if the new one is right, remove \(memory)")
        }
        if known == nil || (forWriting && !marker.instances.contains(context.instance)) {
            var marker = marker
            let isNew = !marker.instances.contains(context.instance)
            if forWriting && isNew { marker.instances.append(context.instance) }
            try become(marker, memory, writesMarker: forWriting && isNew)
        }
    }

    private func absent(_ message: String, advice: String) -> BackupError {
        BackupError(.absent, subject: path, message, advice: advice)
    }

    private var markerPath: String { "\(path)/\(TargetMarker.name)" }

    func marker() throws(BackupError) -> TargetMarker? {
        let bytes: [UInt8]?
        do {
            bytes = try Files.read(markerPath, limit: TargetMarker.longest)
        } catch {
            guard error.code == .damaged else { throw error }
            // Too long, which is refused there with the others.
            bytes = []
        }
        return try bytes.map { bytes throws(BackupError) in
            try TargetMarker(bytes, place: markerPath)
        }
    }

    private func become(
        _ marker: TargetMarker, _ memory: String, writesMarker: Bool = true
    ) throws(BackupError) {
        if writesMarker {
            guard try Self.supportsHardLinks(path) else {
                throw BackupError(
                    .permanent, subject: path, "the file system there has no hard links",
                    advice: "set `encrypt: yes` for this target; it then keeps archives instead")
            }
            try Files.replace(markerPath, marker.bytes, mode: 0o600)
        }
        try Files.replace(memory, Array(marker.target.utf8), mode: 0o600)
    }

    private func checkWritable() throws(BackupError) {
        guard access(path, W_OK | X_OK) == 0 else { throw Files.error(path, "write there") }
    }

    /// Whether files of a folder can have two names; decides between trees and archives.
    static func supportsHardLinks(_ path: String) throws(BackupError) -> Bool {
        let first = "\(path)/.kinglet-probe"
        let second = first + "-2"
        unlink(first)
        unlink(second)
        let file = Glibc.open(first, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard file >= 0 else { throw Files.error(path, "write there") }
        close(file)
        defer {
            unlink(first)
            unlink(second)
        }
        var status = stat()
        return link(first, second) == 0 && lstat(second, &status) == 0 && status.st_nlink == 2
    }

    // MARK: What is there

    func folder(of id: SnapshotID) -> String { "\(path)/\(id)" }
    func partial(of id: SnapshotID) -> String { path + "/" + Self.partialPrefix + "\(id)" }

    /// Names of the target's folder that begin with a prefix and go on with a snapshot's name,
    /// oldest first.
    func names(prefix: String) throws(BackupError) -> [SnapshotID] {
        let names: [[UInt8]]
        do {
            names = try Files.names(in: path)
        } catch {
            throw stillThere(error)
        }
        return names.compactMap { name in
            let text = String(decoding: name, as: UTF8.self)
            return text.hasPrefix(prefix) ? SnapshotID(String(text.dropFirst(prefix.count))) : nil
        }.sorted()
    }

    func snapshots(_ context: TargetContext) throws(BackupError) -> [SnapshotID] {
        // Most targets are one installation's, and nothing has to be read.
        let others = try marker().map { $0.instances != [context.instance] } ?? false
        var ids: [SnapshotID] = []
        for id in try names(prefix: "") {
            var status = stat()
            guard lstat("\(folder(of: id))/\(ManifestFile.name)", &status) == 0,
                lstat(folder(of: id), &status) == 0, status.st_mode & S_IFMT == S_IFDIR
            else { continue }
            if others, !context.instance.isEmpty, isOthers(id, context) { continue }
            ids.append(id)
        }
        return ids
    }

    /// A manifest that cannot be read is not called another's: it has to be looked at.
    private func isOthers(_ id: SnapshotID, _ context: TargetContext) -> Bool {
        guard let path = SnapshotPath(ManifestFile.name),
            let bytes = try? FolderReader(self.path, "\(id)").read(
                path, limit: ManifestFile.longest),
            let instance = ManifestFile.instance(in: bytes)
        else { return false }
        return instance != context.instance
    }

    func manifest(of id: SnapshotID, _ context: TargetContext) throws(BackupError) -> Manifest {
        do throws(BackupError) {
            let reader = try FolderReader(path, "\(id)")
            let bytes = try reader.read(
                SnapshotPath(valid: Array(ManifestFile.name.utf8)), limit: ManifestFile.longest)
            return try ManifestFile.decode(bytes, id: id, key: context.key)
        } catch {
            throw stillThere(error)
        }
    }

    func list(of manifest: Manifest, _ context: TargetContext) throws(BackupError) -> FileList {
        do throws(BackupError) {
            let reader = try FolderReader(path, "\(manifest.id)")
            return try FileListCodec.decode(manifest.lists) { (list) throws(BackupError) in
                guard let path = SnapshotPath(list.path) else { return [] }
                return try reader.read(path, limit: FileListCodec.longestPart)
            }
        } catch {
            throw stillThere(error)
        }
    }

    /// An error, or `absent` when the reason is that the target has gone meanwhile.
    func stillThere(_ error: BackupError) -> BackupError {
        guard error.code != .cancelled, error.code != .absent, !Files.exists(markerPath) else {
            return error
        }
        return absent("it is not there any more", advice: "plug the disk in again")
    }

    // MARK: Pins and space

    func pins(_ context: TargetContext) throws(BackupError) -> Set<SnapshotID> {
        let bytes = try Files.read("\(path)/\(Self.pinsFile)", limit: Self.mostPins * 24) ?? []
        return Set(
            bytes.split(separator: UInt8(ascii: "\n")).compactMap {
                SnapshotID(String(decoding: $0, as: UTF8.self))
            })
    }

    func setPins(_ pins: Set<SnapshotID>, _ context: TargetContext) throws(BackupError) {
        guard pins.count <= Self.mostPins else {
            throw BackupError(.permanent, subject: path, "there are too many pins")
        }
        let text = pins.sorted().map { "\($0)\n" }.joined()
        try Files.replace("\(path)/\(Self.pinsFile)", Array(text.utf8), mode: 0o600)
    }

    func space(_ context: TargetContext) throws(BackupError) -> TargetSpace? {
        var status = statvfs()
        guard statvfs(path, &status) == 0 else { throw Files.error(path, "measure") }
        func bytes(_ blocks: UInt) -> Int64 {
            let (product, overflow) = Int64(clamping: blocks).multipliedReportingOverflow(
                by: Int64(clamping: status.f_frsize))
            return overflow ? .max : product
        }
        return TargetSpace(free: bytes(status.f_bavail), total: bytes(status.f_blocks))
    }
}

/// Where a change of the target has got to.
enum FolderStep: Sendable, CaseIterable {
    case begun, databaseLinked, sent, extraSent, listed, synced, checked, manifestWritten
    case published, renamed, removing
}
