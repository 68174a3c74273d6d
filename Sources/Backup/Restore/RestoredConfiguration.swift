// The configuration of a snapshot, made to fit its new place. The text stays its owner's, comments,
// line ends and all; only the line that says where the data is gives way.

internal import Options

/// A configuration file's text.
struct RestoredConfiguration {
    /// Bytes of a configuration at most.
    static let limit = 4_194_304

    /// The text.
    private(set) var bytes: [UInt8]

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// Has `data_dir` be the folder that the file is in. Gives what was changed, in a sentence, or
    /// what is to be changed by hand; nil when nothing was.
    mutating func pointToItsOwnFolder() -> String? {
        // What editors of another system put in front.
        let mark: [UInt8] = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? [0xEF, 0xBB, 0xBF] : []
        let before = bytes[mark.count...]
        let was = Self.folder(before)
        guard was != "." else { return nil }
        let after = Self.changed(before)
        // A mapping in braces, or what is no configuration: the text stays as it is.
        guard Self.folder(after[...]) == "." else {
            return "The configuration has to be given data_dir by hand before a server starts with "
                + "it: set it to \".\"."
        }
        bytes = mark + after
        return was.map {
            "In the configuration, data_dir was \(RestorePlan.printable($0)) and is the folder "
                + "that it is in now."
        } ?? "The configuration has data_dir now, as the folder that it is in."
    }

    /// What a server takes from the text; nil when it says nothing or cannot be read.
    private static func folder(_ text: ArraySlice<UInt8>) -> String? {
        let document = try? ConfigurationDocument.parse(
            String(decoding: text, as: UTF8.self), file: "kinglet.yaml")
        return document.flatMap { OptionSet($0).optionalText("data_dir", help: "").value }
    }

    /// The same with another line in place of the one that has `data_dir`, or with one more.
    private static func changed(_ text: ArraySlice<UInt8>) -> [UInt8] {
        // By bytes: a line end of two characters is one `Character`.
        var lines = text.split(separator: 0x0A, omittingEmptySubsequences: false)
        let isContent = { (line: ArraySlice<UInt8>) in
            guard let first = line.first(where: { !isBlank($0) }) else { return false }
            return first != UInt8(ascii: "#") && !line.starts(with: Array("---".utf8))
        }
        let content = lines.firstIndex(where: isContent)
        // All keys of the outermost mapping stand as far in as the first one.
        let margin = content.map { lines[$0].prefix { $0 == UInt8(ascii: " ") } } ?? []
        let end: [UInt8] = lines.first?.last == 0x0D ? [0x0D] : []
        let own = (margin + Array("data_dir: .".utf8) + end)[...]
        guard let index = lines.firstIndex(where: { key($0, margin.count) == "data_dir" }) else {
            lines.insert(own, at: content ?? lines.startIndex)
            return Array(lines.joined(separator: [0x0A]))
        }
        // What belongs to the value stands further in.
        var next = index + 1
        while next < lines.count,
            lines[next].prefix(while: { $0 == UInt8(ascii: " ") }).count > margin.count
        {
            next += 1
        }
        lines.replaceSubrange(index..<next, with: [own])
        return Array(lines.joined(separator: [0x0A]))
    }

    /// The key of a line of the outermost mapping, which stands so far in.
    private static func key(_ line: ArraySlice<UInt8>, _ margin: Int) -> String? {
        let blanks = line.prefix { $0 == UInt8(ascii: " ") }.count
        guard blanks == margin, let colon = line.firstIndex(of: UInt8(ascii: ":")) else {
            return nil
        }
        let quotes: Set<UInt8> = [UInt8(ascii: "\""), UInt8(ascii: "'")]
        return String(
            decoding: line[..<colon].filter { !isBlank($0) && !quotes.contains($0) },
            as: UTF8.self)
    }

    private static func isBlank(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: " ") || byte == 0x09 || byte == 0x0D
    }
}
