// Reading one part of a list of files. What it says was written by whoever could write to the
// target: every number has its bounds, and nothing is read that would be written in another way.

/// A part that is being read.
struct PartReader {
    let list: Manifest.List
    let bytes: [UInt8]
    /// Where the manifest has each pack; nil outside of the archive form.
    let packs: [String: Int]?
    private var position = 0
    /// The part's own table of packs, as numbers in the manifest.
    private var table: [Int] = []

    init(list: Manifest.List, bytes: [UInt8], packs: [String: Int]?) {
        self.list = list
        self.bytes = bytes
        self.packs = packs
    }

    static func damaged(_ list: Manifest.List, _ message: String) -> BackupError {
        BackupError(
            .damaged, subject: "list of files \(list.path)", message,
            advice: "the snapshot cannot be used; others may be whole")
    }

    private func damaged(_ message: String) -> BackupError { Self.damaged(list, message) }

    /// Appends what it holds.
    mutating func read(
        into entries: inout [FileEntry], _ places: inout [[ArchiveRecord.Piece]]
    ) throws(BackupError) {
        guard bytes.starts(with: FileListCodec.header), bytes.last == UInt8(ascii: "\n") else {
            throw damaged("it is in a form that this kinglet does not know")
        }
        position = FileListCodec.header.count
        var count = 0
        while position < bytes.count {
            let fields = nextLine()
            if fields.count == 2, isWord(fields[0], "p") {
                try readPack(fields[1], isFirst: count == 0)
                continue
            }
            count += 1
            guard count <= list.entries else { break }
            guard let (entry, pieces) = entry(fields) else {
                throw damaged("its entry \(count) cannot be understood")
            }
            if let last = entries.last {
                guard (last.modified, last.path) < (entry.modified, entry.path) else {
                    throw damaged("its entry \(count) is out of order")
                }
            }
            entries.append(entry)
            if packs != nil { places.append(pieces) }
        }
        guard count == list.entries else {
            throw damaged("it has another number of entries than the manifest says")
        }
    }

    private mutating func readPack(_ field: Range<Int>, isFirst: Bool) throws(BackupError) {
        guard isFirst, let packs,
            let number = packs[String(decoding: bytes[field], as: UTF8.self)]
        else { throw damaged("it names a pack that the manifest does not know") }
        table.append(number)
    }

    /// The fields of the next line; more than there should be are cut off with the ninth.
    private mutating func nextLine() -> [Range<Int>] {
        var fields: [Range<Int>] = []
        fields.reserveCapacity(8)
        var start = position
        while position < bytes.count {
            let byte = bytes[position]
            if byte == UInt8(ascii: "\t") || byte == UInt8(ascii: "\n") {
                if fields.count < 9 { fields.append(start..<position) }
                start = position + 1
            }
            position += 1
            if byte == UInt8(ascii: "\n") { break }
        }
        return fields
    }

    private func isWord(_ field: Range<Int>, _ word: StaticString) -> Bool {
        field.count == 1 && word.utf8CodeUnitCount == 1
            && bytes[field.lowerBound] == word.utf8Start.pointee
    }

    // MARK: Entries

    private func entry(_ fields: [Range<Int>]) -> (FileEntry, [ArchiveRecord.Piece])? {
        guard let kind = fields.first, kind.count == 1 else { return nil }
        switch bytes[kind.lowerBound] {
        case UInt8(ascii: "f"): return file(fields)
        case UInt8(ascii: "d"):
            guard fields.count == 4, let mode = mode(fields[1]), let time = number(fields[2]),
                let path = path(fields[3], digest: nil)
            else { return nil }
            return (FileEntry(path: path, kind: .folder, mode: mode, modified: time), [])
        case UInt8(ascii: "l"):
            guard fields.count == 5, let mode = mode(fields[1]), let time = number(fields[2]),
                let path = path(fields[3], digest: nil), let target = unescaped(fields[4]),
                !target.isEmpty, target.count <= SnapshotPath.longest, !target.contains(0)
            else { return nil }
            return (FileEntry(path: path, kind: .link(to: target), mode: mode, modified: time), [])
        default: return nil
        }
    }

    private func file(_ fields: [Range<Int>]) -> (FileEntry, [ArchiveRecord.Piece])? {
        guard fields.count == (packs == nil ? 7 : 8), fields[1].count == 2 * ContentHash.length,
            let hash = digest(fields[1]),
            let size = number(fields[2]), size >= 0, let mode = mode(fields[3]),
            let time = number(fields[4]), let path = path(fields[6], digest: fields[1])
        else { return nil }
        var md5: MD5Digest?
        if !isWord(fields[5], "-") {
            guard fields[5].count == 32, let bytes = Hexadecimal.bytes(bytes[fields[5]])
            else { return nil }
            md5 = MD5Digest(bytes)
        }
        var pieces: [ArchiveRecord.Piece] = []
        if packs != nil {
            guard let found = self.pieces(fields[7], size: size) else { return nil }
            pieces = found
        }
        let entry = FileEntry(
            path: path, kind: .file(size: size, hash: hash), mode: mode, modified: time, md5: md5)
        return (entry, pieces)
    }

    private func pieces(_ field: Range<Int>, size: Int64) -> [ArchiveRecord.Piece]? {
        if isWord(field, "-") { return size == 0 ? [] : nil }
        var pieces: [ArchiveRecord.Piece] = []
        var left = size
        var start = field.lowerBound
        while true {
            let end =
                bytes[start..<field.upperBound].firstIndex(of: UInt8(ascii: ","))
                ?? field.upperBound
            let numbers = bytes[start..<end].split(
                separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
            guard numbers.count == 3, let pack = number(numbers[0].indices),
                let offset = number(numbers[1].indices), let length = number(numbers[2].indices),
                pack >= 0, pack < table.count, offset >= 0, length > 0, length <= left,
                !offset.addingReportingOverflow(length).overflow
            else { return nil }
            left -= length
            pieces.append(.init(pack: table[Int(pack)], offset: offset, length: length))
            guard end < field.upperBound else { break }
            start = end + 1
        }
        return left == 0 ? pieces : nil
    }

    // MARK: Fields

    /// Decimal, in the one form that is written.
    private func number(_ field: Range<Int>) -> Int64? {
        var rest = field
        guard let first = rest.first else { return nil }
        let isNegative = bytes[first] == UInt8(ascii: "-")
        if isNegative { rest = rest.dropFirst() }
        guard let first = rest.first, rest.count <= 19 else { return nil }
        guard bytes[first] != UInt8(ascii: "0") || (rest.count == 1 && !isNegative) else {
            return nil
        }
        var value: Int64 = 0
        for index in rest {
            let byte = bytes[index]
            guard (0x30...0x39).contains(byte) else { return nil }
            // Downwards, for the least number has no positive counterpart.
            let (tenfold, tooLow) = value.multipliedReportingOverflow(by: 10)
            let (next, tooLowToo) = tenfold.subtractingReportingOverflow(Int64(byte - 0x30))
            guard !tooLow, !tooLowToo else { return nil }
            value = next
        }
        if isNegative { return value }
        return value == .min ? nil : -value
    }

    private func mode(_ field: Range<Int>) -> UInt32? {
        guard (1...4).contains(field.count), let first = field.first else { return nil }
        guard bytes[first] != UInt8(ascii: "0") || field.count == 1 else { return nil }
        var value: UInt32 = 0
        for index in field {
            guard (0x30...0x37).contains(bytes[index]) else { return nil }
            value = value << 3 | UInt32(bytes[index] - 0x30)
        }
        return value
    }

    private func digest(_ field: Range<Int>) -> ContentHash? {
        Hexadecimal.bytes(bytes[field]).flatMap { ContentHash($0) }
    }

    /// - Parameter digest: the field that a last component of `*` stands for.
    private func path(_ field: Range<Int>, digest: Range<Int>?) -> SnapshotPath? {
        let start = bytes[field].lastIndex(of: UInt8(ascii: "/")).map { $0 + 1 } ?? field.lowerBound
        let name = start..<field.upperBound
        if isWord(name, "*") {
            guard let digest, var path = unescaped(field.lowerBound..<start) else { return nil }
            path += bytes[digest]
            return SnapshotPath(path)
        }
        if let digest, bytes[name].elementsEqual(bytes[digest]) { return nil }
        return unescaped(field).flatMap { SnapshotPath($0) }
    }

    private func unescaped(_ field: Range<Int>) -> [UInt8]? {
        var result: [UInt8] = []
        result.reserveCapacity(field.count)
        var index = field.lowerBound
        while index < field.upperBound {
            let byte = bytes[index]
            index += 1
            if Escape.isPlain(byte) {
                result.append(byte)
                continue
            }
            guard byte == UInt8(ascii: "%"), field.upperBound - index >= 2,
                let high = Escape.value(ofDigit: bytes[index]),
                let low = Escape.value(ofDigit: bytes[index + 1])
            else { return nil }
            let value = high << 4 | low
            guard !Escape.isPlain(value) || value == UInt8(ascii: "*") else { return nil }
            result.append(value)
            index += 2
        }
        return result
    }
}
