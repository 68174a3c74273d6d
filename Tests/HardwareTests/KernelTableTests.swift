// The kernel's tables, word by word.

import Testing

@testable import Hardware

@Suite("Kernel tables")
struct KernelTableTests {
    private let tree = ScratchTree()

    private func table(_ content: String) throws -> KernelTable {
        tree.write("table", content)
        return try #require(try KernelTable("\(tree.path)/table"))
    }

    private func text(_ bytes: ArraySlice<UInt8>) -> String {
        String(decoding: bytes, as: UTF8.self)
    }

    /// What each attempt to take something off the table's first line gave; nil where it threw.
    private func taken<Value>(
        _ count: Int, of content: String, _ take: (inout KernelTable) throws -> Value
    ) throws -> [Value?] {
        var table = try table(content)
        guard table.nextLine() else { return [] }
        var values: [Value?] = []
        for _ in 0..<count { values.append(try? take(&table)) }
        return values
    }

    @Test("Words end at spaces and tabs, and no word is taken from the next line")
    func words() throws {
        var table = try table("  one\ttwo \n\nlast")
        var words = [text(table.word())]
        while table.nextLine() {
            for _ in 0..<3 { words.append(text(table.word())) }
        }
        #expect(words == ["", "one", "two", "", "", "", "", "last", "", ""])
    }

    @Test("A key ends at its colon, and the number may follow at once")
    func keys() throws {
        var table = try table(" eth0:12 3\nno key\n:7\n")
        var keys: [String?] = []
        var numbers: [UInt64?] = []
        while table.nextLine() {
            keys.append(table.key().map(text))
            numbers.append(try? table.number())
        }
        #expect(keys == ["eth0", nil, ""])
        #expect(numbers == [12, nil, 7])
    }

    @Test("The largest number is read, and nothing beyond, below 0 or besides digits")
    func numbers() throws {
        let line = "18446744073709551615 18446744073709551616 -1 +1 0x1 1.0 "
        #expect(
            try taken(7, of: line) { try $0.number() } == [.max, nil, nil, nil, nil, nil, nil])
        #expect(try taken(2, of: "8 9") { try $0.number(upTo: 8) } == [8, nil])
    }

    @Test("Decimals are the numbers that they look like")
    func decimals() throws {
        let good = "0.07 12.50 3 1.000000001 .5 1."
        #expect(
            try taken(6, of: good) { try $0.decimal() } == [0.07, 12.5, 3, 1.000000001, 0.5, 1])
        let bad = ". 1.x -0.1 1.0000000000000000001 1e3 1.2.3 nan"
        #expect(
            try taken(8, of: bad) { try $0.decimal() } == [Double?](repeating: nil, count: 8))
    }

    @Test("An empty table has no line, an absent one is nil, a folder an error")
    func sources() throws {
        #expect(try taken(1, of: "") { $0.word().count }.isEmpty)
        #expect(try KernelTable("\(tree.path)/absent") == nil)
        #expect(throws: ReadingError.self) { try KernelTable(tree.path) }
    }
}
