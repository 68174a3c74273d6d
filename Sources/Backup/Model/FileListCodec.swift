// The lists of a snapshot's files as they are written: text that a person can read, one line for
// each file, in parts that stay the same from one snapshot to the next where nothing changed.
//
//     kinglet files 1
//     p <pack>                                                        only in the archive form
//     f <sha256> <size> <mode> <time> <md5 or -> <path> [<pieces>]    a file
//     d <mode> <time> <path>                                          a folder with nothing in it
//     l <mode> <time> <path> <where it leads>                         a link
//
// One tab stands between fields. Modes are octal, times nanoseconds since 1970. Bytes of a path
// that are no printable ASCII, and `%`, are written as `%` and two hexadecimal digits; a last
// component of `*` stands for the file's own digest, which most uploads are named by. Pieces are
// `pack:offset:length` with commas between them, the pack being a number in the part's own table.
//
// Entries are in the order of time and path, so that what is new is at the end. A part ends where
// the path of its last entry says so, not after a fixed number: one entry more or less moves the
// border of one part, not of all that follow.

internal import TLS

/// Writes and reads lists of files.
enum FileListCodec {
    static let header = Array("kinglet files 1\n".utf8)
    /// Entries of a part; the last part may have fewer.
    static let fewest = 256
    static let most = 4096
    /// A part that has grown so long ends, in bytes.
    static let longPart = 4 << 20
    /// A part that is longer is not read. One entry with its pieces fits between these two.
    static let longestPart = 16 << 20
    /// Entries of a snapshot.
    static let mostEntries = 10_000_000

    /// Writes a list, all parts in memory.
    ///
    /// - Parameter packs: the manifest's, when the list has `places`.
    static func encode(
        _ list: FileList, packs: [String] = []
    ) -> [(list: Manifest.List, bytes: [UInt8])] {
        var parts: [(list: Manifest.List, bytes: [UInt8])] = []
        // It throws nothing of its own.
        try? encode(list, packs: packs) { (part, bytes) throws(BackupError) in
            parts.append((part, bytes))
        }
        return parts
    }

    /// Writes a list, one part in memory at a time.
    ///
    /// - Parameters:
    ///   - packs: the manifest's, when the list has `places`.
    ///   - take: gets each part.
    static func encode(
        _ list: FileList, packs: [String] = [],
        take: (Manifest.List, [UInt8]) throws(BackupError) -> Void
    ) throws(BackupError) {
        let order = list.entries.indices.sorted {
            (list.entries[$0].modified, $0) < (list.entries[$1].modified, $1)
        }
        let hasPlaces = list.places.count == list.entries.count
        var part = PartWriter(packs: packs)
        for index in order {
            let entry = list.entries[index]
            part.append(entry, pieces: hasPlaces ? list.places[index] : nil)
            let isBorder = part.count >= fewest && isBorder(entry.path)
            if isBorder || part.count >= most || part.lines.count >= longPart {
                let finished = part.finished
                part = PartWriter(packs: packs)
                try take(finished.list, finished.bytes)
            }
        }
        guard part.count > 0 else { return }
        let finished = part.finished
        try take(finished.list, finished.bytes)
    }

    /// Whether a part may end after a path: one in 1,024 (FNV-1a).
    private static func isBorder(_ path: SnapshotPath) -> Bool {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in path.bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        return (hash ^ hash >> 32) & 1023 == 0
    }

    /// Reads a list, one part in memory at a time.
    ///
    /// - Parameters:
    ///   - lists: what the manifest says of the parts.
    ///   - packs: the manifest's, in the archive form; nil for the form without.
    ///   - part: brings the bytes of one.
    static func decode(
        _ lists: [Manifest.List], packs: [String]? = nil,
        part: (Manifest.List) throws(BackupError) -> [UInt8]
    ) throws(BackupError) -> FileList {
        var total = 0
        for list in lists {
            guard (1...most).contains(list.entries), list.size <= longestPart else {
                throw PartReader.damaged(list, "the manifest says the impossible of it")
            }
            total += list.entries
        }
        guard total <= mostEntries else {
            throw BackupError(.damaged, subject: "files", "there are more than \(mostEntries)")
        }
        let numbers = packs.map { packs in
            Dictionary(packs.enumerated().map { ($1, $0) }, uniquingKeysWith: { first, _ in first })
        }
        var entries: [FileEntry] = []
        entries.reserveCapacity(total)
        var places: [[ArchiveRecord.Piece]] = []
        for list in lists {
            let bytes = try part(list)
            guard bytes.count == list.size,
                ContentHash(DigestAlgorithm.sha256.hash(bytes))?.description == list.sha256
            else { throw PartReader.damaged(list, "its content is not what was stored") }
            var reader = PartReader(list: list, bytes: bytes, packs: numbers)
            try reader.read(into: &entries, &places)
        }
        return try inOrder(entries, places)
    }

    private static func inOrder(
        _ entries: consuming [FileEntry], _ places: [[ArchiveRecord.Piece]]
    ) throws(BackupError) -> FileList {
        let count = entries.count
        var list: FileList
        if places.isEmpty {
            list = FileList(entries)
        } else {
            let order = entries.indices.sorted { entries[$0].path < entries[$1].path }
            list = FileList(order.map { entries[$0] })
            list.places = order.map { places[$0] }
        }
        guard list.entries.count == count else {
            throw BackupError(.damaged, subject: "files", "the list has a path twice")
        }
        return list
    }
}

/// A part that is being written.
private struct PartWriter {
    /// The manifest's.
    let packs: [String]
    var lines: [UInt8] = []
    var count = 0
    /// The part's own table of packs, and where each of the manifest's is in it.
    private var table: [UInt8] = []
    private var numbers: [Int: Int] = [:]

    init(packs: [String]) { self.packs = packs }

    mutating func append(_ entry: FileEntry, pieces: [ArchiveRecord.Piece]?) {
        count += 1
        switch entry.kind {
        case .file(let size, let hash):
            let digest = hash.description
            lines += "f\t\(digest)\t\(size)\t".utf8
            appendModeAndTime(entry)
            lines += "\(entry.md5?.hexadecimal ?? "-")\t".utf8
            append(entry.path.bytes, standIn: digest)
            if let pieces { append(pieces) }
        case .folder:
            lines += "d\t".utf8
            appendModeAndTime(entry)
            append(entry.path.bytes, standIn: nil)
        case .link(let target):
            lines += "l\t".utf8
            appendModeAndTime(entry)
            append(entry.path.bytes, standIn: nil)
            lines.append(UInt8(ascii: "\t"))
            appendEscaped(target[...])
        }
        lines.append(UInt8(ascii: "\n"))
    }

    private mutating func appendModeAndTime(_ entry: FileEntry) {
        lines += "\(String(entry.mode & 0o7777, radix: 8))\t\(entry.modified)\t".utf8
    }

    private mutating func append(_ path: [UInt8], standIn digest: String?) {
        let slash = path.lastIndex(of: UInt8(ascii: "/"))
        let start = slash.map { $0 + 1 } ?? 0
        appendEscaped(path[..<start])
        let name = path[start...]
        if let digest, name.elementsEqual(digest.utf8) {
            lines.append(UInt8(ascii: "*"))
        } else if name.elementsEqual("*".utf8) {
            lines += "%2A".utf8
        } else {
            appendEscaped(name)
        }
    }

    private mutating func appendEscaped(_ bytes: ArraySlice<UInt8>) {
        for byte in bytes {
            if Escape.isPlain(byte) {
                lines.append(byte)
            } else {
                lines.append(UInt8(ascii: "%"))
                lines.append(Escape.digits[Int(byte >> 4)])
                lines.append(Escape.digits[Int(byte & 15)])
            }
        }
    }

    private mutating func append(_ pieces: [ArchiveRecord.Piece]) {
        lines.append(UInt8(ascii: "\t"))
        var isFirst = true
        for piece in pieces {
            if !isFirst { lines.append(UInt8(ascii: ",")) }
            isFirst = false
            lines += "\(number(of: piece.pack)):\(piece.offset):\(piece.length)".utf8
        }
        if isFirst { lines.append(UInt8(ascii: "-")) }
    }

    private mutating func number(of pack: Int) -> Int {
        if let number = numbers[pack] { return number }
        let number = numbers.count
        numbers[pack] = number
        // A number outside of the manifest's list makes a part that cannot be read.
        table += "p\t\(packs.indices.contains(pack) ? packs[pack] : "-")\n".utf8
        return number
    }

    var finished: (list: Manifest.List, bytes: [UInt8]) {
        let bytes = FileListCodec.header + table + lines
        let digest = ContentHash(DigestAlgorithm.sha256.hash(bytes))?.description ?? ""
        let list = Manifest.List(sha256: digest, size: Int64(bytes.count), entries: count)
        return (list, bytes)
    }
}

/// How bytes of paths are written.
enum Escape {
    static let digits = Array("0123456789ABCDEF".utf8)

    static func isPlain(_ byte: UInt8) -> Bool {
        (0x20...0x7E).contains(byte) && byte != UInt8(ascii: "%")
    }

    static func value(ofDigit digit: UInt8) -> UInt8? {
        switch digit {
        case 0x30...0x39: digit - 0x30
        case 0x41...0x46: digit - 0x37
        default: nil
        }
    }
}
