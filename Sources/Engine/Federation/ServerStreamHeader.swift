// What both ends of a stream between servers say and read alike (RFC 6120 sections 4.7 and 4.8).

internal import Addresses
internal import XML
internal import XMPP

enum ServerStream {
    static let namespace = "jabber:server"
    static let bidi = "urn:xmpp:bidi"
    static let bidiFeature = "urn:xmpp:features:bidi"
    /// What comes in the context of `jabber:server` is handled in that of `jabber:client`.
    static let mapping = NamespaceMapping("jabber:server", as: Namespaces.client)

    /// Our stream header.
    static func opening(
        from local: String, to remote: String?, id: String? = nil, dialback: Bool
    ) -> [UInt8] {
        var writer = XMLWriter(contentNamespace: "")
        writer.raw("<?xml version='1.0'?><stream:stream xmlns='jabber:server'")
        writer.raw(" xmlns:stream='http://etherx.jabber.org/streams'")
        if dialback { writer.raw(" xmlns:db='jabber:server:dialback'") }
        if let id { writer.attribute("id", id) }
        writer.attribute("from", local)
        if let remote { writer.attribute("to", remote) }
        writer.raw(" version='1.0' xml:lang='en'>")
        return writer.bytes
    }

    /// Whether it is the header of a stream between servers.
    static func problem(_ header: StreamHeader) -> StreamError? {
        guard header.name == "stream", header.namespace == Namespaces.streams else {
            return StreamError(.invalidNamespace, "a stream is in \(Namespaces.streams)")
        }
        guard header.contentNamespace == namespace else {
            return StreamError(.invalidNamespace, "servers speak \(namespace)")
        }
        return nil
    }

    /// Whether a header's version is 1.0 or higher (RFC 6120 section 4.7.5).
    static func isSupported(_ version: String?) -> Bool {
        guard let parts = version?.split(separator: ".", omittingEmptySubsequences: false),
            parts.count == 2, let major = Int(parts[0]), Int(parts[1]) != nil
        else { return false }
        return major >= 1
    }

    /// The language of a header, as far as it is sensible.
    static func language(_ header: StreamHeader) -> String? {
        header.lang.flatMap { $0.utf8.count <= 64 && !$0.isEmpty ? $0 : nil }
    }

    /// A domain as it is compared; nil if it is none.
    static func domain(_ text: String) -> String? { try? Preparation.domain(text) }

    /// The domain pair that an element of dialback names.
    static func pair(_ element: Element) -> DomainPair? {
        guard let from = element["from"].flatMap(domain),
            let to = element["to"].flatMap(domain)
        else { return nil }
        return DomainPair(from: from, to: to)
    }
}
