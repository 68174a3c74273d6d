// What the tests of this target share: stanzas as a client sends them.

import Addresses
import Testing
import XML
import XMPP

/// The first element of a client's stream, read as the server reads it.
func fragment(_ xml: String) throws -> Fragment {
    let header =
        "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
        + " version='1.0'>"
    let bytes = Array((header + xml).utf8)
    var reader = StreamReader(limits: ReaderLimits())
    var offset = 0
    var found: Fragment?
    while found == nil, let event = try reader.next(in: bytes.span, at: &offset) {
        if case .element(let fragment) = event { found = fragment }
    }
    return try #require(found)
}

/// A stanza of Juliet's balcony, taken in as the engine takes it in.
func stanza(
    _ xml: String, from: String = "juliet@capulet.example/balcony", language: String? = nil
) throws -> Stanza {
    let fragment = try fragment(xml)
    let kind = try #require(Stanza.kind(of: fragment))
    let to = try fragment.to.map { try JID(fragment.value($0)) }
    return Stanza(fragment, kind, from: try JID(from), to: to, streamLanguage: language)
}

/// Bytes as text, to be read in a test's failure.
func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

/// The tree of a stanza's bytes.
func element(_ bytes: [UInt8]) throws -> Element {
    try Element(parsing: bytes, contentNamespace: Namespaces.client)
}
