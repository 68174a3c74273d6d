// Base64 as SASL and XMPP use it: one text for each value, and nothing else is accepted.

/// The base64 encoding of RFC 4648 section 4, read strictly.
///
/// Strictly means: the alphabet and the padding are exact, unused bits are zero, and there is no
/// white space (RFC 6120 section 13.9). So two texts never decode to the same bytes,
/// and whoever compares the decoded forms has compared the texts.
public enum Base64 {
    /// The text for `bytes`, with padding; empty for no bytes.
    public static func encode(_ bytes: [UInt8]) -> String {
        let length = (bytes.count + 2) / 3 * 4
        return String(unsafeUninitializedCapacity: length) { text in
            var written = 0
            for start in stride(from: 0, to: bytes.count, by: 3) {
                let count = min(3, bytes.count - start)
                var group = UInt32(bytes[start]) << 16
                if count > 1 { group |= UInt32(bytes[start + 1]) << 8 }
                if count > 2 { group |= UInt32(bytes[start + 2]) }
                for position in 0..<4 {
                    let sextet = UInt8(truncatingIfNeeded: group >> UInt32(18 - 6 * position)) & 63
                    text[written] = position <= count ? letter(sextet) : padding
                    written += 1
                }
            }
            return written
        }
    }

    /// The bytes that `text` encodes, or nil when it is not base64. Empty text gives no bytes.
    public static func decode(_ text: String) -> [UInt8]? {
        decode(Array(text.utf8))
    }

    /// The bytes that the ASCII `text` encodes, or nil when it is not base64.
    public static func decode(_ text: [UInt8]) -> [UInt8]? {
        guard text.count.isMultiple(of: 4) else { return nil }
        let paddingLength = text.suffix(2).reversed().prefix { $0 == padding }.count
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count / 4 * 3)
        var pending: UInt32 = 0
        var pendingBits: UInt32 = 0
        for character in text.dropLast(paddingLength) {
            guard let sextet = sextet(character) else { return nil }
            pending = (pending << 6) | UInt32(sextet)
            pendingBits += 6
            if pendingBits >= 8 {
                pendingBits -= 8
                bytes.append(UInt8(truncatingIfNeeded: pending >> pendingBits))
                pending &= (1 << pendingBits) - 1
            }
        }
        // What is left did not fill a byte; RFC 4648 section 3.5 lets us demand zero bits.
        return pending == 0 ? bytes : nil
    }

    private static let padding = UInt8(ascii: "=")

    private static func letter(_ sextet: UInt8) -> UInt8 {
        switch sextet {
        case 0..<26: UInt8(ascii: "A") + sextet
        case 26..<52: UInt8(ascii: "a") + (sextet - 26)
        case 52..<62: UInt8(ascii: "0") + (sextet - 52)
        case 62: UInt8(ascii: "+")
        default: UInt8(ascii: "/")
        }
    }

    private static func sextet(_ letter: UInt8) -> UInt8? {
        switch letter {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): letter - UInt8(ascii: "A")
        case UInt8(ascii: "a")...UInt8(ascii: "z"): letter - UInt8(ascii: "a") + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): letter - UInt8(ascii: "0") + 52
        case UInt8(ascii: "+"): 62
        case UInt8(ascii: "/"): 63
        default: nil
        }
    }
}
