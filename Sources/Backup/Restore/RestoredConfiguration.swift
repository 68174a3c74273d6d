// The configuration of a snapshot, made to fit its new place. The text stays its owner's, comments
// and all; only the line that says where the data is gives way.

/// A configuration file's text.
struct RestoredConfiguration {
    /// Bytes of a configuration at most.
    static let limit = 4_194_304

    private var lines: [Substring]

    init(_ bytes: [UInt8]) {
        lines = String(decoding: bytes, as: UTF8.self)
            .split(separator: "\n", omittingEmptySubsequences: false)
    }

    /// The text.
    var bytes: [UInt8] { Array(lines.joined(separator: "\n").utf8) }

    /// Has `data_dir` be the folder that the file is in. Gives what was changed, in a sentence; nil
    /// when nothing was.
    mutating func pointToItsOwnFolder() -> String? {
        let own = "data_dir: ."
        guard let index = lines.firstIndex(where: { Self.key($0) == "data_dir" }) else {
            if lines.first(where: { !$0.isEmpty && !$0.hasPrefix("#") })?.hasPrefix("{") == true {
                return "The configuration has to be given data_dir by hand: set it to \".\"."
            }
            lines.insert(Substring(own), at: lines.firstIndex { $0 == "---" }.map { $0 + 1 } ?? 0)
            return "The configuration has data_dir now, as the folder that it is in."
        }
        let value =
            lines[index].drop { $0 != ":" }.dropFirst()
            .split(separator: "#").first.map(String.init) ?? ""
        // What belongs to the value stands further in.
        var next = index + 1
        while next < lines.count, let first = lines[next].first, first == " " || first == "\t" {
            next += 1
        }
        lines.replaceSubrange(index..<next, with: [Substring(own)])
        let was = value.trimmed
        return was == "."
            ? nil
            : "In the configuration, data_dir was \(RestorePlan.printable(was)) and is the folder "
                + "that it is in now."
    }

    /// The key of a line of the outermost mapping.
    private static func key(_ line: Substring) -> String? {
        guard let colon = line.firstIndex(of: ":"), let first = line.first, first != " ",
            first != "#"
        else { return nil }
        return String(line[..<colon]).trimmed.filter { $0 != "\"" && $0 != "'" }
    }
}

extension String {
    /// Without blanks around it.
    fileprivate var trimmed: String {
        var text = self[...]
        while text.first?.isWhitespace == true { text.removeFirst() }
        while text.last?.isWhitespace == true { text.removeLast() }
        return String(text)
    }
}
