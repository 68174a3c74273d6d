// Versions, ciphers, groups and modes: the same for every connection in both roles.

import COpenSSL

/// What may be negotiated: TLS 1.2 and 1.3, forward secrecy and AEAD ciphers only (RFC 9325).
enum TLSParameters {
    /// With AES instructions AES-GCM is the fastest, without them ChaCha20-Poly1305.
    static func cipherSuites(prefersChaCha: Bool) -> String {
        let aes = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"]
        let chacha = ["TLS_CHACHA20_POLY1305_SHA256"]
        return (prefersChaCha ? chacha + aes : aes + chacha).joined(separator: ":")
    }

    /// The same order for TLS 1.2.
    static func ciphersOfTLS12(prefersChaCha: Bool) -> String {
        let aes = [
            "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256",
            "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384",
        ]
        let chacha = ["ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305"]
        return (prefersChaCha ? chacha + aes : aes + chacha).joined(separator: ":")
    }

    /// The last is hybrid post-quantum; OpenSSL knows it from 3.5 on.
    private static let groupLists = ["X25519:P-256:X25519MLKEM768", "X25519:P-256"]

    /// Sets up a fresh SSL_CTX.
    static func apply(to context: OpaquePointer, prefersChaCha: Bool) throws(TLSError) {
        let operation = "prepare TLS"
        ERR_clear_error()
        // The macros SSL_CTX_set_min_proto_version and SSL_CTX_set_max_proto_version.
        guard
            SSL_CTX_ctrl(context, SSL_CTRL_SET_MIN_PROTO_VERSION, Int(TLS1_2_VERSION), nil) == 1,
            SSL_CTX_ctrl(context, SSL_CTRL_SET_MAX_PROTO_VERSION, Int(TLS1_3_VERSION), nil) == 1,
            SSL_CTX_set_ciphersuites(context, cipherSuites(prefersChaCha: prefersChaCha)) == 1,
            SSL_CTX_set_cipher_list(context, ciphersOfTLS12(prefersChaCha: prefersChaCha)) == 1,
            groupLists.contains(where: { setGroups($0, in: context) })
        else { throw .openSSL(operation) }
        ERR_clear_error()

        // No RSA key below 2,048 bits, no signature with SHA-1.
        SSL_CTX_set_security_level(context, 2)
        var options =
            kinglet_SSL_OP_NO_COMPRESSION | kinglet_SSL_OP_NO_RENEGOTIATION
            | kinglet_SSL_OP_CIPHER_SERVER_PREFERENCE
        // A client that puts ChaCha20-Poly1305 first has no AES instructions: do it the favour
        // where it costs us little.
        if !prefersChaCha { options |= kinglet_SSL_OP_PRIORITIZE_CHACHA }
        _ = SSL_CTX_set_options(context, options)
        // RELEASE_BUFFERS: an idle connection keeps no record buffers, which halves its memory.
        let modes =
            SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE
            | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_AUTO_RETRY
        _ = SSL_CTX_ctrl(context, SSL_CTRL_MODE, Int(modes), nil)
        // Resumption is by stateless tickets: the server remembers nothing.
        _ = SSL_CTX_ctrl(context, SSL_CTRL_SET_SESS_CACHE_MODE, Int(SSL_SESS_CACHE_OFF), nil)
    }

    private static func setGroups(_ list: String, in context: OpaquePointer) -> Bool {
        list.withCString {
            let text = UnsafeMutableRawPointer(mutating: $0)
            return SSL_CTX_ctrl(context, SSL_CTRL_SET_GROUPS_LIST, 0, text) == 1
        }
    }
}
