// Checking a peer's chain after the handshake (RFC 5280 section 6): who vouches for it, when, and
// whether that was taken back. The name is compared later, for whoever asks (`PeerNames`).

import COpenSSL
import Glibc

/// What was found out of a peer's chain.
struct PeerCheck {
    /// The most authorities between a certificate and a trusted one.
    static let depthLimit: Int32 = 8
    /// As for our own: no RSA key below 2,048 bits, no signature with SHA-1.
    private static let securityLevel: Int32 = 2

    /// All but the name; `valid` where only that is left to compare.
    private(set) var verdict = CertificateVerdict.absent
    /// OpenSSL's number of what was wrong (X509_V_ERR_…).
    private(set) var problem = X509_V_OK
    /// Whether a revocation list that was used is past its time.
    private(set) var usedOldList = false

    /// No certificate yet, or none at all.
    init() {}

    /// Checks what the peer of a finished handshake has shown.
    init(_ ssl: OpaquePointer, trust: TrustStore, now: Int64) {
        guard let leaf = SSL_get0_peer_certificate(ssl) else { return }
        ERR_clear_error()
        defer { ERR_clear_error() }
        verdict = .valid
        verify(leaf, of: ssl, trust, now: now, flags: 0)
        // For chains that are in order only: OpenSSL remembers for ever every authority whose list
        // it has looked for, and anybody can invent some.
        if verdict == .valid, trust.hasLists {
            let flags = X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL
            verify(leaf, of: ssl, trust, now: now, flags: UInt(flags))
        }
    }

    private mutating func verify(
        _ leaf: OpaquePointer, of ssl: OpaquePointer, _ trust: TrustStore, now: Int64, flags: UInt
    ) {
        guard let context = X509_STORE_CTX_new() else { return note(X509_V_ERR_OUT_OF_MEM) }
        defer { X509_STORE_CTX_free(context) }
        let chain = SSL_get_peer_cert_chain(ssl)
        guard X509_STORE_CTX_init(context, trust.pointer, leaf, chain) == 1,
            let parameters = X509_STORE_CTX_get0_param(context),
            // For both roles: public authorities no longer vouch for clients as such.
            X509_VERIFY_PARAM_set_purpose(parameters, X509_PURPOSE_SSL_SERVER) == 1,
            X509_VERIFY_PARAM_set_flags(parameters, flags) == 1
        else { return note(X509_V_ERR_UNSPECIFIED) }
        X509_VERIFY_PARAM_set_depth(parameters, Self.depthLimit)
        X509_VERIFY_PARAM_set_auth_level(parameters, Self.securityLevel)
        X509_VERIFY_PARAM_set_time(parameters, time_t(now))
        X509_STORE_CTX_set_verify_cb(context, OpenSSLCallbacks.noteProblem)

        // The callback lets the check go on after each fault, so that the most telling one is found.
        let isDone = withUnsafeMutablePointer(to: &self) { check in
            X509_STORE_CTX_set_ex_data(context, 0, check) == 1 && X509_verify_cert(context) == 1
        }
        if !isDone {
            let error = X509_STORE_CTX_get_error(context)
            note(error == X509_V_OK ? X509_V_ERR_UNSPECIFIED : error)
        }
        if flags == 0, verdict == .valid,
            StapledStatus(ssl).isRevoked(in: context, trust: trust, now: now)
        {
            note(X509_V_ERR_CERT_REVOKED)
        }
    }

    /// Called for each fault of the chain (X509_V_ERR_…).
    mutating func note(_ error: Int32) {
        switch error {
        case X509_V_ERR_CRL_HAS_EXPIRED:
            usedOldList = true
        case X509_V_OK, X509_V_ERR_UNABLE_TO_GET_CRL, X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER,
            X509_V_ERR_DIFFERENT_CRL_SCOPE, X509_V_ERR_CRL_NOT_YET_VALID:
            // No list for this certificate: most authorities' are in nobody's files.
            break
        default:
            let found = CertificateVerdict.of(error)
            guard found.outranks(verdict) else { return }
            verdict = found
            problem = error
        }
    }

    /// What OpenSSL says of the fault; nil where there is none.
    var problemText: String? {
        guard problem != X509_V_OK else { return nil }
        return X509_verify_cert_error_string(Int(problem)).map { String(cString: $0) }
    }
}
