import Foundation
import Testing

@testable import Backup

@Suite("The recovery key in writing")
struct RecoveryKeyTests {
    @Test("Valid texts of BIP 173 are read, and written again the same")
    func bech32() throws {
        for text in [
            "A12UEL5L", "a12uel5l", "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw", "?1ezyfcl",
            "an83characterlonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio1"
                + "tt5tgs",
        ] {
            // Not all of them hold bytes; then it is the last group that does not fit.
            do {
                let decoded = try Bech32.decode(text)
                #expect(Bech32.encode(prefix: decoded.prefix, decoded.bytes) == text.lowercased())
            } catch {
                #expect(error == .padding)
            }
        }
    }

    @Test("Invalid texts of BIP 173 are refused")
    func invalidBech32() {
        for text in [
            "\u{20}1nwldj5", "\u{7f}1axkwrx", "pzry9x0s0muk", "1pzry9x0s0muk", "x1b4n0q5v",
            "li1dgmt3", "A1G7SGD8", "10a06t8", "1qzzfhee", "a12UEL5L", "\u{e4}12uel5l", "", "1",
            "an84characterslonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio1"
                + "569pvx",
        ] {
            #expect(throws: Bech32.Failure.self) { try Bech32.decode(text) }
        }
    }

    @Test("It is the text of the format's examples")
    func example() throws {
        // The first test vector of the format (C2SP/CCTV) has this identity.
        let text = "AGE-SECRET-KEY-1XMWWC06LY3EE5RYTXM9MFLAZ2U56JJJ36S0MYPDRWSVLUL66MV4QX3S7F6"
        let key = try RecoveryKey(text)
        #expect(key.text == text)
        #expect(
            try key.recipient == "age1w3tyke4gev25vaxxsvcgqu4484rf6ejpmavs57p6yz6lhy2sfs5swrvwyn")
    }

    @Test("It is read as a person types it: either case, groups, lines, comments")
    func typed() throws {
        let key = RecoveryKey.generate()
        let text = key.text
        #expect(text.hasPrefix("AGE-SECRET-KEY-1") && text.count == 74)
        var groups = ""
        for (index, character) in text.enumerated() {
            groups.append(character)
            if index % 6 == 5 { groups += index % 24 == 23 ? " \n\t" : " " }
        }
        for form in [
            text, text.lowercased(), "  \(text)\r\n", groups, "# created: today\n#\n\(text)\n\n",
        ] {
            #expect(try RecoveryKey(form) == key)
        }
    }

    private func message(_ text: String) -> String {
        do {
            _ = try RecoveryKey(text)
            return ""
        } catch {
            #expect(error.code == .key)
            return error.description
        }
    }

    @Test("A typing error is found and said, and the key is not repeated")
    func mistyped() throws {
        let text = RecoveryKey.generate().text
        var letters = Array(text)
        for index in 16..<letters.count {
            let right = letters[index]
            letters[index] = right == "Q" ? "P" : "Q"
            #expect(message(String(letters)).contains("checksum"))
            letters[index] = right
        }
        letters.swapAt(20, 20 + (letters[20...].firstIndex { $0 != letters[20] } ?? 21) - 20)
        #expect(message(String(letters)).contains("checksum"))
        #expect(message(text.replacingOccurrences(of: "1", with: "!")) != "")
        #expect(message(String(text.dropLast()) + "B").contains("“b”"))
        #expect(message(text.dropLast(20) + text.suffix(20).lowercased()).contains("case"))
        #expect(message(String(text.dropLast(3))).contains("checksum"))
        #expect(
            message(text + text).contains("too long") || message(text + text).contains("no key"))
        #expect(message("").contains("no key"))
        #expect(message("# only a comment").contains("no key"))
        #expect(message(try RecoveryKey.generate().recipient).contains("public"))
        let bytes = [UInt8](repeating: 1, count: 32)
        #expect(message(Bech32.encode(prefix: "age-secret-kex-", bytes)) != "")
        #expect(message(Bech32.encode(prefix: "age-secret-key-", Array(bytes.dropLast()))) != "")
        for wrong in [String(text.dropLast(3)), text + text, text.lowercased() + "B"] {
            #expect(!message(wrong).contains(text.suffix(20)))
        }
    }

    @Test("It does not print itself")
    func description() {
        let key = RecoveryKey.generate()
        var dumped = ""
        dump(key, to: &dumped)
        for text in ["\(key)", String(reflecting: key), dumped, "\([key])"] {
            #expect(!text.contains("\(key.secret[0]), \(key.secret[1])"))
            #expect(!text.contains(key.text))
        }
    }

    @Test("A file of it is its owner's alone, and another key is never replaced")
    func files() throws {
        let folder = try Age.folder()
        defer { try? Files.remove(folder) }
        let key = RecoveryKey.generate()
        let file = folder + "/backup.key"
        #expect(throws: BackupError.self) { try RecoveryKey.load(file: file) }
        try key.store(file: file)
        try key.store(file: file)
        #expect(try RecoveryKey.load(file: file) == key)
        let text = String(decoding: try Files.read(file, limit: 1000) ?? [], as: UTF8.self)
        let lines = text.split(separator: "\n")
        #expect(lines.count == 3)
        #expect(lines[0].wholeMatch(of: /# created: \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ/) != nil)
        #expect(lines[1] == "# public key: \(try key.recipient)")
        #expect(lines[2] == key.text)
        let mode = try FileManager.default.attributesOfItem(atPath: file)[.posixPermissions]
        #expect(mode as? Int == 0o600)
        #expect(throws: BackupError.self) { try RecoveryKey.generate().store(file: file) }
        #expect(try RecoveryKey.load(file: file) == key)
    }

    @Test("A seal is of the key and of every byte")
    func seals() {
        let key = RecoveryKey.generate()
        let seal = key.seal([1, 2, 3])
        #expect(seal.count == 64)
        #expect(key.isSeal(seal, of: [1, 2, 3]))
        #expect(!key.isSeal(seal, of: [1, 2, 4]))
        #expect(!key.isSeal("", of: [1, 2, 3]))
        #expect(!RecoveryKey.generate().isSeal(seal, of: [1, 2, 3]))
        #expect(key.sealKey != key.secret)
    }
}
