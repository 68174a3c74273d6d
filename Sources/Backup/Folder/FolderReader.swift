// Opening files below a folder without ever following a link: what is in a snapshot may have been
// put there by anybody who could write to the target.

internal import Glibc

/// A folder whose files are opened component by component. Remembers the folder of the last file.
final class FolderReader {
    /// For messages.
    let place: String
    private let top: Int32
    private var last: (folder: [UInt8], descriptor: Int32)?

    /// - Parameters:
    ///   - parent: a folder that the owner named; links in it are the owner's.
    ///   - name: a folder in it, which must not be a link.
    init(_ parent: String, _ name: String) throws(BackupError) {
        place = "\(parent)/\(name)"
        let folder = Glibc.open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { throw Files.error(parent, "open") }
        defer { close(folder) }
        top = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard top >= 0 else { throw Self.error(place, "open") }
    }

    deinit {
        if let last { close(last.descriptor) }
        close(top)
    }

    /// A link where there should be none is damage, not a wish.
    private static func error(_ place: String, _ verb: String) -> BackupError {
        switch errno {
        case ELOOP, ENOTDIR:
            BackupError(.damaged, subject: place, "there is a link or a file instead of a folder")
        case ENOENT: BackupError(.damaged, subject: place, "it is missing")
        default: Files.error(place, verb)
        }
    }

    /// For messages.
    func text(_ path: SnapshotPath) -> String { "\(place)/\(path)" }

    /// The folder that a path lies in; valid until the next call.
    func folder(of path: SnapshotPath) throws(BackupError) -> (descriptor: Int32, name: [CChar]) {
        let slash = path.bytes.lastIndex(of: UInt8(ascii: "/"))
        let name = path.bytes[(slash.map { $0 + 1 } ?? 0)...] + [0]
        let text = name.map { CChar(bitPattern: $0) }
        guard let slash else { return (top, text) }
        let folder = Array(path.bytes[..<slash])
        if let last, last.folder == folder { return (last.descriptor, text) }
        var descriptor = top
        for component in folder.split(separator: UInt8(ascii: "/")) {
            let name = (component + [0]).map { CChar(bitPattern: $0) }
            let next = openat(descriptor, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            let error = next < 0 ? Self.error(self.text(path), "open") : nil
            if descriptor != top { close(descriptor) }
            if let error { throw error }
            descriptor = next
        }
        if let last { close(last.descriptor) }
        last = (folder, descriptor)
        return (descriptor, text)
    }

    /// What is there; a link counts as one. Nil when nothing is, or when a link is on the way.
    func status(_ path: SnapshotPath) throws(BackupError) -> stat? {
        var status = stat()
        let folder: Int32
        let name: [CChar]
        do {
            (folder, name) = try self.folder(of: path)
        } catch {
            guard error.code == .damaged else { throw error }
            return nil
        }
        if fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) == 0 { return status }
        guard errno == ENOENT else { throw Files.error(text(path), "read") }
        return nil
    }

    /// Where a link leads.
    func target(ofLink path: SnapshotPath) throws(BackupError) -> [UInt8] {
        let (folder, name) = try self.folder(of: path)
        var target = [UInt8](repeating: 0, count: SnapshotPath.longest)
        let count = target.withUnsafeMutableBytes { buffer -> Int in
            guard let start = buffer.baseAddress else { return -1 }
            return readlinkat(
                folder, name, start.assumingMemoryBound(to: CChar.self), buffer.count)
        }
        guard count >= 0 else { throw Files.error(text(path), "read") }
        return Array(target[..<count])
    }

    /// A descriptor of a file that the caller closes, and what it is. Throws `damaged` for
    /// everything that is no file.
    func open(_ path: SnapshotPath) throws(BackupError) -> (descriptor: Int32, status: stat) {
        let (folder, name) = try self.folder(of: path)
        let file = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard file >= 0 else {
            if errno == ELOOP {
                throw BackupError(.damaged, subject: text(path), "there is a link, not a file")
            }
            throw Self.error(text(path), "read")
        }
        var status = stat()
        guard fstat(file, &status) == 0 else {
            let error = Files.error(text(path), "read")
            close(file)
            throw error
        }
        guard status.st_mode & S_IFMT == S_IFREG else {
            close(file)
            throw BackupError(.damaged, subject: text(path), "this is not a file")
        }
        return (file, status)
    }

    /// A whole small file.
    func read(_ path: SnapshotPath, limit: Int) throws(BackupError) -> [UInt8] {
        let (file, status) = try open(path)
        defer { close(file) }
        guard status.st_size <= limit else {
            throw BackupError(.damaged, subject: text(path), "it is longer than \(limit) bytes")
        }
        var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
        var count = 0
        while count < bytes.count {
            let more = bytes.withUnsafeMutableBytes { buffer in
                Glibc.read(file, buffer.baseAddress.map { $0 + count }, buffer.count - count)
            }
            if more < 0 {
                if errno == EINTR { continue }
                throw Files.error(text(path), "read")
            }
            if more == 0 { break }
            count += more
        }
        bytes.removeLast(bytes.count - count)
        return bytes
    }
}
