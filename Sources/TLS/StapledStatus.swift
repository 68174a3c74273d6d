// What the authority says of a server's certificate, as the server has attached it to the handshake
// (OCSP stapling: RFC 6066 section 8, RFC 6960). Only a revocation that is proved counts: whatever is
// absent, damaged, old or of somebody else says nothing.

import COpenSSL

/// A status that came with a handshake, as bytes of OpenSSL's.
struct StapledStatus {
    /// How far two clocks may be apart, in seconds.
    private static let leeway: Int64 = 300

    private let bytes: UnsafeBufferPointer<UInt8>

    /// What the server of `ssl` has sent, perhaps nothing.
    init(_ ssl: OpaquePointer) {
        var start: UnsafePointer<UInt8>?
        // The macro SSL_get_tlsext_status_ocsp_resp.
        let count = withUnsafeMutablePointer(to: &start) {
            SSL_ctrl(ssl, SSL_CTRL_GET_TLSEXT_STATUS_REQ_OCSP_RESP, 0, $0)
        }
        bytes = UnsafeBufferPointer(start: count > 0 ? start : nil, count: max(0, count))
    }

    /// Asks the server for it; before the handshake.
    static func request(_ ssl: OpaquePointer) -> Bool {
        // The macro SSL_set_tlsext_status_type.
        SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_STATUS_REQ_TYPE, Int(TLSEXT_STATUSTYPE_ocsp), nil) == 1
    }

    /// Frees what the server has sent.
    static func forget(_ ssl: OpaquePointer) {
        // The macro SSL_set_tlsext_status_ocsp_resp.
        _ = SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_STATUS_REQ_OCSP_RESP, 0, nil)
    }

    /// Whether the authority of the first certificate in `context`, which has been verified, has
    /// signed that it is revoked.
    func isRevoked(in context: OpaquePointer, trust: TrustStore, now: Int64) -> Bool {
        guard let chain = X509_STORE_CTX_get0_chain(context),
            let leaf = kinglet_X509_at(chain, 0), let issuer = kinglet_X509_at(chain, 1)
        else { return false }
        var position = bytes.baseAddress
        guard position != nil, let response = d2i_OCSP_RESPONSE(nil, &position, bytes.count) else {
            return false
        }
        defer { OCSP_RESPONSE_free(response) }
        guard OCSP_response_status(response) == OCSP_RESPONSE_STATUS_SUCCESSFUL,
            let basic = OCSP_response_get1_basic(response)
        else { return false }
        defer { OCSP_BASICRESP_free(basic) }
        guard OCSP_basic_verify(basic, chain, trust.pointer, 0) == 1 else { return false }
        // The two digests by which responders name certificates.
        return [EVP_sha1(), EVP_sha256()].contains { digest in
            guard let identifier = OCSP_cert_to_id(digest, leaf, issuer) else { return false }
            defer { OCSP_CERTID_free(identifier) }
            return Self.isRevoked(identifier, by: basic, now: now)
        }
    }

    private static func isRevoked(
        _ identifier: OpaquePointer, by basic: OpaquePointer, now: Int64
    ) -> Bool {
        var status: Int32 = -1
        var from: UnsafeMutablePointer<ASN1_GENERALIZEDTIME>?
        var until: UnsafeMutablePointer<ASN1_GENERALIZEDTIME>?
        guard OCSP_resp_find_status(basic, identifier, &status, nil, nil, &from, &until) == 1,
            status == V_OCSP_CERTSTATUS_REVOKED, let from
        else { return false }
        // Without an end newer information is available all the time (RFC 6960 section 4.2.2.1).
        return Certificate.seconds(from) <= now + leeway
            && until.map { Certificate.seconds($0) + leeway >= now } ?? true
    }
}
