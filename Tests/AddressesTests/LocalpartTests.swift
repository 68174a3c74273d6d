// Localparts: UsernameCaseMapped (RFC 8265 section 3.3) and what RFC 7622 takes out of it.

import Addresses
import Testing

@Suite struct LocalpartTests {
    @Test(
        "The legal user names of RFC 8265 section 3.5 are accepted and lower-cased",
        arguments: [
            ("fussball", "fussball"), ("fu\u{DF}ball", "fu\u{DF}ball"), ("\u{3C0}", "\u{3C0}"),
            ("\u{3A3}", "\u{3C3}"), ("\u{3C3}", "\u{3C3}"), ("\u{3C2}", "\u{3C2}"),
        ])
    func legalNames(_ text: String, _ prepared: String) throws {
        #expect(try Preparation.local(text) == prepared)
    }

    @Test(
        "The illegal user names of RFC 8265 section 3.5 are refused",
        arguments: ["foo bar", "", "henry\u{2163}", "\u{221E}", "\u{265A}"])
    func illegalNames(_ text: String) {
        #expect(throws: JIDError.self) { try Preparation.local(text) }
    }

    @Test(
        "Eight ASCII characters are excluded (RFC 7622 section 3.3.1), in fullwidth form too",
        arguments: ["\"", "&", "'", "/", ":", "<", ">", "@"])
    func excluded(_ character: Unicode.Scalar) throws {
        let wide = try #require(Unicode.Scalar(character.value + 0xFEE0))
        for scalar in [character, wide] {
            let error = #expect(throws: JIDError.self) { try Preparation.local("a\(scalar)b") }
            #expect(error?.reason == .disallowedCharacter)
            #expect(error?.part == .local)
        }
    }

    @Test("All other printable ASCII is allowed")
    func printableASCII() throws {
        let allowed = "!#$%()*+,-.0123456789;=?[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~"
        #expect(try Preparation.local(allowed) == allowed)
        #expect(try Preparation.local("\u{3C0}" + allowed) == "\u{3C0}" + allowed)
    }

    @Test(
        "Spaces and control characters are refused",
        arguments: [
            " ", "a b", "a\u{0}b", "\t", "a\u{7F}", "a\u{A0}b", "a\u{3000}b", "a\u{85}",
            "\u{FEFF}a",
            "a\u{AD}b", "a\u{2060}", "a\u{FE0F}", "\u{E0041}", "\u{FFFE}", "a\u{FFFD}",
        ])
    func spacesAndControls(_ text: String) {
        let error = #expect(throws: JIDError.self) { try Preparation.local(text) }
        #expect(error?.reason == .disallowedCharacter)
    }

    @Test("Fullwidth and halfwidth forms become the ordinary ones (RFC 8265 section 3.3.1)")
    func widthMapping() throws {
        #expect(try Preparation.local("\u{FF28}\u{FF45}\u{FF4E}\u{FF12}") == "hen2")
        // Halfwidth KA with a voiced sound mark composes to GA.
        #expect(try Preparation.local("\u{FF76}\u{FF9E}") == "\u{30AC}")
    }

    @Test("Case is mapped by Unicode's toLowercase (RFC 8264 section 5.2.3)")
    func caseMapping() throws {
        #expect(try Preparation.local("M\u{DC}LLER") == "m\u{FC}ller")
        #expect(try Preparation.local("\u{1E9E}") == "\u{DF}")
        #expect(try Preparation.local("\u{130}") == "i\u{307}")
        #expect(try Preparation.local("\u{1F88}") == "\u{1F80}")
        // A capital sigma at the end of a word becomes the final one.
        #expect(
            try Preparation.local("\u{39F}\u{3A3}\u{39F}\u{3A3}") == "\u{3BF}\u{3C3}\u{3BF}\u{3C2}")
    }

    @Test("The text is normalised to form C before characters are judged (RFC 8264 section 7)")
    func normalization() throws {
        #expect(try Preparation.local("mu\u{308}ller") == "m\u{FC}ller")
        // Conjoining jamo are refused alone, the syllable that they compose to is not.
        #expect(try Preparation.local("\u{1112}\u{1161}\u{11AB}") == "\u{D55C}")
        #expect(throws: JIDError.self) { try Preparation.local("\u{1112}") }
        #expect(try Preparation.local("\u{212A}evin") == "kevin")
        #expect(try Preparation.local("\u{212B}") == "\u{E5}")
    }

    @Test("Compatibility characters are refused (RFC 8264 section 9.17)")
    func compatibility() {
        for text in ["\u{FB01}", "\u{2126}x\u{3392}", "\u{24D0}", "\u{1D400}", "\u{B2}"] {
            let error = #expect(throws: JIDError.self) { try Preparation.local(text) }
            #expect(error?.reason == .disallowedCharacter, "\(text)")
        }
    }

    @Test("A character that Unicode does not define is refused as such")
    func unassigned() {
        let error = #expect(throws: JIDError.self) { try Preparation.local("a\u{378}") }
        #expect(error?.reason == .unassignedCharacter)
    }
}
