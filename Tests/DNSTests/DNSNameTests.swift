import Testing

@testable import DNS

@Suite("Names in the domain name system (RFC 1035)")
struct DNSNameTests {
    @Test("Letters differ by nothing but case, and a dot at the end makes no difference (RFC 4343)")
    func sameness() {
        #expect(DNSName("Example.ORG.") == DNSName("example.org"))
        #expect(DNSName("_XMPP-server._tcp.example.org")?.text == "_xmpp-server._tcp.example.org")
        #expect(DNSName("example.org")?.wire == [7] + "example".utf8 + [3] + "org".utf8)
    }

    @Test(
        "Nothing else is a name",
        arguments: [
            "", ".", "..", "a..b", ".a", "a b", "a\u{0}b", "bücher.example", "a@b", "a/b",
            String(repeating: "a", count: 64), "a\\.b", "*.example.org",
        ])
    func refused(_ text: String) {
        #expect(DNSName(text) == nil)
    }

    @Test("A label has 63 bytes and a name 255 with the lengths of its labels (section 2.3.4)")
    func lengths() {
        let label = String(repeating: "a", count: 63)
        let three = [label, label, label].joined(separator: ".")
        #expect(DNSName(label) != nil)
        #expect(DNSName(three + "." + String(repeating: "b", count: 61)) != nil)
        #expect(DNSName(three + "." + String(repeating: "b", count: 62)) == nil)
    }
}
