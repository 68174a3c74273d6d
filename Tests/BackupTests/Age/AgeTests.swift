import Foundation
import Testing

@testable import Backup

@Suite("Encryption in the format of age (age-encryption.org/v1)")
struct AgeTests {
    let key = RecoveryKey.generate()

    @Test(
        "What was encrypted opens again, whatever its length and however it is cut",
        arguments: [0, 1, 65_535, 65_536, 65_537, 131_072, 200_000],
        [1_013, 65_536, 65_552, 999_999])
    func roundTrip(length: Int, pieces: Int) throws {
        let plain = Age.noise(length)
        let sealed = try Age.encrypt(plain, for: key, pieces: pieces)
        let chunks = max(1, (length + 65_535) / 65_536)
        #expect(sealed.count - length == 184 + 16 * chunks)
        #expect(try Age.decrypt(sealed, with: key, pieces: pieces) == plain)
    }

    @Test("Single bytes are as good as a whole")
    func bytes() throws {
        let plain = Age.noise(3_000)
        let sealed = try Age.encrypt(plain, for: key, pieces: 1)
        #expect(try Age.decrypt(sealed, with: key, pieces: 1) == plain)
    }

    @Test("Two encryptions of the same have nothing in common")
    func freshness() throws {
        let first = try Age.encrypt([1, 2, 3], for: key)
        let second = try Age.encrypt([1, 2, 3], for: key)
        #expect(first != second)
        #expect(first.suffix(30) != second.suffix(30))
    }

    @Test("No bit can be changed")
    func flips() throws {
        let sealed = try Age.encrypt(Array("hello".utf8), for: key)
        for bit in 0..<sealed.count * 8 {
            var forged = sealed
            forged[bit / 8] ^= 1 << UInt8(bit % 8)
            let code = Age.failure(forged, with: key)
            // Whether a changed stanza was for another key, nobody can tell.
            #expect(code == .damaged || code == .key, "bit \(bit)")
            if bit / 8 >= 120 { #expect(code == .damaged, "bit \(bit)") }
        }
    }

    @Test("Nothing can be cut off or added")
    func cuts() throws {
        let sealed = try Age.encrypt(Array("hello".utf8), for: key)
        for count in 0..<sealed.count {
            #expect(Age.failure(Array(sealed.prefix(count)), with: key) == .damaged)
        }
        #expect(Age.failure(sealed + [0], with: key) == .damaged)
        let large = try Age.encrypt(Age.noise(131_072), for: key)
        let chunk = 65_552
        for count in [1, 16, chunk - 1, chunk, chunk + 1, 2 * chunk] {
            #expect(Age.failure(large.dropLast(count), with: key) == .damaged, "\(count)")
        }
        for count in [1, 17, chunk, chunk + 1] {
            let more = large + [UInt8](repeating: 0, count: count)
            #expect(Age.failure(more, with: key) == .damaged, "\(count)")
        }
    }

    @Test("Chunks cannot change places")
    func order() throws {
        var sealed = try Age.encrypt(Age.noise(3 * 65_536), for: key)
        let start = sealed.count - 3 * 65_552
        let first = Array(sealed[start..<start + 65_552])
        sealed.replaceSubrange(
            start..<start + 65_552, with: sealed[start + 65_552..<start + 131_104])
        sealed.replaceSubrange(start + 65_552..<start + 131_104, with: first)
        #expect(Age.failure(sealed, with: key) == .damaged)
    }

    @Test("An empty last chunk stands for an empty file only")
    func emptyEnd() throws {
        let fileKey = [UInt8](repeating: 1, count: 16)
        let nonce = [UInt8](repeating: 2, count: 16)
        let header = try AgeHeader.make(
            fileKey: fileKey, for: try key.publicKey, ephemeral: [UInt8](repeating: 3, count: 32))
        var payload = try AgePayload(fileKey: fileKey, nonce: nonce)
        let full = [UInt8](repeating: 4, count: 65_536)
        var file = header + nonce
        file += try full.withUnsafeBytes { try payload.seal($0, isLast: false) }
        file += try payload.seal(UnsafeRawBufferPointer(start: nil, count: 0), isLast: true)
        #expect(Age.failure(file, with: key) == .damaged)
    }

    @Test("Another key is told apart from damage, also where nothing is for any X25519 key")
    func otherKey() throws {
        let sealed = try Age.encrypt([1], for: key)
        #expect(Age.failure(sealed, with: .generate()) == .key)
        #expect(Age.failure(try header(["-> ssh-ed25519 a b", "AAAA"]), with: key) == .key)
    }

    /// A file with stanzas of a test's own before the one for the key, and a right code.
    private func header(_ lines: [String], withKey: Bool = false) throws -> [UInt8] {
        let plain = try AgeHeader.make(
            fileKey: [UInt8](repeating: 1, count: 16), for: try key.publicKey,
            ephemeral: [UInt8](repeating: 3, count: 32))
        let own = String(decoding: plain, as: UTF8.self).split(
            separator: "\n", omittingEmptySubsequences: false)
        let stanzas = lines + (withKey ? own[1...2].map(String.init) : [])
        let covered = ([String(own[0])] + stanzas + ["---"]).joined(separator: "\n")
        let code = AgeHeader.codeLine(
            of: Array(covered.utf8), fileKey: [UInt8](repeating: 1, count: 16))
        let nonce = [UInt8](repeating: 2, count: 16)
        var payload = try AgePayload(fileKey: [UInt8](repeating: 1, count: 16), nonce: nonce)
        let end = try [UInt8(9)].withUnsafeBytes { try payload.seal($0, isLast: true) }
        return Array((covered + code).utf8) + nonce + end
    }

    @Test("Stanzas of unknown kinds are passed over")
    func grease() throws {
        let full = String(repeating: "A", count: 64)
        for lines in [
            [], ["-> k-grease ~ !", ""], ["-> other", full, ""], ["-> other 1", full, "AAAA"],
        ] {
            let file = try header(lines, withKey: true)
            #expect(try Age.decrypt(file, with: key) == [9])
        }
    }

    @Test("A header that is not to the letter is refused")
    func malformed() throws {
        let full = String(repeating: "A", count: 64)
        let bad: [[String]] = [
            ["->", ""], ["-> ", ""], ["->  two", ""], ["-> a ", ""], ["-> other", full],
            ["-> other", full + "A", ""], ["-> other", "AAAA="], ["-> other", "AAB"],
            ["-> other", "A"], ["-> other", "A A"], ["junk"], [""], ["-> scrypt AAAA 1", "AAAA"],
            ["-> \u{e4}", ""], ["-> X25519 AAAA", ""], ["-> X25519", ""], ["-> other\r", ""],
            ["-> X25519 \(String(repeating: "A", count: 43))", String(repeating: "A", count: 43)],
        ]
        for lines in bad {
            let file = try header(lines, withKey: true)
            #expect(Age.failure(file, with: key) == .damaged, "\(lines)")
        }
        for text in ["age-encryption.org/v2\n", "age-encryption.org/v1\n", "x", "\n--- \n"] {
            #expect(Age.failure(Array(text.utf8), with: key) == .damaged)
        }
    }

    @Test("A header is bounded: 20 stanzas, 64 KiB")
    func limits() throws {
        let many = Array(repeating: ["-> other", ""], count: 19).flatMap { $0 }
        #expect(try Age.decrypt(header(many, withKey: true), with: key) == [9])
        #expect(
            Age.failure(try header(many + ["-> other", ""], withKey: true), with: key) == .damaged)
        let full = String(repeating: "A", count: 64)
        let long = ["-> other"] + Array(repeating: full, count: 1_100) + [""]
        #expect(Age.failure(try header(long, withKey: true), with: key) == .damaged)
        let endless = Array("age-encryption.org/v1\n-> a\n".utf8)
        let decryptor = AgeDecryptor(key: key) { _ in Issue.record("there is no content") }
        #expect(throws: BackupError.self) {
            try decryptor.write(endless[...])
            for _ in 0..<100 { try decryptor.write([UInt8](repeating: 65, count: 1_000)[...]) }
        }
    }

    @Test("An output that fails ends it")
    func failingOutput() throws {
        let refusal = BackupError(.full, subject: "x", "no space")
        #expect(throws: refusal) {
            _ = try AgeEncryptor(recipient: key) { _ throws(BackupError) in throw refusal }
        }
        let sealed = try Age.encrypt(Age.noise(100_000), for: key)
        let decryptor = AgeDecryptor(key: key) { _ throws(BackupError) in throw refusal }
        #expect(throws: refusal) { try decryptor.write(sealed[...]) }
        #expect(throws: BackupError.self) { try decryptor.finish() }
    }
}

@Suite("The program age and Kinglet read each other's files")
struct AgeProgramTests {
    let folder: String

    init() throws { folder = try Age.folder() }

    @Test("age opens what was encrypted here", arguments: [0, 5, 65_536, 300_000])
    func toAge(length: Int) throws {
        defer { try? Files.remove(folder) }
        let key = RecoveryKey.generate()
        try key.store(file: folder + "/backup.key")
        let plain = Age.noise(length)
        let opened = try Age.run(
            "age", ["-d", "-i", folder + "/backup.key"], input: try Age.encrypt(plain, for: key))
        #expect(opened == plain)
    }

    @Test("What age encrypted opens here", arguments: [0, 5, 65_536, 300_000])
    func fromAge(length: Int) throws {
        defer { try? Files.remove(folder) }
        _ = try Age.run("age-keygen", ["-o", folder + "/key"])
        let key = try RecoveryKey.load(file: folder + "/key")
        let plain = Age.noise(length)
        // To several, so that stanzas for others stand before and behind.
        let sealed = try Age.run(
            "age",
            [
                "-r", try RecoveryKey.generate().recipient, "-r", try key.recipient,
                "-r", try RecoveryKey.generate().recipient,
            ], input: plain)
        #expect(try Age.decrypt(sealed, with: key) == plain)
    }

    @Test("age-keygen derives the same recipient from our key file")
    func recipient() throws {
        defer { try? Files.remove(folder) }
        let key = RecoveryKey.generate()
        try key.store(file: folder + "/backup.key")
        let printed = try Age.run("age-keygen", ["-y", folder + "/backup.key"])
        #expect(String(decoding: printed, as: UTF8.self) == (try key.recipient) + "\n")
    }
}
