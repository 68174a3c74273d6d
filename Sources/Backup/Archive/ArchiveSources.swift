// The bytes of a snapshot's files on this machine.

internal import Glibc
internal import TLS

/// Opens files by their paths in a snapshot, and follows no links.
struct ArchiveSources {
    private let places: [[UInt8]: String]

    init(_ sources: [(folder: SnapshotPath, place: String)]) {
        places = Dictionary(
            sources.map { ($0.folder.bytes, $0.place) }, uniquingKeysWith: { _, last in last })
    }

    /// The place of the longest folder that fits, and what is below it.
    private func place(of path: SnapshotPath) -> (place: String, rest: [ArraySlice<UInt8>])? {
        let components = path.components
        for count in stride(from: components.count, through: 1, by: -1) {
            let folder = Array(components[..<count].joined(separator: [UInt8(ascii: "/")]))
            if let place = places[folder] { return (place, Array(components[count...])) }
        }
        return nil
    }

    /// Nil when there is no such file any more, or something else in its place.
    func open(_ path: SnapshotPath) throws(BackupError) -> Int32? {
        guard let (place, rest) = place(of: path) else {
            throw BackupError(.permanent, subject: "\(path)", "nothing says where its content is")
        }
        let flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC
        // The place itself may be a link: its owner has named it.
        let placeFlags = rest.isEmpty ? flags : O_RDONLY | O_DIRECTORY | O_CLOEXEC
        var file = Glibc.open(place, placeFlags)
        for (index, component) in rest.enumerated() where file >= 0 {
            let name = component.map { CChar(bitPattern: $0) } + [0]
            let next = openat(
                file, name, index == rest.count - 1 ? flags : flags | O_DIRECTORY)
            let code = errno
            close(file)
            errno = code
            file = next
        }
        guard file >= 0 else {
            if [ENOENT, ENOTDIR, ELOOP].contains(errno) { return nil }
            throw Files.error("\(path)", "read")
        }
        var status = stat()
        guard fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            close(file)
            return nil
        }
        return file
    }
}

/// A file that is being read once, with its digest.
struct ArchiveReading {
    /// Bytes that were read.
    var size: Int64 = 0
    var hash: ContentHash?
    /// Nanoseconds since 1970, from before it was read.
    var modified: Int64 = 0
    var mode: UInt32 = 0

    /// Reads a file to the size that it has at the beginning.
    init(
        file: Int32, path: SnapshotPath, _ sink: (ArraySlice<UInt8>) throws(BackupError) -> Void
    ) throws(BackupError) {
        var status = stat()
        guard fstat(file, &status) == 0 else { throw Files.error("\(path)", "read") }
        mode = UInt32(status.st_mode) & 0o7777
        modified = Int64(status.st_mtim.tv_sec) &* 1_000_000_000 &+ Int64(status.st_mtim.tv_nsec)
        let end = Int64(status.st_size)
        let digest = StreamingDigest(.sha256)
        var piece = [UInt8](repeating: 0, count: 1 << 17)
        while size < end {
            let count = read(file, &piece, Int(min(end - size, Int64(piece.count))))
            if count == 0 { break }
            if count < 0 {
                guard errno == EINTR else { throw Files.error("\(path)", "read") }
                continue
            }
            digest.update(piece[..<count])
            size += Int64(count)
            try sink(piece[..<count])
        }
        hash = ContentHash(digest.finish())
    }
}
