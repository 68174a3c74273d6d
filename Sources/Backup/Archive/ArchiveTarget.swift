// Snapshots in the archive form: new contents in encrypted packs, a manifest that names the packs.
// For places that are not trusted, or that know no hard links.
//
//     <place>/kinglet-backup.json            says what this is
//     <place>/packs/6b/6b0f…                 named by the SHA-256 of its encrypted bytes; age
//     <place>/snapshots/<snapshot>.age       a manifest, written last; age
//     <place>/pins                           snapshots that are never pruned, one in a line

internal import Glibc
internal import TLS

/// A target that holds an archive. Used by the one thread that has the backup lock.
final class ArchiveTarget: BackupTarget {
    let name: String
    let needsMD5 = false
    let isOnSameMedium: Bool
    var canRemove: Bool { store?.canRemove ?? true }
    /// Seconds since 1970; a test has its own.
    var now: () -> Int64 = { Int64(time(nil)) }
    private let makeStore: (TargetContext) throws(BackupError) -> any ArchiveStore
    private var store: (any ArchiveStore)?

    /// - Parameters:
    ///   - name: as in the configuration.
    ///   - isOnSameMedium: whether the data's own medium holds it.
    ///   - makeStore: opens the place, once for each `open`.
    init(
        name: String, isOnSameMedium: Bool,
        makeStore: @escaping (TargetContext) throws(BackupError) -> any ArchiveStore
    ) {
        self.name = name
        self.isOnSameMedium = isOnSameMedium
        self.makeStore = makeStore
    }

    func open(_ context: TargetContext, forWriting: Bool) throws(BackupError) {
        store = nil
        let made = try makeStore(context)
        try ArchiveMarker.check(made, context, forWriting: forWriting)
        store = made
    }

    /// The place that was opened.
    func opened(_ context: TargetContext) throws(BackupError) -> any ArchiveStore {
        if let store { return store }
        try open(context, forWriting: false)
        guard let store else { throw BackupError(.absent, subject: name, "it is not open") }
        return store
    }

    func placeForDatabase(
        of id: SnapshotID, _ context: TargetContext
    ) throws(BackupError) -> String? { nil }

    func space(_ context: TargetContext) throws(BackupError) -> TargetSpace? {
        try opened(context).space()
    }

    // MARK: Snapshots

    func snapshots(_ context: TargetContext) throws(BackupError) -> [SnapshotID] {
        try opened(context).list(ArchiveNames.snapshots)
            .compactMap { ArchiveNames.snapshot(of: $0.name) }.sorted()
    }

    func manifest(
        of id: SnapshotID, _ context: TargetContext
    ) throws(BackupError) -> Manifest {
        let memory = ArchiveMemory(context)
        if let bytes = memory.manifest(id),
            let manifest = try? ManifestFile.decode(bytes, id: id, key: context.key)
        {
            return manifest
        }
        let (manifest, bytes) = try storedManifest(of: id, context)
        try memory.keep(manifest: bytes, id)
        return manifest
    }

    /// The manifest as it is on the target.
    func storedManifest(
        of id: SnapshotID, _ context: TargetContext
    ) throws(BackupError) -> (manifest: Manifest, bytes: [UInt8]) {
        let store = try opened(context)
        // With what age adds.
        let limit = ManifestFile.longest + 65_536
        guard let sealed = try store.read(ArchiveNames.snapshot(id), limit: limit) else {
            throw BackupError(.damaged, subject: "snapshot \(id)", "its manifest is missing")
        }
        let bytes = try AgeFile.open(sealed, key: context.key, subject: "manifest of \(id)")
        let manifest = try ManifestFile.decode(bytes, id: id, key: context.key)
        guard manifest.archive != nil else {
            throw BackupError(.damaged, subject: "manifest of \(id)", "it names no packs")
        }
        return (manifest, bytes)
    }

    func list(of manifest: Manifest, _ context: TargetContext) throws(BackupError) -> FileList {
        guard let archive = manifest.archive else {
            throw BackupError(.damaged, subject: "manifest of \(manifest.id)", "it names no packs")
        }
        let memory = ArchiveMemory(context)
        var missing: [WantedFile] = []
        var names: Set<String> = []
        for (list, place) in zip(manifest.lists, archive.lists) {
            guard !memory.has(list: list), names.insert(list.sha256).inserted else { continue }
            guard let file = WantedFile(list, at: place) else {
                throw BackupError(
                    .damaged, subject: "manifest of \(manifest.id)", "a list has no proper name")
            }
            missing.append(file)
        }
        // One after the other in memory: each fits, all together may not.
        let reader = PackReader(
            store: try opened(context), key: context.key, packs: archive.packs
        ) { _ throws(BackupError) in try context.cancellation.check() }
        var content: [Int: [UInt8]] = [:]
        try reader.read(missing) { index, _, bytes throws(BackupError) in
            content[index, default: []] += bytes
            guard Int64(content[index]?.count ?? 0) == missing[index].entry.size else { return }
            try memory.keep(list: content.removeValue(forKey: index) ?? [], missing[index].entry)
        } done: { index, outcome throws(BackupError) in
            if case .fault(let message) = outcome {
                memory.forget(list: missing[index].entry)
                throw BackupError(
                    .damaged, subject: "snapshot \(manifest.id)", message,
                    advice: "the snapshot cannot be used; others may be whole")
            }
        }
        return try FileListCodec.decode(manifest.lists, packs: archive.packs) {
            list throws(BackupError) in try memory.list(list)
        }
    }

    // MARK: Pins

    private static let longestPins = 1 << 20

    func pins(_ context: TargetContext) throws(BackupError) -> Set<SnapshotID> {
        let store = try opened(context)
        guard let bytes = try store.read(ArchiveNames.pins, limit: Self.longestPins) else {
            return []
        }
        var pins: Set<SnapshotID> = []
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
            guard let id = SnapshotID(String(line)) else {
                throw BackupError(
                    .damaged, subject: "\(store.place)/\(ArchiveNames.pins)",
                    "a line of it is not the name of a snapshot", advice: "mend or remove it")
            }
            pins.insert(id)
        }
        return pins
    }

    func setPins(_ pins: Set<SnapshotID>, _ context: TargetContext) throws(BackupError) {
        let store = try opened(context)
        guard store.canRemove else {
            // Nothing can be replaced there either.
            throw BackupError(
                .permanent, subject: name, "this machine's key may only add snapshots",
                advice: "nothing is pruned from here; pin them where the pruning is done")
        }
        let text = pins.sorted().map { "\($0)\n" }.joined()
        try store.put(ArchiveNames.pins, Array(text.utf8))
        try store.flush()
    }
}

/// Whole small files in age's format.
enum AgeFile {
    static func seal(_ bytes: [UInt8], key: RecoveryKey) throws(BackupError) -> [UInt8] {
        let result = Collected()
        let encryptor = try AgeEncryptor(recipient: key) { piece throws(BackupError) in
            result.bytes += piece
        }
        try encryptor.write(bytes[...])
        try encryptor.finish()
        return result.bytes
    }

    static func open(
        _ bytes: [UInt8], key: RecoveryKey, subject: String
    ) throws(BackupError) -> [UInt8] {
        let result = Collected()
        let decryptor = AgeDecryptor(key: key, subject: subject) { piece throws(BackupError) in
            result.bytes += piece
        }
        try decryptor.write(bytes[...])
        try decryptor.finish()
        return result.bytes
    }

    private final class Collected {
        var bytes: [UInt8] = []
    }
}

extension WantedFile {
    /// A list; nil when its name is none.
    init?(_ list: Manifest.List, at place: ArchiveRecord.Place) {
        guard let hash = ContentHash(hexadecimal: list.sha256),
            let path = SnapshotPath(list.path)
        else { return nil }
        entry = FileEntry(
            path: path, kind: .file(size: list.size, hash: hash), mode: 0o600, modified: 0)
        pieces = [.init(pack: place.pack, offset: place.offset, length: list.size)]
    }
}

/// What is remembered of an archive in the target's private folder, so that it need not be
/// downloaded again: manifests and the lists of the newest. Lost with no harm.
struct ArchiveMemory {
    private let folder: String

    init(_ context: TargetContext) { folder = context.memory }

    private func path(_ id: SnapshotID) -> String { "\(folder)/manifests/\(id)" }
    private func path(list digest: String) -> String { "\(folder)/lists/\(digest)" }

    func manifest(_ id: SnapshotID) -> [UInt8]? {
        (try? Files.read(path(id), limit: ManifestFile.longest)) ?? nil
    }

    func keep(manifest bytes: [UInt8], _ id: SnapshotID) throws(BackupError) {
        try Files.makeFolder("\(folder)/manifests")
        try Files.replace(path(id), bytes, mode: 0o600)
    }

    func forget(_ id: SnapshotID) throws(BackupError) { try Files.remove(path(id)) }

    /// Those whose manifests are remembered.
    var snapshots: Set<SnapshotID> {
        let names = (try? Files.names(in: "\(folder)/manifests")) ?? []
        return Set(names.compactMap { SnapshotID(String(decoding: $0, as: UTF8.self)) })
    }

    /// Leaves the manifests of snapshots that are there.
    func keep(manifestsOf ids: [SnapshotID]) throws(BackupError) {
        try keepOnly(Set(ids.map { "\($0)" }), in: "manifests")
    }

    func has(list: Manifest.List) -> Bool {
        var status = stat()
        return lstat(path(list: list.sha256), &status) == 0 && Int64(status.st_size) == list.size
    }

    func list(_ list: Manifest.List) throws(BackupError) -> [UInt8] {
        let path = path(list: list.sha256)
        guard let bytes = try Files.read(path, limit: FileListCodec.longestPart) else {
            throw BackupError(.temporary, subject: path, "it has vanished")
        }
        // Ours may be damaged too; the target's is then read again.
        if ContentHash(DigestAlgorithm.sha256.hash(bytes))?.description != list.sha256 {
            try Files.remove(path)
            throw BackupError(.temporary, subject: path, "it was damaged and is removed")
        }
        return bytes
    }

    func keep(list bytes: [UInt8], _ entry: FileEntry) throws(BackupError) {
        guard let hash = entry.hash else { return }
        try Files.makeFolder("\(folder)/lists")
        try Files.replace(path(list: "\(hash)"), bytes, mode: 0o600)
    }

    func forget(list entry: FileEntry) {
        if let hash = entry.hash { unlink(path(list: "\(hash)")) }
    }

    /// Leaves the lists of one manifest.
    func keep(listsOf manifest: Manifest) throws(BackupError) {
        try keepOnly(Set(manifest.lists.map(\.sha256)), in: "lists")
    }

    private func keepOnly(_ names: Set<String>, in inner: String) throws(BackupError) {
        let path = "\(folder)/\(inner)"
        guard Files.exists(path) else { return }
        for name in try Files.names(in: path) {
            let text = String(decoding: name, as: UTF8.self)
            if !names.contains(text) { try Files.remove("\(path)/\(text)") }
        }
    }
}
