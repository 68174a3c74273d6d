// A stanza as it was received: its fragment, its kind, and its addresses.

public import Addresses
public import XML

/// A message, presence or IQ (RFC 6120 section 8) whose addresses were checked.
public struct Stanza: Sendable {
    /// Which of the three it is.
    public enum Kind: String, Sendable, CaseIterable {
        case message, presence, iq
    }

    /// What came over the wire.
    public let fragment: Fragment
    /// Which of the three it is.
    public let kind: Kind
    /// The sender: for a client's stanza the server's word, not the client's.
    public let from: JID
    /// The receiver, nil when the stanza names none.
    public let to: JID?
    /// The language that applies where the stanza declares none of its own (RFC 6120 section
    /// 8.1.5), or nil.
    public let streamLanguage: String?
    /// When it came in, in nanoseconds since the machine's start; 0 if nobody asked.
    public let receivedAt: UInt64
    /// Its number in a stream that counts (XEP-0198), else nil.
    public let number: UInt32?

    /// Creates a stanza.
    public init(
        _ fragment: Fragment, _ kind: Kind, from: JID, to: JID?, streamLanguage: String? = nil,
        receivedAt: UInt64 = 0, number: UInt32? = nil
    ) {
        self.fragment = fragment
        self.kind = kind
        self.from = from
        self.to = to
        self.streamLanguage = streamLanguage
        self.receivedAt = receivedAt
        self.number = number
    }

    /// The children `<stanza-id/>` that claim to be by one of these accounts, which only their own
    /// server can say (XEP-0359 section 3).
    public func forgedStanzaIDs(of accounts: [BareJID]) -> [FragmentChild] {
        let candidates = fragment.children.filter {
            fragment.child($0, isNamed: "stanza-id", "urn:xmpp:sid:0")
        }
        guard !candidates.isEmpty else { return [] }
        return candidates.filter { child in
            guard let by = fragment.element(child)["by"].flatMap({ try? JID($0) }) else {
                return false
            }
            return accounts.contains(by.bare)
        }
    }

    /// The children `<delay/>` that claim to be by one of these domains, which only these can say
    /// (XEP-0203 section 5).
    public func delays(by domains: Set<String>) -> [FragmentChild] {
        fragment.children.filter { child in
            guard fragment.child(child, isNamed: "delay", "urn:xmpp:delay"),
                let from = fragment.element(child)["from"].flatMap({ try? JID($0) })
            else { return false }
            return from.description == from.bare.domain && domains.contains(from.bare.domain)
        }
    }

    /// Reads a stanza that `routedBytes` wrote. Nil for what never was one.
    public init?(routed bytes: [UInt8]) {
        // It was within the limits when it came in; its addresses may have grown it.
        let limits = ReaderLimits(elementBytes: .max, depth: 1024, elements: .max)
        guard
            let fragment = try? Fragment(
                bytes, contentNamespace: Namespaces.client, limits: limits),
            let kind = Self.kind(of: fragment),
            let from = fragment.from.flatMap({ try? JID(fragment.value($0)) })
        else { return nil }
        self.init(
            fragment, kind, from: from, to: fragment.to.flatMap { try? JID(fragment.value($0)) })
    }

    /// The kind of a first-level element, nil if it is no stanza.
    public static func kind(of fragment: Fragment) -> Kind? {
        guard fragment.ownNamespace == nil || fragment.namespace == Namespaces.client else {
            return nil
        }
        if fragment.holds(fragment.name, "message") { return .message }
        if fragment.holds(fragment.name, "presence") { return .presence }
        if fragment.holds(fragment.name, "iq") { return .iq }
        return nil
    }

    /// The `type` attribute, nil when absent.
    public var type: String? { fragment.type.map { fragment.value($0) } }

    /// The `id` attribute, nil when absent.
    public var id: String? { fragment.id.map { fragment.value($0) } }

    /// Whether the `type` attribute is exactly this.
    public func isType(_ type: StaticString) -> Bool {
        guard let value = fragment.type else { return false }
        if fragment.isLiteral(value) { return fragment.holds(value.range, type) }
        return fragment.value(value) == type.description
    }

    /// Whether this is an error, which is never answered with an error (RFC 6120 section 8.3.1).
    public var isError: Bool { isType("error") }

    /// The stanza as its receiver gets it: `from` stamped, `to` replaced if another is given, the
    /// language of the sender's stream made explicit, everything else as it came.
    ///
    /// - Parameters:
    ///   - declaresNamespace: for a form that is kept and must stand alone.
    ///   - without: children to leave out, in order.
    ///   - adding: further children.
    public func routedBytes(
        to other: JID? = nil, declaresNamespace: Bool = false, without: [FragmentChild] = [],
        adding: [UInt8] = []
    ) -> [UInt8] {
        let source = fragment.bytes
        var output: [UInt8] = []
        output.reserveCapacity(source.count + 160 + adding.count)
        output.append(0x3C)
        output.append(contentsOf: source[fragment.name.indices])
        if declaresNamespace { append(" xmlns='jabber:client'", to: &output) }
        append(" from='", to: &output)
        output.append(contentsOf: escapedAttribute(from.description))
        output.append(0x27)
        if let receiver = other ?? to {
            append(" to='", to: &output)
            output.append(contentsOf: escapedAttribute(receiver.description))
            output.append(0x27)
        }
        copy(fragment.type, " type=", to: &output)
        copy(fragment.id, " id=", to: &output)
        if let language = fragment.lang {
            copy(language, " xml:lang=", to: &output)
        } else if let streamLanguage {
            append(" xml:lang='", to: &output)
            output.append(contentsOf: escapedAttribute(streamLanguage))
            output.append(0x27)
        }
        for attribute in fragment.otherAttributes {
            output.append(contentsOf: source[attribute.indices])
        }
        if fragment.isEmpty {
            guard !adding.isEmpty else {
                append("/>", to: &output)
                return output
            }
            append(">", to: &output)
            output.append(contentsOf: adding)
            append("</", to: &output)
            output.append(contentsOf: source[fragment.name.indices])
            append(">", to: &output)
            return output
        }
        append(">", to: &output)
        var position = fragment.startTagEnd
        for child in without {
            output.append(contentsOf: source[position..<child.range.indices.lowerBound])
            position = child.range.indices.upperBound
        }
        guard !adding.isEmpty, let end = source.lastIndex(of: 0x3C), end >= position else {
            output.append(contentsOf: source[position...])
            return output
        }
        output.append(contentsOf: source[position..<end])
        output.append(contentsOf: adding)
        output.append(contentsOf: source[end...])
        return output
    }

    private func copy(
        _ attribute: AttributeRange?, _ opening: StaticString, to output: inout [UInt8]
    ) {
        guard let range = attribute?.range.indices else { return }
        append(opening, to: &output)
        // With the quotes that the sender chose: the value may hold the other kind.
        output.append(contentsOf: fragment.bytes[range.lowerBound - 1...range.upperBound])
    }

    private func append(_ text: StaticString, to output: inout [UInt8]) {
        text.withUTF8Buffer { output.append(contentsOf: $0) }
    }

    /// The error that answers this stanza (RFC 6120 section 8.3.1), from whom it was meant for.
    public func errorBytes(_ error: StanzaError, from sender: JID? = nil) -> [UInt8] {
        var reply = Element(
            kind.rawValue, Namespaces.client,
            [
                ("from", (sender ?? to ?? JID(bare: from.bare)).description),
                ("to", from.description),
            ]
        )
        reply["type"] = "error"
        reply["id"] = id
        reply.children = [.element(error.element)]
        return XMLWriter.bytes(reply, contentNamespace: Namespaces.client)
    }
}
