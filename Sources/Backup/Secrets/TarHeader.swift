// The header of a file in a tar archive (POSIX.1-1988, "ustar"), which every system unpacks.

/// One file or folder of an archive. There are no links, devices or extensions.
struct TarHeader: Equatable {
    /// Headers, and the pieces that contents are padded to.
    static let blockLength = 512
    /// The highest number of eleven octal digits.
    static let highest: Int64 = 0o77_777_777_777

    /// Why a block is not such a header.
    enum Failure: Error, Equatable {
        /// Its checksum is wrong.
        case checksum
        /// Another kind of archive.
        case format
        /// A link, a device or an extension.
        case kind
        /// It leads outside.
        case path
        /// A number is none.
        case number
    }

    var path: SnapshotPath
    var isFolder: Bool
    /// Permission bits (0o777).
    var mode: UInt32
    /// Bytes of content; 0 for folders.
    var size: Int64
    /// Seconds since 1970.
    var modified: Int64

    // The fields' places.
    private static let nameField = 0..<100
    private static let modeField = 100..<108
    private static let userField = 108..<116
    private static let groupField = 116..<124
    private static let sizeField = 124..<136
    private static let timeField = 136..<148
    private static let checksumField = 148..<156
    private static let kindField = 156
    private static let magicField = 257..<265
    private static let prefixField = 345..<500
    private static let magic = Array("ustar\u{0}00".utf8)
    private static let slash = UInt8(ascii: "/")

    /// The block; nil when the path is too long: 255 bytes, with a `/` where it can be cut.
    func block() -> [UInt8]? {
        let full = path.bytes + (isFolder ? [Self.slash] : [])
        guard let cut = Self.cut(full) else { return nil }
        var block = [UInt8](repeating: 0, count: Self.blockLength)
        func set(_ field: Range<Int>, _ bytes: some Collection<UInt8>) {
            block.replaceSubrange(field.lowerBound..<(field.lowerBound + bytes.count), with: bytes)
        }
        set(Self.nameField, full[(cut == 0 ? 0 : cut + 1)...])
        set(Self.prefixField, full[..<cut])
        set(Self.modeField, Self.octal(Int64(mode & 0o777), 7))
        set(Self.userField, Self.octal(0, 7))
        set(Self.groupField, Self.octal(0, 7))
        set(Self.sizeField, Self.octal(isFolder ? 0 : size, 11))
        set(Self.timeField, Self.octal(modified, 11))
        block[Self.kindField] = UInt8(ascii: isFolder ? "5" : "0")
        set(Self.magicField, Self.magic)
        set(Self.checksumField, Self.octal(Self.checksum(block), 6) + [0, UInt8(ascii: " ")])
        return block
    }

    /// Where the prefix ends; 0 when there is no need for one.
    private static func cut(_ full: [UInt8]) -> Int? {
        if full.count <= nameField.count { return 0 }
        let first = full.count - nameField.count - 1
        let last = min(prefixField.count, full.count - 2)
        guard first <= last else { return nil }
        return (first...last).first { $0 > 0 && full[$0] == slash }
    }

    /// Reads a block.
    init(block: [UInt8]) throws(Failure) {
        guard block.count == Self.blockLength,
            Self.number(block[Self.checksumField]) == Self.checksum(block)
        else { throw .checksum }
        guard block[Self.magicField].elementsEqual(Self.magic) else { throw .format }
        switch block[Self.kindField] {
        case UInt8(ascii: "0"), 0: isFolder = false
        case UInt8(ascii: "5"): isFolder = true
        default: throw .kind
        }
        let prefix = block[Self.prefixField].prefix { $0 != 0 }
        var full = Array(block[Self.nameField].prefix { $0 != 0 })
        if !prefix.isEmpty { full = prefix + [Self.slash] + full }
        if isFolder, full.last == Self.slash { full.removeLast() }
        guard let path = SnapshotPath(full) else { throw .path }
        self.path = path
        guard let mode = Self.number(block[Self.modeField]),
            let size = Self.number(block[Self.sizeField]),
            let modified = Self.number(block[Self.timeField]), size == 0 || !isFolder
        else { throw .number }
        self.mode = UInt32(truncatingIfNeeded: mode & 0o777)
        self.size = size
        self.modified = modified
    }

    init(path: SnapshotPath, isFolder: Bool, mode: UInt32, size: Int64, modified: Int64) {
        self.path = path
        self.isFolder = isFolder
        self.mode = mode
        self.size = size
        self.modified = min(max(0, modified), Self.highest)
    }

    /// The sum of all bytes, its own field taken as spaces.
    private static func checksum(_ block: [UInt8]) -> Int64 {
        var sum: Int64 = 0
        for (index, byte) in block.enumerated() {
            sum += checksumField.contains(index) ? 0x20 : Int64(byte)
        }
        return sum
    }

    /// So many digits; the field's last byte stays zero.
    private static func octal(_ value: Int64, _ digits: Int) -> [UInt8] {
        (0..<digits).reversed().map { UInt8(ascii: "0") + UInt8((value >> (3 * Int64($0))) & 7) }
    }

    /// Digits, with spaces before and spaces or zeros behind; at most eleven, so nothing overflows.
    private static func number(_ field: ArraySlice<UInt8>) -> Int64? {
        let text = field.drop { $0 == 0x20 }
        let digits = text.prefix { (0x30...0x37).contains($0) }
        guard !digits.isEmpty, digits.count <= 11,
            text.dropFirst(digits.count).allSatisfy({ $0 == 0x20 || $0 == 0 })
        else { return nil }
        return digits.reduce(0) { $0 << 3 | Int64($1 - 0x30) }
    }
}
