// Random bytes that nobody can predict, for keys, nonces and tokens.

import COpenSSL

/// OpenSSL's generator, which seeds itself from the operating system's; safe on any thread.
public enum SecureRandom {
    /// `count` unpredictable bytes.
    public static func bytes(_ count: Int) -> [UInt8] {
        guard let length = Int32(exactly: count), length >= 0 else {
            preconditionFailure("\(count) random bytes are more than OpenSSL's int can ask for")
        }
        return [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            // RAND_bytes fails only when the operating system has no entropy source at all.
            // Going on without unpredictable bytes would be worse than not going on.
            guard length == 0 || RAND_bytes(buffer.baseAddress, length) == 1 else {
                fatalError("OpenSSL has no source of random bytes on this machine")
            }
            initialized = count
        }
    }

    /// URL-safe text that carries `bytes` random bytes: for stream ids, nonces and tokens.
    ///
    /// Letters, digits, `-` and `_` only (RFC 4648 section 5, without padding): 16 characters for
    /// the default of 12 bytes, which nobody guesses and which do not repeat by chance.
    public static func identifier(bytes count: Int = 12) -> String {
        let random = bytes(count)
        let length = (count * 8 + 5) / 6
        return String(unsafeUninitializedCapacity: length) { text in
            var accumulator: UInt = 0
            var bits = 0
            var written = 0
            for byte in random {
                accumulator = (accumulator << 8) | UInt(byte)
                bits += 8
                while bits >= 6 {
                    bits -= 6
                    text[written] = letter(accumulator >> UInt(bits))
                    written += 1
                }
            }
            if bits > 0 {
                text[written] = letter(accumulator << UInt(6 - bits))
                written += 1
            }
            return written
        }
    }

    /// The letter of RFC 4648 section 5 for the lowest six bits of `value`.
    private static func letter(_ value: UInt) -> UInt8 {
        let sextet = UInt8(truncatingIfNeeded: value & 63)
        return switch sextet {
        case 0..<26: UInt8(ascii: "A") + sextet
        case 26..<52: UInt8(ascii: "a") + (sextet - 26)
        case 52..<62: UInt8(ascii: "0") + (sextet - 52)
        case 62: UInt8(ascii: "-")
        default: UInt8(ascii: "_")
        }
    }
}
