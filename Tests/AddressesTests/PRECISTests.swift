// The PRECIS framework (RFC 8264), its contextual rules (RFC 5892) and the Bidi rule (RFC 5893).

import Testing

@testable import Addresses

@Suite struct PRECISTests {
    @Test(
        "Each category of RFC 8264 section 9 gives its derived property",
        arguments: [
            // Exceptions (9.6).
            (0x00DF, DerivedProperty.valid), (0x03C2, .valid), (0x3007, .valid),
            (0x00B7, .contextual), (0x30FB, .contextual), (0x0660, .contextual),
            (0x06F9, .contextual), (0x0640, .disallowed), (0x3035, .disallowed),
            // Unassigned (9.10), ASCII7 (9.11), JoinControl (9.8).
            (0x0378, .unassigned), (0x2FE0, .unassigned), (0x0021, .valid), (0x007E, .valid),
            (0x200C, .contextual), (0x200D, .contextual),
            // OldHangulJamo (9.9), PrecisIgnorableProperties (9.13), Controls (9.12).
            (0x1100, .disallowed), (0x11FF, .disallowed), (0xA960, .disallowed),
            (0xD7FB, .disallowed), (0x00AD, .disallowed), (0xFE0F, .disallowed),
            (0xFFFF, .disallowed), (0xFDD0, .disallowed), (0x0000, .disallowed),
            (0x007F, .disallowed), (0x0085, .disallowed),
            // HasCompat (9.17), but not the syllables, which decompose canonically only.
            (0xFB01, .freeformOnly), (0xFF21, .freeformOnly), (0x00A0, .freeformOnly),
            (0x0340, .freeformOnly), (0xAC00, .valid),
            // LetterDigits (9.1).
            (0x00E4, .valid), (0x00C4, .valid), (0x05D0, .valid), (0x0966, .valid),
            (0x02BA, .valid), (0x0301, .valid), (0x0903, .valid),
            // OtherLetterDigits (9.18), Spaces (9.14), Symbols (9.15), Punctuation (9.16).
            (0x1F88, .freeformOnly), (0x16EE, .freeformOnly), (0x0BF0, .freeformOnly),
            (0x20DD, .freeformOnly), (0x0020, .freeformOnly), (0x2220, .freeformOnly),
            (0x20AC, .freeformOnly), (0x02C2, .freeformOnly), (0x265A, .freeformOnly),
            (0x203F, .freeformOnly), (0x2014, .freeformOnly), (0x00AB, .freeformOnly),
            // What is left: formats, separators of lines, private use.
            (0x06DD, .disallowed), (0x2028, .disallowed), (0xE000, .disallowed),
        ] as [(Int, DerivedProperty)])
    func derivedProperty(_ point: Int, _ property: DerivedProperty) throws {
        #expect(DerivedProperty(of: try #require(CodePoint(exactly: point))) == property)
    }

    @Test(
        "A contextual character is allowed at its place only (RFC 5892 appendix A)",
        arguments: [
            // A.1 ZERO WIDTH NON-JOINER: after a virama, or where it breaks a joining.
            ("\u{915}\u{94D}\u{200C}\u{937}", true), ("\u{628}\u{200C}\u{628}", true),
            ("\u{628}\u{64B}\u{200C}\u{64B}\u{627}", true), ("\u{627}\u{200C}\u{628}", false),
            ("\u{628}\u{200C}\u{627}\u{200C}\u{627}", false), ("a\u{200C}b", false),
            ("\u{200C}", false), ("\u{628}\u{200C}", false),
            // A.2 ZERO WIDTH JOINER: after a virama.
            ("\u{915}\u{94D}\u{200D}\u{937}", true), ("a\u{200D}b", false), ("\u{200D}", false),
            // A.3 MIDDLE DOT: between two l.
            ("l\u{B7}l", true), ("\u{B7}l", false), ("l\u{B7}", false), ("a\u{B7}l", false),
            // A.4 KERAIA: before Greek.
            ("\u{375}\u{3B2}", true), ("\u{375}b", false), ("\u{3B2}\u{375}", false),
            // A.5, A.6 GERESH and GERSHAYIM: after Hebrew.
            ("\u{5D0}\u{5F3}", true), ("a\u{5F3}", false), ("\u{5F3}\u{5D0}", false),
            ("\u{5D0}\u{5F4}\u{5D1}", true), ("\u{5F4}", false),
            // A.7 KATAKANA MIDDLE DOT: with kana or Han anywhere.
            ("\u{30FB}\u{3042}", true), ("\u{30A2}\u{30FB}", true), ("a\u{30FB}\u{4E00}", true),
            ("a\u{30FB}b", false), ("\u{30FB}", false),
            // A.8, A.9: no mixture of the two kinds of Arabic digits.
            ("\u{660}\u{669}", true), ("\u{6F0}\u{6F9}", true), ("\u{660}\u{6F0}", false),
            ("\u{6F0}x\u{660}", false),
        ])
    func contextualRule(_ text: String, _ isAllowed: Bool) throws {
        if isAllowed {
            #expect(try Preparation.resource(text) == text)
        } else {
            let error = #expect(throws: JIDError.self) { try Preparation.resource(text) }
            #expect(error?.reason == .contextRule)
        }
    }

    @Test(
        "A name with right-to-left letters obeys the Bidi rule (RFC 5893 section 2)",
        arguments: [
            ("\u{5D0}\u{5D1}", true), ("\u{5D0}1", true), ("\u{5D0}-\u{5D1}", true),
            ("\u{627}\u{660}", true), ("\u{5D0}\u{5B0}", true), ("a1", true), ("1a", true),
            // Condition 1: the first character is a letter.
            ("1\u{5D0}", false), ("-\u{5D0}", false), ("\u{5B0}\u{5D0}", false),
            // Condition 2: no left-to-right letter after a right-to-left one.
            ("\u{5D0}a", false), ("\u{5D0}a\u{5D1}", false),
            // Condition 3: the end is a letter or digit.
            ("\u{5D0}-", false), ("\u{5D0}.", false),
            // Condition 4: no mixture of European and Arabic numbers.
            ("\u{627}1\u{660}", false),
            // Condition 5: no right-to-left letter after a left-to-right one.
            ("a\u{5D0}", false), ("a\u{660}", false), ("a\u{5D0}b", false),
        ])
    func bidiRule(_ text: String, _ isAllowed: Bool) throws {
        if isAllowed {
            #expect(try Preparation.local(text) == text)
        } else {
            let error = #expect(throws: JIDError.self) { try Preparation.local(text) }
            #expect(error?.reason == .bidiRule)
        }
    }

    @Test("The Bidi rule is no matter of resources and passwords (RFC 8265 section 4.2.1)")
    func freeDirection() throws {
        #expect(try Preparation.resource("a\u{5D0}") == "a\u{5D0}")
    }

    @Test("The set of ASCII characters has what it was made of, and nothing beyond ASCII")
    func asciiSet() {
        let set = ASCIISet(0x21...0x7E, excluding: "@?")
        let members = (UInt8.min...UInt8.max).filter(set.contains)
        #expect(members == (0x21...0x7E).filter { $0 != 0x40 && $0 != 0x3F })
        #expect((UInt8.min...UInt8.max).filter(ASCIISet(of: "\u{FC}a~").contains) == [0x61, 0x7E])
    }
}
