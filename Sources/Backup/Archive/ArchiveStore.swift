// Where an archive's files lie: a folder, a remote of rclone, another machine. A store knows names
// and bytes; what they mean is known to `ArchiveTarget`.

/// One file of an archive.
struct ArchiveFile: Sendable, Equatable {
    /// Relative to the archive's place: `packs/6b/6b0f…`.
    var name: String
    /// Bytes.
    var size: Int64
}

/// A place for files that are written once and never changed. Used by one thread at a time.
protocol ArchiveStore {
    /// For messages.
    var place: String { get }
    /// Whether files can be removed there.
    var canRemove: Bool { get }
    /// Makes the place itself where it must exist before anything is written there.
    func prepare() throws(BackupError)
    /// Stores a file as a whole, in place of an older one.
    ///
    /// - Parameters:
    ///   - moved: hears bytes as they go.
    func put(_ name: String, _ bytes: [UInt8], moved: (Int) -> Void) throws(BackupError)
    /// Returns when everything that was put is there and durable.
    func flush() throws(BackupError)
    /// Reads a file from its beginning to its end; false when there is none.
    func get(
        _ name: String, _ sink: (ArraySlice<UInt8>) throws(BackupError) -> Void
    ) throws(BackupError) -> Bool
    /// All files below a folder, whatever they are called, in no order.
    func list(_ folder: String) throws(BackupError) -> [ArchiveFile]
    /// The size of a file; nil when there is none.
    func size(of name: String) throws(BackupError) -> Int64?
    /// Removes a file; one that is gone already is no failure.
    func delete(_ name: String) throws(BackupError)
    /// Space on its medium; nil when it does not tell.
    func space() throws(BackupError) -> TargetSpace?
}

extension ArchiveStore {
    var canRemove: Bool { true }

    func put(_ name: String, _ bytes: [UInt8]) throws(BackupError) {
        try put(name, bytes) { _ in }
    }

    /// A small file; nil when there is none.
    func read(_ name: String, limit: Int) throws(BackupError) -> [UInt8]? {
        var bytes: [UInt8] = []
        let isThere = try get(name) { piece throws(BackupError) in
            guard bytes.count + piece.count <= limit else {
                throw BackupError(
                    .damaged, subject: "\(place)/\(name)", "this is longer than \(limit) bytes")
            }
            bytes += piece
        }
        return isThere ? bytes : nil
    }
}

/// The names of an archive's files.
enum ArchiveNames {
    static let marker = "kinglet-backup.json"
    static let pins = "pins"
    static let packs = "packs"
    static let snapshots = "snapshots"
    /// Files of one place at most; a listing with more is no archive's.
    static let mostFiles = 1_000_000

    /// A listing that was cut must not be taken for all that is there.
    static func checkCount(_ files: [ArchiveFile], _ place: String) throws(BackupError) {
        guard files.count > mostFiles else { return }
        throw BackupError(
            .damaged, subject: place, "it lists more than \(mostFiles) files",
            advice: "give this target a folder of its own")
    }

    static func pack(_ digest: String) -> String { "\(packs)/\(digest.prefix(2))/\(digest)" }

    static func snapshot(_ id: SnapshotID) -> String { "\(snapshots)/\(id).age" }

    /// The digest that a pack is named by; nil for what is no pack.
    static func pack(of name: String) -> String? {
        let digest = name.split(separator: "/").last.map(String.init) ?? ""
        return ContentHash(hexadecimal: digest) != nil && pack(digest) == name ? digest : nil
    }

    /// The snapshot that a manifest is of; nil for what is none.
    static func snapshot(of name: String) -> SnapshotID? {
        guard name.hasPrefix(snapshots + "/"), name.hasSuffix(".age") else { return nil }
        return SnapshotID(String(name.dropFirst(snapshots.count + 1).dropLast(4)))
    }
}
