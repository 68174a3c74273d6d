// Authenticated encryption: ChaCha20 with Poly1305 (RFC 8439 section 2.8), and AES with 128 bits in
// Galois counter mode (NIST SP 800-38D).

import COpenSSL

/// ChaCha20-Poly1305 under one key.
public final class ChaCha20Poly1305: AuthenticatedCipher {
    /// Bytes of a key.
    public static let keyLength = 32

    /// Fails unless the key has 32 bytes.
    public init(key: [UInt8]) throws(TLSError) {
        try super.init(
            EVP_chacha20_poly1305(), key, length: Self.keyLength, "use ChaCha20-Poly1305")
    }
}

/// AES-128-GCM under one key.
public final class AES128GCM: AuthenticatedCipher {
    /// Bytes of a key.
    public static let keyLength = 16

    /// Fails unless the key has 16 bytes.
    public init(key: [UInt8]) throws(TLSError) {
        try super.init(EVP_aes_128_gcm(), key, length: Self.keyLength, "use AES-128-GCM")
    }
}

/// What both have in common: the tag stands behind the ciphertext. Used by one thread at a time.
///
/// Whoever seals sees to it that no nonce is used twice with a key.
public class AuthenticatedCipher {
    /// Bytes of a nonce.
    public static let nonceLength = 12
    /// Bytes that a sealed text is longer.
    public static let tagLength = 16

    private let context: OpaquePointer
    private let operation: String

    fileprivate init(
        _ cipher: OpaquePointer?, _ key: [UInt8], length: Int, _ operation: String
    ) throws(TLSError) {
        ERR_clear_error()
        guard let context = EVP_CIPHER_CTX_new() else { throw .openSSL(operation) }
        self.context = context
        self.operation = operation
        guard key.count == length else { throw wrongLength("key", length) }
        guard EVP_CipherInit_ex(context, cipher, nil, key, nil, 1) == 1 else {
            throw .openSSL(operation)
        }
    }

    deinit { EVP_CIPHER_CTX_free(context) }

    /// The ciphertext of `bytes` and its tag. The nonce has 12 bytes.
    public func seal(
        _ bytes: UnsafeRawBufferPointer, nonce: [UInt8], additional: [UInt8] = []
    ) throws(TLSError) -> [UInt8] {
        try begin(nonce, additional, seals: true)
        let result = [UInt8](unsafeUninitializedCapacity: bytes.count + Self.tagLength) {
            target, count in
            count = 0
            guard apply(bytes, to: target),
                EVP_CIPHER_CTX_ctrl(
                    context, EVP_CTRL_AEAD_GET_TAG, Int32(Self.tagLength),
                    target.baseAddress.map { $0 + bytes.count }) == 1
            else { return }
            count = bytes.count + Self.tagLength
        }
        guard !result.isEmpty else { throw .openSSL(operation) }
        return result
    }

    /// What was sealed; nil when it is forged, damaged or of another key, nonce or addition.
    public func open(
        _ bytes: UnsafeRawBufferPointer, nonce: [UInt8], additional: [UInt8] = []
    ) throws(TLSError) -> [UInt8]? {
        let length = bytes.count - Self.tagLength
        guard length >= 0 else { return nil }
        try begin(nonce, additional, seals: false)
        var tag = [UInt8](bytes.suffix(Self.tagLength))
        guard
            EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, Int32(Self.tagLength), &tag) == 1
        else { throw .openSSL(operation) }
        var isGenuine = false
        let result = [UInt8](unsafeUninitializedCapacity: max(1, length)) { target, count in
            isGenuine = apply(UnsafeRawBufferPointer(rebasing: bytes.prefix(length)), to: target)
            count = isGenuine ? length : 0
        }
        if isGenuine { return result }
        ERR_clear_error()
        return nil
    }

    /// Seals an array.
    public func seal(
        _ bytes: [UInt8], nonce: [UInt8], additional: [UInt8] = []
    ) throws(TLSError) -> [UInt8] {
        try bytes.withUnsafeBytes { source in
            Result { () throws(TLSError) in
                try seal(source, nonce: nonce, additional: additional)
            }
        }.get()
    }

    /// Opens an array.
    public func open(
        _ bytes: [UInt8], nonce: [UInt8], additional: [UInt8] = []
    ) throws(TLSError) -> [UInt8]? {
        try bytes.withUnsafeBytes { source in
            Result { () throws(TLSError) in
                try open(source, nonce: nonce, additional: additional)
            }
        }.get()
    }

    private func begin(
        _ nonce: [UInt8], _ additional: [UInt8], seals: Bool
    ) throws(TLSError) {
        ERR_clear_error()
        guard nonce.count == Self.nonceLength else {
            throw wrongLength("nonce", Self.nonceLength)
        }
        guard EVP_CipherInit_ex(context, nil, nil, nil, nonce, seals ? 1 : 0) == 1 else {
            throw .openSSL(operation)
        }
        guard !additional.isEmpty else { return }
        var count: Int32 = 0
        guard
            EVP_CipherUpdate(
                context, nil, &count, additional, Int32(clamping: additional.count)) == 1
        else { throw .openSSL(operation) }
    }

    /// Whether it went through; of an opening, whether the tag is right.
    private func apply(
        _ source: UnsafeRawBufferPointer, to target: UnsafeMutableBufferPointer<UInt8>
    ) -> Bool {
        guard let length = Int32(exactly: source.count) else { return false }
        var count: Int32 = 0
        if length > 0 {
            let bytes = source.bindMemory(to: UInt8.self)
            guard
                EVP_CipherUpdate(
                    context, target.baseAddress, &count, bytes.baseAddress, length) == 1,
                count == length
            else { return false }
        }
        var rest: Int32 = 0
        return EVP_CipherFinal_ex(
            context, target.baseAddress.map { $0 + Int(count) }, &rest) == 1
    }

    private func wrongLength(_ what: String, _ length: Int) -> TLSError {
        TLSError(
            code: .malformed, operation: operation, message: "the \(what) must have \(length) bytes"
        )
    }
}
