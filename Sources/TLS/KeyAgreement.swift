// Agreement on keys: X25519 (RFC 7748) and HKDF with SHA-256 (RFC 5869).

import COpenSSL

/// Diffie-Hellman on Curve25519 (RFC 7748 section 5); keys are 32 bytes.
public enum X25519 {
    /// Bytes of a secret, of a public key and of what two agree on.
    public static let keyLength = 32

    /// The public key that belongs to a secret.
    public static func publicKey(of secret: [UInt8]) throws(TLSError) -> [UInt8] {
        let key = try Key(secret: secret)
        var length = keyLength
        var bytes = [UInt8](repeating: 0, count: keyLength)
        guard EVP_PKEY_get_raw_public_key(key.pointer, &bytes, &length) == 1, length == keyLength
        else { throw .openSSL(operation) }
        return bytes
    }

    /// What the owner of a secret shares with the owner of a public key.
    ///
    /// A public key with which everybody would agree on zeros (RFC 7748 section 6.1) is refused.
    public static func agree(secret: [UInt8], with publicKey: [UInt8]) throws(TLSError) -> [UInt8] {
        let own = try Key(secret: secret)
        let other = try Key(publicKey: publicKey)
        guard let context = EVP_PKEY_CTX_new(own.pointer, nil) else { throw .openSSL(operation) }
        defer { EVP_PKEY_CTX_free(context) }
        var length = keyLength
        var bytes = [UInt8](repeating: 0, count: keyLength)
        guard EVP_PKEY_derive_init(context) == 1,
            EVP_PKEY_derive_set_peer(context, other.pointer) == 1
        else { throw .openSSL(operation) }
        guard EVP_PKEY_derive(context, &bytes, &length) == 1, length == keyLength,
            !constantTimeEqual(bytes, [UInt8](repeating: 0, count: keyLength))
        else {
            ERR_clear_error()
            throw TLSError(
                code: .malformed, operation: operation, message: "the public key is a weak one")
        }
        return bytes
    }

    private static let operation = "agree on a key"

    /// A key that OpenSSL holds.
    private struct Key: ~Copyable {
        let pointer: OpaquePointer

        init(secret: [UInt8]) throws(TLSError) {
            try Key.check(secret)
            guard
                let pointer = EVP_PKEY_new_raw_private_key(
                    EVP_PKEY_X25519, nil, secret, secret.count)
            else { throw .openSSL(operation) }
            self.pointer = pointer
        }

        init(publicKey: [UInt8]) throws(TLSError) {
            try Key.check(publicKey)
            guard
                let pointer = EVP_PKEY_new_raw_public_key(
                    EVP_PKEY_X25519, nil, publicKey, publicKey.count)
            else { throw .openSSL(operation) }
            self.pointer = pointer
        }

        deinit { EVP_PKEY_free(pointer) }

        private static func check(_ bytes: [UInt8]) throws(TLSError) {
            ERR_clear_error()
            guard bytes.count == keyLength else {
                throw TLSError(
                    code: .malformed, operation: operation,
                    message: "a key must have \(keyLength) bytes")
            }
        }
    }
}

/// HKDF with SHA-256 (RFC 5869).
public enum HKDF {
    /// A key of at most 8160 bytes, derived from `secret`.
    public static func sha256(
        secret: [UInt8], salt: [UInt8], info: [UInt8], length: Int = 32
    ) -> [UInt8] {
        let algorithm = DigestAlgorithm.sha256
        precondition((0...255 * algorithm.length).contains(length), "HKDF gives 8160 bytes at most")
        let pseudorandom = algorithm.hmac(key: salt, secret)
        var output: [UInt8] = []
        var block: [UInt8] = []
        var counter: UInt8 = 1
        while output.count < length {
            block = algorithm.hmac(key: pseudorandom, block + info + [counter])
            output += block
            counter &+= 1
        }
        return Array(output.prefix(length))
    }
}
