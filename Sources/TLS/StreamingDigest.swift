// Digests of what comes in pieces, such as a file.

import COpenSSL

/// A digest in the making. Used by one thread at a time.
public final class StreamingDigest {
    /// What can be computed.
    public enum Kind: Sendable {
        /// SHA-256 (FIPS 180-4).
        case sha256
        /// MD5 (RFC 1321): finds damage, not malice. No `DigestAlgorithm`, for nothing secret or
        /// signed may be built on it.
        case md5
    }

    private let context: OpaquePointer
    private let length: Int

    /// A digest that has read nothing yet.
    public init(_ kind: Kind) {
        switch kind {
        case .sha256: (context, length) = (FetchedDigest.sha256.makeContext(), 32)
        case .md5: (context, length) = (FetchedDigest.md5.makeContext(), 16)
        }
    }

    deinit { EVP_MD_CTX_free(context) }

    /// Reads more; not after `finish`.
    public func update(_ bytes: UnsafeRawBufferPointer) {
        guard let address = bytes.baseAddress, !bytes.isEmpty else { return }
        // It fails only on a digest that is finished.
        guard EVP_DigestUpdate(context, address, bytes.count) == 1 else {
            preconditionFailure("the digest is finished")
        }
    }

    /// Reads more; not after `finish`.
    public func update(_ bytes: ArraySlice<UInt8>) { bytes.withUnsafeBytes { update($0) } }

    /// Reads more; not after `finish`.
    public func update(_ bytes: [UInt8]) { bytes.withUnsafeBytes { update($0) } }

    /// The digest of everything read: 32 bytes, of MD5 16. Once.
    public func finish() -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: length) { buffer, count in
            var written: UInt32 = 0
            guard EVP_DigestFinal_ex(context, buffer.baseAddress, &written) == 1 else {
                preconditionFailure("the digest is finished")
            }
            count = Int(written)
        }
    }
}
