// Characters of XML 1.0 (fifth edition, sections 2.2 and 2.3) over UTF-8 bytes, bounds-checked.

/// ASCII bytes that the grammar names.
enum ASCII {
    static let tab: UInt8 = 0x09
    static let lineFeed: UInt8 = 0x0A
    static let carriageReturn: UInt8 = 0x0D
    static let space: UInt8 = 0x20
    static let exclamation: UInt8 = 0x21
    static let doubleQuote: UInt8 = 0x22
    static let hash: UInt8 = 0x23
    static let ampersand: UInt8 = 0x26
    static let singleQuote: UInt8 = 0x27
    static let slash: UInt8 = 0x2F
    static let colon: UInt8 = 0x3A
    static let semicolon: UInt8 = 0x3B
    static let less: UInt8 = 0x3C
    static let equals: UInt8 = 0x3D
    static let greater: UInt8 = 0x3E
    static let question: UInt8 = 0x3F
    static let leftBracket: UInt8 = 0x5B
    static let rightBracket: UInt8 = 0x5D

    @inline(__always)
    static func isWhitespace(_ byte: UInt8) -> Bool {
        byte == space || byte == lineFeed || byte == carriageReturn || byte == tab
    }
}

/// What stands at a position: a whole unit, or too few bytes to tell.
enum Unit<Value> {
    case whole(Value, length: Int)
    case incomplete
}

/// Production Char: what a document may contain at all.
func isXMLCharacter(_ scalar: UInt32) -> Bool {
    switch scalar {
    case 0x09, 0x0A, 0x0D, 0x20...0xD7FF, 0xE000...0xFFFD, 0x10000...0x10FFFF: true
    default: false
    }
}

/// What a name may begin with, without the colon, which namespaces reserve.
func isNameStart(_ scalar: UInt32) -> Bool {
    switch scalar {
    case 0x41...0x5A, 0x61...0x7A, 0x5F: true
    case 0x80...: NameCharacters.contains(NameCharacters.start, scalar)
    default: false
    }
}

/// What a name may go on with, without the colon.
func isNameCharacter(_ scalar: UInt32) -> Bool {
    switch scalar {
    case 0x2D, 0x2E, 0x30...0x39: true
    case 0x80...:
        NameCharacters.contains(NameCharacters.start, scalar)
            || NameCharacters.contains(NameCharacters.further, scalar)
    default: isNameStart(scalar)
    }
}

/// Decodes the multi-byte UTF-8 sequence at `position` (RFC 3629: shortest form, no surrogates).
func multiByteScalar(
    _ bytes: Span<UInt8>, at position: Int, end: Int
) throws(XMLError) -> Unit<UInt32> {
    let first = bytes[position]
    let length: Int
    var scalar: UInt32
    switch first {
    case 0xC2...0xDF: (length, scalar) = (2, UInt32(first & 0x1F))
    case 0xE0...0xEF: (length, scalar) = (3, UInt32(first & 0x0F))
    case 0xF0...0xF4: (length, scalar) = (4, UInt32(first & 0x07))
    default: throw XMLError(.unsupportedEncoding, "not UTF-8")
    }
    var index = position + 1
    let stop = min(position + length, end)
    while index < stop {
        let byte = bytes[index]
        guard byte & 0xC0 == 0x80 else { throw XMLError(.unsupportedEncoding, "not UTF-8") }
        scalar = scalar << 6 | UInt32(byte & 0x3F)
        index += 1
    }
    guard position + length <= end else { return .incomplete }
    let shortest: UInt32 = length == 2 ? 0x80 : length == 3 ? 0x800 : 0x10000
    guard scalar >= shortest, scalar <= 0x10FFFF, !(0xD800...0xDFFF).contains(scalar) else {
        throw XMLError(.unsupportedEncoding, "not UTF-8")
    }
    return .whole(scalar, length: length)
}

/// Decodes the reference at `position`, which holds `&`: one of the five predefined entities or
/// a character reference. Anything else is an entity that XMPP forbids (RFC 6120 section 11.1).
func reference(
    _ bytes: Span<UInt8>, at position: Int, end: Int
) throws(XMLError) -> Unit<UInt32> {
    // The longest legal one is &#x0010FFFF; with some leading zeros; no need to be generous.
    let longest = 16
    var index = position + 1
    while index < end, index - position < longest, bytes[index] != ASCII.semicolon {
        let byte = bytes[index]
        let isPart =
            byte == ASCII.hash || (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte)
            || (0x61...0x7A).contains(byte)
        guard isPart else { throw .notWellFormed("a bare ampersand") }
        index += 1
    }
    guard index - position < longest else { throw .restricted("an entity reference") }
    guard index < end else { return .incomplete }
    let body = position + 1..<index
    let length = index + 1 - position
    if body.count > 1, bytes[body.lowerBound] == ASCII.hash {
        let isHexadecimal = bytes[body.lowerBound + 1] == 0x78
        let digits = body.lowerBound + (isHexadecimal ? 2 : 1)..<body.upperBound
        guard !digits.isEmpty else { throw .notWellFormed("an empty character reference") }
        var value: UInt32 = 0
        for at in digits {
            let byte = bytes[at]
            let digit: UInt32
            switch byte {
            case 0x30...0x39: digit = UInt32(byte - 0x30)
            case 0x41...0x46 where isHexadecimal: digit = UInt32(byte - 0x41 + 10)
            case 0x61...0x66 where isHexadecimal: digit = UInt32(byte - 0x61 + 10)
            default: throw .notWellFormed("a broken character reference")
            }
            // Cannot overflow: value is at most 0x10FFFF before each step.
            value = value * (isHexadecimal ? 16 : 10) + digit
            guard value <= 0x10FFFF else { throw .notWellFormed("a character out of range") }
        }
        guard isXMLCharacter(value) else { throw .notWellFormed("a forbidden character") }
        return .whole(value, length: length)
    }
    let named: (StaticString, UInt32)? =
        switch body.count {
        case 2: bytes[body.lowerBound] == 0x6C ? ("lt", 0x3C) : ("gt", 0x3E)
        case 3: ("amp", 0x26)
        case 4: bytes[body.lowerBound] == 0x61 ? ("apos", 0x27) : ("quot", 0x22)
        default: nil
        }
    guard let (name, scalar) = named, matches(bytes, body, name) else {
        throw .restricted("an entity reference")
    }
    return .whole(scalar, length: length)
}

/// Whether the bytes of `range` are exactly `text`.
@inline(__always)
func matches(_ bytes: Span<UInt8>, _ range: Range<Int>, _ text: StaticString) -> Bool {
    guard range.count == text.utf8CodeUnitCount else { return false }
    return text.withUTF8Buffer { wanted in
        for offset in 0..<wanted.count where bytes[range.lowerBound + offset] != wanted[offset] {
            return false
        }
        return true
    }
}

/// Whether two ranges of the same bytes hold the same bytes.
@inline(__always)
func equal(_ bytes: Span<UInt8>, _ one: Range<Int>, _ other: Range<Int>) -> Bool {
    guard one.count == other.count else { return false }
    for offset in 0..<one.count
    where bytes[one.lowerBound + offset] != bytes[other.lowerBound + offset] {
        return false
    }
    return true
}

/// Whether two texts are the same characters. `==` would also take those for equal that only look
/// alike: the Kelvin sign and the letter K.
@inline(__always)
func equal(_ one: String, _ other: String) -> Bool { one.utf8.elementsEqual(other.utf8) }
