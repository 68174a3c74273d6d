// Archive ids hide what they stand for (XEP-0313 section 3, XEP-0359 section 6).

import Testing

@testable import Features

@Suite struct ArchiveIDTests {
    private static func key(_ seed: UInt8 = 0) throws -> ArchiveIDKey {
        try #require(ArchiveIDKey((0..<16).map { UInt8($0) &+ seed }))
    }

    @Test("SipHash-2-4 of eight bytes, as its authors published it")
    func sipHash() {
        let hash = SipHash(0x0706_0504_0302_0100, 0x0F0E_0D0C_0B0A_0908)
        #expect(hash(0x0706_0504_0302_0100) == 0x93F5_F579_9A93_2462)
    }

    @Test("An id reads back as the row and epoch that it was made of")
    func roundTrip() throws {
        let key = try Self.key()
        var generator = SystemRandomNumberGenerator()
        var ids: [ArchiveID] = []
        for row in [1, 2, 0xFFFF, 0x10000, 0xFFFF_FFFF, 1 << 48, Int64.max] {
            for epoch in [0, 1, UInt32.max] { ids.append(ArchiveID(row: row, epoch: epoch)) }
        }
        for _ in 0..<5000 {
            ids.append(
                ArchiveID(
                    row: .random(in: 1...Int64.max, using: &generator),
                    epoch: .random(in: 0...UInt32.max, using: &generator)))
        }
        var texts: Set<String> = []
        for id in ids {
            let text = key.text(id)
            #expect(key.id(text) == id)
            texts.insert(text)
        }
        #expect(texts.count == Set(ids).count)
    }

    @Test("Ids are 16 characters that need no escaping anywhere")
    func alphabet() throws {
        let key = try Self.key()
        for row in 1...2000 {
            let text = key.text(ArchiveID(row: Int64(row), epoch: 1))
            #expect(text.utf8.count == ArchiveIDKey.textLength)
            #expect(
                text.allSatisfy {
                    $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-" || $0 == "_")
                })
        }
    }

    @Test("An id does not change from version to version (XEP-0359 section 3)")
    func stable() throws {
        let key = try Self.key()
        #expect(key.text(ArchiveID(row: 1, epoch: 1)) == "omsMBqY0wkJHXPiD")
        #expect(key.text(ArchiveID(row: 2, epoch: 1)) == "NoXk-lJDJl7mYs6o")
    }

    @Test("Consecutive rows, epochs and keys give unrelated ids (XEP-0359 section 6)")
    func unrelated() throws {
        let key = try Self.key()
        let other = try Self.key(1)
        // 16 characters of 64 kinds: two random texts agree in one place of 64.
        var same = [0, 0, 0]
        var letters: [[UInt8: Int]] = Array(repeating: [:], count: 16)
        let count = 4096
        for row in 1...count {
            let text = key.text(ArchiveID(row: Int64(row), epoch: 7))
            let neighbours = [
                key.text(ArchiveID(row: Int64(row) + 1, epoch: 7)),
                key.text(ArchiveID(row: Int64(row), epoch: 8)),
                other.text(ArchiveID(row: Int64(row), epoch: 7)),
            ]
            for (index, neighbour) in neighbours.enumerated() {
                same[index] += zip(text.utf8, neighbour.utf8).count { $0 == $1 }
            }
            for (index, letter) in text.utf8.enumerated() {
                letters[index][letter, default: 0] += 1
            }
        }
        // 1024 of 65,536 are expected, 32 either way is a standard deviation.
        for same in same { #expect((800...1250).contains(same)) }
        // Each letter is expected 64 times in each place, 8 either way.
        for counts in letters {
            #expect(counts.count == 64)
            #expect(counts.values.allSatisfy { (16...128).contains($0) })
        }
    }

    @Test("The order of ids is not that of rows (XEP-0359 section 6)")
    func unordered() throws {
        let key = try Self.key()
        let texts = (1...1000).map { key.text(ArchiveID(row: $0, epoch: 1)) }
        let rising = zip(texts, texts.dropFirst()).count { $0 < $1 }
        #expect((400...600).contains(rising))
    }

    @Test(
        "What is no id is none",
        arguments: [
            "", "A", "AAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAA=", "AAAAAAAAAAAAAAA+",
            "AAAAAAAAAAAAAAA/", "AAAAAAAA AAAAAAA", "AAAAAAAAAAAAAAA\u{0}", "28482-98726-73623",
            "éAAAAAAAAAAAAAA", "ÀÀÀÀÀÀÀÀ", "de305d54-75b4-431b-adb2-eb6b9e546013",
        ])
    func refuses(text: String) throws {
        #expect(try Self.key().id(text) == nil)
    }

    @Test("Rows that no database has are no ids")
    func impossibleRows() throws {
        let key = try Self.key()
        for row in [0, -1, Int64.min] {
            #expect(key.id(key.text(ArchiveID(row: row, epoch: 1))) == nil)
        }
    }

    @Test("A changed or foreign id stands for no row nearby")
    func forged() throws {
        let key = try Self.key()
        let other = try Self.key(1)
        for row in 1...200 {
            let id = ArchiveID(row: Int64(row), epoch: 1)
            let text = key.text(id)
            var guesses = [other.text(id)]
            for index in text.indices {
                let letter: Character = text[index] == "A" ? "B" : "A"
                guesses.append(text.replacingCharacters(at: index, with: letter))
            }
            for guess in guesses {
                if let found = key.id(guess) {
                    #expect(found.epoch != 1 || found.row > 1 << 40)
                }
            }
        }
    }

    @Test("A key has 16 bytes", arguments: [0, 15, 17, 32])
    func keyLength(count: Int) {
        #expect(ArchiveIDKey(Array(repeating: 1, count: count)) == nil)
    }
}

extension String {
    fileprivate func replacingCharacters(at index: Index, with letter: Character) -> String {
        var text = self
        text.replaceSubrange(index...index, with: [letter])
        return text
    }
}
