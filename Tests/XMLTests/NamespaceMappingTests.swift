// Streams of other servers and of components, whose stanzas are read as a client's.

import Testing
import XML

@Suite("Content namespaces that are read as jabber:client")
struct NamespaceMappingTests {
    private static let mapping = NamespaceMapping(
        "jabber:component:accept", as: "jabber:client")
    private static let opening = """
        <stream:stream xmlns='jabber:component:accept' \
        xmlns:stream='http://etherx.jabber.org/streams' to='bridge.example.org'>
        """

    private func read(
        _ text: String, _ opening: String = opening, limits: ReaderLimits = ReaderLimits()
    ) throws -> (header: StreamHeader?, fragments: [Fragment]) {
        var reader = StreamReader(limits: limits, mapping: Self.mapping)
        let bytes = Array((opening + text).utf8)
        var offset = 0
        var header: StreamHeader?
        var fragments: [Fragment] = []
        while let event = try reader.next(in: bytes.span, at: &offset) {
            switch event {
            case .header(let found): header = found
            case .element(let fragment): fragments.append(fragment)
            case .end: break
            }
        }
        return (header, fragments)
    }

    @Test("The header says what was on the wire, an element what it means")
    func header() throws {
        let text = "<message to='a@b'><body>hi</body></message>"
        let read = try read(text)
        #expect(read.header?.contentNamespace == "jabber:component:accept")
        let fragment = try #require(read.fragments.first)
        #expect(fragment.namespace == "jabber:client")
        #expect(fragment.hasChild("body", "jabber:client"))
        #expect(String(decoding: fragment.bytes, as: UTF8.self) == text, "the bytes stay")
    }

    @Test(
        "A namespace that is declared again is mapped too, on each depth and under each prefix",
        arguments: [
            "<message xmlns='jabber:component:accept'><body>hi</body></message>",
            "<message><body xmlns='jabber:component:accept'>hi</body></message>",
            "<c:message xmlns:c='jabber:component:accept'><c:body>hi</c:body></c:message>",
            "<message xmlns='jabber&#x3A;component:accept'><body>hi</body></message>",
            "<message xmlns='jabber:client'><body>hi</body></message>",
        ])
    func declared(text: String) throws {
        let fragment = try #require(try read(text).fragments.first)
        let message = fragment.element()
        #expect(message.name == "message" && message.namespace == "jabber:client")
        #expect(message.child("body")?.text == "hi")
    }

    @Test("What stands inside another namespace is mapped, and nothing else")
    func forwarded() throws {
        let text = """
            <message><forwarded xmlns='urn:xmpp:forward:0'>\
            <message xmlns='jabber:component:accept'><body>hi</body></message>\
            <x xmlns='jabber:component:connect'/></forwarded></message>
            """
        let message = try #require(try read(text).fragments.first).element()
        let forwarded = try #require(message.child("forwarded", "urn:xmpp:forward:0"))
        let namespaces = forwarded.elements.map(\.namespace)
        #expect(namespaces == ["jabber:client", "jabber:component:connect"])
        #expect(forwarded.child("message", "jabber:client")?.child("body")?.text == "hi")
    }

    @Test("A prefix of the header is mapped")
    func outer() throws {
        let opening = """
            <s:stream xmlns='jabber:client' xmlns:c='jabber:component:accept' \
            xmlns:s='http://etherx.jabber.org/streams'>
            """
        let message = try #require(
            try read("<c:message><c:body>hi</c:body></c:message>", opening).fragments.first
        ).element()
        #expect(message.namespace == "jabber:client" && message.child("body")?.text == "hi")
    }
}
