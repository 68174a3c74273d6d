// Keys that sign tokens for other services: the algorithms ES256 and RS256 of RFC 7518.

import COpenSSL
import Synchronization

/// A private key that makes JOSE signatures (RFC 7518 section 3); safe on any thread.
public final class SigningKey: Sendable {
    /// How it signs.
    public enum Algorithm: Sendable {
        /// ECDSA on P-256 with SHA-256.
        case es256
        /// RSASSA-PKCS1-v1_5 with SHA-256, with a key of at least 2048 bits.
        case rs256
    }

    /// How it signs.
    public let algorithm: Algorithm
    /// Signatures are rare, so one waits for another.
    private let key: Mutex<PrivateKey>

    private static let smallestRSA: Int32 = 2048
    private static let operation = "read the signing key"

    /// Reads the first private key of a PEM text.
    ///
    /// - Parameters:
    ///   - subject: where it came from, for errors, which never repeat anything of the text.
    ///   - advice: what an operator can do about it.
    public init(
        pem: [UInt8], algorithm: Algorithm, subject: String, advice: String = ""
    ) throws(TLSError) {
        let key: PrivateKey
        do {
            key = try PrivateKey(pem: pem, subject: subject, advice: advice)
        } catch {
            var error = error
            error.operation = Self.operation
            throw error
        }
        if let problem = Self.problem(key, algorithm) {
            ERR_clear_error()
            throw TLSError(
                code: .malformed, operation: Self.operation, subject: subject, message: problem,
                advice: advice)
        }
        self.algorithm = algorithm
        self.key = Mutex(key)
    }

    private init(_ key: sending PrivateKey) {
        algorithm = .es256
        self.key = Mutex(key)
    }

    /// A new key on P-256.
    public static func generate() throws(TLSError) -> SigningKey {
        SigningKey(try PrivateKey.generate())
    }

    /// The key as PKCS #8 in PEM, not encrypted.
    public func pem() throws(TLSError) -> [UInt8] {
        try key.withLock { key throws(TLSError) in Array(try key.pem().utf8) }
    }

    /// The signature as a JSON Web Signature has it: for ES256 two numbers of 32 bytes (RFC 7518
    /// section 3.4).
    public func sign(_ bytes: [UInt8]) throws(TLSError) -> [UInt8] {
        let algorithm = algorithm
        return try key.withLock { key throws(TLSError) in
            let signature = try Self.sign(bytes, key.pointer)
            return algorithm == .es256 ? try Self.numbers(of: signature) : signature
        }
    }

    /// The public key on P-256 as an uncompressed point of 65 bytes; nil for RSA.
    public var publicPoint: [UInt8]? {
        guard algorithm == .es256 else { return nil }
        return key.withLock { key in
            ERR_clear_error()
            defer { ERR_clear_error() }
            var bytes = [UInt8](repeating: 0, count: P256.publicKeyLength)
            var length = 0
            guard
                EVP_PKEY_get_octet_string_param(
                    key.pointer, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, &bytes, bytes.count, &length)
                    == 1, length == bytes.count, bytes[0] == 4
            else { return nil }
            return bytes
        }
    }

    // MARK: OpenSSL

    /// Why a key does not fit an algorithm; nil when it does.
    private static func problem(_ key: PrivateKey, _ algorithm: Algorithm) -> String? {
        let kind = EVP_PKEY_get_base_id(key.pointer)
        switch algorithm {
        case .es256:
            guard kind == EVP_PKEY_EC else {
                return "ES256 needs a key on P-256, not of another kind"
            }
            var name = [CChar](repeating: 0, count: 64)
            var length = 0
            guard
                EVP_PKEY_get_group_name(key.pointer, &name, name.count, &length) == 1,
                name.prefix(length).elementsEqual("prime256v1".utf8.map(CChar.init(bitPattern:)))
            else { return "ES256 needs a key on P-256, not on another curve" }
        case .rs256:
            guard kind == EVP_PKEY_RSA else { return "RS256 needs an RSA key" }
            let bits = EVP_PKEY_get_bits(key.pointer)
            guard bits >= smallestRSA else {
                return "the RSA key has \(bits) bits, and at least \(smallestRSA) are needed"
            }
        }
        return nil
    }

    private static func sign(
        _ bytes: [UInt8], _ key: OpaquePointer
    ) throws(TLSError) -> [UInt8] {
        let operation = "sign"
        ERR_clear_error()
        guard let context = EVP_MD_CTX_new() else { throw .openSSL(operation) }
        defer { EVP_MD_CTX_free(context) }
        var length = 0
        guard
            EVP_DigestSignInit(context, nil, FetchedDigest.sha256.pointer, nil, key) == 1,
            EVP_DigestSign(context, nil, &length, bytes, bytes.count) == 1
        else { throw .openSSL(operation) }
        var signature = [UInt8](repeating: 0, count: length)
        guard EVP_DigestSign(context, &signature, &length, bytes, bytes.count) == 1,
            length <= signature.count
        else { throw .openSSL(operation) }
        return Array(signature.prefix(length))
    }

    /// What stands in the DER of an ECDSA signature, each number in 32 bytes.
    private static func numbers(of signature: [UInt8]) throws(TLSError) -> [UInt8] {
        let parsed = signature.withUnsafeBufferPointer { bytes in
            var position = bytes.baseAddress
            return d2i_ECDSA_SIG(nil, &position, bytes.count)
        }
        guard let parsed else { throw .openSSL("sign") }
        defer { ECDSA_SIG_free(parsed) }
        var bytes: [UInt8] = []
        for number in [ECDSA_SIG_get0_r(parsed), ECDSA_SIG_get0_s(parsed)] {
            var part = [UInt8](repeating: 0, count: P256.secretLength)
            guard BN_bn2binpad(number, &part, Int32(part.count)) == Int32(part.count) else {
                throw .openSSL("sign")
            }
            bytes += part
        }
        return bytes
    }
}
