// The SASL mechanisms that Kinglet knows, by their registered names.

/// A SASL mechanism by which a client proves who it is.
///
/// `allCases` is in order of preference: bound to the TLS channel first, stronger digests first,
/// PLAIN last. The stream offers the ones that suit the connection in this order.
public enum SASLMechanism: String, CaseIterable, Sendable {
    /// SCRAM-SHA-512 with channel binding (draft-melnikov-scram-sha-512).
    case scramSHA512Plus = "SCRAM-SHA-512-PLUS"
    /// SCRAM-SHA-256 with channel binding (RFC 7677).
    case scramSHA256Plus = "SCRAM-SHA-256-PLUS"
    /// SCRAM-SHA-1 with channel binding (RFC 5802).
    case scramSHA1Plus = "SCRAM-SHA-1-PLUS"
    /// SCRAM-SHA-512 (draft-melnikov-scram-sha-512).
    case scramSHA512 = "SCRAM-SHA-512"
    /// SCRAM-SHA-256 (RFC 7677).
    case scramSHA256 = "SCRAM-SHA-256"
    /// SCRAM-SHA-1 (RFC 5802); the only one that some clients know.
    case scramSHA1 = "SCRAM-SHA-1"
    /// The password itself (RFC 4616); only inside TLS.
    case plain = "PLAIN"

    /// The digest that SCRAM uses here, nil for PLAIN.
    public var hash: SCRAMHash? {
        switch self {
        case .scramSHA512Plus, .scramSHA512: .sha512
        case .scramSHA256Plus, .scramSHA256: .sha256
        case .scramSHA1Plus, .scramSHA1: .sha1
        case .plain: nil
        }
    }

    /// Whether the mechanism binds the authentication to the TLS channel (RFC 5802 section 6).
    public var isPlus: Bool {
        switch self {
        case .scramSHA512Plus, .scramSHA256Plus, .scramSHA1Plus: true
        case .scramSHA512, .scramSHA256, .scramSHA1, .plain: false
        }
    }

    /// Whether the server gets to see the password itself: PLAIN only.
    public var usesPassword: Bool { self == .plain }
}
