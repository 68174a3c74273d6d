import Testing
import XML

@Suite("Stream reader, RFC 6120 section 11")
struct StreamReaderTests {
    static let corpus: [String] = [
        "<?xml version='1.0' encoding='UTF-8'?>\n" + header
            + "<message to='a@b' id='1'><body>hi &amp; &#x1F426; bye</body></message> \n "
            + "<presence/><iq type='get' id='2'><ping xmlns='urn:xmpp:ping'/></iq></stream:stream>",
        header + "<message><body><![CDATA[a ]] > <b> & ]]]></body><x xmlns='u:é'>ä€😀</x></message>",
        header + "<p:message xmlns:p='jabber:client'><p:body>t</p:body></p:message>",
        header + "<message a=\"1>2\" b='x\"y'\n\t><a:b xmlns:a='u' a:c='d'/></message >",
        header + "<message><body>]] ></body><body>]]&gt;</body></message></stream:stream>",
        header + "<message><body>&nope;</body></message>",
        header + "<message><body>\u{1}</body></message>",
        header + "<a><b></a></b>",
        header + "text",
        "<!DOCTYPE x>" + header,
        header + "<!-- c --><message/>",
        header + "<message><?php ?></message>",
        header + "<stream:features/><message stream:x='1'/>",
        "\u{FEFF}" + header,
    ]

    @Test("The result does not depend on how the input was cut", arguments: corpus)
    func chunkIndependence(text: String) {
        let bytes = Array(text.utf8)
        let whole = events(bytes)
        #expect(events(bytes, cuts: Array(1..<bytes.count)) == whole)
        for cut in 1..<bytes.count {
            #expect(events(bytes, cuts: [cut]) == whole, "cut at \(cut)")
        }
        var random = SplitMix(state: 7)
        for _ in 0..<50 {
            let cuts = (0..<5).map { _ in Int.random(in: 1..<bytes.count, using: &random) }
            #expect(events(bytes, cuts: cuts) == whole, "cuts \(cuts)")
        }
    }

    @Test("Mutated input never traps and does not depend on its cuts")
    func mutations() {
        var random = SplitMix(state: 42)
        let interesting = Array("<>&;'\"/=:!?[]-#x \u{0}\u{9}é".utf8)
        var refused = 0
        for round in 0..<4000 {
            var bytes = Array(Self.corpus[round % Self.corpus.count].utf8)
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let at = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes[at] = interesting.randomElement(using: &random) ?? 0
                case 1: bytes.remove(at: at)
                default: bytes.insert(interesting.randomElement(using: &random) ?? 0, at: at)
                }
            }
            let whole = events(bytes)
            if whole.last?.hasPrefix("error") == true { refused += 1 }
            let cuts = (0..<4).map { _ in Int.random(in: 1..<bytes.count, using: &random) }
            #expect(events(bytes, cuts: cuts) == whole)
            #expect(events(bytes, cuts: Array(1..<bytes.count)) == whole)
        }
        #expect(refused > 1000)
    }

    @Test("Stanzas come out whole, white space between them is skipped, RFC 6120 section 4.6.1")
    func stanzas() {
        #expect(
            events(Self.corpus[0]) == [
                "header stream http://etherx.jabber.org/streams jabber:client to=example.org",
                "<message to='a@b' id='1'><body>hi &amp; &#x1F426; bye</body></message>",
                "<presence/>",
                "<iq type='get' id='2'><ping xmlns='urn:xmpp:ping'/></iq>",
                "end",
            ])
    }

    @Test(
        "What the profile forbids is refused with the condition that RFC 6120 names",
        arguments: [
            ("<!DOCTYPE stream>" + header, "restricted-xml"),
            (header + "<!-- comment -->", "restricted-xml"),
            (header + "<message><!-- comment --></message>", "restricted-xml"),
            (header + "<?target data?>", "restricted-xml"),
            (header + "<message><?target data?></message>", "restricted-xml"),
            (header + "<message><body>&foo;</body></message>", "restricted-xml"),
            (header + "<message to='&foo;'/>", "restricted-xml"),
            ("<?xml version='1.0' encoding='ISO-8859-1'?>" + header, "unsupported-encoding"),
            (header + "text<message/>", "bad-format"),
            ("text" + header, "not-well-formed"),
            (header + "<message><body></message>", "not-well-formed"),
            (header + "<message></message ></body>", "not-well-formed"),
            (header + "<message a='1' a='2'/>", "not-well-formed"),
            (header + "<message a=1/>", "not-well-formed"),
            (header + "<message a/>", "not-well-formed"),
            (header + "<message a='1'b='2'/>", "not-well-formed"),
            (header + "<message a='<'/>", "not-well-formed"),
            (header + "<message><body>&</body></message>", "not-well-formed"),
            (header + "<message><body>& amp;</body></message>", "not-well-formed"),
            (header + "<message><body>&#0;</body></message>", "not-well-formed"),
            (header + "<message><body>&#xD800;</body></message>", "not-well-formed"),
            (header + "<message><body>&#x110000;</body></message>", "not-well-formed"),
            (header + "<message><body>]]></body></message>", "not-well-formed"),
            (header + "<message><body>\u{8}</body></message>", "not-well-formed"),
            (header + "<message><body>\u{FFFE}</body></message>", "not-well-formed"),
            (header + "<1message/>", "not-well-formed"),
            (header + "<:message/>", "not-well-formed"),
            (header + "<a:b:c xmlns:a='u'/>", "not-well-formed"),
            (header + "<x:message/>", "not-well-formed"),
            (header + "<message x:a='1'/>", "not-well-formed"),
            (header + "<m xmlns:a='u' xmlns:b='u' a:c='' b:c=''/>", "not-well-formed"),
            (header + "<m xmlns:xmlns='u'/>", "not-well-formed"),
            (header + "<m xmlns:xml='u'/>", "not-well-formed"),
            (header + "<m xmlns:a=''/>", "not-well-formed"),
            (header + "<m xmlns='http://www.w3.org/2000/xmlns/'/>", "not-well-formed"),
            (header + "</stream:streams>", "not-well-formed"),
            (header + "<![CDATA[x]]>", "restricted-xml"),
            ("<x:stream xmlns='a'>", "not-well-formed"),
            ("<stream/>", "bad-format"),
        ] as [(String, String)])
    func refusals(text: String, condition: String) {
        #expect(events(text).last == "error: \(condition)")
    }

    @Test(
        "Bytes that are not UTF-8 are refused, RFC 6120 section 11.6",
        arguments: [
            [0xFF], [0xC0, 0x80], [0xE0, 0x80, 0x80], [0xED, 0xA0, 0x80],
            [0xF4, 0x90, 0x80, 0x80], [0xC3, 0x28], [0x80],
        ] as [[UInt8]])
    func invalidEncoding(sequence: [UInt8]) {
        let start = Array((header + "<message><body>").utf8)
        let end = Array("</body></message>".utf8)
        #expect(events(start + sequence + end).last == "error: unsupported-encoding")
    }

    @Test("Limits hold while reading, not after it")
    func limits() {
        var limits = ReaderLimits(
            elementBytes: 200, headerBytes: 300, depth: 3, attributes: 3, nameBytes: 10,
            elements: 5)
        func last(_ text: String) -> String? { events(header + text, limits: limits).last }
        let refused = "error: policy-violation"
        #expect(last("<m>" + String(repeating: "x", count: 300)) == refused)
        #expect(last("<m a='" + String(repeating: "x", count: 300)) == refused)
        #expect(last("<a><b><c/></b></a>")?.hasPrefix("<a>") == true)
        #expect(last("<a><b><c><d/></c></b></a>") == refused)
        #expect(last("<a b='' c='' d='' e=''/>") == refused)
        #expect(last("<abcdefghijklmn/>") == refused)
        #expect(last("<a><b/><b/><b/><b/><b/></a>") == refused)
        limits.headerBytes = 20
        #expect(last("") == refused)
    }

    @Test("A tag sent byte by byte is looked at once per byte, not once per tag so far")
    func slowTag() {
        // 200,000 bytes one by one end within seconds only when the cost is linear.
        let value = String(repeating: "x", count: 200_000)
        let bytes = Array((header + "<message a='\(value)'/>").utf8)
        #expect(events(bytes, cuts: Array(1..<bytes.count)).count == 2)
    }

    @Test("The header's namespaces are URIs, too, Namespaces in XML section 2")
    func headerNamespace() {
        #expect(events("<stream xmlns='urn:}'>") == ["error: not-well-formed"])
    }

    @Test("After a restart the reader expects a new stream, RFC 6120 section 4.3.3")
    func restart() throws {
        var reader = StreamReader(limits: .unauthenticated)
        let bytes = Array((header + "<auth/><rest/>").utf8)
        var offset = 0
        _ = try reader.next(in: bytes.span, at: &offset)
        _ = try reader.next(in: bytes.span, at: &offset)
        reader.restart()
        let again = Array(header.utf8)
        offset = 0
        guard case .header? = try reader.next(in: again.span, at: &offset) else {
            Issue.record("no header")
            return
        }
        #expect(!reader.isInsideElement)
    }
}
