// What there is to back up: walks the folders and knows each file's digest. A file that has the size
// and time that it had in the last snapshot is not read again.

internal import Glibc
internal import TLS

/// Walks the sources of a snapshot.
struct SourceScan {
    /// A file or folder of this machine and where it goes in the snapshot.
    struct Root: Sendable {
        var folder: SnapshotPath
        /// Absolute, without a slash at the end. If it is a link, what it leads to is meant, except
        /// where links are kept.
        var place: String
        /// Links are listed as links; elsewhere they are left out. They are never followed.
        var keepsLinks = false
        var excludes: [ExcludePattern] = []
    }

    var roots: [Root]
    /// The files of the last snapshot, for their digests.
    var previous: FileList?
    var wantsMD5 = false
    var cancellation: Cancellation
    var progress: @Sendable (Progress) -> Void
    /// Hears of files that cannot be read and the like, one sentence each, at most a hundred.
    var warn: @Sendable (String) -> Void

    /// What was found.
    struct Result {
        var list: FileList
        /// Files of the list and their bytes.
        var files = 0
        var bytes: Int64 = 0
        /// Bytes that had to be read, for their digest was not known.
        var hashedBytes: Int64 = 0
        /// Things that a person should know of; the list is incomplete when there are any.
        var warnings = 0
        /// The owner's own files and folders that cannot be read, absolute: whatever copies the rest
        /// has to leave them out, too.
        var leftOut: Set<[UInt8]> = []
    }

    /// Walks everything. A root that is not there is left out without a word.
    func run() throws(BackupError) -> Result {
        var walk = Walk(scan: self)
        for root in roots { try walk.add(root) }
        walk.report(always: true)
        var result = Result(list: FileList(walk.entries))
        result.hashedBytes = walk.hashedBytes
        result.warnings = walk.warnings
        result.leftOut = walk.leftOut
        for entry in result.list.entries {
            guard case .file(let size, _) = entry.kind else { continue }
            result.files += 1
            result.bytes += size
        }
        return result
    }
}

/// A walk under way.
private struct Walk {
    let scan: SourceScan
    var entries: [FileEntry] = []
    var warnings = 0
    var hashedBytes: Int64 = 0
    var leftOut: Set<[UInt8]> = []
    private var root: SourceScan.Root
    private var device: dev_t = 0
    private var seen: Int64 = 0
    private var sinceReport = 0
    private var said: Set<String> = []
    private var piece = [UInt8](repeating: 0, count: 262_144)

    init(scan: SourceScan) {
        self.scan = scan
        root = SourceScan.Root(folder: Self.noFolder, place: "/")
        entries.reserveCapacity(scan.previous?.entries.count ?? 0)
    }

    private static let noFolder = SnapshotPath(valid: Array("uploads".utf8))

    mutating func add(_ root: SourceScan.Root) throws(BackupError) {
        self.root = root
        var status = stat()
        guard (root.keepsLinks ? lstat : stat)(root.place, &status) == 0 else {
            if errno == ENOENT { return }
            return leaveOut(Array(root.place.utf8))
        }
        device = status.st_dev
        if status.st_mode & S_IFMT == S_IFDIR {
            let folder = open(root.place, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
            guard folder >= 0 else {
                return leaveOut(Array(root.place.utf8))
            }
            try walk(folder, root.folder.bytes, Array(root.place.utf8), status)
        } else {
            let flags = root.keepsLinks ? O_NOFOLLOW : 0
            try add(
                at: AT_FDCWD, Array(root.place.utf8), root.folder.bytes, Array(root.place.utf8),
                status, flags: flags)
        }
    }

    private static func words(_ code: Int32) -> String { String(cString: strerror(code)) }

    /// Closes the descriptor.
    private mutating func walk(
        _ descriptor: Int32, _ path: [UInt8], _ place: [UInt8], _ status: stat
    ) throws(BackupError) {
        try scan.cancellation.check()
        guard let folder = fdopendir(descriptor) else {
            close(descriptor)
            return warn("\(text(place)) cannot be read: \(Self.words(errno))")
        }
        defer { closedir(folder) }
        let before = entries.count
        while true {
            errno = 0
            guard let item = readdir(folder) else {
                if errno != 0 { warn("\(text(place)) cannot be listed: \(Self.words(errno))") }
                break
            }
            let name = withUnsafeBytes(of: &item.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
            if name == [0x2E] || name == [0x2E, 0x2E] { continue }
            try visit(name, in: descriptor, path, place)
        }
        // A folder with nothing in it would be lost otherwise.
        if entries.count == before { append(path, .folder, status) }
    }

    private mutating func visit(
        _ name: [UInt8], in folder: Int32, _ path: [UInt8], _ place: [UInt8]
    ) throws(BackupError) {
        let slash = [UInt8(ascii: "/")]
        let place = place + slash + name
        let path = path + slash + name
        var status = stat()
        let text = (name + [0]).map { CChar(bitPattern: $0) }
        guard fstatat(folder, text, &status, AT_SYMLINK_NOFOLLOW) == 0 else {
            // Gone since it was listed.
            if errno != ENOENT { leaveOut(place) }
            return
        }
        let isFolder = status.st_mode & S_IFMT == S_IFDIR
        for exclude in root.excludes where exclude.matches(place, isFolder: isFolder) { return }
        guard isFolder else {
            return try add(at: folder, name, path, place, status, flags: O_NOFOLLOW)
        }
        guard status.st_dev == device else {
            return warn("\(self.text(place)) is another file system and is left out")
        }
        guard path.count(where: { $0 == UInt8(ascii: "/") }) < SnapshotPath.deepest - 1 else {
            return warn("\(self.text(place)) is too deep and is left out")
        }
        let inner = openat(folder, text, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard inner >= 0 else {
            if errno != ENOENT { leaveOut(place) }
            return
        }
        try walk(inner, path, place, status)
    }

    private mutating func add(
        at folder: Int32, _ name: [UInt8], _ path: [UInt8], _ place: [UInt8], _ status: stat,
        flags: Int32
    ) throws(BackupError) {
        switch status.st_mode & S_IFMT {
        case S_IFREG:
            if let known = known(path, status) {
                seen += 1
                entries.append(known)
                report()
            } else {
                try hash(at: folder, name, path, place, flags: flags)
            }
        case S_IFLNK where root.keepsLinks:
            let name = (name + [0]).map { CChar(bitPattern: $0) }
            var target = [UInt8](repeating: 0, count: SnapshotPath.longest)
            let count = target.withUnsafeMutableBytes { buffer -> Int in
                guard let start = buffer.baseAddress else { return 0 }
                return readlinkat(
                    folder, name, start.assumingMemoryBound(to: CChar.self), buffer.count)
            }
            guard count > 0, count < target.count else { return }
            append(path, .link(to: Array(target[..<count])), status)
        case S_IFLNK: warnOnce("links", "\(text(place)) is a link and is left out, like others")
        default:
            warnOnce(
                "special", "\(text(place)) is a device, socket or pipe and is left out, like others"
            )
        }
        guard entries.count <= FileListCodec.mostEntries else {
            throw BackupError(
                .permanent, subject: root.place,
                "there are more than \(FileListCodec.mostEntries) files",
                advice: "exclude some of them")
        }
    }

    private mutating func append(_ path: [UInt8], _ kind: FileEntry.Kind, _ status: stat) {
        guard let path = SnapshotPath(path) else {
            return warn("\(text(path)) has a name that is too long and is left out")
        }
        entries.append(
            FileEntry(
                path: path, kind: kind, mode: status.st_mode & 0o7777,
                modified: nanoseconds(status)))
    }

    /// The entry of the last snapshot, when the file has not changed since. Shares its path.
    private func known(_ path: [UInt8], _ status: stat) -> FileEntry? {
        guard let previous = scan.previous, let index = previous.index(ofBytes: path) else {
            return nil
        }
        var entry = previous.entries[index]
        guard case .file(let size, _) = entry.kind, size == status.st_size,
            entry.modified == nanoseconds(status), entry.md5 != nil || !scan.wantsMD5
        else { return nil }
        entry.mode = status.st_mode & 0o7777
        if !scan.wantsMD5 { entry.md5 = nil }
        return entry
    }

    // MARK: Reading

    private mutating func hash(
        at folder: Int32, _ name: [UInt8], _ path: [UInt8], _ place: [UInt8], flags: Int32
    ) throws(BackupError) {
        guard let snapshotPath = SnapshotPath(path) else {
            return warn("\(text(place)) has a name that is too long and is left out")
        }
        let name = (name + [0]).map { CChar(bitPattern: $0) }
        for attempt in 0..<2 {
            let file = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | flags)
            guard file >= 0 else {
                if errno != ENOENT { leaveOut(place) }
                return
            }
            defer { close(file) }
            var status = stat()
            guard fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return }
            guard let entry = try read(file, snapshotPath, status) else {
                return leaveOut(place)
            }
            var after = stat()
            let isSteady =
                fstat(file, &after) == 0 && nanoseconds(after) == nanoseconds(status)
                && after.st_size == status.st_size && entry.size == status.st_size
            if !isSteady && attempt == 0 { continue }
            // Its entry has the time from before, so the next run reads it again.
            if !isSteady { warn("\(text(place)) changes while it is read") }
            seen += 1
            entries.append(entry)
            return report()
        }
    }

    /// Nil when it cannot be read; `errno` says why.
    private mutating func read(
        _ file: Int32, _ path: SnapshotPath, _ status: stat
    ) throws(BackupError) -> FileEntry? {
        let sha256 = StreamingDigest(.sha256)
        let md5 = scan.wantsMD5 ? StreamingDigest(.md5) : nil
        var size: Int64 = 0
        while true {
            try scan.cancellation.check()
            let count = Glibc.read(file, &piece, piece.count)
            if count < 0 {
                if errno == EINTR { continue }
                return nil
            }
            if count == 0 { break }
            sha256.update(piece[..<count])
            md5?.update(piece[..<count])
            size += Int64(count)
            hashedBytes += Int64(count)
            sinceReport += count / 1024
            report()
        }
        guard let hash = ContentHash(sha256.finish()) else { return nil }
        return FileEntry(
            path: path, kind: .file(size: size, hash: hash), mode: status.st_mode & 0o7777,
            modified: nanoseconds(status), md5: md5.flatMap { MD5Digest($0.finish()) })
    }

    // MARK: Saying

    mutating func report(always: Bool = false) {
        sinceReport += 1
        guard always || sinceReport > 8192 else { return }
        sinceReport = 0
        scan.progress(Progress(.files, bytes: hashedBytes))
    }

    private mutating func warn(_ text: String) {
        warnings += 1
        if warnings <= 100 { scan.warn(text) }
    }

    /// Says that something cannot be read; `errno` says why.
    private mutating func leaveOut(_ place: [UInt8]) {
        warn("\(text(place)) cannot be read: \(Self.words(errno))")
        // Of our own everything has to be there.
        if root.folder.isBelow("extra") { leftOut.insert(place) }
    }

    private mutating func warnOnce(_ kind: String, _ text: String) {
        if said.insert(kind).inserted { warn(text) }
    }

    private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
}

/// A file's time of modification since 1970; the last representable one for times beyond.
func nanoseconds(_ status: stat) -> Int64 {
    let (seconds, overflow) = Int64(status.st_mtim.tv_sec).multipliedReportingOverflow(
        by: 1_000_000_000)
    let (sum, overflowToo) = seconds.addingReportingOverflow(Int64(status.st_mtim.tv_nsec))
    return overflow || overflowToo ? .max : sum
}
