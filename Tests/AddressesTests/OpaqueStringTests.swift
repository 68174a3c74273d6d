// Resourceparts and passwords: OpaqueString (RFC 8265 section 4.2).

import Addresses
import Testing

@Suite struct OpaqueStringTests {
    @Test(
        "The legal passwords of RFC 8265 section 4.3 are accepted",
        arguments: [
            ("correct horse battery staple", "correct horse battery staple"),
            ("Correct Horse Battery Staple", "Correct Horse Battery Staple"),
            ("\u{3C0}\u{DF}\u{E5}", "\u{3C0}\u{DF}\u{E5}"),
            ("Jack of \u{2666}s", "Jack of \u{2666}s"),
            ("foo\u{1680}bar", "foo bar"),
        ])
    func legalPasswords(_ text: String, _ prepared: String) throws {
        #expect(try Preparation.password(text) == prepared)
        #expect(try Preparation.resource(text) == prepared)
    }

    @Test(
        "The illegal passwords of RFC 8265 section 4.3 are refused",
        arguments: ["", "my cat is a \u{9}by"])
    func illegalPasswords(_ text: String) {
        #expect(throws: JIDError.self) { try Preparation.password(text) }
        #expect(throws: JIDError.self) { try Preparation.resource(text) }
    }

    @Test("Case and width stay, and decomposed letters compose (RFC 8265 section 4.2.1)")
    func mappings() throws {
        #expect(try Preparation.resource("Home \u{FF21}") == "Home \u{FF21}")
        #expect(try Preparation.resource("u\u{308}") == "\u{FC}")
        #expect(
            try Preparation.resource("\u{FB01}\u{2163}\u{1F37A}") == "\u{FB01}\u{2163}\u{1F37A}")
    }

    @Test("Every space becomes the ASCII one", arguments: ["\u{A0}", "\u{2003}", "\u{3000}"])
    func spaces(_ space: String) throws {
        #expect(try Preparation.password("a\(space)b") == "a b")
    }

    @Test(
        "Control, ignorable and unassigned characters are refused (RFC 8264 section 4.3.3)",
        arguments: [
            "\u{0}", "a\u{7F}", "\u{85}", "\u{61C}x", "\u{200B}", "\u{2028}", "\u{FE0F}", "\u{378}",
            "\u{E000}", "\u{10FFFF}", "\u{1112}",
        ])
    func refused(_ text: String) {
        #expect(throws: JIDError.self) { try Preparation.resource(text) }
    }

    @Test("A password has at most 1024 bytes after preparation")
    func passwordLimit() throws {
        let longest = String(repeating: "a", count: 1024)
        #expect(try Preparation.password(longest) == longest)
        let error = #expect(throws: JIDError.self) { try Preparation.password(longest + "a") }
        #expect(error?.reason == .tooLong)
        // Decomposed it is longer than that.
        let decomposed = String(repeating: "u\u{308}", count: 512)
        #expect(try Preparation.password(decomposed).utf8.count == 1024)
        #expect(throws: JIDError.self) { try Preparation.password(decomposed + "u") }
    }

    @Test("A refused password is not in its error")
    func passwordIsSecret() {
        let error = #expect(throws: JIDError.self) { try Preparation.password("secret\u{7}") }
        #expect(error?.subject == "")
        #expect(error?.description == "password has a character that is not allowed in it")
    }
}
