// Domainparts (RFC 7622 section 3.2): host names of IDNA2008 and address literals.

import Addresses
import Testing

@Suite struct DomainTests {
    @Test(
        "A host name is lower-cased and loses the root's dot (RFC 7622 section 3.2)",
        arguments: [
            ("Example.COM", "example.com"), ("example.com.", "example.com"),
            ("localhost", "localhost"), ("kinglet.local", "kinglet.local"), ("a", "a"),
            ("host-1.2nd.example", "host-1.2nd.example"), ("3com.example", "3com.example"),
            ("a--b.example", "a--b.example"), ("192.0.2.1", "192.0.2.1"), ("123", "123"),
            ("\u{FF45}xample\u{FF0E}com", "example.com"), ("a\u{3002}b", "a.b"),
        ])
    func plainNames(_ text: String, _ prepared: String) throws {
        #expect(try Preparation.domain(text) == prepared)
        #expect(try Preparation.domainASCII(text) == prepared)
    }

    @Test(
        "U-labels and A-labels give the same domain in both forms (RFC 5890 section 2.3.2.1)",
        arguments: [
            ("b\u{FC}cher.example", "xn--bcher-kva.example"),
            ("fu\u{DF}ball.example", "xn--fuball-cta.example"),
            ("\u{4F8B}\u{3048}.\u{30C6}\u{30B9}\u{30C8}", "xn--r8jz45g.xn--zckzah"),
            ("m\u{FC}nchen.kinglet.local", "xn--mnchen-3ya.kinglet.local"),
            ("\u{5D0}\u{5D1}.example", "xn--4dbc.example"),
            ("l\u{B7}l.example", "xn--ll-0ea.example"),
            (
                "\u{646}\u{627}\u{645}\u{647}\u{200C}\u{627}\u{6CC}.com",
                "xn--mgba3gch31f060k.com"
            ),
        ])
    func internationalNames(_ unicode: String, _ ascii: String) throws {
        for text in [unicode, ascii, ascii.uppercased(), unicode + ".", ascii + "."] {
            #expect(try Preparation.domain(text) == unicode)
            #expect(try Preparation.domainASCII(text) == ascii)
        }
    }

    @Test("Case and composition do not matter beyond ASCII either")
    func mappedNames() throws {
        #expect(try Preparation.domain("B\u{DC}CHER.Example") == "b\u{FC}cher.example")
        #expect(try Preparation.domain("bu\u{308}cher.example") == "b\u{FC}cher.example")
    }

    @Test(
        "A name with an empty label or a misplaced hyphen is refused (RFC 5890 section 2.3.1)",
        arguments: [
            "a..b", ".a", "a..", "-a", "a-", "a.-b.c", "a.b-.c", "ab--cd.example", "-\u{FC}",
            "\u{FC}-", "ab--\u{FC}", "\u{FC}..b", "\u{FC}..",
        ])
    func badLabels(_ text: String) {
        let error = #expect(throws: JIDError.self) { try Preparation.domain(text) }
        #expect(error?.reason == .badLabel)
        #expect(error?.part == .domain)
    }

    @Test(
        "An A-label that stands for no U-label is refused (RFC 5890 section 2.3.2.1)",
        arguments: [
            "xn--", "xn--a", "xn--abc-", "xn--zzzzzzzzz", "xn--n3h.example", "xn--ab-j1t.com",
            "xn--bcher-kvb\u{FC}", "xn--_a-wka",
        ])
    func badALabels(_ text: String) {
        #expect(throws: JIDError.self) { try Preparation.domain(text) }
        #expect(throws: JIDError.self) { try Preparation.domainASCII(text) }
    }

    @Test(
        "A character that no label has is refused",
        arguments: [
            "a_b.example", "a b", "a@b", "a/b", "a:5222", "a\u{0}b", "\u{FC}\u{0}", "\u{FC}_a",
            "a%b",
            "\u{2665}.example", "\u{FC}\u{2260}.example", "\u{FC}\u{FF20}b", "\u{FF0F}", "\u{378}",
            "\u{200D}", "\u{1F37A}.example",
        ])
    func badCharacters(_ text: String) {
        #expect(throws: JIDError.self) { try Preparation.domain(text) }
    }

    @Test("Contextual rules hold in U-labels (RFC 5892 appendix A)")
    func contextualRules() {
        for text in ["a\u{B7}b.example", "\u{30FB}ab.example", "a\u{200C}b.example"] {
            let error = #expect(throws: JIDError.self) { try Preparation.domain(text) }
            #expect(error?.reason == .contextRule, "\(text)")
        }
    }

    @Test("The Bidi rule holds in U-labels (RFC 5893 section 2)")
    func bidiRule() {
        let error = #expect(throws: JIDError.self) { try Preparation.domain("1\u{5D0}.example") }
        #expect(error?.reason == .bidiRule)
    }

    @Test("A label has at most 63 bytes and a name 253 (RFC 1035 section 2.3.4)")
    func lengths() throws {
        let label = String(repeating: "a", count: 63)
        #expect(try Preparation.domain(label + ".example") == label + ".example")
        let longest = [label, label, label, String(label.dropLast(2))].joined(separator: ".")
        #expect(longest.utf8.count == 253)
        #expect(try Preparation.domain(longest + ".") == longest)
        let umlauts = String(repeating: "\u{FC}", count: 60)
        for text in [label + "a", "b" + longest, longest + "b", umlauts] {
            let error = #expect(throws: JIDError.self) { try Preparation.domain(text) }
            #expect(error?.reason == .tooLong, "\(text)")
        }
    }

    @Test(
        "An IPv6 literal takes the form of RFC 5952",
        arguments: [
            ("[2001:DB8:0:0::1]", "[2001:db8::1]"), ("[::1]", "[::1]"),
            ("[::ffff:192.0.2.1]", "[::ffff:192.0.2.1]"), ("[fe80::1]", "[fe80::1]"),
            (
                "[2001:0db8:1111:2222:3333:4444:5555:6666]",
                "[2001:db8:1111:2222:3333:4444:5555:6666]"
            ),
        ])
    func addressLiterals(_ text: String, _ prepared: String) throws {
        #expect(try Preparation.domain(text) == prepared)
        #expect(try Preparation.domainASCII(text) == prepared)
        #expect(try JID("user@\(text)/x").domain == prepared)
    }

    @Test(
        "What is no IPv6 address between brackets is refused",
        arguments: [
            "[", "[]", "[::1", "[::1]x", "[192.0.2.1]", "[fe80::1%eth0]", "[v1.x]", "[::1\u{0}]",
            "[\u{FC}]", "[1:2:3:4:5:6:7:8:9]",
        ])
    func badAddressLiterals(_ text: String) {
        let error = #expect(throws: JIDError.self) { try Preparation.domain(text) }
        #expect(error?.reason == .badAddressLiteral)
    }
}
