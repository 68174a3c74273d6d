import Testing
import XML

@Suite("Fragments: the envelope and what is forwarded")
struct FragmentTests {
    @Test("The envelope names attributes and children without a tree")
    func envelope() throws {
        let fragment = try #require(
            firstFragment(
                "<message to='a&amp;b@c' type='chat' id='7' xml:lang='de' custom='1'>"
                    + "<body>x</body><active xmlns='http://jabber.org/protocol/chatstates'/>"
                    + "<a:b xmlns:a='urn:a'><c/></a:b></message>"))
        #expect(fragment.isNamed("message", "jabber:client"))
        #expect(fragment.to.map { fragment.value($0) } == "a&b@c")
        #expect(fragment.type.map { fragment.value($0) } == "chat")
        #expect(fragment.id.map { fragment.value($0) } == "7")
        #expect(fragment.lang.map { fragment.value($0) } == "de")
        #expect(fragment.from == nil)
        #expect(fragment.otherAttributes.map { fragment.text($0) } == [" custom='1'"])
        #expect(fragment.children.map { fragment.text($0.name) } == ["body", "active", "b"])
        #expect(
            fragment.children.map { fragment.namespace(of: $0) } == [
                "jabber:client", "http://jabber.org/protocol/chatstates", "urn:a",
            ])
        #expect(fragment.children.map { fragment.text($0.range) }.first == "<body>x</body>")
        #expect(fragment.hasChild("b", "urn:a"))
        #expect(!fragment.hasChild("b", "jabber:client"))
        #expect(fragment.text(fragment.children[2].range) == "<a:b xmlns:a='urn:a'><c/></a:b>")
    }

    @Test("A prefix bound by the stream header is made explicit, RFC 6120 section 4.8.5")
    func outerPrefix() throws {
        let opening = header.replacingOccurrence(of: "to=", with: "xmlns:foo='urn:foo' to=")
        let fragment = try #require(
            firstFragment("<message><foo:x foo:y='1'/></message>", header: opening))
        #expect(
            String(decoding: fragment.bytes, as: UTF8.self)
                == "<message><x xmlns='urn:foo' xmlns:n0='urn:foo' n0:y='1'/></message>")
        #expect(fragment.hasChild("x", "urn:foo"))
    }

    @Test("A namespace hidden behind a reference is written plainly, so that no check misses it")
    func hiddenNamespace() throws {
        let fragment = try #require(
            firstFragment("<message><stanza-id xmlns='urn:xmpp:sid&#x3A;0' id='forged'/></message>")
        )
        #expect(fragment.hasChild("stanza-id", "urn:xmpp:sid:0"))
        let outer = header.replacingOccurrence(of: "to=", with: "xmlns:s='urn:xmpp:sid:0' to=")
        let second = try #require(
            firstFragment("<message><s:stanza-id/></message>", header: outer))
        #expect(second.hasChild("stanza-id", "urn:xmpp:sid:0"))
    }

    @Test("A stanza in no namespace is not a stanza")
    func noNamespace() throws {
        let fragment = try #require(firstFragment("<message xmlns=''/>"))
        #expect(!fragment.isNamed("message", "jabber:client"))
        #expect(fragment.namespace.isEmpty)
    }

    @Test("Prefixes cannot be used to make a small stanza a large one (XML amplification)")
    func amplification() {
        let uri = String(repeating: "u", count: 3000)
        let opening = header.replacingOccurrence(of: "to=", with: "xmlns:p='\(uri)' to=")
        let text = "<m>" + String(repeating: "<p:a/><b/>", count: 2000) + "</m>"
        #expect(events(opening + text).last == "error: policy-violation")
    }
}

extension String {
    func replacingOccurrence(of text: String, with other: String) -> String {
        guard let range = firstRange(of: text) else { return self }
        return replacingCharacters(range, other)
    }

    private func replacingCharacters(_ range: Range<Index>, _ other: String) -> String {
        String(self[..<range.lowerBound]) + other + String(self[range.upperBound...])
    }
}
