// A random but repeatable source of texts around the rules of PRECIS and IDNA.

/// Texts from a seed (SplitMix64): the same on every machine and run.
struct Corpus: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }

    /// A short text of one to three alphabets, sometimes with any code point of all.
    mutating func text() -> String {
        let alphabets = (0..<Int.random(in: 1...3, using: &self)).map { _ in
            Self.alphabets[Int.random(in: Self.alphabets.indices, using: &self)]
        }
        var result = ""
        for _ in 0..<Int.random(in: 1...8, using: &self) {
            let alphabet = alphabets[Int.random(in: alphabets.indices, using: &self)]
            let any = UInt32.random(in: 0...0x10FFFF, using: &self)
            let isAny = UInt8.random(in: 0..<64, using: &self) == 0
            let point = isAny ? any : alphabet[Int.random(in: alphabet.indices, using: &self)]
            if let scalar = Unicode.Scalar(point) { result.unicodeScalars.append(scalar) }
        }
        return result
    }

    /// ASCII, mostly what names are made of.
    mutating func ascii() -> [UInt8] {
        let letters = Array("abcXYZ019-.xn--".utf8)
        let isStrict = Bool.random(using: &self)
        return (0..<Int.random(in: 0...12, using: &self)).map { _ in
            if isStrict || UInt8.random(in: 0..<8, using: &self) != 0 {
                letters[Int.random(in: letters.indices, using: &self)]
            } else {
                UInt8.random(in: 0..<0x80, using: &self)
            }
        }
    }

    /// Bytes: of no meaning at all, or an address with some of them changed.
    mutating func garbage() -> [UInt8] {
        guard Bool.random(using: &self) else {
            return (0..<Int.random(in: 0...40, using: &self)).map { _ in
                UInt8.random(in: .min ... .max, using: &self)
            }
        }
        var bytes = Array("\(text())@\(text()).example/\(text())".utf8)
        for _ in 0..<Int.random(in: 0...3, using: &self) {
            let index = Int.random(in: bytes.indices, using: &self)
            bytes[index] = UInt8.random(in: .min ... .max, using: &self)
        }
        return bytes
    }

    private static let alphabets: [[UInt32]] = [
        Array(0x61...0x7A) + [0x2D, 0x2E, 0x30, 0x39], Array(0x41...0x5A), Array(0xA1...0x24F),
        Array(0x370...0x3FF), Array(0x5D0...0x5F4), Array(0x610...0x6FF), Array(0x900...0x97F),
        Array(0x1100...0x11FF), Array(0x1E00...0x1FFF), Array(0x2000...0x206F),
        Array(0x3041...0x30FF), Array(0x4E00...0x4E40), Array(0xAC00...0xAC40),
        Array(0xFF01...0xFFE6), Array(0x1F300...0x1F340),
        // What the contextual rules, sigma, and composition turn on.
        [
            0x6C, 0xB7, 0x200C, 0x200D, 0x94D, 0x375, 0x5F3, 0x30FB, 0x660, 0x6F0, 0x3A3, 0x345,
            0x130,
        ],
        [0x41, 0x300, 0x301, 0x308, 0x323, 0x338, 0x3C, 0x3D, 0x3099, 0x212A, 0x212B, 0x1E9E],
    ]
}
