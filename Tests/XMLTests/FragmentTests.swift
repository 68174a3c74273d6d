import Testing
import XML

@Suite("Fragments: the envelope and what is forwarded")
struct FragmentTests {
    @Test("A namespace is named without the references that it is written with")
    func namespaceReferences() throws {
        let fragment = try #require(
            firstFragment("<a xmlns='urn:&#97;&amp;'><b xmlns=\"urn:it's\"/></a>"))
        #expect(fragment.namespace == "urn:a&")
        #expect(fragment.children.map { fragment.namespace(of: $0) } == ["urn:it's"])
        #expect(fragment.element().namespace == "urn:a&")
    }

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

@Suite("What a small input may cost")
struct AmplificationTests {
    @Test("A namespace in the stream's header is not written a thousand times")
    func rewriting() {
        let uri = String(repeating: "u", count: 1000)
        let opening = header.replacingOccurrence(of: "to=", with: "xmlns:o='\(uri)' to=")
        let text = "<m>" + String(repeating: "<o:a/><b/>", count: 4000) + "</m>"
        #expect(events(opening + text).last == "error: policy-violation")
    }

    @Test("What leans on a long prefix of the stream header is not blown up", arguments: [1, 200])
    func rewritingGrowth(count: Int) {
        let opening = header.replacingOccurrence(
            of: " to=", with: " xmlns:o='\(String(repeating: "u", count: 1000))' to=")
        let last = events(opening + "<m>\(String(repeating: "<o:a/>", count: count))</m>").last
        #expect((last == "error: policy-violation") == (count > 1))
    }

    @Test("A namespace name has a length", arguments: [1024, 1025])
    func namespaceLength(count: Int) {
        let uri = String(repeating: "u", count: count)
        let last = events(header + "<m xmlns:a='\(uri)'/>").last
        #expect((last == "error: policy-violation") == (count > 1024))
    }

    @Test("Prefixed attributes are compared by their namespaces, not by its text each time")
    func prefixedAttributes() {
        let uri = String(repeating: "u", count: 1024)
        let attributes = (0..<60).map { " a:b\($0)=''" }.joined()
        let tags = String(repeating: "<x\(attributes)/>", count: 500)
        #expect(events(header + "<m xmlns:a='\(uri)'>\(tags)</m>").count == 2)
    }
}

@Suite("What widespread parsers refuse is not passed on to them")
struct StrictParserTests {
    @Test(
        "Names are those of XML 1.0's fourth edition",
        arguments: [("\u{10000}", false), ("\u{221}", false), ("é", true), ("名前", true)])
    func names(name: String, isAccepted: Bool) {
        let last = events(header + "<m><\(name) xmlns='x'/></m>").last
        #expect((last != "error: not-well-formed") == isAccepted)
    }

    @Test("No element is in the namespace of xml:", arguments: ["<xml:m/>", "<m><xml:b/></m>"])
    func elementsOfXML(text: String) {
        #expect(events(header + text).last == "error: not-well-formed")
    }

    @Test("A namespace is a URI", arguments: ["a}b", "a b", "a|b", "a&#x7D;b", "a&lt;b", "a\tb"])
    func namespaces(name: String) {
        #expect(events(header + "<m><x xmlns='\(name)'/></m>").last == "error: not-well-formed")
    }

    @Test(
        "Two prefixes of one namespace are one, wherever they are bound",
        arguments: [
            "<m xmlns:a='u' xmlns:b='&#x75;' a:c='' b:c=''/>",
            "<m xmlns:a='u'><x xmlns:b='u' a:c='' b:c=''/></m>",
            "<m xmlns:a='http://etherx.jabber.org/streams' a:c='' stream:c=''/>",
        ])
    func duplicates(text: String) {
        #expect(events(header + text).last == "error: not-well-formed")
    }

    @Test("Bytes behind the last element of a stream belong to the next, RFC 6120 section 4.3.3")
    func restartKeepsBytes() throws {
        var reader = StreamReader(limits: .unauthenticated)
        var offset = 0
        let first = Array((header + "<auth").utf8)
        _ = try reader.next(in: first.span, at: &offset)
        _ = try reader.next(in: first.span, at: &offset)
        let second = Array(("/>" + header).utf8)
        offset = 0
        guard case .element? = try reader.next(in: second.span, at: &offset) else {
            Issue.record("no element")
            return
        }
        reader.restart(keepingBytes: true)
        guard case .header? = try reader.next(in: second.span, at: &offset) else {
            Issue.record("no header")
            return
        }
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
