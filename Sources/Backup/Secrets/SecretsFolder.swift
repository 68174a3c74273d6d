// What the folder of secrets holds, as a tar archive; the same bytes as long as it is the same.

internal import Glibc

/// Walks through a folder and gives it as an archive, sorted by name. Follows no links.
struct SecretsFolder {
    let path: String
    /// Paths below the folder that are left out.
    let excluded: Set<String>
    let limits: SecretsArchive.Limits
    /// Files from elsewhere, by their names in the archive.
    let more: [(name: String, place: String)]
    /// Hears what is not kept, and why.
    let warn: (String) -> Void
    /// Gets the archive.
    let output: (ArraySlice<UInt8>) throws(BackupError) -> Void

    private(set) var entries = 0
    private var bytes: Int64 = 0

    init(
        _ path: String, excluding: Set<String>, limits: SecretsArchive.Limits,
        more: [(name: String, place: String)] = [],
        warn: @escaping (String) -> Void,
        output: @escaping (ArraySlice<UInt8>) throws(BackupError) -> Void
    ) {
        self.path = path
        excluded = excluding
        self.limits = limits
        self.more = more
        self.warn = warn
        self.output = output
    }

    /// Gives all of it, and the archive's end.
    mutating func read() throws(BackupError) {
        let folder = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard folder >= 0 else { throw Files.error(path, "read") }
        defer { close(folder) }
        try read(folder, below: [])
        for (name, place) in more { try add(place, as: name) }
        try output([UInt8](repeating: 0, count: 2 * TarHeader.blockLength)[...])
    }

    private mutating func read(_ folder: Int32, below parent: [UInt8]) throws(BackupError) {
        for name in try names(in: folder) {
            let bytes = parent.isEmpty ? name : parent + [UInt8(ascii: "/")] + name
            let place = "\(path)/\(String(decoding: bytes, as: UTF8.self))"
            guard !excluded.contains(String(decoding: bytes, as: UTF8.self)) else { continue }
            guard let inner = SnapshotPath(bytes) else {
                throw tooLong(place)
            }
            let file = openat(
                folder, (name + [0]).map { CChar(bitPattern: $0) },
                O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
            guard file >= 0 else {
                switch errno {
                case ENOENT: continue
                case ELOOP: warn("\(place) is a link and not in the backup; put the file there")
                case ENXIO: warn("\(place) is no file and not in the backup")
                default: throw Files.error(place, "read")
                }
                continue
            }
            defer { close(file) }
            var status = stat()
            guard fstat(file, &status) == 0 else { throw Files.error(place, "read") }
            switch status.st_mode & S_IFMT {
            case S_IFDIR:
                try add(inner, status, content: nil, place)
                try read(file, below: bytes)
            case S_IFREG:
                try add(inner, status, content: try content(of: file, place), place)
            default:
                warn("\(place) is no file and not in the backup")
            }
        }
    }

    /// A file from elsewhere, which may be reached by links.
    private mutating func add(_ place: String, as name: String) throws(BackupError) {
        guard let inner = SnapshotPath(name) else { throw tooLong(place) }
        let file = open(place, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
        guard file >= 0 else {
            warn("\(Files.error(place, "read")); it is not in the backup")
            return
        }
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0 else { throw Files.error(place, "read") }
        guard status.st_mode & S_IFMT == S_IFREG else {
            warn("\(place) is no file and not in the backup")
            return
        }
        try add(inner, status, content: try content(of: file, place), place)
    }

    private mutating func add(
        _ inner: SnapshotPath, _ status: stat, content: [UInt8]?, _ place: String
    ) throws(BackupError) {
        entries += 1
        bytes += Int64(content?.count ?? 0)
        guard entries <= limits.entries, bytes <= limits.total else {
            throw BackupError(
                .permanent, subject: path, "there is more in it than secrets can be",
                advice: "move what is no secret elsewhere")
        }
        let header = TarHeader(
            path: inner, isFolder: content == nil, mode: UInt32(status.st_mode) & 0o777,
            size: Int64(content?.count ?? 0), modified: Int64(status.st_mtim.tv_sec))
        guard let block = header.block() else { throw tooLong(place) }
        try output(block[...])
        guard let content, !content.isEmpty else { return }
        try output(content[...])
        let over = content.count % TarHeader.blockLength
        if over > 0 {
            try output([UInt8](repeating: 0, count: TarHeader.blockLength - over)[...])
        }
    }

    /// All of a file, so that its size is known before its first byte is written.
    private func content(of file: Int32, _ place: String) throws(BackupError) -> [UInt8] {
        var content: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = Glibc.read(file, &piece, piece.count)
            if count < 0 {
                if errno == EINTR { continue }
                throw Files.error(place, "read")
            }
            if count == 0 { return content }
            content += piece[..<count]
            guard content.count <= limits.file else {
                throw BackupError(
                    .permanent, subject: place, "this is too large for a secret",
                    advice: "move it out of the folder")
            }
        }
    }

    private func names(in folder: Int32) throws(BackupError) -> [[UInt8]] {
        // The stream has a descriptor of its own to close.
        let copy = fcntl(folder, F_DUPFD_CLOEXEC, 0)
        guard copy >= 0, let stream = fdopendir(copy) else {
            let problem = Files.error(path, "list")
            if copy >= 0 { close(copy) }
            throw problem
        }
        defer { closedir(stream) }
        var names: [[UInt8]] = []
        while true {
            errno = 0
            guard let entry = readdir(stream) else {
                guard errno == 0 else { throw Files.error(path, "list") }
                return names.sorted { $0.lexicographicallyPrecedes($1) }
            }
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
            if name != [0x2E], name != [0x2E, 0x2E] { names.append(name) }
        }
    }

    private func tooLong(_ place: String) -> BackupError {
        BackupError(
            .permanent, subject: place, "its path is too long for the archive of secrets",
            advice: "give it a shorter name")
    }
}
