// The words of a line of the NUT protocol, and its numbers.

/// Reading of what a NUT server writes.
enum NUTWords {
    /// The words of a line: divided by spaces; one in quotes may hold spaces; a backslash makes the
    /// next byte an ordinary one. Nil when a quote or a backslash is left open.
    static func words(_ line: ArraySlice<UInt8>) -> [String]? {
        var words: [String] = []
        var word: [UInt8]?
        var isQuoted = false
        var isEscaped = false
        func finish() {
            if let word { words.append(String(decoding: word, as: UTF8.self)) }
            word = nil
        }
        for byte in line {
            if isEscaped {
                isEscaped = false
                word = (word ?? []) + [byte]
                continue
            }
            switch byte {
            case UInt8(ascii: "\\"):
                isEscaped = true
            case UInt8(ascii: "\""):
                isQuoted.toggle()
                word = word ?? []
            case UInt8(ascii: " ") where !isQuoted, UInt8(ascii: "\t") where !isQuoted:
                finish()
            default:
                word = (word ?? []) + [byte]
            }
        }
        guard !isQuoted, !isEscaped else { return nil }
        finish()
        return words
    }

    /// A number of the protocol: digits, perhaps with a sign and a dot, never an exponent.
    static func number(_ text: String) -> Double? {
        let digits = text.hasPrefix("-") ? text.dropFirst() : text[...]
        guard digits.first?.isWholeNumber == true, digits.utf8.count <= 32,
            digits.utf8.allSatisfy({ (0x30...0x39) ~= $0 || $0 == UInt8(ascii: ".") })
        else { return nil }
        return Double(text)
    }
}
