// The string classes of PRECIS (RFC 8264 section 4) and what decides of each code point.

/// A string class: which code points a text may have.
enum PRECISClass {
    /// RFC 8264 section 4.2: letters, digits, printable ASCII.
    case identifier
    /// RFC 8264 section 4.3: also spaces, symbols, punctuation, compatibility characters.
    case freeform

    /// Checks every code point of a text, the contextual ones with their neighbours.
    func check(_ points: [CodePoint]) throws(Refusal) {
        var rules = ContextualRules(points)
        for (index, point) in points.enumerated() {
            switch DerivedProperty(of: point) {
            case .valid:
                continue
            case .freeformOnly:
                guard self == .freeform else { throw Refusal(.disallowedCharacter) }
            case .contextual:
                guard rules.allows(index) else { throw Refusal(.contextRule) }
            case .disallowed:
                throw Refusal(.disallowedCharacter)
            case .unassigned:
                throw Refusal(.unassignedCharacter)
            }
        }
    }
}

/// The PRECIS derived property of a code point (RFC 8264 section 8).
enum DerivedProperty: Hashable {
    /// PVALID: allowed in both classes.
    case valid
    /// FREE_PVAL or ID_DIS: allowed in the FreeformClass, not in the IdentifierClass.
    case freeformOnly
    /// CONTEXTJ or CONTEXTO: allowed where a rule of RFC 5892 appendix A says so.
    case contextual
    /// DISALLOWED.
    case disallowed
    /// UNASSIGNED: not defined in the Unicode version of libunistring.
    case unassigned

    /// Derives the property in the order of RFC 8264 section 8; the names in the comments are
    /// those of the categories in its section 9.
    init(of point: CodePoint) {
        if let exception = Self.exception(point) {
            self = exception  // Exceptions (section 9.6); BackwardCompatible (9.7) is empty.
        } else if point.isUnassigned {
            self = .unassigned  // Unassigned (9.10)
        } else if (0x21...0x7E).contains(point) {
            self = .valid  // ASCII7 (9.11)
        } else if point.isJoinControl {
            self = .contextual  // JoinControl (9.8)
        } else if point.isOldHangulJamo || point.isPrecisIgnorable || point.isControl {
            // OldHangulJamo (9.9), PrecisIgnorableProperties (9.13), Controls (9.12)
            self = .disallowed
        } else if point.hasCompatibilityForm {
            self = .freeformOnly  // HasCompat (9.17)
        } else if point.isLetterDigit {
            self = .valid  // LetterDigits (9.1)
        } else if point.isFreeformCategory {
            // OtherLetterDigits (9.18), Spaces (9.14), Symbols (9.15), Punctuation (9.16)
            self = .freeformOnly
        } else {
            self = .disallowed
        }
    }

    /// The code points whose property no rule gives (RFC 8264 section 9.6, RFC 5892 section 2.6).
    private static func exception(_ point: CodePoint) -> DerivedProperty? {
        switch point {
        case 0x00DF, 0x03C2, 0x06FD, 0x06FE, 0x0F0B, 0x3007: .valid
        case 0x00B7, 0x0375, 0x05F3, 0x05F4, 0x30FB: .contextual
        case 0x0660...0x0669, 0x06F0...0x06F9: .contextual
        case 0x0640, 0x07FA, 0x302E, 0x302F, 0x3031...0x3035, 0x303B: .disallowed
        default: nil
        }
    }
}
