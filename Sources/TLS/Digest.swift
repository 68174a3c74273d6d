// Digests, HMAC and PBKDF2 of the system's OpenSSL.

import COpenSSL

/// A SHA digest, and the functions built from it: HMAC (RFC 2104) and PBKDF2 (RFC 8018).
///
/// Every function allocates and frees its own OpenSSL context, so it may be called on any thread.
public enum DigestAlgorithm: Sendable, CaseIterable {
    /// SHA-1 (FIPS 180-4). Only for protocols that demand it, such as SCRAM-SHA-1.
    case sha1
    /// SHA-256 (FIPS 180-4).
    case sha256
    /// SHA-384 (FIPS 180-4).
    case sha384
    /// SHA-512 (FIPS 180-4).
    case sha512

    /// The length of a digest in bytes.
    public var length: Int {
        switch self {
        case .sha1: 20
        case .sha256: 32
        case .sha384: 48
        case .sha512: 64
        }
    }

    /// The digest of `data`.
    public func hash(_ data: [UInt8]) -> [UInt8] {
        makeOutput { output in
            EVP_Digest(data, data.count, output, nil, fetched.pointer, nil) == 1
        }
    }

    /// The authentication code of `data` under `key`, of the digest's length (RFC 2104).
    public func hmac(key: [UInt8], _ data: [UInt8]) -> [UInt8] {
        let keyLength = Self.checkedLength(key.count)
        return makeOutput { output in
            HMAC(fetched.pointer, key, keyLength, data, data.count, output, nil) != nil
        }
    }

    /// A key of the digest's length, stretched from `password` (RFC 8018 section 5.2).
    ///
    /// Takes milliseconds for the usual thousands of iterations: never call it on an event loop.
    ///
    /// - Parameter iterations: 1 to `Int32.max`; the caller has checked what it read.
    public func pbkdf2(password: [UInt8], salt: [UInt8], iterations: Int) -> [UInt8] {
        precondition(iterations > 0, "PBKDF2 needs at least one iteration")
        let rounds = Self.checkedLength(iterations)
        let passwordLength = Self.checkedLength(password.count)
        let saltLength = Self.checkedLength(salt.count)
        return makeOutput { output in
            password.withUnsafeBytes { password in
                PKCS5_PBKDF2_HMAC(
                    password.baseAddress, passwordLength, salt, saltLength, rounds,
                    fetched.pointer, Int32(length), output) == 1
            }
        }
    }

    private func makeOutput(_ fill: (UnsafeMutablePointer<UInt8>?) -> Bool) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: length) { buffer, count in
            // OpenSSL fails here when memory has run out, or when the machine's policy forbids the
            // digest. No input leads here, and any value that we could return would be a forgery.
            guard fill(buffer.baseAddress) else { fatalError("OpenSSL refused to compute \(self)") }
            count = length
        }
    }

    /// OpenSSL takes these counts as a C `int`; everything that reaches us is far shorter.
    private static func checkedLength(_ count: Int) -> Int32 {
        guard let length = Int32(exactly: count) else {
            preconditionFailure("\(count) does not fit OpenSSL's int")
        }
        return length
    }

    private var fetched: FetchedDigest {
        switch self {
        case .sha1: .sha1
        case .sha256: .sha256
        case .sha384: .sha384
        case .sha512: .sha512
        }
    }
}

/// A digest fetched from OpenSSL's provider once and kept for the life of the process.
///
/// Fetching it for every call, as `EVP_sha256()` does implicitly, doubles the cost of a short hash.
///
/// Unchecked because the pointer has no Sendable conformance of its own. It is sound: an `EVP_MD`
/// does not change after `EVP_MD_fetch`, its reference count is atomic, and it is never freed.
struct FetchedDigest: @unchecked Sendable {
    let pointer: OpaquePointer

    static let sha1 = FetchedDigest("SHA1")
    static let sha256 = FetchedDigest("SHA256")
    static let sha384 = FetchedDigest("SHA384")
    static let sha512 = FetchedDigest("SHA512")
    static let blake2b = FetchedDigest("BLAKE2B-512")
    // Also where the machine's policy keeps it away from what needs a secure digest.
    static let md5 = FetchedDigest("MD5", properties: "-fips")

    private init(_ name: String, properties: String? = nil) {
        guard let pointer = EVP_MD_fetch(nil, name, properties) else {
            fatalError("OpenSSL on this machine does not offer \(name)")
        }
        self.pointer = pointer
    }

    /// A digest that has read nothing yet; whoever calls frees it.
    func makeContext() -> OpaquePointer {
        // Nothing that is read leads here, only memory that has run out.
        guard let context = EVP_MD_CTX_new(), EVP_DigestInit_ex2(context, pointer, nil) == 1 else {
            fatalError("OpenSSL has no memory for a digest")
        }
        return context
    }
}

/// Whether two secrets are equal, in a time that depends on their length but not on their content.
///
/// Lengths are no secret: arrays of different length are unequal at once.
public func constantTimeEqual(_ a: [UInt8], _ b: [UInt8]) -> Bool {
    a.count == b.count && CRYPTO_memcmp(a, b, a.count) == 0
}
