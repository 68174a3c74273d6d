// Short digests of many blocks, to find out which of them changed.

import COpenSSL

/// Digests of blocks: the first 16 bytes of BLAKE2b-512 (RFC 7693), which is the fastest digest of
/// OpenSSL on processors without instructions for SHA. Used by one thread at a time.
public final class BlockDigest {
    private let context: OpaquePointer

    /// One context serves all blocks.
    public init() { context = FetchedDigest.blake2b.makeContext() }

    deinit { EVP_MD_CTX_free(context) }

    /// The digest of one block, as two numbers.
    public func digest(_ block: UnsafeRawBufferPointer) -> (UInt64, UInt64) {
        withUnsafeTemporaryAllocation(byteCount: 64, alignment: 8) { output in
            // Nothing of this depends on the block, so it cannot fail for one and not for others.
            guard EVP_DigestInit_ex2(context, nil, nil) == 1,
                EVP_DigestUpdate(context, block.baseAddress, block.count) == 1,
                EVP_DigestFinal_ex(
                    context, output.baseAddress?.assumingMemoryBound(to: UInt8.self), nil) == 1
            else { preconditionFailure("OpenSSL refused to compute BLAKE2b") }
            return (
                output.load(fromByteOffset: 0, as: UInt64.self).littleEndian,
                output.load(fromByteOffset: 8, as: UInt64.self).littleEndian
            )
        }
    }
}
