// Full-text search (XEP-0431), against the real FTS5.

import Prometheus
import Storage
import Testing

@testable import Features

@Suite struct ArchiveSearchTextTests {
    /// Lends a table of messages, numbered from 1, and closes the database.
    private func withMessages(_ bodies: [String], _ body: (Database) throws -> Void) throws {
        let directory = try TemporaryDirectory()
        let step = SchemaStep(
            "search", 1,
            "CREATE VIRTUAL TABLE search USING fts5(body, tokenize=\"\(SearchText.tokenizer)\")")
        let database = try Database(
            file: directory.database, steps: [step], durability: .relaxed, registry: Registry())
        do {
            try database.writeNow { connection in
                for (index, body) in bodies.enumerated() {
                    try connection.execute(
                        "INSERT INTO search (rowid, body) VALUES (?, ?)",
                        .integer(Int64(index) + 1), .text(SearchText.indexed(from: body)))
                }
            }
            try body(database)
        } catch {
            try? database.close()
            throw error
        }
        #expect(throws: Never.self, "a clean close") { try database.close() }
        withExtendedLifetime(directory) {}
    }

    /// The numbers of the messages that are found; nil when there is nothing to search for.
    private func find(_ words: String, in database: Database) throws -> [Int]? {
        guard let query = SearchText.query(words) else { return nil }
        return try database.readNow { connection in
            var found: [Int] = []
            try connection.rows(
                "SELECT rowid FROM search WHERE search MATCH ? ORDER BY rowid", .text(query)
            ) { found.append(Int($0.integer(0))) }
            return found
        }
    }

    // MARK: Finding

    @Test("All words are required, in any order, in any case and with or without accents")
    func words() throws {
        let bodies = [
            "The quick brown fox", "Quick! Brown? No: the FOX.", "brown and quick",
            "Ein Café in Zürich", "cafe\u{301} society", "don't panic", "foo_bar@example.org",
        ]
        try withMessages(bodies) { database throws in
            #expect(try find("fox", in: database) == [1, 2])
            #expect(try find("QUICK brown", in: database) == [1, 2, 3])
            #expect(try find("brown quick fox", in: database) == [1, 2])
            #expect(try find("fox cat", in: database) == [])
            #expect(try find("café", in: database) == [4, 5])
            #expect(try find("cafe zurich", in: database) == [4])
            #expect(try find("don't", in: database) == [6])
            #expect(try find("example.org", in: database) == [7])
            #expect(try find("foo_bar@example.org", in: database) == [7])
            #expect(try find("qui", in: database) == [])
        }
    }

    @Test("What stands in quotation marks stands together")
    func phrases() throws {
        try withMessages(["black white", "white black", "black and white"]) { database throws in
            #expect(try find("\"black white\"", in: database) == [1])
            #expect(try find("\u{201C}black white\u{201D}", in: database) == [1])
            #expect(try find("\u{201E}Black, white!\u{201C}", in: database) == [1])
            #expect(try find("\"and white\" black", in: database) == [3])
            #expect(try find("black \"and white", in: database) == [3])
            #expect(try find("black\"and\"white", in: database) == [3])
            #expect(try find("\"\" white", in: database) == [1, 2, 3])
        }
    }

    @Test("A star at the end stands for the rest of a word")
    func prefixes() throws {
        try withMessages(["meet me", "the meeting", "a m"]) { database throws in
            #expect(try find("meet*", in: database) == [1, 2])
            #expect(try find("Meeti*", in: database) == [2])
            #expect(try find("\"the meet\"*", in: database) == [2])
            #expect(try find("\"the meet*\"", in: database) == [])
            #expect(try find("*meet", in: database) == [1])
            #expect(try find("me*et", in: database) == [])
            #expect(try find("m*", in: database) == [3], "one letter is no prefix")
        }
    }

    @Test(
        "Words of scripts without spaces are found wherever they stand",
        arguments: [
            ("我们明天在北京见面", "北京", "京北"), ("我们明天在北京见面。", "明天在", "天明"),
            ("今日は東京タワーへ行きました", "タワー", "ワタ"), ("今日は東京へ", "東京", "京東"),
            ("학교에서 만나요", "학교", "교학"), ("ผมกินข้าวแล้ว", "ข้าว", "ขาว"),
            ("see you at 北京站 tomorrow", "北京", "京站tomorrow1"), ("𠮷野家で", "𠮷野", "野𠮷"),
            ("iPhone手机", "手机", "机手"), ("iPhone手机", "iphone", "phone"),
            ("ﾃｽﾄです", "ｽﾄ", "ﾄｽ"), ("អរគុណច្រើន", "គុណ", "ណគុ"),
        ])
    func unspaced(body: String, present: String, absent: String) throws {
        try withMessages([body]) { database throws in
            #expect(try find(present, in: database) == [1])
            #expect(try find(absent, in: database) == [])
        }
    }

    @Test(
        "Vowel signs belong to words where they must be written, and only there",
        arguments: [
            ("मुझे हिन्दी आती है", "हिन्दी", true), ("मुझे हिन्दी आती है", "हन्द", false),
            ("كَتَبَ رسالة", "كتب", true), ("كتب", "كَتَبَ", true), ("שָׁלוֹם", "שלום", true),
            ("மிக்க நன்றி", "நன்றி", true), ("co\u{AD}operate", "cooperate", true),
            ("1\u{FE0F}\u{20E3} first", "1", true),
        ])
    func marks(body: String, words: String, isFound: Bool) throws {
        try withMessages([body]) { database throws in
            #expect(try find(words, in: database) == (isFound ? [1] : []))
        }
    }

    @Test("Each word of a message finds it, whatever the message is made of")
    func property() throws {
        let ranges: [ClosedRange<UInt32>] = [
            0x20...0x7E, 0xA0...0x24F, 0x370...0x52F, 0x590...0x6FF, 0x900...0xDFF, 0xE00...0xEFF,
            0x1000...0x11FF, 0x1780...0x17FF, 0x2000...0x2BFF, 0x3000...0x31FF, 0x4E00...0x9FFF,
            0xAC00...0xD7A3, 0xE000...0xE0FF, 0xF900...0xFFFD, 0x1F300...0x1F6FF, 0x20000...0x2A6DF,
        ]
        var generator = SystemRandomNumberGenerator()
        let bodies = (0..<400).map { _ in
            var body = String.UnicodeScalarView()
            for _ in 0..<Int.random(in: 1...40, using: &generator) {
                let range = ranges.randomElement(using: &generator) ?? 0x20...0x7E
                let value = UInt32.random(in: range, using: &generator)
                if let scalar = Unicode.Scalar(value) { body.append(scalar) }
                if value % 5 == 0 { body.append(" ") }
            }
            return String(body)
        }
        try withMessages(bodies) { database throws in
            for (index, body) in bodies.enumerated() {
                for word in body.unicodeScalars.split(whereSeparator: \.properties.isWhitespace) {
                    let text = String(word)
                    guard let found = try find(text, in: database) else {
                        #expect(SearchText.indexed(from: text).isEmpty)
                        continue
                    }
                    #expect(found.contains(index + 1), "\(text) in \(body)")
                }
            }
        }
    }

    // MARK: Queries

    @Test(
        "The expression of FTS5 for a user's words",
        arguments: [
            ("hello", "\"hello\""), ("  big\tworld\n", "\"big\" \"world\""),
            ("\"big world\" fo*", "\"big world\" \"fo\"*"), ("北京*", "\"北 京\""),
            ("e-mail", "\"e mail\""), ("hello !! ...", "\"hello\""), ("foo**", "\"foo\"*"),
            ("a* \"b c\"*", "\"a\" \"b c\""),
        ])
    func expression(words: String, query: String) {
        #expect(SearchText.query(words) == query)
    }

    @Test(
        "Where there is nothing to search for, there is no query",
        arguments: [
            "", " \t\n", "!?", "\"", "\"\"", "*", "\"*\"*", "👍🎉", "\u{301}", "— …", "\u{0}",
        ])
    func nothing(words: String) {
        #expect(SearchText.query(words) == nil)
    }

    @Test(
        "No operator or syntax of FTS5 gets through, and none breaks a query",
        arguments: [
            "cat AND", "AND", "OR NOT", "NOT cat", "NEAR(cat dog)", "cat NEAR/2 dog", "body:cat",
            "body : cat", "- body : cat", "{body}: cat", "^cat", "cat + dog", "(cat", "cat)",
            "'cat",
            "cat'; DROP TABLE search; --", "\"cat\"\"", "\"\"\"\"cat", "cat\\\"", "cat\u{0}dog",
            "search MATCH cat", "cat* *", "* cat", "?1", ":a", "@a", "$a", "\u{201C}\"cat",
            "cat,dog",
            "rank", "%cat%", "/*cat*/", "ca\u{FFFD}t",
        ])
    func hostile(words: String) throws {
        try withMessages(["a cat", "a dog", "cat and dog near or not body"]) { database throws in
            let found = try find(words, in: database)
            // Whatever else it says, a message without the word cat is not meant.
            #expect(found?.contains(2) != true || !words.contains("cat"))
        }
    }

    @Test("Words are required, not operated on")
    func operators() throws {
        try withMessages(["cat dog", "cat or dog", "cat not", "not dog near cat"]) {
            database throws in
            #expect(try find("cat OR dog", in: database) == [2])
            #expect(try find("cat NOT", in: database) == [3, 4])
            #expect(try find("NEAR(cat)", in: database) == [4])
            #expect(try find("cat -dog", in: database) == [1, 2, 4])
        }
    }

    @Test("A query has at most 16 terms and 64 tokens; what follows is not looked for")
    func bounds() throws {
        let words = (1...20).map { "w\($0)" }
        let query = try #require(SearchText.query(words.joined(separator: " ")))
        #expect(query == words.prefix(16).map { "\"\($0)\"" }.joined(separator: " "))

        let phrase = String(repeating: "北", count: 70)
        let cut = try #require(SearchText.query("\(phrase) word"))
        #expect(cut == "\"" + Array(repeating: "北", count: 64).joined(separator: " ") + "\"")

        let huge = String(repeating: "x", count: 100_000)
        let bounded = try #require(SearchText.query(huge))
        #expect(bounded.utf8.count == 66)
        try withMessages([huge, String(repeating: "y", count: 64)]) { database throws in
            #expect(try find(huge, in: database) == [1])
        }
    }

    // MARK: The index

    @Test("The index is given tokens and nothing else")
    func indexed() {
        #expect(SearchText.indexed(from: "Hi, World…  (北京)!") == "Hi World 北 京")
        #expect(SearchText.indexed(from: "👍 !? \u{301}") == "")
        #expect(SearchText.indexed(from: "") == "")
    }

    @Test("Of a long message the beginning is indexed, in whole tokens")
    func longMessages() throws {
        let body = String(repeating: "word北 ", count: 20_000)
        let text = SearchText.indexed(from: body)
        #expect(text.utf8.count <= SearchText.longestText)
        #expect(text.utf8.count > SearchText.longestText - 10)
        #expect(text.split(separator: " ").allSatisfy { $0 == "word" || $0 == "北" })
    }
}
