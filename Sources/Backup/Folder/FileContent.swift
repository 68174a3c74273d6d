// Reading a stored file to its end, with its digest.

internal import Glibc
internal import TLS

/// Reads files in pieces. One for a whole check, for its buffer.
struct FileContent {
    private var piece = [UInt8](repeating: 0, count: 262_144)

    /// What a file holds.
    struct Digest {
        var size: Int64
        var hash: ContentHash
    }

    /// Reads a file; nil when reading failed, with the reason in `errno`.
    ///
    /// - Parameters:
    ///   - isFresh: asks the kernel to forget what it has of the file first, so that it comes from
    ///     the medium.
    ///   - read: hears of each piece.
    mutating func digest(
        _ file: Int32, isFresh: Bool, read: (ArraySlice<UInt8>) throws(BackupError) -> Void
    ) throws(BackupError) -> Digest? {
        if isFresh { posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) }
        let digest = StreamingDigest(.sha256)
        var size: Int64 = 0
        while true {
            let count = Glibc.read(file, &piece, piece.count)
            if count < 0 {
                if errno == EINTR { continue }
                return nil
            }
            if count == 0 { break }
            digest.update(piece[..<count])
            try read(piece[..<count])
            size += Int64(count)
        }
        if isFresh { posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) }
        guard let hash = ContentHash(digest.finish()) else { return nil }
        return Digest(size: size, hash: hash)
    }
}
