// Scans one first-level element, in as many pieces as it comes in: proves it well-formed and
// namespace-well-formed, keeps the limits, and notes the envelope. All positions count from the
// element's first byte, so they stay right when the bytes move from the socket's buffer to the
// reader's own.

/// A prefix bound by the stream header; the default namespace has the prefix "".
struct OuterBinding: Sendable, Equatable {
    var prefix: [UInt8]
    var namespace: String
}

struct ElementScanner {
    private struct Binding {
        var prefix: ByteRange
        var namespace: ByteRange
        var needsDecoding: Bool
        /// Equal for prefixes that are bound to one namespace; told by comparing once, here, and
        /// not at every attribute. Not used for the default namespace.
        var identity: Int
    }

    private struct OpenElement {
        var name: ByteRange
        /// How many bindings were in force outside it.
        var bindings: Int
    }

    private enum Namespace: Equatable {
        case none
        case content
        case xml
        case declared(ByteRange)
        case outer(Int)
    }

    private enum Place {
        case content
        case cdata
        /// Inside a tag of which only a part has come.
        case tag(TagEndSearch)
    }

    private let limits: ReaderLimits
    private var place = Place.content
    private var position = 0
    private var tag = Tag()
    private var open: [OpenElement] = []
    private var bindings: [Binding] = []
    private var elements = 0

    private var name = ByteRange(0..<0)
    private var ownNamespace: ByteRange?
    private var to, from, type, id, lang: AttributeRange?
    private var otherAttributes: [ByteRange] = []
    private var startTagEnd = 0
    private var isEmpty = false
    private var children: [FragmentChild] = []
    /// The bytes cannot stand alone, or hide a namespace behind references.
    private(set) var needsRewriting = false
    /// A namespace that is read as another, so that whoever declares it is rewritten.
    private let mapped: [UInt8]?

    init(limits: ReaderLimits, mapped: String? = nil) {
        self.limits = limits
        self.mapped = mapped.map { Array($0.utf8) }
    }

    /// Goes on with the element that begins at `start`; true once its last byte was seen.
    mutating func scan(
        _ bytes: Span<UInt8>, from start: Int, outer: [OuterBinding]
    ) throws(XMLError) -> Bool {
        let end = bytes.count
        while true {
            var index = start + position
            switch place {
            case .content:
                if !open.isEmpty {
                    index = try characterData(bytes, at: index, end: end)
                    position = index - start
                }
                guard index < end else { return try waitForMore(end - start) }
                guard bytes[index] == ASCII.less else {
                    return try waitForMore(end - start)  // a unit cut in two
                }
                guard index + 1 < end else { return try waitForMore(end - start) }
                switch bytes[index + 1] {
                case ASCII.exclamation:
                    guard try beginsCDATA(bytes, at: index, end: end) else {
                        return try waitForMore(end - start)
                    }
                    position += 9
                    place = .cdata
                    continue
                case ASCII.question:
                    throw .restricted("a processing instruction")
                default: break
                }
            case .cdata:
                guard try finishesCDATA(bytes, at: &index, start: start, end: end) else {
                    position = index - start
                    return try waitForMore(end - start)
                }
                position = index - start
                place = .content
                continue
            case .tag(var search):
                let isComplete = search.isComplete(bytes, end: end)
                place = .tag(search)
                guard isComplete else { return try waitForMore(end - start) }
            }
            guard
                case .whole(_, let length) = try tag.parse(
                    bytes, at: index, end: end, limits: limits)
            else {
                if case .content = place {
                    var search = TagEndSearch(tagAt: index)
                    _ = search.isComplete(bytes, end: end)
                    place = .tag(search)
                }
                return try waitForMore(end - start)
            }
            place = .content
            position += length
            guard position <= limits.elementBytes else { throw .limit("an element too large") }
            switch tag.kind {
            case .end:
                if try endTag(bytes, start: start) { return true }
            case .start, .empty:
                if try startTag(bytes, start: start, outer: outer) { return true }
            }
        }
    }

    /// How many bytes the element has, once it is complete.
    var length: Int { position }

    /// Moves to other indices of the same bytes. Only the tag search holds absolute ones.
    mutating func move(by offset: Int) {
        guard case .tag(var search) = place else { return }
        search.move(by: offset)
        place = .tag(search)
    }

    /// The complete element, its bytes copied out of `bytes`.
    func fragment(_ bytes: Span<UInt8>, from start: Int, contentNamespace: String) -> Fragment {
        let length = length
        let copy = [UInt8](unsafeUninitializedCapacity: length) { target, count in
            bytes.extracting(start..<start + length).withUnsafeBufferPointer { source in
                _ = target.initialize(from: source)
            }
            count = length
        }
        return Fragment(
            bytes: copy, name: name, ownNamespace: ownNamespace, to: to, from: from, type: type,
            id: id, lang: lang, otherAttributes: otherAttributes, startTagEnd: startTagEnd,
            isEmpty: isEmpty, children: children, contentNamespace: contentNamespace)
    }

    private func waitForMore(_ available: Int) throws(XMLError) -> Bool {
        guard available <= limits.elementBytes else { throw .limit("an element too large") }
        return false
    }

    // MARK: Character data

    /// Checks text up to the next `<`, or up to a unit that is not all there yet.
    private func characterData(
        _ bytes: Span<UInt8>, at position: Int, end: Int
    ) throws(XMLError) -> Int {
        var index = position
        while index < end {
            let byte = bytes[index]
            switch byte {
            case ASCII.less:
                return index
            case ASCII.ampersand:
                guard case .whole(_, let length) = try reference(bytes, at: index, end: end) else {
                    return index
                }
                index += length
            case ASCII.rightBracket:
                // `]]>` may not stand in text (XML 1.0 section 2.4).
                guard index + 1 < end else { return index }
                if bytes[index + 1] == ASCII.rightBracket {
                    guard index + 2 < end else { return index }
                    guard bytes[index + 2] != ASCII.greater else {
                        throw .notWellFormed("the end of a CDATA section that never began")
                    }
                }
                index += 1
            case 0x20..<0x80, ASCII.tab, ASCII.lineFeed, ASCII.carriageReturn:
                index += 1
            case 0x80...:
                guard
                    case .whole(let scalar, let length) = try multiByteScalar(
                        bytes, at: index, end: end)
                else { return index }
                guard isXMLCharacter(scalar) else { throw .notWellFormed("a forbidden character") }
                index += length
            default:
                throw .notWellFormed("a control character")
            }
        }
        return index
    }

    /// Whether `<![CDATA[` stands here; false when it may, with more bytes.
    private func beginsCDATA(
        _ bytes: Span<UInt8>, at index: Int, end: Int
    ) throws(XMLError) -> Bool {
        guard !open.isEmpty else { throw .restricted("a document type or comment") }
        let opening: StaticString = "<![CDATA["
        let count = min(opening.utf8CodeUnitCount, end - index)
        for offset in 0..<count where bytes[index + offset] != opening.utf8Start[offset] {
            throw .restricted("a comment or a document type")
        }
        return count == opening.utf8CodeUnitCount
    }

    private func finishesCDATA(
        _ bytes: Span<UInt8>, at index: inout Int, start: Int, end: Int
    ) throws(XMLError) -> Bool {
        while index < end {
            let byte = bytes[index]
            switch byte {
            case ASCII.rightBracket:
                guard index + 2 < end else { return false }
                if bytes[index + 1] == ASCII.rightBracket, bytes[index + 2] == ASCII.greater {
                    index += 3
                    return true
                }
                index += 1
            case 0x20..<0x80, ASCII.tab, ASCII.lineFeed, ASCII.carriageReturn:
                index += 1
            case 0x80...:
                guard
                    case .whole(let scalar, let length) = try multiByteScalar(
                        bytes, at: index, end: end)
                else { return false }
                guard isXMLCharacter(scalar) else { throw .notWellFormed("a forbidden character") }
                index += length
            default:
                throw .notWellFormed("a control character")
            }
        }
        return false
    }

    // MARK: Tags

    private mutating func endTag(_ bytes: Span<UInt8>, start: Int) throws(XMLError) -> Bool {
        guard let element = open.popLast() else { throw .notWellFormed("an end without a start") }
        guard equal(bytes, element.name.moved(by: start).indices, tag.name.range) else {
            throw .notWellFormed("an end tag that does not match")
        }
        bindings.removeLast(bindings.count - element.bindings)
        closeChild()
        return open.isEmpty
    }

    private mutating func closeChild() {
        guard open.count == 1, let last = children.indices.last else { return }
        children[last].range = ByteRange(children[last].range.indices.lowerBound..<position)
    }

    private mutating func startTag(
        _ bytes: Span<UInt8>, start: Int, outer: [OuterBinding]
    ) throws(XMLError) -> Bool {
        guard open.count < limits.depth else { throw .limit("elements nested too deep") }
        elements += 1
        guard elements <= limits.elements else { throw .limit("too many elements") }
        let outside = bindings.count
        try declare(bytes, start: start, outer: outer)
        let namespace = try resolve(bytes, tag.name, start: start, outer: outer)
        // It has no meaning, and no tree with it could be written: nothing else may name `xml:`.
        guard namespace != .xml else { throw .notWellFormed("an element with the prefix xml") }
        try checkAttributes(bytes, start: start, outer: outer)
        let local = relative(tag.name.local, start)
        switch open.count {
        case 0:
            name = local
            startTagEnd = position
            isEmpty = tag.kind == .empty
            if tag.name.prefixLength > 0 { needsRewriting = true }
            ownNamespace = declaredRange(of: namespace)
            noteEnvelope(bytes, start: start)
        case 1:
            let range = declaredRange(of: namespace)
            let from = relative(tag.name.range, start).indices.lowerBound - 1
            children.append(
                FragmentChild(name: local, namespace: range, range: ByteRange(from..<position)))
        default: break
        }
        if tag.kind == .empty {
            bindings.removeLast(bindings.count - outside)
            return open.isEmpty
        }
        open.append(OpenElement(name: relative(tag.name.range, start), bindings: outside))
        return false
    }

    /// Nil for the content namespace. An outer one is rewritten before anybody sees it.
    private func declaredRange(of namespace: Namespace) -> ByteRange? {
        switch namespace {
        case .declared(let range): range
        case .none, .xml: ByteRange(0..<0)
        case .content, .outer: nil
        }
    }

    private mutating func noteEnvelope(_ bytes: Span<UInt8>, start: Int) {
        for attribute in tag.attributes {
            let name = attribute.name
            let value = AttributeRange(
                range: relative(attribute.value, start), needsDecoding: attribute.needsDecoding)
            if name.prefixLength == 0 {
                if matches(bytes, name.range, "to") {
                    to = value
                } else if matches(bytes, name.range, "from") {
                    from = value
                } else if matches(bytes, name.range, "type") {
                    type = value
                } else if matches(bytes, name.range, "id") {
                    id = value
                } else if !matches(bytes, name.range, "xmlns") {
                    otherAttributes.append(relative(attribute.whole, start))
                }
            } else if matches(bytes, name.range, "xml:lang") {
                lang = value
            } else {
                otherAttributes.append(relative(attribute.whole, start))
            }
        }
    }

    private func relative(_ range: Range<Int>, _ start: Int) -> ByteRange {
        ByteRange(range.lowerBound - start..<range.upperBound - start)
    }

    // MARK: Namespaces (Namespaces in XML 1.0)

    private mutating func declare(
        _ bytes: Span<UInt8>, start: Int, outer: [OuterBinding]
    ) throws(XMLError) {
        for attribute in tag.attributes {
            let name = attribute.name
            let prefix: Range<Int>
            if name.prefixLength == 0 {
                guard matches(bytes, name.range, "xmlns") else { continue }
                prefix = name.range.lowerBound..<name.range.lowerBound
            } else {
                guard matches(bytes, name.prefix, "xmlns") else { continue }
                prefix = name.local
            }
            if attribute.needsDecoding { needsRewriting = true }
            if let mapped, holds(bytes.extracting(attribute.value), mapped) {
                needsRewriting = true
            }
            try checkDeclaration(bytes, prefix: prefix, attribute: attribute)
            guard bindings.count < 256 else { throw .limit("too many namespace declarations") }
            bindings.append(
                Binding(
                    prefix: relative(prefix, start), namespace: relative(attribute.value, start),
                    needsDecoding: attribute.needsDecoding,
                    identity: prefix.isEmpty
                        ? 0 : identity(bytes, attribute, start: start, outer: outer)))
        }
    }

    /// What prefixes bound to this namespace have in common.
    private func identity(
        _ bytes: Span<UInt8>, _ attribute: TagAttribute, start: Int, outer: [OuterBinding]
    ) -> Int {
        let decoded = attribute.needsDecoding ? decodedAttribute(bytes, attribute.value) : nil
        for binding in bindings where binding.prefix.count > 0 {
            let range = binding.namespace.moved(by: start).indices
            let isSame =
                if decoded == nil, !binding.needsDecoding {
                    equal(bytes, range, attribute.value)
                } else {
                    equal(
                        decodedAttribute(bytes, range),
                        decoded ?? decodedAttribute(bytes, attribute.value))
                }
            if isSame { return binding.identity }
        }
        for (index, binding) in outer.enumerated() {
            let namespace = decoded ?? decodedAttribute(bytes, attribute.value)
            if equal(binding.namespace, namespace) { return Self.outerIdentity(index, outer) }
        }
        return bindings.count + 1
    }

    /// Below zero, and the same for two outer prefixes of one namespace.
    private static func outerIdentity(_ index: Int, _ outer: [OuterBinding]) -> Int {
        -1 - (outer.firstIndex { equal($0.namespace, outer[index].namespace) } ?? index)
    }

    private func resolve(
        _ bytes: Span<UInt8>, _ name: QualifiedName, start: Int, outer: [OuterBinding]
    ) throws(XMLError) -> Namespace {
        for binding in bindings.reversed()
        where equal(bytes, binding.prefix.moved(by: start).indices, name.prefix) {
            return binding.namespace.count == 0 ? .none : .declared(binding.namespace)
        }
        if name.prefixLength == 0 { return .content }
        if matches(bytes, name.prefix, "xml") { return .xml }
        let prefix = bytes.extracting(name.prefix)
        for (index, binding) in outer.enumerated() where holds(prefix, binding.prefix) {
            return .outer(index)
        }
        throw .notWellFormed("a prefix that is not bound")
    }

    private func holds(_ bytes: Span<UInt8>, _ wanted: [UInt8]) -> Bool {
        guard bytes.count == wanted.count else { return false }
        for index in wanted.indices where bytes[index] != wanted[index] { return false }
        return true
    }

    /// Binds the tag's prefixed attributes and finds two with one expanded name.
    private mutating func checkAttributes(
        _ bytes: Span<UInt8>, start: Int, outer: [OuterBinding]
    ) throws(XMLError) {
        if tag.name.prefixLength > 0,
            case .outer = try resolve(bytes, tag.name, start: start, outer: outer)
        {
            needsRewriting = true
        }
        var seen: [(identity: Int, local: Range<Int>)] = []
        for attribute in tag.attributes where attribute.name.prefixLength > 0 {
            if matches(bytes, attribute.name.prefix, "xmlns") { continue }
            let identity: Int
            switch try resolve(bytes, attribute.name, start: start, outer: outer) {
            case .xml: continue  // its name is unique, and no other prefix may have its namespace
            case .none, .content: continue  // impossible: a prefix cannot be unbound
            case .declared(let range):
                identity = bindings.last { $0.namespace == range }?.identity ?? 0
            case .outer(let index):
                needsRewriting = true
                identity = Self.outerIdentity(index, outer)
            }
            for other in seen
            where other.identity == identity && equal(bytes, other.local, attribute.name.local) {
                throw .notWellFormed("an attribute given twice")
            }
            seen.append((identity, attribute.name.local))
        }
    }
}

/// What may be declared at all (Namespaces in XML 1.0, section 3).
func checkDeclaration(
    _ bytes: Span<UInt8>, prefix: Range<Int>, attribute: TagAttribute
) throws(XMLError) {
    let isXML: Bool
    let isXMLNS: Bool
    guard attribute.value.count <= ReaderLimits.namespaceBytes else {
        throw .limit("a namespace name too long")
    }
    if attribute.needsDecoding {
        let namespace = decodedAttribute(bytes, attribute.value)
        for byte in namespace.utf8 { try checkNamespaceByte(byte) }
        isXML = namespace == "http://www.w3.org/XML/1998/namespace"
        isXMLNS = namespace == "http://www.w3.org/2000/xmlns/"
    } else {
        for index in attribute.value { try checkNamespaceByte(bytes[index]) }
        isXML = matches(bytes, attribute.value, "http://www.w3.org/XML/1998/namespace")
        isXMLNS = matches(bytes, attribute.value, "http://www.w3.org/2000/xmlns/")
    }
    if matches(bytes, prefix, "xml") {
        guard isXML else { throw .notWellFormed("the prefix xml bound elsewhere") }
        return
    }
    guard !isXML, !isXMLNS else { throw .notWellFormed("a reserved namespace bound") }
    guard !matches(bytes, prefix, "xmlns") else {
        throw .notWellFormed("the prefix xmlns declared")
    }
    guard prefix.isEmpty || !attribute.value.isEmpty else {
        throw .notWellFormed("a prefix bound to no namespace")
    }
}

/// A namespace name is a URI (RFC 3986) or an IRI. Some parsers put one of the characters that
/// neither can hold between namespace and name, and break off when they meet it.
private func checkNamespaceByte(_ byte: UInt8) throws(XMLError) {
    switch byte {
    case 0x00...0x20, 0x22, 0x3C, 0x3E, 0x5C, 0x5E, 0x60, 0x7B, 0x7C, 0x7D, 0x7F:
        throw .notWellFormed("a namespace that is no URI")
    default: break
    }
}
