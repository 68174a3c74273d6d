// What an error keeps of a refused text, and what it says.

import Addresses
import Testing

@Suite struct JIDErrorTests {
    @Test("An error names the part, the text and the violation in one line")
    func description() {
        let error = #expect(throws: JIDError.self) { try JID("foo bar@example.com") }
        #expect(
            error?.description
                == "localpart 'foo bar' has a character that is not allowed in it")
        #expect(error?.advice.contains("no spaces") == true)
    }

    @Test("Invisible and control characters of the text are escaped")
    func escaping() {
        let error = JIDError(
            part: .resource, reason: .disallowedCharacter, subject: "a\n\u{202E}\u{FC}\u{0}")
        #expect(error.subject == "a\\u{A}\\u{202E}\u{FC}\\u{0}")
    }

    @Test("The text is cut to its beginning")
    func bound() {
        let long = String(repeating: "\u{FC}", count: 100_000)
        let cut = String(repeating: "\u{FC}", count: JIDError.subjectLimit) + "…"
        #expect(JIDError(part: .local, reason: .tooLong, subject: long).subject == cut)
        let error = #expect(throws: JIDError.self) { try Preparation.local(long) }
        #expect(error?.subject == cut)
        #expect(error?.reason == .tooLong)
    }

    @Test("Every reason in every part has a message and an advice, as sentences")
    func texts() {
        for part in JIDError.Part.allCases {
            for reason in JIDError.Reason.allCases {
                let error = JIDError(part: part, reason: reason, subject: "x")
                #expect(!error.message.isEmpty && error.advice.hasSuffix("."), "\(part) \(reason)")
            }
        }
    }
}
