// Archive ids as the world sees them. They must be unpredictable (XEP-0313 section 3) and nobody
// may learn from them how large the archive is (XEP-0359 section 6), while the database counts its
// rows. So an id is the row's number behind a keyed permutation, and needs no column of its own.

/// What an archive id stands for.
struct ArchiveID: Hashable, Sendable {
    /// The row in the database, from 1.
    var row: Int64
    /// Which life of the database the row was written in. After a restore row numbers come again,
    /// for other messages; so whoever looks up a row compares its epoch.
    var epoch: UInt32
}

/// Turns archive ids into text and back.
///
/// A Feistel network of six rounds over two halves of 48 bits, with SipHash as the round function.
/// It hides the count, and that is all: who may read a message is decided by whose archive it is
/// in, never by knowing its id.
struct ArchiveIDKey: Sendable {
    /// Bytes of a key.
    static let length = 16
    /// Characters of an id: 96 bits in the alphabet of RFC 4648 section 5.
    static let textLength = 16

    private static let rounds: UInt64 = 6
    private static let half: UInt64 = 1 << 48 - 1
    private let hash: SipHash

    /// Nil unless there are exactly ``length`` bytes.
    init?(_ bytes: [UInt8]) {
        guard bytes.count == Self.length else { return nil }
        func word(_ bytes: ArraySlice<UInt8>) -> UInt64 {
            bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) }
        }
        hash = SipHash(word(bytes[..<8]), word(bytes[8...]))
    }

    /// The id as text, ``textLength`` characters of `A-Z a-z 0-9 - _`.
    func text(_ id: ArchiveID) -> String {
        let row = UInt64(bitPattern: id.row)
        var left = row >> 16
        var right = (row & 0xFFFF) << 32 | UInt64(id.epoch)
        for round in 0..<Self.rounds {
            (left, right) = (right, left ^ mix(right, round))
        }
        return String(unsafeUninitializedCapacity: Self.textLength) { text in
            for index in 0..<8 {
                let shift = UInt64(42 - 6 * index)
                text[index] = Self.letter(left >> shift)
                text[index + 8] = Self.letter(right >> shift)
            }
            return Self.textLength
        }
    }

    /// What the text stands for, nil if it is no id of any archive. Every text of the right form
    /// stands for something: a forged one for a row and an epoch that hardly are there.
    func id(_ text: String) -> ArchiveID? {
        guard text.utf8.count == Self.textLength else { return nil }
        var left: UInt64 = 0
        var right: UInt64 = 0
        for (index, letter) in text.utf8.enumerated() {
            guard let value = Self.value(letter) else { return nil }
            if index < 8 { left = left << 6 | value } else { right = right << 6 | value }
        }
        for round in (0..<Self.rounds).reversed() {
            (left, right) = (right ^ mix(left, round), left)
        }
        let row = Int64(bitPattern: left << 16 | right >> 32)
        guard row > 0 else { return nil }
        return ArchiveID(row: row, epoch: UInt32(truncatingIfNeeded: right))
    }

    private func mix(_ half: UInt64, _ round: UInt64) -> UInt64 {
        hash(half | round << 48) & Self.half
    }

    private static func letter(_ value: UInt64) -> UInt8 {
        let sextet = UInt8(truncatingIfNeeded: value & 63)
        return switch sextet {
        case 0..<26: UInt8(ascii: "A") + sextet
        case 26..<52: UInt8(ascii: "a") + (sextet - 26)
        case 52..<62: UInt8(ascii: "0") + (sextet - 52)
        case 62: UInt8(ascii: "-")
        default: UInt8(ascii: "_")
        }
    }

    private static func value(_ letter: UInt8) -> UInt64? {
        switch letter {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): UInt64(letter - UInt8(ascii: "A"))
        case UInt8(ascii: "a")...UInt8(ascii: "z"): UInt64(letter - UInt8(ascii: "a") + 26)
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt64(letter - UInt8(ascii: "0") + 52)
        case UInt8(ascii: "-"): 62
        case UInt8(ascii: "_"): 63
        default: nil
        }
    }
}

/// SipHash-2-4 of eight bytes.
struct SipHash: Sendable {
    private let key: (UInt64, UInt64)

    /// The key's two halves, read as little-endian numbers.
    init(_ first: UInt64, _ second: UInt64) { key = (first, second) }

    /// The hash of a word's bytes, the lowest first.
    func callAsFunction(_ word: UInt64) -> UInt64 {
        var a = key.0 ^ 0x736F_6D65_7073_6575
        var b = key.1 ^ 0x646F_7261_6E64_6F6D
        var c = key.0 ^ 0x6C79_6765_6E65_7261
        var d = key.1 ^ 0x7465_6462_7974_6573
        func rotated(_ value: UInt64, _ bits: UInt64) -> UInt64 {
            value << bits | value >> (64 - bits)
        }
        func round() {
            a &+= b
            b = rotated(b, 13) ^ a
            a = rotated(a, 32)
            c &+= d
            d = rotated(d, 16) ^ c
            a &+= d
            d = rotated(d, 21) ^ a
            c &+= b
            b = rotated(b, 17) ^ c
            c = rotated(c, 32)
        }
        // The message, then its length in the highest byte of a word of its own.
        for block in [word, 8 << 56] {
            d ^= block
            round()
            round()
            a ^= block
        }
        c ^= 0xFF
        for _ in 0..<4 { round() }
        return a ^ b ^ c ^ d
    }
}
