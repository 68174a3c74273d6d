// Why a text is no XMPP address, part of an address or password.

/// A refused address, part of an address or password: which part, why, and what was given.
public struct JIDError: Error, Hashable, Sendable {
    /// The slot that the text was meant for.
    public enum Part: String, Hashable, Sendable, CaseIterable {
        /// The localpart (RFC 7622 section 3.3): the account's or room's name.
        case local
        /// The domainpart (RFC 7622 section 3.2).
        case domain
        /// The resourcepart (RFC 7622 section 3.4): a device or a nickname.
        case resource
        /// A password (RFC 8265 section 4).
        case password
        /// The address as a whole.
        case address
    }

    /// What the text violates.
    public enum Reason: String, Hashable, Sendable, CaseIterable {
        /// Nothing is there, or nothing is left after preparation.
        case empty
        /// It is longer than allowed, before or after preparation.
        case tooLong
        /// It is not well-formed UTF-8.
        case notUTF8
        /// It has a character that this part never allows.
        case disallowedCharacter
        /// It has a character that Unicode (in the version of libunistring) does not define.
        case unassignedCharacter
        /// It has a character that is allowed beside certain others only (RFC 5892 appendix A).
        case contextRule
        /// It mixes writing directions in a way that misleads readers (RFC 5893 section 2).
        case bidiRule
        /// A domain label breaks the rules of IDNA2008: empty, a misplaced hyphen, an A-label
        /// that stands for nothing.
        case badLabel
        /// The text between brackets is no IPv6 address.
        case badAddressLiteral
        /// A resourcepart was given where a bare JID is wanted.
        case unexpectedResource
        /// Preparation changes the text each time anew (RFC 8264 section 7).
        case unstable
        /// The Unicode library could not do its work (out of memory).
        case unavailable
    }

    /// The slot that the text was meant for.
    public let part: Part
    /// What the text violates.
    public let reason: Reason
    /// The beginning of what was given, safe to print: at most ``subjectLimit`` code points, with
    /// invisible ones escaped. Empty for passwords, which belong in no log.
    public let subject: String

    /// The number of code points of the refused text that an error keeps.
    public static let subjectLimit = 48

    /// Makes an error about `subject`, of which only a printable beginning is kept.
    public init(part: Part, reason: Reason, subject: some StringProtocol) {
        self.part = part
        self.reason = reason
        self.subject = part == .password ? "" : Self.printable(subject.unicodeScalars)
    }

    /// Makes an error about raw bytes, of which only a printable beginning is kept.
    init(part: Part, reason: Reason, subject: UnsafeBufferPointer<UInt8>) {
        // Four bytes make a code point at most; a sequence that the cut splits is repaired.
        let beginning = subject.prefix(4 * Self.subjectLimit + 4)
        self.init(part: part, reason: reason, subject: String(decoding: beginning, as: UTF8.self))
    }

    /// Keeps the beginning and escapes what would not show, or would garble a line of a log.
    private static func printable(_ scalars: some Sequence<Unicode.Scalar>) -> String {
        var result = ""
        var count = 0
        for scalar in scalars {
            guard count < subjectLimit else { return result + "…" }
            count += 1
            switch scalar.properties.generalCategory {
            case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator,
                .paragraphSeparator:
                result += "\\u{" + String(scalar.value, radix: 16, uppercase: true) + "}"
            default:
                result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}

extension JIDError: CustomStringConvertible {
    /// One line: the part, the text and what is wrong with it.
    public var description: String {
        subject.isEmpty ? "\(noun) \(message)" : "\(noun) '\(subject)' \(message)"
    }

    /// What is wrong, as the rest of a sentence about the part.
    public var message: String {
        switch reason {
        case .empty: "is empty"
        case .tooLong: "is too long"
        case .notUTF8: "is not valid UTF-8"
        case .disallowedCharacter: "has a character that is not allowed in it"
        case .unassignedCharacter: "has a character that this server's Unicode tables do not know"
        case .contextRule: "has a character that is not allowed at its place"
        case .bidiRule: "mixes writing directions in a way that is not allowed"
        case .badLabel: "has a label that is no valid domain name label"
        case .badAddressLiteral: "has no IPv6 address between its brackets"
        case .unexpectedResource: "has a resource where none is allowed"
        case .unstable: "changes each time it is normalised"
        case .unavailable: "could not be checked: out of memory"
        }
    }

    /// What the person who typed the text can do about it.
    public var advice: String {
        switch (part, reason) {
        case (_, .unavailable): "Free memory and try again."
        case (_, .unexpectedResource): "Leave out the '/' and all after it."
        case (.password, .empty): "Choose a password of at least one character."
        case (.password, .tooLong): "Choose a password of at most 1024 bytes."
        case (.password, _): "Choose a password without control or invisible characters."
        case (.domain, .tooLong): "Use at most 63 bytes for a label and 253 for the whole domain."
        case (.domain, _): "Use letters, digits and inner hyphens, with dots between the labels."
        case (_, .empty): "Write the address as name@domain, and a resource after a '/'."
        case (.address, _): "Write the address as name@domain."
        case (_, .tooLong): "Use at most 1023 bytes."
        case (.local, _): "Use letters and digits; no spaces, and none of \" & ' / : < > @."
        case (.resource, _): "Leave out control and invisible characters."
        }
    }

    private var noun: String {
        switch part {
        case .local: "localpart"
        case .domain: "domain"
        case .resource: "resource"
        case .password: "password"
        case .address: "address"
        }
    }
}

/// Why a text is refused, before it is known which text of whom that is.
///
/// The rules throw this; ``Preparation`` makes a ``JIDError`` of it.
struct Refusal: Error {
    let reason: JIDError.Reason

    init(_ reason: JIDError.Reason) {
        self.reason = reason
    }
}
