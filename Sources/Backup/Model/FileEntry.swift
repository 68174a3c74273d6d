// One file of a snapshot as its lists describe it.

/// A SHA-256 digest.
public struct ContentHash: Sendable, Hashable, CustomStringConvertible {
    /// Its length in bytes.
    public static let length = 32
    private let words: (UInt64, UInt64, UInt64, UInt64)

    /// Nil unless there are 32 bytes.
    public init?(_ bytes: some Collection<UInt8>) {
        guard bytes.count == Self.length else { return nil }
        var words: [UInt64] = [0, 0, 0, 0]
        for (index, byte) in bytes.enumerated() {
            words[index / 8] = words[index / 8] << 8 | UInt64(byte)
        }
        self.words = (words[0], words[1], words[2], words[3])
    }

    /// Reads 64 lower-case hexadecimal digits.
    public init?(hexadecimal text: some StringProtocol) {
        guard text.utf8.count == 2 * Self.length, let bytes = Hexadecimal.bytes(text.utf8) else {
            return nil
        }
        self.init(bytes)
    }

    /// The 32 bytes.
    public var bytes: [UInt8] {
        [words.0, words.1, words.2, words.3].flatMap { word in
            (0..<8).map { UInt8(truncatingIfNeeded: word >> (56 - 8 * UInt64($0))) }
        }
    }

    /// 64 hexadecimal digits.
    public var description: String { Hexadecimal.text(bytes) }

    /// Byte by byte.
    public static func == (left: ContentHash, right: ContentHash) -> Bool {
        left.words == right.words
    }

    /// One word of it is as good as all.
    public func hash(into hasher: inout Hasher) { hasher.combine(words.0) }
}

/// One file, folder or link of a snapshot. Folders are listed only where nothing is in them.
public struct FileEntry: Sendable, Equatable {
    /// What it is. Devices, sockets and pipes are not kept.
    public enum Kind: Sendable, Equatable {
        case file(size: Int64, hash: ContentHash)
        case folder
        /// Only from paths that the owner added; where it leads, as it was.
        case link(to: [UInt8])
    }

    /// Where it is in the snapshot.
    public var path: SnapshotPath
    /// What it is.
    public var kind: Kind
    /// Permission bits (0o7777).
    public var mode: UInt32
    /// Nanoseconds since 1970.
    public var modified: Int64
    /// The MD5 digest of a file's content, for targets at which rsync is asked for it; else nil.
    public var md5: MD5Digest?

    /// Creates an entry.
    public init(
        path: SnapshotPath, kind: Kind, mode: UInt32, modified: Int64, md5: MD5Digest? = nil
    ) {
        self.path = path
        self.kind = kind
        self.mode = mode
        self.modified = modified
        self.md5 = md5
    }

    /// Bytes of content; 0 unless it is a file.
    public var size: Int64 {
        if case .file(let size, _) = kind { size } else { 0 }
    }

    /// The digest of a file's content.
    public var hash: ContentHash? {
        if case .file(_, let hash) = kind { hash } else { nil }
    }
}

/// What rsync calls the checksum of a file (`--checksum-choice=md5`). Finds damage, not malice:
/// that is what the SHA-256 digest is for.
public struct MD5Digest: Sendable, Hashable {
    /// The first and the last 8 bytes, big-endian.
    public let high: UInt64, low: UInt64

    /// Nil unless there are 16 bytes.
    public init?(_ bytes: some Collection<UInt8>) {
        guard bytes.count == 16 else { return nil }
        high = bytes.prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
        low = bytes.suffix(8).reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// 32 hexadecimal digits.
    public var hexadecimal: String {
        [high, low].map { word in
            let text = String(word, radix: 16)
            return String(repeating: "0", count: 16 - text.count) + text
        }.joined()
    }
}
