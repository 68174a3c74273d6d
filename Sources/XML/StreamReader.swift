// The reader of one XML stream in the profile of RFC 6120 section 11: bytes in any cut go in;
// the stream header, whole first-level elements and the stream's end come out. No I/O, no tree.
//
// Refused: document types, comments, processing instructions, entities beyond the five that are
// predefined, encodings other than UTF-8, and whatever exceeds the limits.

/// The opening tag of a stream (RFC 6120 section 4.7).
public struct StreamHeader: Sendable, Equatable {
    /// Local name, `stream` in XMPP.
    public var name: String
    /// The element's namespace.
    public var namespace: String
    /// The default namespace, which the stanzas are in unless they say otherwise.
    public var contentNamespace: String
    /// The attributes of RFC 6120 section 4.7, nil when absent.
    public var to, from, id, version, lang: String?
    /// The namespaces that it binds to prefixes, `jabber:server:dialback` among them where a
    /// server knows XEP-0220.
    public var prefixedNamespaces: [String] = []
}

/// A content namespace that is read as another. Between servers, and from a component, stanzas have
/// a namespace of their own and mean the same as a client's.
public struct NamespaceMapping: Sendable, Equatable {
    /// The namespace on the wire.
    public let wire: String
    /// What it is read as.
    public let meaning: String

    /// Maps one namespace to another.
    public init(_ wire: String, as meaning: String) {
        self.wire = wire
        self.meaning = meaning
    }

    func apply(_ namespace: String) -> String { namespace == wire ? meaning : namespace }

    /// The same tree with the namespaces mapped.
    func apply(_ element: Element) -> Element {
        var mapped = element
        mapped.namespace = apply(element.namespace)
        mapped.attributes = element.attributes.map {
            Attribute($0.name, $0.value, namespace: apply($0.namespace))
        }
        mapped.children = element.children.map { child in
            guard case .element(let child) = child else { return child }
            return .element(apply(child))
        }
        return mapped
    }
}

/// What the reader found.
public enum StreamEvent: Sendable {
    /// `<stream:stream …>`
    case header(StreamHeader)
    /// A complete first-level element.
    case element(Fragment)
    /// `</stream:stream>`
    case end
}

/// An incremental reader. Owner: the stream that it reads for.
public struct StreamReader {
    private enum State {
        /// Before the stream header; whether an XML declaration may still come.
        case prolog(mayDeclare: Bool)
        case betweenElements
        case element(ElementScanner)
        case closed
    }

    /// For the stream's own two tags, whose size has a limit of its own.
    private static let tagLimits = ReaderLimits(attributes: 32, nameBytes: 128)

    /// In force from the next element on.
    public var limits: ReaderLimits
    private var state = State.prolog(mayDeclare: true)
    /// Bytes of something unfinished, kept until the rest comes. Empty, with no memory, else.
    private var pending: [UInt8] = []
    private var streamName: [UInt8] = []
    private var contentNamespace = ""
    private var outer: [OuterBinding] = []
    private let mapping: NamespaceMapping?

    /// Creates a reader that expects a stream header.
    ///
    /// - Parameter mapping: how elements are read; the header says what was on the wire.
    public init(limits: ReaderLimits, mapping: NamespaceMapping? = nil) {
        self.limits = limits
        self.mapping = mapping
    }

    /// A new stream on the same connection: after STARTTLS, when bytes not yet consumed are not
    /// believed, and after authentication, when they belong to it (RFC 6120 section 4.3.3).
    public mutating func restart(keepingBytes: Bool = false) {
        let kept = keepingBytes ? pending : []
        self = StreamReader(limits: limits, mapping: mapping)
        pending = kept
    }

    /// Whether part of something has come and the rest has not.
    public var isInsideElement: Bool { !pending.isEmpty }

    /// Reads on from `offset` and gives the next event, or nil when the chunk is used up.
    ///
    /// - Throws: `XMLError`; the reader is of no more use then.
    public mutating func next(
        in chunk: Span<UInt8>, at offset: inout Int
    ) throws(XMLError) -> StreamEvent? {
        if pending.isEmpty {
            var start = offset
            if let event = try step(chunk, &start) {
                offset = start
                return event
            }
            keep(chunk, from: start)
            offset = chunk.count
            return nil
        }
        if offset < chunk.count {
            append(chunk, from: offset)
            offset = chunk.count
        }
        var source: [UInt8] = []
        swap(&source, &pending)
        var start = 0
        let event = try step(source.span, &start)
        if start == 0 {
            swap(&source, &pending)
        } else {
            keep(source.span, from: start)
        }
        return event
    }

    private mutating func keep(_ bytes: Span<UInt8>, from start: Int) {
        pending = []
        guard start < bytes.count else { return }
        append(bytes, from: start)
        if case .element(var scanner) = state {
            scanner.move(by: -start)
            state = .element(scanner)
        }
    }

    private mutating func append(_ bytes: Span<UInt8>, from start: Int) {
        bytes.extracting(start..<bytes.count).withUnsafeBufferPointer {
            pending.append(contentsOf: $0)
        }
    }

    /// Gives the next event of `bytes` and moves `start` behind it, or to where an unfinished
    /// element begins.
    private mutating func step(
        _ bytes: Span<UInt8>, _ start: inout Int
    ) throws(XMLError) -> StreamEvent? {
        while true {
            switch state {
            case .prolog(let mayDeclare):
                return try prolog(bytes, &start, mayDeclare: mayDeclare)
            case .betweenElements:
                while start < bytes.count, ASCII.isWhitespace(bytes[start]) { start += 1 }
                guard start < bytes.count else { return nil }
                guard bytes[start] == ASCII.less else {
                    throw XMLError(.badFormat, "text between stanzas")
                }
                guard start + 1 < bytes.count else { return nil }
                if bytes[start + 1] == ASCII.slash { return try end(bytes, &start) }
                state = .element(ElementScanner(limits: limits, mapped: mapping?.wire))
            case .element(var scanner):
                state = .closed  // so that the scanner is not shared while it changes
                let isComplete = try scanner.scan(bytes, from: start, outer: outer)
                guard isComplete else {
                    state = .element(scanner)
                    return nil
                }
                state = .betweenElements
                let fragment = scanner.fragment(
                    bytes, from: start, contentNamespace: meaning(of: contentNamespace))
                start += scanner.length
                return .element(
                    scanner.needsRewriting ? try standalone(fragment.bytes) : fragment)
            case .closed:
                start = bytes.count
                return nil
            }
        }
    }

    private func meaning(of namespace: String) -> String {
        mapping?.apply(namespace) ?? namespace
    }

    /// Writes an element anew that leans on the stream header's prefixes, has a prefix itself, names
    /// the namespace that is read as another, or writes a namespace with references, so that its
    /// bytes mean the same anywhere.
    private func standalone(_ bytes: [UInt8]) throws(XMLError) -> Fragment {
        var element = try Element(
            parsing: bytes, contentNamespace: contentNamespace, outer: outer)
        if let mapping { element = mapping.apply(element) }
        let contentNamespace = meaning(of: contentNamespace)
        // Each use of a prefix becomes a declaration, so a little could become a lot.
        let limit = min(limits.elementBytes, 4 * bytes.count + 4096)
        var writer = XMLWriter(contentNamespace: contentNamespace, limit: limit)
        writer.write(element)
        guard writer.bytes.count <= limit else {
            throw .limit("an element too large")
        }
        return try Fragment(writer.bytes, contentNamespace: contentNamespace, limits: limits)
    }

    // MARK: The stream's own tags

    private mutating func prolog(
        _ bytes: Span<UInt8>, _ start: inout Int, mayDeclare: Bool
    ) throws(XMLError) -> StreamEvent? {
        while start < bytes.count, ASCII.isWhitespace(bytes[start]) { start += 1 }
        guard start < bytes.count else { return nil }
        guard bytes[start] == ASCII.less else { throw .notWellFormed("no stream header") }
        guard start + 1 < bytes.count else { return nil }
        switch bytes[start + 1] {
        case ASCII.exclamation:
            throw .restricted("a document type or comment")
        case ASCII.question:
            guard mayDeclare else { throw .restricted("a processing instruction") }
            guard let length = try declaration(bytes, at: start) else {
                return try headerIncomplete(bytes.count - start)
            }
            start += length
            state = .prolog(mayDeclare: false)
            return try prolog(bytes, &start, mayDeclare: false)
        default: break
        }
        var tag = Tag()
        guard
            case .whole(_, let length) = try tag.parse(
                bytes, at: start, end: bytes.count, limits: Self.tagLimits)
        else { return try headerIncomplete(bytes.count - start) }
        guard length <= limits.headerBytes else { throw .limit("a stream header too large") }
        guard tag.kind == .start else { throw XMLError(.badFormat, "a stream without content") }
        let header = try readHeader(bytes, tag)
        start += length
        state = .betweenElements
        return .header(header)
    }

    private func headerIncomplete(_ available: Int) throws(XMLError) -> StreamEvent? {
        guard available <= limits.headerBytes else { throw .limit("a stream header too large") }
        return nil
    }

    /// The length of the XML declaration at `position`; nil when more bytes are needed.
    private func declaration(_ bytes: Span<UInt8>, at position: Int) throws(XMLError) -> Int? {
        let longest = 256
        var index = position + 2
        while index + 1 < bytes.count, index - position < longest {
            if bytes[index] == ASCII.question, bytes[index + 1] == ASCII.greater {
                try checkEncoding(bytes, position..<index)
                return index + 2 - position
            }
            index += 1
        }
        guard index - position < longest else { throw .notWellFormed("a broken declaration") }
        return nil
    }

    private func checkEncoding(
        _ bytes: Span<UInt8>, _ range: Range<Int>
    ) throws(XMLError) {
        var text = ""
        for index in range {
            guard bytes[index] < 0x80 else { throw .notWellFormed("a broken declaration") }
            text.unicodeScalars.append(Unicode.Scalar(bytes[index]))
        }
        guard text.hasPrefix("<?xml"), let space = text.dropFirst(5).first, space.isWhitespace
        else { throw .restricted("a processing instruction") }
        guard let encoding = text.firstRange(of: "encoding") else { return }
        let value = text[encoding.upperBound...].filter { !$0.isWhitespace }
            .dropFirst().prefix { $0 != "?" }
        let quoted = value.dropFirst().prefix { $0 != "'" && $0 != "\"" }
        guard quoted.lowercased() == "utf-8" else {
            throw XMLError(.unsupportedEncoding, "an encoding other than UTF-8")
        }
    }

    private mutating func readHeader(
        _ bytes: Span<UInt8>, _ tag: Tag
    ) throws(XMLError) -> StreamHeader {
        var bindings: [OuterBinding] = []
        var header = StreamHeader(
            name: plain(bytes, tag.name.local), namespace: "", contentNamespace: "")
        for attribute in tag.attributes {
            let value = decodedAttribute(bytes, attribute.value)
            let name = attribute.name
            switch plain(bytes, name.range) {
            case "to": header.to = value
            case "from": header.from = value
            case "id": header.id = value
            case "version": header.version = value
            case "xml:lang": header.lang = value
            case "xmlns":
                let prefix = name.range.lowerBound..<name.range.lowerBound
                try checkDeclaration(bytes, prefix: prefix, attribute: attribute)
                header.contentNamespace = value
            default:
                guard name.prefixLength > 0, matches(bytes, name.prefix, "xmlns") else { continue }
                try checkDeclaration(bytes, prefix: name.local, attribute: attribute)
                guard !matches(bytes, name.local, "xml") else { continue }
                bindings.append(
                    OuterBinding(
                        prefix: Array(plain(bytes, name.local).utf8), namespace: value))
            }
        }
        if tag.name.prefixLength == 0 {
            header.namespace = header.contentNamespace
        } else {
            let prefix = Array(plain(bytes, tag.name.prefix).utf8)
            guard let binding = bindings.first(where: { $0.prefix == prefix }) else {
                throw .notWellFormed("a prefix that is not bound")
            }
            header.namespace = binding.namespace
        }
        outer = bindings
        header.prefixedNamespaces = bindings.map(\.namespace)
        contentNamespace = header.contentNamespace
        streamName = Array(plain(bytes, tag.name.range).utf8)
        return header
    }

    private func plain(_ bytes: Span<UInt8>, _ range: Range<Int>) -> String {
        bytes.extracting(range).withUnsafeBufferPointer { String(decoding: $0, as: UTF8.self) }
    }

    private mutating func end(
        _ bytes: Span<UInt8>, _ start: inout Int
    ) throws(XMLError) -> StreamEvent? {
        var tag = Tag()
        guard
            case .whole(_, let length) = try tag.parse(
                bytes, at: start, end: bytes.count, limits: Self.tagLimits)
        else { return try headerIncomplete(bytes.count - start) }
        guard Array(plain(bytes, tag.name.range).utf8) == streamName else {
            throw .notWellFormed("an end tag that does not match")
        }
        start += length
        state = .closed
        return .end
    }
}

extension Fragment {
    /// Reads one element that stands alone, such as a stanza that was written before.
    public init(
        _ bytes: [UInt8], contentNamespace: String, limits: ReaderLimits = ReaderLimits()
    ) throws(XMLError) {
        var scanner = ElementScanner(limits: limits)
        guard try scanner.scan(bytes.span, from: 0, outer: []) else {
            throw .notWellFormed("an element without an end")
        }
        self = scanner.fragment(bytes.span, from: 0, contentNamespace: contentNamespace)
    }
}
