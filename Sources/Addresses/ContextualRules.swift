// The contextual rules of RFC 5892 appendix A, which PRECIS takes over (RFC 8264 section 9.6).

internal import CUnicode

/// Decides of characters of one text that are right beside certain others only.
///
/// What a rule asks of the whole text is looked up once, so that the work grows with the length
/// of the text and not with its square.
struct ContextualRules {
    private let points: [CodePoint]
    private lazy var hasKanaOrHan = points.contains {
        $0.isIn(script: "Hiragana") || $0.isIn(script: "Katakana") || $0.isIn(script: "Han")
    }
    private lazy var hasArabicIndicDigit = points.contains { (0x0660...0x0669).contains($0) }
    private lazy var hasExtendedDigit = points.contains { (0x06F0...0x06F9).contains($0) }

    /// Prepares to judge the characters of a text.
    init(_ points: [CodePoint]) {
        self.points = points
    }

    /// Whether the contextual code point at `index` is allowed there; false for one without rule.
    mutating func allows(_ index: Int) -> Bool {
        let before = index > 0 ? points[index - 1] : nil
        let after = index + 1 < points.count ? points[index + 1] : nil
        switch points[index] {
        case 0x200C:  // A.1 ZERO WIDTH NON-JOINER
            return before?.isVirama == true || breaksJoining(index)
        case 0x200D:  // A.2 ZERO WIDTH JOINER
            return before?.isVirama == true
        case 0x00B7:  // A.3 MIDDLE DOT, in the Catalan "l·l"
            return before == 0x6C && after == 0x6C
        case 0x0375:  // A.4 GREEK LOWER NUMERAL SIGN (KERAIA)
            return after?.isIn(script: "Greek") == true
        case 0x05F3, 0x05F4:  // A.5 and A.6 HEBREW PUNCTUATION GERESH and GERSHAYIM
            return before?.isIn(script: "Hebrew") == true
        case 0x30FB:  // A.7 KATAKANA MIDDLE DOT, which is itself of the script Common
            return hasKanaOrHan
        case 0x0660...0x0669:  // A.8 ARABIC-INDIC DIGITS
            return !hasExtendedDigit
        case 0x06F0...0x06F9:  // A.9 EXTENDED ARABIC-INDIC DIGITS
            return !hasArabicIndicDigit
        default:
            return false
        }
    }

    /// Whether a non-joiner stands between a letter that would join to its left and one that
    /// would join to its right, transparent marks aside (RFC 5892 appendix A.1).
    private func breaksJoining(_ index: Int) -> Bool {
        let left = points[..<index].last { $0.joiningType != UC_JOINING_TYPE_T }
        let right = points[(index + 1)...].first { $0.joiningType != UC_JOINING_TYPE_T }
        guard let left, let right else { return false }
        return [UC_JOINING_TYPE_L, UC_JOINING_TYPE_D].contains(left.joiningType)
            && [UC_JOINING_TYPE_R, UC_JOINING_TYPE_D].contains(right.joiningType)
    }
}
