// SQLite's write-ahead log (sqlite.org/fileformat2.html section 4): its header, its frames and the
// checksums that go on from frame to frame.

internal import Glibc

/// The end of a log: what the next frame goes on from.
public struct WriteAheadLog: Sendable, Equatable, Codable {
    /// Bytes of a log's header.
    public static let headerLength = 32
    /// Bytes before each page.
    public static let frameHeaderLength = 24
    /// The checksums are of little-endian words.
    private static let magic: UInt32 = 0x377F_0682
    private static let version: UInt32 = 3_007_000

    /// Bytes of a page: a power of two, 512 to 65,536.
    public let pageSize: Int
    /// Tell this log's frames from others'.
    public let salt: [UInt32]
    /// The checksum so far.
    private(set) var checksum: (UInt32, UInt32) {
        get { (first, second) }
        set { (first, second) = newValue }
    }
    private var first: UInt32 = 0
    private var second: UInt32 = 0

    /// A log without frames.
    public init(pageSize: Int, salt: (UInt32, UInt32)) {
        self.pageSize = pageSize
        self.salt = [salt.0, salt.1]
        let bytes = fields
        bytes.withUnsafeBytes { Self.add($0, to: &first, &second) }
    }

    /// Reads a log's header; nil when it is none.
    public init?(header: UnsafeRawBufferPointer) {
        guard header.count >= Self.headerLength else { return nil }
        func word(_ index: Int) -> UInt32 {
            UInt32(bigEndian: header.loadUnaligned(fromByteOffset: 4 * index, as: UInt32.self))
        }
        let pageSize = Int(word(2))
        guard word(0) == Self.magic, word(1) == Self.version, Self.isPageSize(pageSize) else {
            return nil
        }
        self.init(pageSize: pageSize, salt: (word(4), word(5)))
        guard word(6) == first, word(7) == second else { return nil }
    }

    /// What SQLite takes for one.
    public static func isPageSize(_ size: Int) -> Bool {
        (512...65_536).contains(size) && size & (size - 1) == 0
    }

    /// The header without its checksum.
    private var fields: [UInt8] {
        Self.bytes([
            Self.magic, Self.version, UInt32(clamping: pageSize), 0, salt.first ?? 0,
            salt.last ?? 0,
        ])
    }

    /// The header; of a log without frames only.
    public var header: [UInt8] { fields + Self.bytes([first, second]) }

    /// Bytes of a frame.
    public var frameLength: Int { Self.frameHeaderLength + pageSize }

    /// Fills the header of the next frame, whose page is in place already.
    ///
    /// - Parameter commit: pages of the database, in the last frame of a transaction; else 0.
    public mutating func seal(
        _ frame: UnsafeMutableRawBufferPointer, page: UInt32, commit: UInt32
    ) {
        guard frame.count >= frameLength else { return }
        frame.copyBytes(
            from: Self.bytes([page, commit, salt.first ?? 0, salt.last ?? 0, 0, 0]))
        addFrame(UnsafeRawBufferPointer(frame))
        let checksum = Self.bytes([first, second])
        for (index, byte) in checksum.enumerated() { frame[16 + index] = byte }
    }

    /// A frame as it was read.
    public struct Frame: Sendable {
        /// Its page's number, from 1.
        public var page: UInt32
        /// Pages of the database, in the last frame of a transaction; else 0.
        public var commit: UInt32
    }

    /// Reads the next frame; nil when it is not this log's next.
    public mutating func open(_ frame: UnsafeRawBufferPointer) -> Frame? {
        guard frame.count >= frameLength else { return nil }
        func word(_ index: Int) -> UInt32 {
            UInt32(bigEndian: frame.loadUnaligned(fromByteOffset: 4 * index, as: UInt32.self))
        }
        guard word(0) > 0, word(2) == salt.first, word(3) == salt.last else { return nil }
        addFrame(frame)
        guard word(4) == first, word(5) == second else { return nil }
        return Frame(page: word(0), commit: word(1))
    }

    private mutating func addFrame(_ frame: UnsafeRawBufferPointer) {
        Self.add(UnsafeRawBufferPointer(rebasing: frame[..<8]), to: &first, &second)
        let page = frame[Self.frameHeaderLength..<frameLength]
        Self.add(UnsafeRawBufferPointer(rebasing: page), to: &first, &second)
    }

    private static func add(
        _ bytes: UnsafeRawBufferPointer, to first: inout UInt32, _ second: inout UInt32
    ) {
        var (a, b) = (first, second)
        var offset = 0
        while offset + 8 <= bytes.count {
            let pair = UInt64(
                littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
            a = a &+ UInt32(truncatingIfNeeded: pair) &+ b
            b = b &+ UInt32(truncatingIfNeeded: pair >> 32) &+ a
            offset += 8
        }
        (first, second) = (a, b)
    }

    private static func bytes(_ words: [UInt32]) -> [UInt8] {
        words.flatMap { word in
            (0..<4).map { UInt8(truncatingIfNeeded: word >> (24 - 8 * UInt32($0))) }
        }
    }
}
