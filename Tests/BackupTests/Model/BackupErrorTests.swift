import Testing

@testable import Backup

@Suite("Failures in words")
struct BackupErrorTests {
    @Test("Names of files and words of other programs cannot command a terminal or forge a line")
    func controlCharacters() {
        let error = BackupError(
            .damaged, subject: "/backups/\u{1B}[2Jx", "is\nnot what\u{9B}31m was \u{202E}stored",
            advice: "see\r\u{7F}")
        let isPlain = error.description.unicodeScalars.allSatisfy {
            $0.value >= 0x20 && !(0x7F...0x9F).contains($0.value) && $0.value != 0x202E
        }
        #expect(isPlain)
        #expect(error.subject == "/backups/ [2Jx")
        let heard = Notes()
        let warnings = Warnings { heard.add($0) }
        warnings.add("a\u{1B}b")
        #expect(warnings.all == ["a b"])
        #expect(Excerpt.line("Grüße, 日本") == "Grüße, 日本")
    }

    @Test("Hexadecimal digits are read as they are written, and nothing else is")
    func hexadecimal() {
        let bytes: [UInt8] = [0, 0x0F, 0xA0, 0xFF]
        #expect(Hexadecimal.text(bytes) == "000fa0ff")
        #expect(Hexadecimal.bytes("000fa0ff".utf8) == bytes)
        for text in ["0", "0F", "0g", " 0"] { #expect(Hexadecimal.bytes(text.utf8) == nil) }
    }
}
