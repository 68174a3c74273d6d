// An archive in a folder: a stick with FAT, a share of another machine, any disk.

internal import Glibc

/// Keeps the folder open, so that everything goes to the file system that was there at the
/// beginning, and not into an empty mount point when that has vanished.
final class FolderStore: ArchiveStore {
    let place: String
    private var root: Int32 = -1
    /// Space that is left free, in bytes.
    private static let reserve: Int64 = 1 << 20

    /// - Parameter place: absolute; it need not exist before `prepare`.
    init(_ place: String) { self.place = place }

    deinit { if root >= 0 { close(root) } }

    func prepare() throws(BackupError) {
        guard try openRoot() == nil else { return }
        try Files.makeFolder(place)
        try Files.syncFolder(Files.parent(of: place))
    }

    /// Nil when there is no such folder.
    private func openRoot() throws(BackupError) -> Int32? {
        if root >= 0 { return root }
        root = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if root >= 0 { return root }
        guard errno == ENOENT else { throw Files.error(place, "open") }
        return nil
    }

    // MARK: Folders and names

    /// The folder that a name is in and the name in that; nil when there is no such folder.
    private func folder(
        of name: String, makes: Bool
    ) throws(BackupError) -> (folder: Int32, last: String)? {
        guard SnapshotPath(name) != nil, let root = try openRoot() else {
            guard !makes else {
                throw BackupError(.absent, subject: place, "there is no such folder")
            }
            return nil
        }
        var components = name.split(separator: "/").map(String.init)
        let last = components.removeLast()
        var folder = dup(root)
        guard folder >= 0 else { throw Files.error(place, "open") }
        for component in components {
            var next = openat(folder, component, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            if next < 0, errno == ENOENT, makes {
                if mkdirat(folder, component, 0o700) == 0 || errno == EEXIST {
                    _ = fsync(folder)
                    next = openat(
                        folder, component, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                }
            }
            let code = errno
            close(folder)
            guard next >= 0 else {
                if code == ENOENT, !makes { return nil }
                throw Files.error("\(place)/\(name)", "open the folder of", code: code)
            }
            folder = next
        }
        return (folder, last)
    }

    // MARK: Writing

    func put(_ name: String, _ bytes: [UInt8], moved: (Int) -> Void) throws(BackupError) {
        let path = "\(place)/\(name)"
        let needed = Int64(bytes.count) + Int64(bytes.count) / 5 + Self.reserve
        if let space = try space(), space.free < needed {
            throw BackupError(
                .full, subject: place, "only \(space.free) bytes are free there",
                advice: "free some space there, or keep less")
        }
        guard let (folder, last) = try folder(of: name, makes: true) else { return }
        defer { close(folder) }
        let temporary = ".new-\(last)"
        unlinkat(folder, temporary, 0)
        let file = openat(
            folder, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw Files.error(path, "write") }
        var problem: BackupError?
        var written = 0
        while written < bytes.count, problem == nil {
            let count = min(1 << 18, bytes.count - written)
            let more = bytes.withUnsafeBytes { buffer in
                write(file, buffer.baseAddress.map { $0 + written }, count)
            }
            if more > 0 {
                written += more
                moved(more)
            } else if more == 0 || errno != EINTR {
                problem = Files.error(path, "write", code: more == 0 ? EIO : errno)
            }
        }
        if problem == nil, fsync(file) != 0 { problem = Files.error(path, "sync") }
        close(file)
        if problem == nil, renameat(folder, temporary, folder, last) != 0 {
            problem = Files.error(path, "name")
        }
        if let problem {
            unlinkat(folder, temporary, 0)
            throw problem
        }
        // Some network file systems know no such thing for folders.
        guard fsync(folder) == 0 || errno == EINVAL || errno == EBADF else {
            throw Files.error(path, "sync the folder of")
        }
    }

    func flush() throws(BackupError) {}

    func delete(_ name: String) throws(BackupError) {
        guard let (folder, last) = try folder(of: name, makes: false) else { return }
        defer { close(folder) }
        guard unlinkat(folder, last, 0) == 0 || errno == ENOENT else {
            throw Files.error("\(place)/\(name)", "remove")
        }
        _ = fsync(folder)
    }

    // MARK: Reading

    func get(
        _ name: String, _ sink: (ArraySlice<UInt8>) throws(BackupError) -> Void
    ) throws(BackupError) -> Bool {
        guard let (folder, last) = try folder(of: name, makes: false) else { return false }
        defer { close(folder) }
        let path = "\(place)/\(name)"
        let file = openat(folder, last, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        guard file >= 0 else {
            if errno == ENOENT { return false }
            throw Files.error(path, "read")
        }
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0 else { throw Files.error(path, "read") }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw BackupError(.damaged, subject: path, "this is not a file")
        }
        var piece = [UInt8](repeating: 0, count: 1 << 17)
        while true {
            let count = Glibc.read(file, &piece, piece.count)
            if count == 0 { return true }
            if count > 0 {
                try sink(piece[..<count])
            } else if errno != EINTR {
                throw Files.error(path, "read")
            }
        }
    }

    func size(of name: String) throws(BackupError) -> Int64? {
        guard let (folder, last) = try folder(of: name, makes: false) else { return nil }
        defer { close(folder) }
        return try size(last, in: folder)
    }

    private func size(_ name: String, in folder: Int32) throws(BackupError) -> Int64? {
        var status = stat()
        guard fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) == 0 else {
            if errno == ENOENT { return nil }
            throw Files.error("\(place)/…/\(name)", "look at")
        }
        return status.st_mode & S_IFMT == S_IFREG ? Int64(status.st_size) : nil
    }

    func list(_ name: String) throws(BackupError) -> [ArchiveFile] {
        var files: [ArchiveFile] = []
        var folders = [name]
        while let current = folders.popLast() {
            guard let (folder, _) = try folder(of: current + "/x", makes: false) else { continue }
            defer { close(folder) }
            // The stream owns its descriptor.
            guard let stream = fdopendir(dup(folder)) else {
                throw Files.error("\(place)/\(current)", "list")
            }
            defer { closedir(stream) }
            while true {
                errno = 0
                guard let entry = Glibc.readdir(stream) else {
                    guard errno == 0 else { throw Files.error("\(place)/\(current)", "list") }
                    break
                }
                let bytes = withUnsafeBytes(of: &entry.pointee.d_name) {
                    Array($0.prefix { $0 != 0 })
                }
                // Ours are ASCII; whatever else is there is not ours.
                guard bytes != [0x2E], bytes != [0x2E, 0x2E], bytes.allSatisfy({ $0 < 0x80 })
                else { continue }
                let inner = String(decoding: bytes, as: UTF8.self)
                if let size = try size(inner, in: folder) {
                    files.append(ArchiveFile(name: "\(current)/\(inner)", size: size))
                } else if current.split(separator: "/").count < 3 {
                    var status = stat()
                    if fstatat(folder, inner, &status, AT_SYMLINK_NOFOLLOW) == 0,
                        status.st_mode & S_IFMT == S_IFDIR
                    {
                        folders.append("\(current)/\(inner)")
                    }
                }
            }
        }
        return files
    }

    func space() throws(BackupError) -> TargetSpace? {
        guard let root = try openRoot() else { return nil }
        var status = statvfs()
        guard fstatvfs(root, &status) == 0 else { throw Files.error(place, "measure") }
        let unit = Int64(clamping: status.f_frsize)
        let free = Int64(clamping: status.f_bavail).multipliedReportingOverflow(by: unit)
        let total = Int64(clamping: status.f_blocks).multipliedReportingOverflow(by: unit)
        return TargetSpace(
            free: free.overflow ? .max : free.partialValue,
            total: total.overflow ? .max : total.partialValue)
    }
}
