// What is remembered of the database in a target's last snapshot: a short digest of each page, and
// the end of the chain of its logs. With it the next run finds what changed without asking the
// target, and whatever does not fit is no harm: a whole copy is made then.

internal import Foundation
internal import Glibc
internal import Storage
internal import TLS

/// The first 16 bytes of a page's digest.
struct PageDigest: Equatable {
    var high: UInt64 = 0
    var low: UInt64 = 0
}

/// The digests of an image's pages.
struct PageDigests {
    /// What they are of.
    struct Head: Codable, Equatable {
        /// `identity` of the record.
        var image: String
        var pageSize: Int
        var pageCount: Int
        /// Where the next log goes on; nil while there is only the base.
        var chain: WriteAheadLog?
        /// SHA-256 of the digests, hexadecimal.
        var sha256: String
    }

    var head: Head
    /// Of page 1 and so on.
    var digests: [PageDigest]

    /// Bytes before the digests.
    private static let headLength = 4096
    private static let width = MemoryLayout<PageDigest>.stride

    /// What tells an image from all others.
    static func identity(of record: Manifest.Database) -> String {
        let parts = [record.base] + record.changes
        let text =
            "\(record.name) \(record.pageSize) \(record.pageCount) "
            + parts.map(\.sha256).joined(separator: " ")
        return ContentHash(DigestAlgorithm.sha256.hash(Array(text.utf8)))?.description ?? ""
    }

    /// Reads what was remembered; nil when there is nothing, or not of that image, or damaged.
    static func load(_ path: String, image: String) -> PageDigests? {
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG,
            let bytes = readBytes(file, count: headLength)
        else { return nil }
        let lines = bytes.split(separator: UInt8(ascii: "\n"), maxSplits: 2)
        guard lines.count == 3,
            ContentHash(hexadecimal: String(decoding: lines[0], as: UTF8.self))?.bytes
                == DigestAlgorithm.sha256.hash(Array(lines[1])),
            let head = try? JSONDecoder().decode(Head.self, from: Data(lines[1])),
            head.image == image, head.pageCount >= 0,
            head.pageCount <= Int(status.st_size) / width,
            Int(status.st_size) == headLength + head.pageCount * width
        else { return nil }
        var isRead = false
        let digests = [PageDigest](unsafeUninitializedCapacity: head.pageCount) { buffer, count in
            let raw = UnsafeMutableRawBufferPointer(buffer)
            isRead = fill(raw, from: file)
            count = isRead ? head.pageCount : 0
        }
        let digest = StreamingDigest(.sha256)
        digests.withUnsafeBytes { digest.update($0) }
        guard isRead, ContentHash(digest.finish())?.description == head.sha256 else { return nil }
        return PageDigests(head: head, digests: digests)
    }

    private static func readBytes(_ file: Int32, count: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        return bytes.withUnsafeMutableBytes { fill($0, from: file) } ? bytes : nil
    }

    private static func fill(_ buffer: UnsafeMutableRawBufferPointer, from file: Int32) -> Bool {
        var done = 0
        while done < buffer.count {
            let more = read(file, buffer.baseAddress.map { $0 + done }, buffer.count - done)
            if more < 0, errno == EINTR { continue }
            guard more > 0 else { return false }
            done += more
        }
        return true
    }

    /// Writes and syncs them. A file that is not whole is not read again.
    mutating func write(to path: String) throws(BackupError) {
        let digest = StreamingDigest(.sha256)
        digests.withUnsafeBytes { digest.update($0) }
        head.pageCount = digests.count
        head.sha256 = ContentHash(digest.finish())?.description ?? ""
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        guard let text = try? encoder.encode(head) else {
            throw BackupError(.permanent, subject: path, "the memory cannot be encoded")
        }
        let hash = ContentHash(DigestAlgorithm.sha256.hash(Array(text)))?.description ?? ""
        var bytes = Array("\(hash)\n".utf8) + Array(text) + [UInt8(ascii: "\n")]
        guard bytes.count < Self.headLength else {
            throw BackupError(.permanent, subject: path, "the memory cannot be encoded")
        }
        bytes += [UInt8](repeating: UInt8(ascii: " "), count: Self.headLength - bytes.count)
        unlink(path)
        let file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard file >= 0 else { throw Files.error(path, "write") }
        defer { close(file) }
        var failure: BackupError?
        bytes.withUnsafeBytes { part in
            do throws(BackupError) { try Files.write(part, to: file, path) } catch {
                failure = error
            }
        }
        digests.withUnsafeBytes { part in
            guard failure == nil else { return }
            do throws(BackupError) { try Files.write(part, to: file, path) } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        guard fsync(file) == 0 else { throw Files.error(path, "write") }
    }
}

/// What was remembered, on its way to the writer: 8 MB for a database of 2 GB, which are not to be
/// there twice.
final class RememberedPages {
    let head: PageDigests.Head
    private var digests: [PageDigest]

    init(_ remembered: PageDigests) {
        head = remembered.head
        digests = remembered.digests
    }

    /// The digests, once.
    func take() -> [PageDigest] {
        defer { digests = [] }
        return digests
    }
}
