// The common case of address preparation: ASCII, decided without the Unicode library.

/// A set of ASCII characters as a bit map: one shift per test, no table in memory.
struct ASCIISet: Sendable {
    private var low: UInt64 = 0
    private var high: UInt64 = 0

    /// The bytes of `range` without those of `excluded`.
    init(_ range: ClosedRange<UInt8>, excluding excluded: StaticString = "") {
        for byte in range where byte < 128 { insert(byte) }
        excluded.withUTF8Buffer { for byte in $0 { remove(byte) } }
    }

    /// The characters of a text; those beyond ASCII are left out.
    init(of characters: StaticString) {
        characters.withUTF8Buffer { for byte in $0 where byte < 128 { insert(byte) } }
    }

    /// Whether `byte` is in the set; never true beyond ASCII.
    @inline(__always)
    func contains(_ byte: UInt8) -> Bool {
        // A smart shift by 64 or more gives 0, and `byte &- 64` wraps to such a shift below 64.
        ((low >> UInt64(byte)) | (high >> UInt64(byte &- 64))) & 1 == 1
    }

    private mutating func insert(_ byte: UInt8) {
        if byte < 64 { low |= 1 << UInt64(byte) } else { high |= 1 << UInt64(byte - 64) }
    }

    private mutating func remove(_ byte: UInt8) {
        if byte < 64 { low &= ~(1 << UInt64(byte)) } else { high &= ~(1 << UInt64(byte &- 64)) }
    }
}

/// A text of ASCII only, checked and mapped in one pass.
enum ASCIIPreparation {
    /// The prepared text, or nil when it has a byte beyond ASCII and needs the full rules.
    ///
    /// - Throws: ``Refusal`` when it is empty, longer than `limit` or has a byte not in `allowed`.
    static func prepare(
        _ bytes: UnsafeBufferPointer<UInt8>, allowed: ASCIISet, lowercases: Bool, limit: Int
    ) throws(Refusal) -> String? {
        var union: UInt8 = 0
        var isAllowed = true
        for byte in bytes {
            union |= byte
            isAllowed = isAllowed && allowed.contains(byte)
        }
        guard union < 0x80 else { return nil }
        guard !bytes.isEmpty else { throw Refusal(.empty) }
        guard bytes.count <= limit else { throw Refusal(.tooLong) }
        guard isAllowed else { throw Refusal(.disallowedCharacter) }
        return lowercases ? lowercased(bytes) : String(decoding: bytes, as: UTF8.self)
    }

    /// The bytes, known to be ASCII, as a string in lower case.
    static func lowercased(_ bytes: UnsafeBufferPointer<UInt8>) -> String {
        String(unsafeUninitializedCapacity: bytes.count) { buffer in
            for (index, byte) in bytes.enumerated() {
                buffer[index] = lowercased(byte)
            }
            return bytes.count
        }
    }

    /// The lower-case form of an ASCII byte.
    @inline(__always)
    static func lowercased(_ byte: UInt8) -> UInt8 {
        byte &- UInt8(ascii: "A") < 26 ? byte | 0x20 : byte
    }
}
