// Puts the files of an archive into a folder, whatever the archive says.

internal import Glibc

/// A folder that is being filled. Each step goes from folder to folder by descriptors and follows
/// no link, so that nothing can end up elsewhere.
final class SecretsUnpacking {
    private let path: String
    private let root: Int32
    private var file: (descriptor: Int32, header: TarHeader)?
    /// What was made here, in its order.
    private var made: [(path: SnapshotPath, isFolder: Bool)] = []
    /// Files and folders of the archive.
    private(set) var count = 0

    init(_ path: String) throws(BackupError) {
        self.path = path
        try Files.makeFolder(path)
        root = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard root >= 0 else { throw Files.error(path, "open") }
    }

    deinit {
        if let file { close(file.descriptor) }
        close(root)
    }

    func handle(_ event: TarReader.Event) throws(BackupError) {
        switch event {
        case .entry(let header):
            count += 1
            if header.isFolder {
                close(try folder(header.path.components[...], of: header.path))
            } else {
                try begin(header)
            }
        case .content(let bytes):
            guard let file else { return }
            try SecretsArchive.write(bytes, to: file.descriptor, place(file.header.path))
        case .end:
            try end()
        }
    }

    /// Makes names durable; contents are already.
    func sync() throws(BackupError) {
        for entry in made where entry.isFolder { try Files.syncFolder(place(entry.path)) }
        try Files.syncFolder(path)
    }

    /// Takes everything away again that was made here.
    func removeAll() {
        for entry in made.reversed() {
            var parents = entry.path.components[...]
            guard let name = parents.popLast(), let parent = try? folder(parents, of: entry.path)
            else { continue }
            unlinkat(parent, Self.text(name), entry.isFolder ? AT_REMOVEDIR : 0)
            close(parent)
        }
        made = []
    }

    private func begin(_ header: TarHeader) throws(BackupError) {
        var parents = header.path.components[...]
        guard let name = parents.popLast() else { return }
        let parent = try folder(parents, of: header.path)
        defer { close(parent) }
        let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC
        let descriptor = openat(parent, Self.text(name), flags, 0o600)
        guard descriptor >= 0 else { throw Files.error(place(header.path), "write") }
        made.append((header.path, false))
        file = (descriptor, header)
    }

    private func end() throws(BackupError) {
        guard let (descriptor, header) = file else { return }
        file = nil
        defer { close(descriptor) }
        let time = timespec(tv_sec: time_t(header.modified), tv_nsec: 0)
        guard fchmod(descriptor, 0o600) == 0, futimens(descriptor, [time, time]) == 0,
            fsync(descriptor) == 0
        else { throw Files.error(place(header.path), "write") }
    }

    /// A descriptor of a folder below the root, made where it is not there; the caller closes it.
    private func folder(
        _ components: ArraySlice<ArraySlice<UInt8>>, of path: SnapshotPath
    ) throws(BackupError) -> Int32 {
        var current = fcntl(root, F_DUPFD_CLOEXEC, 0)
        guard current >= 0 else { throw Files.error(self.path, "open") }
        var walked: [UInt8] = []
        for component in components {
            walked += (walked.isEmpty ? [] : [UInt8(ascii: "/")]) + component
            let name = Self.text(component)
            if mkdirat(current, name, 0o700) == 0 {
                if let inner = SnapshotPath(walked) { made.append((inner, true)) }
            }
            let next = openat(current, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            let problem = next < 0 ? Files.error(place(path), "write") : nil
            close(current)
            if let problem { throw problem }
            current = next
        }
        return current
    }

    private func place(_ inner: SnapshotPath) -> String { "\(path)/\(inner)" }

    private static func text(_ name: ArraySlice<UInt8>) -> [CChar] {
        (name + [0]).map { CChar(bitPattern: $0) }
    }
}
