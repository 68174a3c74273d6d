// Making files below a folder, with the folders above them, without ever following a link.

internal import Glibc

/// A folder in which files are made, component by component.
final class FolderWriter {
    /// For messages.
    let place: String
    private let top: Int32
    private var last: (folder: [UInt8], descriptor: Int32)?

    /// - Parameter place: a folder that exists; links on the way to it are the owner's.
    init(_ place: String) throws(BackupError) {
        self.place = place
        top = open(place, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard top >= 0 else { throw Files.error(place, "open") }
    }

    deinit {
        if let last { close(last.descriptor) }
        close(top)
    }

    /// Makes the folders above a path; the descriptor is valid until the next call.
    func folder(of path: SnapshotPath) throws(BackupError) -> (descriptor: Int32, name: [CChar]) {
        let slash = path.bytes.lastIndex(of: UInt8(ascii: "/"))
        let name = (path.bytes[(slash.map { $0 + 1 } ?? 0)...] + [0]).map { CChar(bitPattern: $0) }
        guard let slash else { return (top, name) }
        return (try folder(Array(path.bytes[..<slash])), name)
    }

    /// Makes a folder and those above it.
    @discardableResult
    func makeFolder(_ path: SnapshotPath) throws(BackupError) -> Int32 { try folder(path.bytes) }

    private func folder(_ path: [UInt8]) throws(BackupError) -> Int32 {
        if let last, last.folder == path { return last.descriptor }
        var descriptor = top
        for component in path.split(separator: UInt8(ascii: "/")) {
            let name = (component + [0]).map { CChar(bitPattern: $0) }
            let made = mkdirat(descriptor, name, 0o700) == 0 || errno == EEXIST
            let next =
                made
                ? openat(descriptor, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1
            let error = next < 0 ? Self.error(text(path)) : nil
            if descriptor != top { close(descriptor) }
            if let error { throw error }
            descriptor = next
        }
        if let last { close(last.descriptor) }
        last = (path, descriptor)
        return descriptor
    }

    /// Makes a new file, private, for the caller to fill and to close.
    func create(_ path: SnapshotPath) throws(BackupError) -> Int32 {
        let (folder, name) = try folder(of: path)
        let file = openat(
            folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard file >= 0 else { throw Self.error(text(path.bytes)) }
        return file
    }

    /// Removes a file that was made.
    func remove(_ path: SnapshotPath) throws(BackupError) {
        let (folder, name) = try folder(of: path)
        unlinkat(folder, name, 0)
    }

    /// Writes a small file anew.
    func write(_ path: SnapshotPath, _ bytes: [UInt8]) throws(BackupError) {
        let (folder, name) = try folder(of: path)
        unlinkat(folder, name, 0)
        let file = try create(path)
        defer { close(file) }
        var done = 0
        while done < bytes.count {
            let more = bytes.withUnsafeBytes {
                Glibc.write(file, $0.baseAddress.map { $0 + done }, bytes.count - done)
            }
            if more < 0 {
                if errno == EINTR { continue }
                throw Self.error(text(path.bytes))
            }
            done += more
        }
    }

    private func text(_ path: [UInt8]) -> String {
        "\(place)/\(String(decoding: path, as: UTF8.self))"
    }

    private static func error(_ place: String) -> BackupError {
        switch errno {
        case ELOOP, ENOTDIR, EEXIST:
            BackupError(.damaged, subject: place, "something is in its place already")
        default: Files.error(place, "write")
        }
    }
}
