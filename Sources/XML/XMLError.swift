// Why the reader refused its input.

/// A refusal of the reader. The condition decides which stream error the peer gets
/// (RFC 6120 section 4.9.3); the detail is for logs and never quotes the input.
public struct XMLError: Error, Sendable, Equatable {
    /// What kind of rule was broken.
    public enum Condition: String, Sendable, CaseIterable {
        /// Not XML, or not namespace-well-formed.
        case notWellFormed = "not-well-formed"
        /// XML that XMPP forbids: DTD, comment, processing instruction, entity reference
        /// (RFC 6120 section 11.1).
        case restricted = "restricted-xml"
        /// An encoding other than UTF-8 was declared or used (RFC 6120 section 11.6).
        case unsupportedEncoding = "unsupported-encoding"
        /// Well-formed, but out of place: text between stanzas.
        case badFormat = "bad-format"
        /// Larger or deeper than the limits.
        case limit = "policy-violation"
    }

    /// What kind of rule was broken.
    public let condition: Condition
    /// One phrase for the log.
    public let detail: String

    init(_ condition: Condition, _ detail: String) {
        self.condition = condition
        self.detail = detail
    }

    static func notWellFormed(_ detail: String) -> XMLError { XMLError(.notWellFormed, detail) }
    static func restricted(_ detail: String) -> XMLError { XMLError(.restricted, detail) }
    static func limit(_ detail: String) -> XMLError { XMLError(.limit, detail) }
}
