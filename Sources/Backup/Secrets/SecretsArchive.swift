// `secrets.age`: the folder of secrets as a tar archive, encrypted, the same on every target.
// By hand: `age -d -i backup.key secrets.age | tar -x`.

internal import Glibc
internal import TLS

/// Writes and unpacks it.
enum SecretsArchive {
    /// What an archive may hold at most.
    struct Limits {
        /// Files and folders.
        var entries: Int
        /// Bytes of one file; it has to fit memory.
        var file: Int64
        /// Bytes of all files.
        var total: Int64

        static let standard = Limits(entries: 10_000, file: 16 << 20, total: 256 << 20)
    }

    /// The digest of a folder's archive before encryption: of names, modes, times and contents.
    /// While it stays, so may the encrypted archive.
    static func digest(
        of folder: String, excluding: Set<String> = [],
        more: [(name: String, place: String)] = [], limits: Limits = .standard
    ) throws(BackupError) -> ContentHash {
        let digest = StreamingDigest(.sha256)
        var reader = SecretsFolder(
            folder, excluding: excluding, limits: limits, more: more, warn: { _ in },
            output: { digest.update($0) })
        try reader.read()
        return try hash(digest)
    }

    /// Writes the encrypted archive of a folder, whole or not at all, for its owner alone.
    ///
    /// - Parameters:
    ///   - excluding: paths below the folder, such as `backup.key`.
    ///   - more: files from elsewhere, by their names in the archive.
    ///   - warn: hears of links and other things that are not kept.
    /// - Returns: how many files and folders are in it, and what `digest` gives for it.
    static func write(
        folder: String, to file: String, key: RecoveryKey, excluding: Set<String> = [],
        more: [(name: String, place: String)] = [], limits: Limits = .standard,
        warn: @escaping (String) -> Void = { _ in }
    ) throws(BackupError) -> (entries: Int, digest: ContentHash) {
        let temporary = file + ".new"
        unlink(temporary)
        let target = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard target >= 0 else { throw Files.error(file, "write") }
        do throws(BackupError) {
            defer { close(target) }
            let digest = StreamingDigest(.sha256)
            let encryptor = try AgeEncryptor(recipient: key) { bytes throws(BackupError) in
                try write(bytes[...], to: target, file)
            }
            var reader = SecretsFolder(
                folder, excluding: excluding, limits: limits, more: more, warn: warn,
                output: { bytes throws(BackupError) in
                    digest.update(bytes)
                    try encryptor.write(bytes)
                })
            try reader.read()
            try encryptor.finish()
            guard fsync(target) == 0, rename(temporary, file) == 0 else {
                throw Files.error(file, "write")
            }
            return (reader.entries, try hash(digest))
        } catch {
            unlink(temporary)
            throw error
        }
    }

    /// Unpacks an archive into a folder, which is made if it is not there: folders 0700, files
    /// 0600, nothing outside, nothing in place of what is there. When it fails, what it has made
    /// is removed again.
    ///
    /// - Returns: how many files and folders it has made or found.
    @discardableResult
    static func extract(
        file: String, into folder: String, key: RecoveryKey, limits: Limits = .standard
    ) throws(BackupError) -> Int {
        let source = open(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        guard source >= 0 else { throw Files.error(file, "read") }
        defer { close(source) }
        let unpacked = try SecretsUnpacking(folder)
        do throws(BackupError) {
            let reader = TarReader(limits: limits, subject: file) {
                event throws(BackupError) in try unpacked.handle(event)
            }
            let decryptor = AgeDecryptor(key: key, subject: file) { bytes throws(BackupError) in
                try reader.write(bytes[...])
            }
            var piece = [UInt8](repeating: 0, count: 65_536)
            while true {
                let count = read(source, &piece, piece.count)
                if count < 0 {
                    if errno == EINTR { continue }
                    throw Files.error(file, "read")
                }
                if count == 0 { break }
                try decryptor.write(piece[..<count])
            }
            try decryptor.finish()
            try reader.finish()
            try unpacked.sync()
            return unpacked.count
        } catch {
            unpacked.removeAll()
            throw error
        }
    }

    /// Writes all of some bytes.
    static func write(
        _ bytes: ArraySlice<UInt8>, to file: Int32, _ path: String
    ) throws(BackupError) {
        try bytes.withUnsafeBytes { raw in
            Result { () throws(BackupError) in try Files.write(raw, to: file, path) }
        }.get()
    }

    private static func hash(_ digest: StreamingDigest) throws(BackupError) -> ContentHash {
        guard let hash = ContentHash(digest.finish()) else {
            throw BackupError(.temporary, subject: "secrets", "their digest cannot be computed")
        }
        return hash
    }
}
