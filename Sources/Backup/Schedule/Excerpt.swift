// What somebody else wrote or named, in a message.

/// Text from outside as it may be shown: without control characters, which a terminal would obey.
enum Excerpt {
    /// Characters at most.
    private static let longest = 60

    /// The text itself where it is short and harmless.
    static func of(_ text: some StringProtocol) -> String {
        let shown = text.unicodeScalars.prefix(longest).map { isHarmless($0) ? $0 : "?" }
        return String(String.UnicodeScalarView(shown))
            + (text.unicodeScalars.count > longest ? "…" : "")
    }

    /// All of it in one line.
    static func line(_ text: String) -> String {
        guard !text.unicodeScalars.allSatisfy(isHarmless) else { return text }
        return String(
            String.UnicodeScalarView(text.unicodeScalars.map { isHarmless($0) ? $0 : " " }))
    }

    /// No control character, no end of a line, and nothing that turns the direction of writing.
    private static func isHarmless(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case ..<0x20, 0x7F...0x9F, 0x2028...0x202E, 0x2066...0x2069: false
        default: true
        }
    }
}
