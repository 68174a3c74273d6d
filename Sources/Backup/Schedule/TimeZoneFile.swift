// The system's files of time zones (TZif, RFC 9636 section 3), as far as offsets need them.

/// What one file says.
struct TimeZoneFile: Sendable, Equatable {
    /// The largest file that is read, in bytes; real ones have less than 4,000.
    static let largest = 1 << 17
    /// Offsets are between these, in seconds east of Greenwich (RFC 9636 section 3.2).
    static let offsets = -89_999...93_599
    /// Transitions are between these; real ones are between the years 1800 and 2100, and one at the
    /// "Big Bang" of some files.
    private static let instants = -(Int64(1) << 60)...(Int64(1) << 60)

    /// When the offset changes, in seconds since 1970, ascending.
    let transitions: [Int64]
    /// The offset after each transition.
    let offsets: [Int32]
    /// The offset before the first transition.
    let first: Int32
    /// How it goes on after the last transition; nil when nothing changes any more.
    let footer: POSIXTimeZone?

    /// Why a file cannot be used.
    struct Fault: Error, Equatable {
        let message: String
        init(_ message: String) { self.message = message }
    }

    private struct Header {
        static let length = 44
        let version: UInt8
        let utCount, standardCount, leapCount, timeCount, typeCount, letterCount: Int

        init(_ bytes: ArraySlice<UInt8>) throws(Fault) {
            guard bytes.count >= Self.length, bytes.starts(with: "TZif".utf8) else {
                throw Fault("this is no file of a time zone")
            }
            version = bytes[bytes.startIndex + 4]
            var counts: [Int] = []
            for index in 0..<6 {
                counts.append(Int(truncatingIfNeeded: number(bytes, 20 + index * 4, 4)))
            }
            // The smallest record has a byte, so none of them can be true and this large.
            guard counts.allSatisfy({ (0...TimeZoneFile.largest).contains($0) }) else {
                throw Fault("its counts are larger than it")
            }
            utCount = counts[0]
            standardCount = counts[1]
            leapCount = counts[2]
            timeCount = counts[3]
            typeCount = counts[4]
            letterCount = counts[5]
        }

        /// Bytes of what follows, with times of `size` bytes.
        func length(_ size: Int) -> Int {
            timeCount * (size + 1) + typeCount * 6 + letterCount + leapCount * (size + 4)
                + standardCount + utCount
        }
    }

    init(_ bytes: [UInt8]) throws(Fault) {
        guard bytes.count <= Self.largest else { throw Fault("the file is too long") }
        let old = try Header(bytes[...])
        guard old.version >= UInt8(ascii: "2") else {
            throw Fault("the file is of the first version, which ends in 2037")
        }
        let start = Header.length + old.length(4)
        guard start <= bytes.count else { throw Fault("the file ends too early") }
        let header = try Header(bytes[start...])
        let data = bytes[(start + Header.length)...]
        guard header.length(8) < data.count else { throw Fault("the file ends too early") }
        guard header.leapCount == 0 else {
            throw Fault("it counts leap seconds, as the system's clock does not")
        }
        guard (1...256).contains(header.typeCount) else { throw Fault("it has no local times") }

        let types = header.timeCount * 9
        var known: [Int32] = []
        for index in 0..<header.typeCount {
            let offset = Int32(truncatingIfNeeded: number(data, types + index * 6, 4))
            guard Self.offsets.contains(Int(offset)) else {
                throw Fault("an offset is longer than a day")
            }
            known.append(offset)
        }
        var transitions: [Int64] = []
        var offsets: [Int32] = []
        for index in 0..<header.timeCount {
            let time = number(data, index * 8, 8)
            let type = Int(data[data.startIndex + header.timeCount * 8 + index])
            guard Self.instants.contains(time), type < known.count,
                transitions.last.map({ $0 < time }) ?? true
            else { throw Fault("its table is not in order") }
            transitions.append(time)
            offsets.append(known[type])
        }
        self.transitions = transitions
        self.offsets = offsets
        first = known[0]

        let line = data.dropFirst(header.length(8))
        guard line.first == UInt8(ascii: "\n"), line.last == UInt8(ascii: "\n"), line.count >= 2
        else { throw Fault("its last line is missing") }
        let text = String(decoding: line.dropFirst().dropLast(), as: UTF8.self)
        if text.isEmpty {
            footer = nil
        } else {
            guard let zone = POSIXTimeZone(text) else { throw Fault("its last line is not valid") }
            footer = zone
        }
    }
}

/// A big-endian number with a sign; the caller has checked that it is there.
private func number(_ bytes: ArraySlice<UInt8>, _ offset: Int, _ size: Int) -> Int64 {
    let start = bytes.startIndex + offset
    var value: Int64 = (bytes[start] & 0x80) == 0 ? 0 : -1
    for byte in bytes[start..<start + size] { value = value << 8 | Int64(byte) }
    return value
}
