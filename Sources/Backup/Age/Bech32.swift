// Bech32 (BIP 173): the written form of keys, whose checksum finds what was mistyped.

/// Text for bytes: a prefix, `1`, the bytes in groups of five bits, six characters of checksum.
enum Bech32 {
    /// Why a text is refused.
    enum Failure: Error, Equatable {
        /// Upper and lower case in one text.
        case mixedCase
        /// A character that no such text has.
        case character(Character)
        /// There is no `1` between a prefix and enough behind it, or it is too long.
        case shape
        /// Some character is wrong, missing, or in another's place.
        case checksum
        /// The last group of bits does not end a byte.
        case padding
    }

    /// Longer texts are none (BIP 173: the checksum is good for so many).
    static let longest = 90
    private static let alphabet = Array("qpzry9x8gf2tvdw0s3jn54khce6mua7l".utf8)

    /// In the case of the prefix, which is one case throughout; lower by the standard.
    static func encode(prefix: String, _ bytes: [UInt8]) -> String {
        let prefix = prefix.lowercased()
        let groups = regroup(bytes, from: 8, to: 5, pads: true) ?? []
        let sum = polymod(expand(prefix) + groups + [0, 0, 0, 0, 0, 0]) ^ 1
        let checksum = (0..<6).map { UInt8(truncatingIfNeeded: sum >> (25 - 5 * UInt32($0))) & 31 }
        return prefix + "1"
            + String(decoding: (groups + checksum).map { alphabet[Int($0)] }, as: UTF8.self)
    }

    /// The prefix in lower case, and the bytes.
    static func decode(_ text: String) throws(Failure) -> (prefix: String, bytes: [UInt8]) {
        if let stranger = text.first(where: {
            $0.asciiValue.map { !(33...126).contains($0) } ?? true
        }) {
            throw .character(stranger)
        }
        let lower = text.lowercased()
        guard text == lower || text == text.uppercased() else { throw .mixedCase }
        let letters = Array(lower.utf8)
        guard letters.count <= longest, let separator = letters.lastIndex(of: UInt8(ascii: "1")),
            separator > 0, letters.count - separator > 6
        else { throw .shape }
        var groups: [UInt8] = []
        for letter in letters[(separator + 1)...] {
            guard let value = alphabet.firstIndex(of: letter) else {
                throw .character(Character(UnicodeScalar(letter)))
            }
            groups.append(UInt8(value))
        }
        let prefix = String(decoding: letters[..<separator], as: UTF8.self)
        guard polymod(expand(prefix) + groups) == 1 else { throw .checksum }
        guard let bytes = regroup(Array(groups.dropLast(6)), from: 5, to: 8, pads: false) else {
            throw .padding
        }
        return (prefix, bytes)
    }

    private static func expand(_ prefix: String) -> [UInt8] {
        prefix.utf8.map { $0 >> 5 } + [0] + prefix.utf8.map { $0 & 31 }
    }

    private static func polymod(_ values: [UInt8]) -> UInt32 {
        let generator: [UInt32] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3]
        var sum: UInt32 = 1
        for value in values {
            let top = sum >> 25
            sum = (sum & 0x1ff_ffff) << 5 ^ UInt32(value)
            for (bit, term) in generator.enumerated() where top >> UInt32(bit) & 1 == 1 {
                sum ^= term
            }
        }
        return sum
    }

    /// Nil when what is left over is a whole group or not zero.
    private static func regroup(
        _ values: [UInt8], from: UInt32, to: UInt32, pads: Bool
    ) -> [UInt8]? {
        var result: [UInt8] = []
        var pending: UInt32 = 0
        var bits: UInt32 = 0
        for value in values {
            pending = pending << from | UInt32(value)
            bits += from
            while bits >= to {
                bits -= to
                result.append(UInt8(truncatingIfNeeded: pending >> bits))
                pending &= (1 << bits) - 1
            }
        }
        if pads {
            if bits > 0 { result.append(UInt8(truncatingIfNeeded: pending << (to - bits))) }
            return result
        }
        return bits < from && pending == 0 ? result : nil
    }
}
