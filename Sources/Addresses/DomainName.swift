// Domainparts (RFC 7622 section 3.2): host names in both forms of IDNA2008, and address literals.

internal import CUnicode

/// A prepared domainpart in its two forms, which are the same where no label is beyond ASCII.
struct DomainName {
    /// The form with A-labels (`xn--…`).
    let ascii: String
    /// The form with U-labels, which addresses have.
    let unicode: String

    /// Prepares a host name, an IPv4 address or a bracketed IPv6 address.
    init(_ bytes: UnsafeBufferPointer<UInt8>) throws(Refusal) {
        guard !bytes.isEmpty else { throw Refusal(.empty) }
        guard bytes.count <= JIDSlices.limit else { throw Refusal(.tooLong) }
        if bytes[0] == UInt8(ascii: "[") {
            ascii = try IPv6Literal.canonical(bytes)
            unicode = ascii
        } else if bytes.allSatisfy({ $0 < 0x80 }) {
            let labels = try HostNameLabels(bytes)
            if labels.hasALabel {
                self = try DomainName(byIDNA: bytes)
            } else {
                ascii = ASCIIPreparation.lowercased(labels.name)
                unicode = ascii
            }
        } else {
            self = try DomainName(byIDNA: bytes)
        }
    }

    /// Prepares a host name by the rules of IDNA2008, whatever its characters.
    init(byIDNA bytes: UnsafeBufferPointer<UInt8>) throws(Refusal) {
        // libidn2 maps and passes on ASCII that no host name has, and stops at a zero byte.
        guard bytes.allSatisfy({ $0 >= 0x80 || HostNameLabels.isHostNameByte($0) }) else {
            throw Refusal(.disallowedCharacter)
        }
        let text = try validatedString(bytes)
        ascii = try HostNameLabels.checked(try IDNA.lookupName(of: text))
        guard HostNameLabels.hasALabel(ascii) else {
            unicode = ascii
            return
        }
        unicode = try IDNA.unicodeName(of: ascii)
        guard unicode.utf8.count <= Preparation.limit else { throw Refusal(.tooLong) }
        try Self.checkULabels(unicode)
    }

    /// Looks at what libidn2 2.3 lets through: the contextual rules that RFC 5891 section 5.4
    /// leaves to registries but U-labels must obey, and the symbols that Unicode's compatibility
    /// processing (UTS 46) exempts because they decompose to ASCII ones.
    private static func checkULabels(_ name: String) throws(Refusal) {
        for label in name.split(separator: ".") {
            let points = label.unicodeScalars.map(\.value)
            try PRECISClass.identifier.check(points)
        }
    }
}

/// The labels of a host name in ASCII: letters, digits and hyphens (RFC 5890 section 2.3.1).
struct HostNameLabels {
    /// The name without a trailing dot.
    let name: UnsafeBufferPointer<UInt8>
    /// Whether a label is, or claims to be, an A-label.
    let hasALabel: Bool

    /// The greatest length of a label (RFC 1035 section 2.3.4).
    static let labelLimit = 63
    /// The greatest length of a name without trailing dot: 255 on the wire of the DNS.
    static let nameLimit = 253

    /// Checks the lengths and the hyphens.
    init(_ bytes: UnsafeBufferPointer<UInt8>) throws(Refusal) {
        var end = bytes.count
        // RFC 7622 section 3.2: the root's dot is taken off before anything else.
        if end > 0, bytes[end - 1] == UInt8(ascii: ".") { end -= 1 }
        guard end > 0 else { throw Refusal(.empty) }
        guard end <= Self.nameLimit else { throw Refusal(.tooLong) }
        name = UnsafeBufferPointer(rebasing: bytes[..<end])
        var isALabelSeen = false
        var start = 0
        for index in 0...end {
            guard index == end || name[index] == UInt8(ascii: ".") else {
                guard Self.isHostNameByte(name[index]) else {
                    throw Refusal(.disallowedCharacter)
                }
                continue
            }
            let label = UnsafeBufferPointer(rebasing: name[start..<index])
            isALabelSeen = try Self.isALabel(label) || isALabelSeen
            start = index + 1
        }
        hasALabel = isALabelSeen
    }

    /// Checks one label and tells whether it begins like an A-label.
    private static func isALabel(_ label: UnsafeBufferPointer<UInt8>) throws(Refusal) -> Bool {
        let hyphen = UInt8(ascii: "-")
        guard let first = label.first, let last = label.last, first != hyphen, last != hyphen
        else { throw Refusal(.badLabel) }
        guard label.count <= labelLimit else { throw Refusal(.tooLong) }
        guard label.count >= 4, label[2] == hyphen, label[3] == hyphen else { return false }
        // All other labels with hyphens there are reserved (RFC 5890 section 2.3.1).
        guard label[0] | 0x20 == UInt8(ascii: "x"), label[1] | 0x20 == UInt8(ascii: "n")
        else { throw Refusal(.badLabel) }
        return true
    }

    /// A byte of a host name as written: letters of both cases, digits, hyphen, dot.
    static func isHostNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."):
            true
        default: false
        }
    }

    /// The name itself, without a trailing dot, when it is a host name.
    static func checked(_ name: String) throws(Refusal) -> String {
        let result = Array(name.utf8).withUnsafeBufferPointer { bytes in
            Result { () throws(Refusal) in
                String(decoding: try HostNameLabels(bytes).name, as: UTF8.self)
            }
        }
        return try result.get()
    }

    /// Whether a label of a checked lower-case name is an A-label.
    static func hasALabel(_ name: String) -> Bool {
        name.split(separator: ".").contains { $0.hasPrefix("xn--") }
    }
}

/// The calls to libidn2. They keep no state and read no locale (the `u8` and `8z8z` forms).
private enum IDNA {
    /// UTS 46 maps case, width and normalisation before the rules of IDNA2008 apply, as browsers
    /// do, and non-transitionally, so that `ß` and `ς` stay. `IDN2_USE_STD3_ASCII_RULES` is left
    /// out on purpose: libidn2 2.3 deletes the characters that it should refuse.
    private static let flags = Int32(IDN2_NFC_INPUT.rawValue | IDN2_NONTRANSITIONAL.rawValue)

    /// The form with A-labels; an A-label in the input must be the one of its U-label.
    static func lookupName(of name: String) throws(Refusal) -> String {
        var result: UnsafeMutablePointer<UInt8>?
        let status = name.withCString(encodedAs: UTF8.self) {
            idn2_lookup_u8($0, &result, flags)
        }
        defer { idn2_free(result) }
        try check(status)
        guard let result else { throw Refusal(.unavailable) }
        return String(decodingCString: result, as: UTF8.self)
    }

    /// The form with U-labels of a name with A-labels.
    static func unicodeName(of name: String) throws(Refusal) -> String {
        var result: UnsafeMutablePointer<CChar>?
        let status = name.withCString { idn2_to_unicode_8z8z($0, &result, 0) }
        defer { idn2_free(result) }
        try check(status)
        guard let result, let text = String(validatingCString: result) else {
            throw Refusal(.unavailable)
        }
        return text
    }

    private static func check(_ status: Int32) throws(Refusal) {
        switch idn2_rc(rawValue: status) {
        case IDN2_OK:
            return
        case IDN2_MALLOC:
            throw Refusal(.unavailable)
        case IDN2_TOO_BIG_DOMAIN, IDN2_TOO_BIG_LABEL, IDN2_PUNYCODE_BIG_OUTPUT:
            throw Refusal(.tooLong)
        case IDN2_DISALLOWED, IDN2_INVALID_NONTRANSITIONAL:
            throw Refusal(.disallowedCharacter)
        case IDN2_UNASSIGNED:
            throw Refusal(.unassignedCharacter)
        case IDN2_CONTEXTJ, IDN2_CONTEXTJ_NO_RULE, IDN2_CONTEXTO, IDN2_CONTEXTO_NO_RULE:
            throw Refusal(.contextRule)
        case IDN2_BIDI:
            throw Refusal(.bidiRule)
        default:
            throw Refusal(.badLabel)
        }
    }
}
