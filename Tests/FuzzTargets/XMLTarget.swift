// The reader: its verdict does not depend on how the input is cut, and what it lets through means
// the same to whoever reads it next, as it came, written anew, or routed.

import Addresses
import XML
import XMPP

enum XMLTarget {
    /// Two prefixes of one namespace and one of another, which elements may lean on.
    private static let header = Array(
        ("<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:x='urn:x'"
            + " xmlns:y='urn:x' xmlns:stream='http://etherx.jabber.org/streams' to='a.example'>")
            .utf8)

    /// Small enough for inputs to reach them.
    private static let narrow = ReaderLimits(
        elementBytes: 600, headerBytes: 300, depth: 6, attributes: 6, nameBytes: 24, elements: 12)

    static func run(_ input: [UInt8]) throws {
        for limits in [ReaderLimits(), narrow] {
            try check(input, limits)
            try check(header + input, limits)
        }
    }

    // MARK: Cuts

    private enum Found {
        case header(StreamHeader)
        case element(Fragment)
        case end
        case error(XMLError)
    }

    private static func check(_ input: [UInt8], _ limits: ReaderLimits) throws {
        let whole = read([input[...]], limits)
        let cuts = [
            ("byte by byte", input.indices.map { input[$0...$0] }),
            ("in pieces", pieces(input)),
        ]
        for (name, chunks) in cuts {
            let parts = read(chunks, limits)
            try expect(
                parts.count == whole.count && zip(whole, parts).allSatisfy(agree),
                "read \(name): \(parts), at once: \(whole)")
        }
        for case .element(let fragment) in whole { try FragmentCheck(fragment).run() }
    }

    /// Cuts in places that depend on the input, so that they are the same each time.
    private static func pieces(_ input: [UInt8]) -> [ArraySlice<UInt8>] {
        var chunks: [ArraySlice<UInt8>] = []
        var start = 0
        var state = UInt32(truncatingIfNeeded: input.count)
        while start < input.count {
            state = state &* 1_664_525 &+ 1_013_904_223 &+ UInt32(input[start])
            let end = min(input.count, start + 1 + Int(state >> 27))
            chunks.append(input[start..<end])
            start = end
        }
        return chunks
    }

    private static func read(_ chunks: [ArraySlice<UInt8>], _ limits: ReaderLimits) -> [Found] {
        var reader = StreamReader(limits: limits)
        var found: [Found] = []
        for chunk in chunks {
            let chunk = Array(chunk)
            var offset = 0
            do throws(XMLError) {
                while let event = try reader.next(in: chunk.span, at: &offset) {
                    switch event {
                    case .header(let header): found.append(.header(header))
                    case .element(let fragment): found.append(.element(fragment))
                    case .end: found.append(.end)
                    }
                }
            } catch {
                return found + [.error(error)]
            }
        }
        return found
    }

    private static func agree(_ one: Found, _ other: Found) -> Bool {
        switch (one, other) {
        case (.header(let one), .header(let other)): one == other
        case (.end, .end): true
        // Where an input is both too large and wrong, the reader may meet either first.
        case (.error(let one), .error(let other)):
            one == other || one.condition == .limit || other.condition == .limit
        case (.element(let one), .element(let other)):
            one.bytes == other.bytes && one.name == other.name
                && one.ownNamespace == other.ownNamespace && one.to == other.to
                && one.from == other.from && one.type == other.type && one.id == other.id
                && one.lang == other.lang && one.otherAttributes == other.otherAttributes
                && one.startTagEnd == other.startTagEnd && one.isEmpty == other.isEmpty
                && one.children == other.children
                && one.contentNamespace == other.contentNamespace
        default: false
        }
    }
}

/// What must hold of an element that the reader let through.
private struct FragmentCheck {
    let fragment: Fragment
    let element: Element

    init(_ fragment: Fragment) throws {
        self.fragment = fragment
        do {
            element = try Element(
                parsing: fragment.bytes, contentNamespace: fragment.contentNamespace)
        } catch {
            throw Violation("accepted, but no element: \(shown(fragment.bytes)): \(error)")
        }
    }

    func run() throws {
        try expect(isSame(fragment.element(), element), "the tree differs: \(fragment)")
        try envelope()
        try written()
        // Streams with another content namespace end at their header.
        if fragment.contentNamespace == Namespaces.client, let kind = Stanza.kind(of: fragment) {
            try routed(kind)
        }
    }

    /// The envelope says what the tree says.
    private func envelope() throws {
        let text = shown(fragment.bytes)
        try expect(
            isSame(fragment.text(fragment.name), element.name)
                && isSame(fragment.namespace, element.namespace), "the root's name: \(text)")
        for (name, value) in [
            ("to", fragment.to), ("from", fragment.from), ("type", fragment.type),
            ("id", fragment.id),
        ] {
            try expect(
                isSame(value.map { fragment.value($0) }, element[name]), "\(name) of \(text)")
        }
        let language = element.attributes.first {
            $0.name == "lang" && $0.namespace == Namespaces.xml
        }
        try expect(
            isSame(fragment.lang.map { fragment.value($0) }, language?.value), "lang of \(text)")
        let children = element.elements
        try expect(children.count == fragment.children.count, "children of \(text)")
        for (child, tree) in zip(fragment.children, children) {
            try expect(
                isSame(fragment.text(child.name), tree.name)
                    && isSame(fragment.namespace(of: child), tree.namespace)
                    && isSame(fragment.element(child), tree), "a child of \(text)")
        }
    }

    /// The written form means the same, wherever it stands.
    private func written() throws {
        for namespace in [fragment.contentNamespace, "urn:elsewhere"] {
            let bytes = XMLWriter.bytes(element, contentNamespace: namespace)
            try expect(
                isSame(try? Element(parsing: bytes, contentNamespace: namespace), element),
                "\(shown(fragment.bytes)) is written as \(shown(bytes))")
            // The same to a strict reader on a stream.
            try expect(
                isSame(first(bytes, namespace), element),
                "\(shown(bytes)) is not read as it was written")
        }
    }

    /// Routing changes the addresses and the language and nothing else.
    private func routed(_ kind: Stanza.Kind) throws {
        let from = JID(
            bare: BareJID(preparedLocal: "o", preparedDomain: "a.example"),
            preparedResource: "it's <&> \"here\"")
        let stanza = Stanza(fragment, kind, from: from, to: nil, streamLanguage: "en")
        var expected = element
        expected["from"] = from.description
        expected["to"] = nil
        if fragment.lang == nil {
            expected.attributes.append(Attribute("lang", "en", namespace: Namespaces.xml))
        }
        for isKept in [false, true] {
            let bytes = stanza.routedBytes(declaresNamespace: isKept)
            let around = isKept ? "urn:elsewhere" : fragment.contentNamespace
            guard let read = first(bytes, around) else {
                throw Violation("routed, it is not read: \(shown(bytes))")
            }
            try expect(
                isSame(sorted(read), sorted(expected)),
                "\(shown(fragment.bytes)) is routed as \(shown(bytes))")
        }
    }

    /// What a stream reader makes of bytes.
    private func first(_ bytes: [UInt8], _ namespace: String) -> Element? {
        var reader = StreamReader(
            limits: ReaderLimits(
                elementBytes: 1 << 24, headerBytes: 1 << 16, depth: 1024, attributes: 1024,
                nameBytes: 4096, elements: 1 << 20))
        var writer = XMLWriter(contentNamespace: "")
        writer.raw("<s")
        writer.attribute("xmlns", namespace)
        writer.raw(">")
        let stream = writer.bytes + bytes
        var offset = 0
        guard case .header? = try? reader.next(in: stream.span, at: &offset),
            case .element(let fragment)? = try? reader.next(in: stream.span, at: &offset),
            offset == stream.count
        else { return nil }
        return fragment.element()
    }

    private func sorted(_ element: Element) -> Element {
        var sorted = element
        sorted.attributes.sort { ($0.namespace, $0.name) < ($1.namespace, $1.name) }
        return sorted
    }
}
