// The Bidi rule (RFC 5893 section 2), which user names with right-to-left characters obey.

internal import CUnicode

/// Keeps a text that mixes writing directions from showing in a misleading order.
enum BidiRule {
    /// Checks the six conditions of RFC 5893 section 2, where a right-to-left character is there
    /// at all (RFC 8265 section 3.3.1).
    static func check(_ points: [CodePoint]) throws(Refusal) {
        let classes = points.map(\.bidiClass)
        guard classes.contains(where: { [UC_BIDI_R, UC_BIDI_AL, UC_BIDI_AN].contains($0) })
        else { return }
        let significant = classes.last { $0 != UC_BIDI_NSM }
        guard let first = classes.first, let last = significant,
            // Conditions 1, 2 and 5, 3 and 6, 4.
            [UC_BIDI_L, UC_BIDI_R, UC_BIDI_AL].contains(first),
            classes.allSatisfy((first == UC_BIDI_L ? leftToRight : rightToLeft).contains),
            (first == UC_BIDI_L ? leftToRightEnd : rightToLeftEnd).contains(last),
            first == UC_BIDI_L || !(classes.contains(UC_BIDI_EN) && classes.contains(UC_BIDI_AN))
        else { throw Refusal(.bidiRule) }
    }

    /// What a text that begins left-to-right may have (condition 5): so no right-to-left letter.
    private static let leftToRight = [
        UC_BIDI_L, UC_BIDI_EN, UC_BIDI_ES, UC_BIDI_CS, UC_BIDI_ET, UC_BIDI_ON, UC_BIDI_BN,
        UC_BIDI_NSM,
    ]
    /// How such a text ends, marks aside (condition 6).
    private static let leftToRightEnd = [UC_BIDI_L, UC_BIDI_EN]
    /// What a text that begins right-to-left may have (condition 2).
    private static let rightToLeft = [
        UC_BIDI_R, UC_BIDI_AL, UC_BIDI_AN, UC_BIDI_EN, UC_BIDI_ES, UC_BIDI_CS, UC_BIDI_ET,
        UC_BIDI_ON, UC_BIDI_BN, UC_BIDI_NSM,
    ]
    /// How such a text ends, marks aside (condition 3).
    private static let rightToLeftEnd = [UC_BIDI_R, UC_BIDI_AL, UC_BIDI_EN, UC_BIDI_AN]
}
