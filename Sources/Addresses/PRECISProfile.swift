// The two PRECIS profiles that addresses and passwords need (RFC 8265), rule by rule.

/// A profile of PRECIS (RFC 8264 section 5): mappings, a direction rule and a string class.
enum PRECISProfile {
    /// RFC 8265 section 3.3: user names in lower case.
    case usernameCaseMapped
    /// RFC 8265 section 4.2: passwords and free text, kept as they are but for spaces and
    /// normalisation.
    case opaqueString

    /// How often the mappings are applied before a text that still changes is refused: once, and
    /// three times again (RFC 8264 section 7).
    static let roundLimit = 4

    /// The text in the form of the profile.
    ///
    /// The rules go in the order of RFC 8264 section 7: width, additional mapping, case,
    /// normalisation; then, on the mapped text, direction and allowed characters. So conjoining
    /// Hangul that normalises to syllables is accepted, as is the Kelvin sign for a `k`.
    ///
    /// - Parameter limit: The greatest length in bytes, of the result; three times that is
    ///   refused unread.
    func enforce(
        _ bytes: UnsafeBufferPointer<UInt8>, limit: Int
    ) throws(Refusal) -> String {
        guard !bytes.isEmpty else { throw Refusal(.empty) }
        guard bytes.count <= 3 * limit else { throw Refusal(.tooLong) }
        let points = try stable(try validatedString(bytes).unicodeScalars.map(\.value))
        let result = try string(points)
        guard !result.isEmpty else { throw Refusal(.empty) }
        guard result.utf8.count <= limit else { throw Refusal(.tooLong) }
        try stringClass.check(points)
        if self == .usernameCaseMapped { try BidiRule.check(points) }
        return result
    }

    private var stringClass: PRECISClass {
        switch self {
        case .usernameCaseMapped: .identifier
        case .opaqueString: .freeform
        }
    }

    /// Maps until nothing changes any more.
    private func stable(_ points: [CodePoint]) throws(Refusal) -> [CodePoint] {
        var current = points
        for _ in 0..<Self.roundLimit {
            let mapped = try mapped(current)
            if mapped == current { return current }
            current = mapped
        }
        throw Refusal(.unstable)
    }

    private func mapped(_ points: [CodePoint]) throws(Refusal) -> [CodePoint] {
        switch self {
        case .usernameCaseMapped:
            let narrow = points.map(\.widthMapped)
            return try CodePoints.normalizedNFC(try CodePoints.lowercased(narrow))
        case .opaqueString:
            // RFC 8265 section 4.2.1: every space that is not the ASCII one becomes it.
            let spaced = points.map { $0.isSpace ? 0x20 : $0 }
            return try CodePoints.normalizedNFC(spaced)
        }
    }

    private func string(_ points: [CodePoint]) throws(Refusal) -> String {
        var result = ""
        result.reserveCapacity(points.count)
        for point in points {
            guard let scalar = Unicode.Scalar(point) else { throw Refusal(.disallowedCharacter) }
            result.unicodeScalars.append(scalar)
        }
        return result
    }
}

/// The bytes as a string when they are well-formed UTF-8.
func validatedString(_ bytes: UnsafeBufferPointer<UInt8>) throws(Refusal) -> String {
    guard let text = String(validating: bytes, as: UTF8.self) else { throw Refusal(.notUTF8) }
    return text
}
