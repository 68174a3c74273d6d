// The kernel's tables (`/proc/stat`, `/proc/meminfo`, `/proc/net/dev`), taken apart where they stand:
// some have hundreds of lines of which four are of interest, several times a minute.

/// Walks over the lines of a table, and over the words of each line.
///
/// What is beyond the end of a line is never reached: a line that is too short has no word there.
struct KernelTable {
    private let path: String
    private let bytes: [UInt8]
    private var lineStart = 0
    private var lineEnd = 0
    private var nextStart = 0
    /// Where the next word is looked for.
    private var place = 0

    /// Reads a table and stands before its first line; nil when it is absent.
    init?(_ path: String) throws(ReadingError) {
        guard let bytes = try SystemFile.bytes(path, limit: SystemFile.tableLimit) else {
            return nil
        }
        self.path = path
        self.bytes = bytes
    }

    /// Goes to the start of the next line; false at the end of the table.
    mutating func nextLine() -> Bool {
        guard nextStart < bytes.count else { return false }
        lineStart = nextStart
        place = lineStart
        lineEnd = lineStart
        while lineEnd < bytes.count, bytes[lineEnd] != 0x0A { lineEnd += 1 }
        nextStart = lineEnd + 1
        return true
    }

    /// The next word of this line; empty at its end.
    mutating func word() -> ArraySlice<UInt8> {
        skipSpaces()
        let start = place
        while place < lineEnd, !Self.isSpace(bytes[place]) { place += 1 }
        return bytes[start..<place]
    }

    /// What stands before the line's next colon, behind which the next word is looked for; nil when
    /// there is none. Numbers may follow the colon without a space.
    mutating func key() -> ArraySlice<UInt8>? {
        skipSpaces()
        guard let colon = bytes[place..<lineEnd].firstIndex(of: 0x3A) else { return nil }
        defer { place = colon + 1 }
        return bytes[place..<colon]
    }

    /// Goes over some words.
    mutating func skip(_ words: Int) {
        for _ in 0..<words { _ = word() }
    }

    /// The next word as a whole number up to `limit`.
    mutating func number(upTo limit: UInt64 = .max) throws(ReadingError) -> UInt64 {
        guard let value = Self.number(word()), value <= limit else { throw malformed() }
        return value
    }

    /// The next word as a number with or without decimals, such as `0.07`.
    mutating func decimal() throws(ReadingError) -> Double {
        let word = word()
        let point = word.firstIndex(of: 0x2E) ?? word.endIndex
        let decimals = word[point...].dropFirst()
        guard decimals.count <= 9, let mantissa = Self.number(word[..<point] + decimals) else {
            throw malformed()
        }
        // One division of whole numbers gives the nearest double, as parsing the text would.
        var scale = 1.0
        for _ in decimals { scale *= 10 }
        return Double(mantissa) / scale
    }

    /// That this line is not of its documented form.
    func malformed() -> ReadingError {
        let line = String(decoding: bytes[lineStart..<lineEnd].prefix(200), as: UTF8.self)
        return .unknownForm(path, "cannot understand \(SystemFile.quoted(line))")
    }

    /// Decimal digits and nothing else as a number; nil also when it is too large.
    static func number(_ digits: some Collection<UInt8>) -> UInt64? {
        guard !digits.isEmpty else { return nil }
        var value: UInt64 = 0
        for digit in digits {
            guard (0x30...0x39).contains(digit) else { return nil }
            let (tens, isTooLarge) = value.multipliedReportingOverflow(by: 10)
            let (sum, overflows) = tens.addingReportingOverflow(UInt64(digit - 0x30))
            guard !isTooLarge, !overflows else { return nil }
            value = sum
        }
        return value
    }

    private mutating func skipSpaces() {
        while place < lineEnd, Self.isSpace(bytes[place]) { place += 1 }
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }
}

extension ArraySlice<UInt8> {
    /// Whether these bytes are the text.
    func equals(_ text: StaticString) -> Bool {
        text.withUTF8Buffer { $0.count == count && $0.elementsEqual(self) }
    }

    /// Whether these bytes begin with the text.
    func begins(with text: StaticString) -> Bool {
        text.withUTF8Buffer { starts(with: $0) }
    }
}
