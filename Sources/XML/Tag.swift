// One tag: `<name attribute='value'>`, `<name/>` or `</name>`, checked by itself. Whether its
// prefixes are bound and its end matches its start is the caller's business.

/// A range of bytes, counted from the first byte of the first-level element that holds it.
public struct ByteRange: Sendable, Equatable, Hashable {
    private let start: UInt32
    private let end: UInt32

    init(_ range: Range<Int>) {
        start = UInt32(clamping: range.lowerBound)
        end = UInt32(clamping: range.upperBound)
    }

    /// The range as indices.
    public var indices: Range<Int> { Int(start)..<Int(end) }
    /// How many bytes there are.
    public var count: Int { Int(end - start) }

    /// The same bytes, when the element that holds them begins `offset` bytes further on.
    func moved(by offset: Int) -> ByteRange {
        ByteRange(indices.lowerBound + offset..<indices.upperBound + offset)
    }
}

/// A name as written: an optional prefix and a local part.
struct QualifiedName {
    var range: Range<Int>
    /// Bytes of the prefix without its colon; 0 when there is none.
    var prefixLength: Int

    var prefix: Range<Int> { range.lowerBound..<range.lowerBound + prefixLength }
    var local: Range<Int> {
        prefixLength == 0 ? range : range.lowerBound + prefixLength + 1..<range.upperBound
    }
}

struct TagAttribute {
    var name: QualifiedName
    /// Without the quotes.
    var value: Range<Int>
    /// From the white space before the name to the closing quote.
    var whole: Range<Int>
    /// The value must be decoded before it can be compared: it holds a reference or white space
    /// that XML normalises.
    var needsDecoding: Bool
}

struct Tag {
    enum Kind { case start, empty, end }

    var kind = Kind.start
    var name = QualifiedName(range: 0..<0, prefixLength: 0)
    /// Reused from tag to tag, so that an ordinary stanza allocates nothing here.
    var attributes: [TagAttribute] = []

    /// Parses the tag whose `<` is at `position` into `self` and gives its length.
    ///
    /// A broken tag is reported once its `>` is there, so that the verdict on an input does not
    /// depend on how it was cut; until then it is incomplete.
    mutating func parse(
        _ bytes: Span<UInt8>, at position: Int, end: Int, limits: ReaderLimits
    ) throws(XMLError) -> Unit<Void> {
        do {
            return try parseParts(bytes, at: position, end: end, limits: limits)
        } catch {
            var search = TagEndSearch(tagAt: position)
            guard search.isComplete(bytes, end: end) else { return .incomplete }
            throw error
        }
    }

    private mutating func parseParts(
        _ bytes: Span<UInt8>, at position: Int, end: Int, limits: ReaderLimits
    ) throws(XMLError) -> Unit<Void> {
        attributes.removeAll(keepingCapacity: true)
        kind = .start
        var index = position + 1
        guard index < end else { return .incomplete }
        if bytes[index] == ASCII.slash {
            kind = .end
            index += 1
        }
        guard let name = try Self.name(bytes, at: index, end: end, limits: limits) else {
            return .incomplete
        }
        self.name = name
        index = name.range.upperBound
        while true {
            let gap = index
            while index < end, ASCII.isWhitespace(bytes[index]) { index += 1 }
            guard index < end else { return .incomplete }
            switch bytes[index] {
            case ASCII.greater:
                return .whole((), length: index + 1 - position)
            case ASCII.slash where kind == .start:
                guard index + 1 < end else { return .incomplete }
                guard bytes[index + 1] == ASCII.greater else {
                    throw .notWellFormed("a stray slash in a tag")
                }
                kind = .empty
                return .whole((), length: index + 2 - position)
            default:
                guard kind == .start else { throw .notWellFormed("an end tag with attributes") }
                guard index > gap else { throw .notWellFormed("no space before an attribute") }
                guard attributes.count < limits.attributes else {
                    throw .limit("too many attributes")
                }
                guard
                    let attribute = try Self.attribute(
                        bytes, at: index, gap: gap, end: end, limits: limits)
                else { return .incomplete }
                for other in attributes
                where equal(bytes, other.name.range, attribute.name.range) {
                    throw .notWellFormed("an attribute given twice")
                }
                attributes.append(attribute)
                index = attribute.whole.upperBound
            }
        }
    }

    /// Nil when the name may go on beyond the bytes at hand.
    private static func name(
        _ bytes: Span<UInt8>, at position: Int, end: Int, limits: ReaderLimits
    ) throws(XMLError) -> QualifiedName? {
        var index = position
        var prefixLength = 0
        var partStart = position
        while index < end {
            let byte = bytes[index]
            var length = 1
            let isPart: Bool
            if byte < 0x80 {
                if byte == ASCII.colon {
                    guard prefixLength == 0, index > partStart else {
                        throw .notWellFormed("a misplaced colon in a name")
                    }
                    prefixLength = index - position
                    partStart = index + 1
                    index += 1
                    continue
                }
                isPart =
                    index == partStart
                    ? isNameStart(UInt32(byte)) : isNameCharacter(UInt32(byte))
            } else {
                guard
                    case .whole(let scalar, let count) = try multiByteScalar(
                        bytes, at: index, end: end)
                else { return nil }
                length = count
                isPart = index == partStart ? isNameStart(scalar) : isNameCharacter(scalar)
            }
            guard isPart else {
                guard index > partStart else { throw .notWellFormed("a tag without a name") }
                return QualifiedName(range: position..<index, prefixLength: prefixLength)
            }
            index += length
            guard index - position <= limits.nameBytes else { throw .limit("a name too long") }
        }
        return nil
    }

    private static func attribute(
        _ bytes: Span<UInt8>, at position: Int, gap: Int, end: Int, limits: ReaderLimits
    ) throws(XMLError) -> TagAttribute? {
        guard let name = try name(bytes, at: position, end: end, limits: limits) else { return nil }
        var index = name.range.upperBound
        while index < end, ASCII.isWhitespace(bytes[index]) { index += 1 }
        guard index < end else { return nil }
        guard bytes[index] == ASCII.equals else {
            throw .notWellFormed("an attribute without a value")
        }
        index += 1
        while index < end, ASCII.isWhitespace(bytes[index]) { index += 1 }
        guard index < end else { return nil }
        let quote = bytes[index]
        guard quote == ASCII.singleQuote || quote == ASCII.doubleQuote else {
            throw .notWellFormed("an attribute value without quotes")
        }
        index += 1
        let start = index
        var needsDecoding = false
        while index < end {
            let byte = bytes[index]
            if byte == quote {
                return TagAttribute(
                    name: name, value: start..<index, whole: gap..<index + 1,
                    needsDecoding: needsDecoding)
            }
            switch byte {
            case ASCII.less:
                throw .notWellFormed("a less-than sign in an attribute value")
            case ASCII.ampersand:
                guard case .whole(_, let length) = try reference(bytes, at: index, end: end) else {
                    return nil
                }
                needsDecoding = true
                index += length
            case 0x20..<0x80:
                index += 1
            case ASCII.tab, ASCII.lineFeed, ASCII.carriageReturn:
                needsDecoding = true
                index += 1
            case 0x80...:
                guard
                    case .whole(let scalar, let length) = try multiByteScalar(
                        bytes, at: index, end: end)
                else { return nil }
                guard isXMLCharacter(scalar) else {
                    throw .notWellFormed("a forbidden character")
                }
                index += length
            default:
                throw .notWellFormed("a control character")
            }
        }
        return nil
    }
}

/// Looks for the end of a tag that arrives in pieces, remembering where it stopped, so that a
/// tag sent byte by byte costs no more than one sent whole.
struct TagEndSearch {
    private var index: Int
    private var quote: UInt8 = 0

    init(tagAt position: Int) {
        index = position + 1
    }

    /// Whether the tag's `>` is among the bytes before `end`.
    mutating func isComplete(_ bytes: Span<UInt8>, end: Int) -> Bool {
        while index < end {
            let byte = bytes[index]
            if quote != 0 {
                if byte == quote { quote = 0 }
            } else if byte == ASCII.singleQuote || byte == ASCII.doubleQuote {
                quote = byte
            } else if byte == ASCII.greater {
                return true
            }
            index += 1
        }
        return false
    }

    mutating func move(by offset: Int) { index += offset }
}
