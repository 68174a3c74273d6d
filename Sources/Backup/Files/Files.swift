// Files and folders, by the calls of the system: modes, links and durability matter here.

internal import Glibc

/// Small helpers around the system's calls; errors are `BackupError`s that name the path.
enum Files {
    /// What a failed call means for a backup.
    static func error(
        _ path: String, _ verb: String, code: Int32 = errno
    ) -> BackupError {
        let words = String(cString: strerror(code))
        let message = "cannot \(verb): \(words)"
        switch code {
        case ENOSPC, EDQUOT, EFBIG:
            return BackupError(
                .full, subject: path, message, advice: "free some space there, or keep less")
        case EROFS:
            return BackupError(
                .permanent, subject: path, message,
                advice: "the file system is read-only; check the disk, then mount it again")
        case EACCES, EPERM:
            let user = getpwuid(geteuid()).map { String(cString: $0.pointee.pw_name) }
            return BackupError(
                .permanent, subject: path, message,
                advice: "give the user that kinglet runs as (\(user ?? "\(geteuid())")) access "
                    + "to it"
            )
        case ENODEV, ENXIO, ESTALE, ENOTCONN, EHOSTDOWN, EHOSTUNREACH:
            return BackupError(.absent, subject: path, message, advice: "is it plugged in?")
        case EIO, EUCLEAN:
            return BackupError(
                .temporary, subject: path, message,
                advice: "the medium may be dying; see the kernel log")
        case EMFILE, ENFILE, ENOMEM, EAGAIN, EBUSY, EINTR, ETIMEDOUT:
            return BackupError(.temporary, subject: path, message)
        default:
            return BackupError(.permanent, subject: path, message)
        }
    }

    /// How an owner makes a folder for the user that we run as.
    static func making(_ path: String) -> String {
        guard let entry = getpwuid(geteuid()) else { return "make the folder first" }
        let user = String(cString: entry.pointee.pw_name)
        return "make the folder first: sudo install -d -o \(user) -m 700 \(path)"
    }

    /// Whether there is anything at a path; a link counts, wherever it leads.
    static func exists(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0
    }

    /// A whole file; nil when there is none.
    ///
    /// - Parameter limit: a larger one is an error, in bytes.
    static func read(_ path: String, limit: Int) throws(BackupError) -> [UInt8]? {
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard file >= 0 else {
            if errno == ENOENT { return nil }
            throw error(path, "read")
        }
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0 else { throw error(path, "read") }
        guard status.st_mode & S_IFMT == S_IFREG, status.st_size <= limit else {
            throw BackupError(
                .damaged, subject: path, "this is no file of at most \(limit) bytes")
        }
        var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
        var count = 0
        while count < bytes.count {
            let more = bytes.withUnsafeMutableBytes { buffer in
                Glibc.read(file, buffer.baseAddress.map { $0 + count }, buffer.count - count)
            }
            if more < 0 {
                if errno == EINTR { continue }
                throw error(path, "read")
            }
            if more == 0 { break }
            count += more
        }
        bytes.removeLast(bytes.count - count)
        return bytes
    }

    /// Writes all of some bytes to a descriptor.
    static func write(
        _ bytes: UnsafeRawBufferPointer, to file: Int32, _ path: String
    ) throws(BackupError) {
        var count = 0
        while count < bytes.count {
            let more = Glibc.write(file, bytes.baseAddress.map { $0 + count }, bytes.count - count)
            if more < 0 {
                if errno == EINTR { continue }
                throw error(path, "write")
            }
            count += more
        }
    }

    /// Writes a file under another name, syncs it and renames it, so that it is there whole or as
    /// it was, whatever happens.
    static func replace(_ path: String, _ bytes: [UInt8], mode: mode_t) throws(BackupError) {
        let temporary = path + ".new"
        unlink(temporary)
        let file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode)
        guard file >= 0 else { throw error(path, "write") }
        var problem: BackupError?
        do {
            // Not within `withUnsafeBytes`, which forgets the type of the error.
            let buffer = UnsafeMutableRawBufferPointer.allocate(
                byteCount: bytes.count, alignment: 1)
            defer { buffer.deallocate() }
            buffer.copyBytes(from: bytes)
            try write(UnsafeRawBufferPointer(buffer), to: file, path)
            if fchmod(file, mode) != 0 || fsync(file) != 0 { problem = error(path, "write") }
        } catch {
            problem = error
        }
        close(file)
        if problem == nil, rename(temporary, path) != 0 { problem = error(path, "write") }
        if let problem {
            unlink(temporary)
            throw problem
        }
        try syncFolder(parent(of: path))
    }

    /// Writes a file that is not there yet, and that nobody needs after a power cut.
    static func writeNew(_ path: String, _ bytes: [UInt8], mode: mode_t) throws(BackupError) {
        let file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode)
        guard file >= 0 else { throw error(path, "write") }
        defer { close(file) }
        try append(bytes[...], to: file, path)
    }

    /// Makes what was created, renamed or removed in a folder durable.
    static func syncFolder(_ path: String) throws(BackupError) {
        let folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { throw error(path, "open") }
        defer { close(folder) }
        // Some network file systems know no such thing for folders.
        guard fsync(folder) == 0 || errno == EINVAL || errno == EBADF else {
            throw error(path, "sync")
        }
    }

    /// The folder that a path lies in.
    static func parent(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    /// Makes a folder and those above it; one that exists is left as it is.
    static func makeFolder(_ path: String, mode: mode_t = 0o700) throws(BackupError) {
        if mkdir(path, mode) == 0 { return }
        switch errno {
        case EEXIST:
            var status = stat()
            guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
                throw BackupError(.permanent, subject: path, "this is not a folder")
            }
        case ENOENT where path != "/" && path != ".":
            try makeFolder(parent(of: path), mode: mode)
            guard mkdir(path, mode) == 0 || errno == EEXIST else { throw error(path, "make") }
        default:
            throw error(path, "make")
        }
    }

    /// The names in a folder, without `.` and `..`, as bytes.
    static func names(in path: String) throws(BackupError) -> [[UInt8]] {
        guard let folder = opendir(path) else { throw error(path, "list") }
        defer { closedir(folder) }
        var names: [[UInt8]] = []
        while true {
            errno = 0
            guard let entry = Glibc.readdir(folder) else {
                guard errno == 0 else { throw error(path, "list") }
                return names
            }
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
            if name != [0x2E], name != [0x2E, 0x2E] { names.append(name) }
        }
    }

    /// Removes a file, or a folder with everything in it, without following links. What is gone
    /// already is no failure.
    static func remove(_ path: String) throws(BackupError) {
        if unlink(path) == 0 || errno == ENOENT { return }
        guard errno == EISDIR || errno == EPERM else { throw error(path, "remove") }
        let names = try names(in: path)
        let folder = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard folder >= 0 else { throw error(path, "remove") }
        defer { close(folder) }
        for name in names { try remove(name, in: folder, path) }
        guard rmdir(path) == 0 || errno == ENOENT else { throw error(path, "remove") }
    }

    private static func remove(
        _ name: [UInt8], in folder: Int32, _ path: String
    ) throws(BackupError) {
        let text = (name + [0]).map { CChar(bitPattern: $0) }
        if unlinkat(folder, text, 0) == 0 || errno == ENOENT { return }
        guard errno == EISDIR || errno == EPERM else { throw error(path, "remove what is in it") }
        let inner = openat(folder, text, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard inner >= 0 else { throw error(path, "remove what is in it") }
        // The stream has a descriptor of its own to close.
        guard let stream = fdopendir(dup(inner)) else {
            close(inner)
            throw error(path, "remove what is in it")
        }
        var names: [[UInt8]] = []
        while let entry = Glibc.readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
            if name != [0x2E], name != [0x2E, 0x2E] { names.append(name) }
        }
        closedir(stream)
        defer { close(inner) }
        for name in names { try remove(name, in: inner, path) }
        guard unlinkat(folder, text, AT_REMOVEDIR) == 0 || errno == ENOENT else {
            throw error(path, "remove what is in it")
        }
    }
}
