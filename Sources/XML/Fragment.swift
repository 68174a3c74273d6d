// A complete first-level element of a stream: its bytes, proven well-formed, and where in them
// the envelope lies. Nothing below the children's tags is described; `Element` does that when
// somebody asks.

/// An attribute's value within a fragment's bytes.
public struct AttributeRange: Sendable, Equatable {
    /// The value without its quotes.
    public let range: ByteRange
    /// Whether the value holds references or white space to normalise.
    let needsDecoding: Bool
}

/// A child of a fragment's root.
public struct FragmentChild: Sendable, Equatable {
    /// The local part of the name.
    public let name: ByteRange
    /// The namespace's text; nil for the content namespace of the stream.
    public let namespace: ByteRange?
    /// The whole child, tags included.
    public internal(set) var range: ByteRange
}

/// A stanza, or any other first-level element, as one peer sent it (RFC 6120 section 4.1).
///
/// Guaranteed by the reader: well-formed and namespace-well-formed by itself; the root has no
/// prefix; every prefix used inside, except `xml`, is declared inside; namespace declarations
/// hold no references but those to `&` and `'`, so comparing their bytes with a namespace that has
/// neither is comparing namespaces.
public struct Fragment: Sendable {
    /// The element from `<` to `>`.
    public let bytes: [UInt8]
    /// The root's name.
    public let name: ByteRange
    /// The root's own default namespace; nil when it is the content namespace.
    public let ownNamespace: ByteRange?
    /// The unprefixed attributes of every stanza (RFC 6120 section 8.1).
    public let to, from, type, id: AttributeRange?
    /// `xml:lang`.
    public let lang: AttributeRange?
    /// Every further attribute of the root as written, the leading space and declarations of
    /// other prefixes included, `xmlns` itself left out.
    public let otherAttributes: [ByteRange]
    /// Where the root's start tag ends: the byte after its `>`.
    public let startTagEnd: Int
    /// Written as `<name/>`.
    public let isEmpty: Bool
    /// The root's child elements in order.
    public let children: [FragmentChild]
    /// The namespace of what declares none, `jabber:client` or `jabber:server`.
    public let contentNamespace: String

    /// The root's namespace.
    public var namespace: String {
        ownNamespace.map { namespace($0) } ?? contentNamespace
    }

    /// Whether the root has this name and namespace.
    public func isNamed(_ wanted: StaticString, _ namespace: StaticString) -> Bool {
        guard holds(name, wanted) else { return false }
        return isNamespace(ownNamespace, namespace)
    }

    /// Whether a child has this name and namespace.
    public func child(
        _ child: FragmentChild, isNamed wanted: StaticString, _ namespace: StaticString
    ) -> Bool {
        holds(child.name, wanted) && isNamespace(child.namespace, namespace)
    }

    /// Whether any child has this name and namespace.
    public func hasChild(_ wanted: StaticString, _ namespace: StaticString) -> Bool {
        children.contains { child($0, isNamed: wanted, namespace) }
    }

    /// A child's namespace.
    public func namespace(of child: FragmentChild) -> String {
        child.namespace.map { namespace($0) } ?? contentNamespace
    }

    private func namespace(_ range: ByteRange) -> String {
        decodedAttribute(bytes.span, range.indices)
    }

    /// Whether the bytes of a range are exactly this ASCII text.
    public func holds(_ range: ByteRange, _ wanted: StaticString) -> Bool {
        matches(bytes.span, range.indices, wanted)
    }

    /// The bytes of a range as text; for names, which hold no references.
    public func text(_ range: ByteRange) -> String {
        String(decoding: bytes[range.indices], as: UTF8.self)
    }

    /// An attribute's value, references resolved.
    public func value(_ attribute: AttributeRange) -> String {
        guard attribute.needsDecoding else { return text(attribute.range) }
        return decodedAttribute(bytes.span, attribute.range.indices)
    }

    /// Whether an attribute's value can be compared byte by byte.
    public func isLiteral(_ attribute: AttributeRange) -> Bool { !attribute.needsDecoding }

    /// The whole fragment as a tree.
    public func element() -> Element {
        // The reader proved these bytes well-formed; an empty element stands for the impossible.
        (try? Element(parsing: bytes, contentNamespace: contentNamespace))
            ?? Element(text(name), namespace)
    }

    /// One child as a tree.
    public func element(_ child: FragmentChild) -> Element {
        // The child may use prefixes that the root declares, so its tree is cut from the root's.
        let wanted = children.firstIndex { $0.range == child.range } ?? 0
        var index = 0
        for node in element().children {
            guard case .element(let element) = node else { continue }
            if index == wanted { return element }
            index += 1
        }
        return Element(text(child.name), namespace(of: child))
    }

    /// A child's text, without building a tree; nil if it holds more than text.
    public func text(of child: FragmentChild) -> String? {
        let whole = bytes[child.range.indices]
        // The start tag ends at the first '>' that is in no attribute's value.
        var quote: UInt8?
        var start = whole.startIndex
        for index in whole.indices {
            let byte = whole[index]
            if let open = quote {
                if byte == open { quote = nil }
            } else if byte == ASCII.doubleQuote || byte == ASCII.singleQuote {
                quote = byte
            } else if byte == ASCII.greater {
                start = index
                break
            }
        }
        guard start > whole.startIndex, whole[start - 1] != ASCII.slash else { return "" }
        guard let end = whole.lastIndex(of: ASCII.less), end > start,
            !whole[start..<end].contains(ASCII.less)
        else { return nil }
        return decodedText(bytes.span, start + 1..<end)
    }

    private func isNamespace(_ range: ByteRange?, _ wanted: StaticString) -> Bool {
        if let range { return holds(range, wanted) }
        return wanted.withUTF8Buffer { contentNamespace.utf8.elementsEqual($0) }
    }
}

/// Replaces references and normalises white space in an attribute value that was checked before
/// (XML 1.0 section 3.3.3).
func decodedAttribute(_ bytes: Span<UInt8>, _ range: Range<Int>) -> String {
    decoded(bytes, range, isAttribute: true)
}

/// Replaces references and normalises line ends in character data that was checked before
/// (XML 1.0 section 2.11).
func decodedText(_ bytes: Span<UInt8>, _ range: Range<Int>) -> String {
    decoded(bytes, range, isAttribute: false)
}

private func decoded(_ bytes: Span<UInt8>, _ range: Range<Int>, isAttribute: Bool) -> String {
    var output: [UInt8] = []
    output.reserveCapacity(range.count)
    var index = range.lowerBound
    while index < range.upperBound {
        let byte = bytes[index]
        switch byte {
        case ASCII.ampersand:
            if case .whole(let scalar, let length)? = try? reference(
                bytes, at: index, end: range.upperBound), let scalar = Unicode.Scalar(scalar)
            {
                output.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
                index += length
                continue
            }
            output.append(byte)
        case ASCII.carriageReturn:
            let isPair =
                index + 1 < range.upperBound && bytes[index + 1] == ASCII.lineFeed
            if isPair { index += 1 }
            output.append(isAttribute ? ASCII.space : ASCII.lineFeed)
        case ASCII.tab, ASCII.lineFeed:
            output.append(isAttribute ? ASCII.space : byte)
        default:
            output.append(byte)
        }
        index += 1
    }
    return String(decoding: output, as: UTF8.self)
}
