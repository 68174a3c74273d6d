// Private keys: made, read from PEM, written as PEM.

import COpenSSL

/// A private key that OpenSSL holds; freed with its last owner.
///
/// Used by one thread at a time; a server context keeps OpenSSL's own reference instead.
final class PrivateKey {
    let pointer: OpaquePointer

    /// Takes over the reference.
    private init(owned pointer: OpaquePointer) { self.pointer = pointer }

    deinit { EVP_PKEY_free(pointer) }

    /// A new key on P-256, which every client knows and a small processor signs with quickly.
    static func generate() throws(TLSError) -> PrivateKey {
        ERR_clear_error()
        let operation = "generate a private key"
        guard let context = EVP_PKEY_CTX_new_from_name(nil, "EC", nil) else {
            throw .openSSL(operation)
        }
        defer { EVP_PKEY_CTX_free(context) }
        var key: OpaquePointer?
        guard EVP_PKEY_keygen_init(context) == 1,
            EVP_PKEY_CTX_set_group_name(context, "prime256v1") == 1,
            EVP_PKEY_generate(context, &key) == 1, let key
        else { throw .openSSL(operation) }
        return PrivateKey(owned: key)
    }

    /// Reads the first private key of a PEM text; `subject` is the file it came from, `advice` how to
    /// get there.
    init(
        pem: [UInt8], subject: String, advice: String = "check tls.key in the configuration"
    ) throws(TLSError) {
        let operation = "read the private key"
        ERR_clear_error()
        guard let source = PEMText.source(pem) else { throw .openSSL(operation) }
        defer { BIO_free(source) }
        var askedForPassword = false
        guard
            let key = PEM_read_bio_PrivateKey(
                source, nil, OpenSSLCallbacks.refusePassword, &askedForPassword)
        else {
            if askedForPassword {
                ERR_clear_error()
                throw TLSError(
                    code: .keyEncrypted, operation: operation, subject: subject,
                    message: "the key is protected by a password",
                    advice: "remove the password (openssl pkey -in FILE -out NEWFILE)"
                        + (advice.isEmpty ? "" : " and \(advice)"))
            }
            throw .fromOpenSSL(
                .malformed, operation: operation, subject: subject,
                advice: (advice.isEmpty ? "" : "\(advice): ")
                    + "it must name a file with a PEM private key")
        }
        pointer = key
    }

    /// The key as PKCS #8 in PEM, not encrypted.
    func pem() throws(TLSError) -> String {
        try PEMText.write("write a private key") { target in
            PEM_write_bio_PrivateKey(target, pointer, nil, nil, 0, nil, nil)
        }
    }
}

/// PEM text for OpenSSL's readers and from its writers.
enum PEMText {
    /// The text for a reader; to be freed by `BIO_free`. Nil without memory.
    ///
    /// A copy: OpenSSL reads `BIO_new_mem_buf` where it is, and an array's bytes are only valid
    /// during the call that takes them.
    static func source(_ text: [UInt8]) -> OpaquePointer? {
        guard let source = BIO_new(BIO_s_mem()) else { return nil }
        let count = Int32(clamping: text.count)
        guard count == 0 || BIO_write(source, text, count) == count else {
            BIO_free(source)
            return nil
        }
        return source
    }

    static func write(
        _ operation: String, _ body: (OpaquePointer) -> Int32
    ) throws(TLSError) -> String {
        ERR_clear_error()
        guard let target = BIO_new(BIO_s_mem()) else { throw .openSSL(operation) }
        defer { BIO_free(target) }
        guard body(target) == 1 else { throw .openSSL(operation) }
        return String(unsafeUninitializedCapacity: BIO_ctrl_pending(target)) { text in
            Int(max(0, BIO_read(target, text.baseAddress, Int32(clamping: text.count))))
        }
    }
}
