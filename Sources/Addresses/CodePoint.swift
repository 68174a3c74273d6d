// Properties of code points and mappings of texts, from libunistring's Unicode tables.
//
// THREADS: the functions used here keep no state and read no locale.

internal import CUnicode
import Glibc

/// A Unicode code point, as libunistring takes it.
typealias CodePoint = UInt32

// The categories of RFC 8264 section 9, in its order.
extension CodePoint {
    /// LetterDigits (section 9.1).
    var isLetterDigit: Bool { isIn(Category.letterDigits) }

    /// JoinControl (section 9.8): ZERO WIDTH JOINER and NON-JOINER.
    var isJoinControl: Bool { uc_is_property_join_control(self) }

    /// OldHangulJamo (section 9.9): Hangul_Syllable_Type is L, V or T.
    ///
    /// libunistring does not have that property; the three blocks of conjoining jamo are full, so
    /// it can be written down.
    var isOldHangulJamo: Bool {
        switch self {
        case 0x1100...0x11FF, 0xA960...0xA97C, 0xD7B0...0xD7C6, 0xD7CB...0xD7FB: true
        default: false
        }
    }

    /// Unassigned (section 9.10): General_Category is Cn and it is no noncharacter.
    var isUnassigned: Bool {
        isIn(Category.unassigned) && !uc_is_property_not_a_character(self)
    }

    /// Controls (section 9.12).
    var isControl: Bool { isIn(Category.control) }

    /// PrecisIgnorableProperties (section 9.13): default-ignorable or a noncharacter.
    var isPrecisIgnorable: Bool {
        uc_is_property_default_ignorable_code_point(self) || uc_is_property_not_a_character(self)
    }

    /// Spaces (section 9.14).
    var isSpace: Bool { isIn(Category.space) }

    /// HasCompat (section 9.17): NFKC changes it.
    var hasCompatibilityForm: Bool {
        // Most code points have no decomposition and need no normalisation to tell.
        guard decomposition != nil else { return false }
        return (try? CodePoints.normalizedNFKC([self])) != [self]
    }

    /// OtherLetterDigits (section 9.18), Spaces (9.14), Symbols (9.15) or Punctuation (9.16).
    var isFreeformCategory: Bool { isIn(Category.freeform) }

    /// Asks for the general category, or a union of some.
    private func isIn(_ mask: UInt32) -> Bool { uc_is_general_category_withtable(self, mask) }

    private enum Category {
        static let letterDigits = UInt32(
            UC_CATEGORY_MASK_Ll | UC_CATEGORY_MASK_Lu | UC_CATEGORY_MASK_Lo | UC_CATEGORY_MASK_Nd
                | UC_CATEGORY_MASK_Lm | UC_CATEGORY_MASK_Mn | UC_CATEGORY_MASK_Mc)
        static let freeform = UInt32(
            UC_CATEGORY_MASK_Lt | UC_CATEGORY_MASK_Nl | UC_CATEGORY_MASK_No | UC_CATEGORY_MASK_Me
                | UC_CATEGORY_MASK_Zs | UC_CATEGORY_MASK_S | UC_CATEGORY_MASK_P)
        static let space = UInt32(UC_CATEGORY_MASK_Zs)
        static let control = UInt32(UC_CATEGORY_MASK_Cc)
        static let unassigned = UInt32(UC_CATEGORY_MASK_Cn)
    }
}

// What the contextual rules, the Bidi rule and width mapping ask for.
extension CodePoint {
    /// Whether Canonical_Combining_Class is Virama.
    var isVirama: Bool { uc_combining_class(self) == Int32(UC_CCC_VR) }

    /// The Joining_Type, one of `UC_JOINING_TYPE_…`.
    var joiningType: Int { Int(uc_joining_type(self)) }

    /// The Bidi_Class, one of `UC_BIDI_…`.
    var bidiClass: Int { Int(uc_bidi_class(self)) }

    /// Whether the Script property has this name.
    func isIn(script name: String) -> Bool {
        guard let script = uc_script_byname(name) else { return false }
        return uc_is_script(self, script)
    }

    /// The ordinary form of a fullwidth or halfwidth character (RFC 8264 section 5.2.1), others
    /// as they are.
    var widthMapped: CodePoint {
        guard let decomposition,
            [UC_DECOMP_WIDE, UC_DECOMP_NARROW].contains(decomposition.tag)
        else { return self }
        return decomposition.first
    }

    /// The kind of the decomposition mapping and its first code point; nil without a mapping.
    /// The mappings of width are of one code point.
    private var decomposition: (tag: Int, first: CodePoint)? {
        withUnsafeTemporaryAllocation(
            of: ucs4_t.self, capacity: Int(UC_DECOMPOSITION_MAX_LENGTH)
        ) { buffer in
            guard let start = buffer.baseAddress else { return nil }
            var tag: Int32 = 0
            guard uc_decomposition(self, &tag, start) > 0 else { return nil }
            return (Int(tag), buffer[0])
        }
    }
}

/// Mappings of whole texts.
enum CodePoints {
    /// The text in normalisation form C.
    static func normalizedNFC(_ points: [CodePoint]) throws(Refusal) -> [CodePoint] {
        try mapped(points) { u32_normalize(cunicode_nfc(), $0, $1, $2, $3) }
    }

    /// The text in normalisation form KC.
    static func normalizedNFKC(_ points: [CodePoint]) throws(Refusal) -> [CodePoint] {
        try mapped(points) { u32_normalize(cunicode_nfkc(), $0, $1, $2, $3) }
    }

    /// The text by Unicode's toLowercase: full mappings, the final sigma by its place, no
    /// language's special rules (RFC 8264 section 5.2.3).
    static func lowercased(_ points: [CodePoint]) throws(Refusal) -> [CodePoint] {
        try mapped(points) { u32_tolower($0, $1, nil, nil, $2, $3) }
    }

    /// Calls a function of libunistring with its convention for results: they go into the given
    /// buffer when they fit, else into memory that the caller frees.
    private static func mapped(
        _ points: [CodePoint],
        _ function: (
            UnsafePointer<CodePoint>?, Int, UnsafeMutablePointer<CodePoint>?,
            UnsafeMutablePointer<Int>
        ) -> UnsafeMutablePointer<CodePoint>?
    ) throws(Refusal) -> [CodePoint] {
        let capacity = 2 * points.count + 16
        let result = withUnsafeTemporaryAllocation(of: CodePoint.self, capacity: capacity) {
            buffer -> [CodePoint]? in
            var length = buffer.count
            guard let result = function(points, points.count, buffer.baseAddress, &length)
            else { return nil }
            defer { if result != buffer.baseAddress { free(result) } }
            return Array(UnsafeBufferPointer(start: result, count: length))
        }
        // It fails for want of memory only.
        guard let result else { throw Refusal(.unavailable) }
        return result
    }
}
