// An archive on another machine that only takes copies of files: packs wait in the staging folder
// until there are a few, for each copy costs a connection.

internal import Glibc

/// Sends files in batches.
final class RsyncStore: ArchiveStore {
    /// Files that wait, and files that are removed at once, at most.
    private static let mostWaiting = 4
    private static let mostRemoved = 100

    private let copy: any RemoteCopy
    private let outgoing: String
    private let incoming: String
    private let empty: String
    private var waiting: [String: Int64] = [:]
    private var removed: [String] = []

    init(_ copy: any RemoteCopy, _ context: TargetContext) throws(BackupError) {
        self.copy = copy
        outgoing = context.staging + "/archive-out"
        incoming = context.staging + "/archive-in"
        empty = context.staging + "/archive-empty"
        for folder in [outgoing, incoming, empty] {
            try Files.remove(folder)
            try Files.makeFolder(folder)
        }
    }

    var place: String { copy.place }
    var canRemove: Bool { copy.canRemove }

    func prepare() throws(BackupError) {}

    func put(_ name: String, _ bytes: [UInt8], moved: (Int) -> Void) throws(BackupError) {
        let path = "\(outgoing)/\(name)"
        try Files.makeFolder(Files.parent(of: path))
        // Not synced: it is gone after a crash anyway.
        let file = open(
            path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw Files.error(path, "write").ofSource }
        defer { close(file) }
        var written = 0
        while written < bytes.count {
            let count = bytes.withUnsafeBytes { buffer in
                write(file, buffer.baseAddress.map { $0 + written }, buffer.count - written)
            }
            guard count > 0 || errno == EINTR else { throw Files.error(path, "write").ofSource }
            written += max(0, count)
        }
        waiting[name] = Int64(bytes.count)
        moved(bytes.count)
        if waiting.count >= Self.mostWaiting { try flush() }
    }

    func flush() throws(BackupError) {
        if !waiting.isEmpty {
            try copy.upload(outgoing)
            for name in waiting.keys { try Files.remove("\(outgoing)/\(name)") }
            waiting = [:]
        }
        while !removed.isEmpty {
            let names = Array(removed.prefix(Self.mostRemoved))
            try copy.delete(names, with: empty)
            removed.removeFirst(names.count)
            try Files.remove(empty)
            try Files.makeFolder(empty)
        }
    }

    func get(
        _ name: String, _ sink: (ArraySlice<UInt8>) throws(BackupError) -> Void
    ) throws(BackupError) -> Bool {
        try flush()
        let path = incoming + "/file"
        try Files.remove(path)
        let limit = Int(PackReader.longestPack) + 65_536
        guard try copy.download(name, to: path, limit: limit) else { return false }
        defer { unlink(path) }
        return try FolderStore(incoming).get("file", sink)
    }

    func list(_ folder: String) throws(BackupError) -> [ArchiveFile] {
        try flush()
        return try copy.list(folder)
    }

    func size(of name: String) throws(BackupError) -> Int64? {
        try flush()
        let folder = Files.parent(of: name)
        return try copy.list(folder).first { $0.name == name }?.size
    }

    func delete(_ name: String) throws(BackupError) {
        removed.append(name)
        if removed.count >= Self.mostRemoved { try flush() }
    }

    func space() throws(BackupError) -> TargetSpace? { nil }
}
