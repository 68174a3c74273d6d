// What is said of a peer's certificate, and the errors of OpenSSL behind it.

import COpenSSL

/// What a peer's certificate proves. A closed set, fit for a metric's label.
public enum CertificateVerdict: String, CaseIterable, Sendable {
    /// A trusted authority vouches for the peer under the name that was asked for.
    case valid = "valid"
    /// There is none: none was shown, or the handshake is not done.
    case absent = "absent"
    /// It, or an authority's in its chain, is past its time.
    case expired = "expired"
    /// It, or an authority's in its chain, is before its time; perhaps a clock is wrong.
    case notYetValid = "not_yet_valid"
    /// The peer has signed it itself, and it is not one that is trusted.
    case selfSigned = "self_signed"
    /// No chain leads from it to a trusted authority.
    case untrusted = "untrusted"
    /// It is in order, but for other names.
    case wrongName = "wrong_name"
    /// It, or an authority's in its chain, was revoked.
    case revoked = "revoked"
    /// It is broken or was made for something else: a forged signature, a short key, a name that
    /// its authority may not vouch for.
    case invalid = "invalid"

    /// The order in which faults are told when a chain has several: the chain, then times, then
    /// revocation.
    private static let order: [CertificateVerdict] = [
        .selfSigned, .untrusted, .invalid, .expired, .notYetValid, .revoked,
    ]

    /// Whether this says more than `other`.
    func outranks(_ other: CertificateVerdict) -> Bool {
        let own = Self.order.firstIndex(of: self) ?? Self.order.endIndex
        return own < Self.order.firstIndex(of: other) ?? Self.order.endIndex
    }

    /// What an error of a chain's verification amounts to (X509_V_ERR_…).
    static func of(_ error: Int32) -> CertificateVerdict {
        switch error {
        case X509_V_OK:
            .valid
        case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
            .selfSigned
        case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT,
            X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
            X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, X509_V_ERR_CERT_UNTRUSTED:
            .untrusted
        case X509_V_ERR_CERT_HAS_EXPIRED:
            .expired
        case X509_V_ERR_CERT_NOT_YET_VALID:
            .notYetValid
        case X509_V_ERR_CERT_REVOKED:
            .revoked
        default:
            .invalid
        }
    }
}
