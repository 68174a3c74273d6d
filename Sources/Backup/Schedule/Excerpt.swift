// What somebody wrote, quoted in a message.

/// Text from outside as it may be shown: short, and without control characters.
enum Excerpt {
    /// Characters at most.
    private static let longest = 60

    /// The text itself where it is short and harmless.
    static func of(_ text: some StringProtocol) -> String {
        var shown = String.UnicodeScalarView()
        for scalar in text.unicodeScalars.prefix(longest) {
            let isControl =
                scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value)
                || (0x2028...0x202E).contains(scalar.value)
            shown.append(isControl ? "?" : scalar)
        }
        return String(shown) + (text.unicodeScalars.count > longest ? "…" : "")
    }
}
