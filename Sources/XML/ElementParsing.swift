// From the bytes of one element to its tree. The tags are read by the same code as the stream's.

extension Element {
    /// Parses exactly one element.
    ///
    /// - Parameters:
    ///   - bytes: the element from `<` to `>`, within the default limits of an authenticated
    ///     stream.
    ///   - contentNamespace: the namespace of elements that declare none.
    public init(parsing bytes: [UInt8], contentNamespace: String) throws(XMLError) {
        try self.init(parsing: bytes, contentNamespace: contentNamespace, outer: [])
    }

    init(
        parsing bytes: [UInt8], contentNamespace: String, outer: [OuterBinding]
    ) throws(XMLError) {
        var builder = ElementBuilder(contentNamespace: contentNamespace, outer: outer)
        self = try builder.build(bytes.span)
    }
}

private struct ElementBuilder {
    private struct OpenElement {
        var element: Element
        var name: Range<Int>
        var bindings: Int
    }

    private var bindings: [OuterBinding]
    private var open: [OpenElement] = []
    private var tag = Tag()
    private let limits = ReaderLimits(
        elementBytes: .max, depth: 1024, attributes: 1024, nameBytes: 4096)

    init(contentNamespace: String, outer: [OuterBinding]) {
        bindings = [OuterBinding(prefix: [], namespace: contentNamespace)] + outer
    }

    mutating func build(_ bytes: Span<UInt8>) throws(XMLError) -> Element {
        var index = 0
        while index < bytes.count {
            guard bytes[index] == ASCII.less else {
                try text(bytes, &index)
                continue
            }
            if index + 1 < bytes.count, bytes[index + 1] == ASCII.exclamation {
                try cdata(bytes, &index)
                continue
            }
            guard
                case .whole(_, let length) = try tag.parse(
                    bytes, at: index, end: bytes.count, limits: limits)
            else { throw .notWellFormed("an unfinished tag") }
            index += length
            if let root = try handleTag(bytes) {
                guard index == bytes.count else { throw .notWellFormed("more than one element") }
                return root
            }
        }
        throw .notWellFormed("an unfinished element")
    }

    private mutating func handleTag(_ bytes: Span<UInt8>) throws(XMLError) -> Element? {
        if tag.kind == .end {
            guard let top = open.last, equal(bytes, top.name, tag.name.range) else {
                throw .notWellFormed("an end tag that does not match")
            }
            return close()
        }
        guard open.count < limits.depth else { throw .limit("elements nested too deep") }
        let outside = bindings.count
        for attribute in tag.attributes {
            if attribute.name.prefixLength == 0, matches(bytes, attribute.name.range, "xmlns") {
                bindings.append(
                    OuterBinding(prefix: [], namespace: decodedAttribute(bytes, attribute.value)))
            } else if matches(bytes, attribute.name.prefix, "xmlns") {
                bindings.append(
                    OuterBinding(
                        prefix: Array(plain(bytes, attribute.name.local).utf8),
                        namespace: decodedAttribute(bytes, attribute.value)))
            }
        }
        var element = Element(
            plain(bytes, tag.name.local), try namespace(bytes, tag.name.prefix))
        for attribute in tag.attributes
        where !matches(bytes, attribute.name.prefix, "xmlns")
            && !matches(bytes, attribute.name.range, "xmlns")
        {
            element.attributes.append(
                Attribute(
                    plain(bytes, attribute.name.local), decodedAttribute(bytes, attribute.value),
                    namespace: attribute.name.prefixLength == 0
                        ? "" : try namespace(bytes, attribute.name.prefix)))
        }
        open.append(OpenElement(element: element, name: tag.name.range, bindings: outside))
        return tag.kind == .empty ? close() : nil
    }

    /// Ends the innermost element; gives it when it is the root.
    private mutating func close() -> Element? {
        guard let top = open.popLast() else { return nil }
        bindings.removeLast(bindings.count - top.bindings)
        guard let parent = open.indices.last else { return top.element }
        open[parent].element.children.append(.element(top.element))
        return nil
    }

    private func namespace(
        _ bytes: Span<UInt8>, _ prefix: Range<Int>
    ) throws(XMLError) -> String {
        if matches(bytes, prefix, "xml") { return "http://www.w3.org/XML/1998/namespace" }
        let wanted = Array(plain(bytes, prefix).utf8)
        guard let binding = bindings.last(where: { $0.prefix == wanted }) else {
            throw .notWellFormed("a prefix that is not bound")
        }
        return binding.namespace
    }

    private mutating func text(_ bytes: Span<UInt8>, _ index: inout Int) throws(XMLError) {
        let start = index
        while index < bytes.count, bytes[index] != ASCII.less { index += 1 }
        try append(decodedText(bytes, start..<index))
    }

    private mutating func cdata(_ bytes: Span<UInt8>, _ index: inout Int) throws(XMLError) {
        let start = index + 9
        guard start <= bytes.count, matches(bytes, index..<start, "<![CDATA[") else {
            throw .restricted("a comment or a document type")
        }
        index = start
        while index + 2 < bytes.count {
            if bytes[index] == ASCII.rightBracket, bytes[index + 1] == ASCII.rightBracket,
                bytes[index + 2] == ASCII.greater
            {
                try append(plain(bytes, start..<index))
                index += 3
                return
            }
            index += 1
        }
        throw .notWellFormed("an unfinished CDATA section")
    }

    private mutating func append(_ text: String) throws(XMLError) {
        guard let parent = open.indices.last else { throw .notWellFormed("text without element") }
        guard !text.isEmpty else { return }
        if case .text(let before)? = open[parent].element.children.last {
            open[parent].element.children.removeLast()
            open[parent].element.children.append(.text(before + text))
        } else {
            open[parent].element.children.append(.text(text))
        }
    }

    private func plain(_ bytes: Span<UInt8>, _ range: Range<Int>) -> String {
        bytes.extracting(range).withUnsafeBufferPointer { String(decoding: $0, as: UTF8.self) }
    }
}
