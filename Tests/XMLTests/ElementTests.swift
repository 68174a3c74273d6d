import Testing
import XML

@Suite("Elements: trees and their text")
struct ElementTests {
    @Test(
        "What is written is read back the same",
        arguments: [
            Element(
                "a", "urn:a", [("b", "'\"<>&\t\n\r")],
                [Element("c", "urn:c", text: "]]> & \r\n ä😀")]),
            Element("iq", "jabber:client", [("type", "get")], [Element("q", "")]),
        ])
    func roundTrip(element: Element) throws {
        let bytes = XMLWriter.bytes(element, contentNamespace: "jabber:client")
        #expect(try Element(parsing: bytes, contentNamespace: "jabber:client") == element)
        // What is written passes the stream's own checks, too.
        #expect(events(header + String(decoding: bytes, as: UTF8.self)).count == 2)
    }

    @Test("Namespaces are compared by character, Namespaces in XML section 2.3")
    func equivalentNamespaces() {
        // The Kelvin sign and K are canonically equivalent, and so equal as Swift strings.
        let kelvin = "urn:\u{212A}"
        let nested = Element("a", "urn:K", [], [Element("b", kelvin)])
        #expect(
            XMLWriter.bytes(nested, contentNamespace: "urn:K")
                == Array("<a><b xmlns='\(kelvin)'/></a>".utf8))
        let text = "<a xmlns:p='urn:K' xmlns:q='\(kelvin)' p:b='1' q:b='2'/>"
        #expect(events(header + text).last == text)
        var element = Element("a", "")
        element.attributes = [
            Attribute("b", "1", namespace: "urn:K"), Attribute("b", "2", namespace: kelvin),
        ]
        let bytes = XMLWriter.bytes(element, contentNamespace: "")
        #expect(throws: Never.self) { try Element(parsing: bytes, contentNamespace: "") }
        #expect(events(header + String(decoding: bytes, as: UTF8.self)).count == 2)
    }

    @Test("An empty CDATA section is no text")
    func emptyCDATA() throws {
        let element = try Element(parsing: Array("<a><![CDATA[]]></a>".utf8), contentNamespace: "")
        #expect(element.children.isEmpty)
    }

    @Test("Characters that XML cannot hold become U+FFFD")
    func forbiddenCharacters() {
        let bytes = XMLWriter.bytes(Element("a", "", text: "x\u{0}y\u{FFFF}"), contentNamespace: "")
        #expect(String(decoding: bytes, as: UTF8.self) == "<a>x\u{FFFD}y\u{FFFD}</a>")
    }

    @Test("References, CDATA and line ends are resolved")
    func decoding() throws {
        let text = "<a b='1&#10;2\n3'>x&lt;<![CDATA[<y>&amp;]]>\r\nz</a>"
        let element = try Element(parsing: Array(text.utf8), contentNamespace: "")
        #expect(element["b"] == "1\n2 3")
        #expect(element.text == "x<<y>&amp;\nz")
    }

    @Test("A child is found by name and namespace")
    func children() throws {
        let text = "<a xmlns='u'><b/><p:b xmlns:p='v' p:c='1' c='2'/></a>"
        let element = try Element(parsing: Array(text.utf8), contentNamespace: "")
        #expect(element.child("b")?.namespace == "u")
        #expect(element.child("b", "v")?["c"] == "2")
        #expect(element.child("b", "w") == nil)
    }

    @Test("Attribute text is escaped only where it must be")
    func attributeEscaping() {
        #expect(escapedAttribute("a@b/c") == Array("a@b/c".utf8))
        #expect(escapedAttribute("it's <é>") == Array("it&apos;s &lt;é&gt;".utf8))
    }

    @Test(
        "Broken XML gives an error, not a tree", arguments: ["", "<a>", "<a/><b/>", "<a></b>", "x"])
    func broken(text: String) {
        #expect(throws: XMLError.self) {
            _ = try Element(parsing: Array(text.utf8), contentNamespace: "")
        }
    }
}
