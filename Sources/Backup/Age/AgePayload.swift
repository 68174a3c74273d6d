// The payload of an age file: STREAM, chunks of 64 KiB that can be neither moved nor left out.

internal import TLS

/// Seals or opens the chunks of one file, in their order.
struct AgePayload {
    /// Bytes of a chunk before it is sealed.
    static let chunkLength = 65_536
    /// Bytes of a sealed chunk.
    static let sealedLength = chunkLength + ChaCha20Poly1305.tagLength
    /// Bytes of the nonce that stands between the header and the first chunk.
    static let nonceLength = 16

    /// Chunks that were sealed or opened.
    private(set) var count: UInt64 = 0
    private let cipher: ChaCha20Poly1305

    init(fileKey: [UInt8], nonce: [UInt8]) throws(TLSError) {
        cipher = try ChaCha20Poly1305(
            key: HKDF.sha256(secret: fileKey, salt: nonce, info: Array("payload".utf8)))
    }

    mutating func seal(
        _ chunk: UnsafeRawBufferPointer, isLast: Bool
    ) throws(TLSError) -> [UInt8] {
        let sealed = try cipher.seal(chunk, nonce: nonce(isLast))
        count += 1
        return sealed
    }

    /// Nil when the chunk is forged, damaged or not in its place.
    mutating func open(
        _ chunk: UnsafeRawBufferPointer, isLast: Bool
    ) throws(TLSError) -> [UInt8]? {
        let plain = try cipher.open(chunk, nonce: nonce(isLast))
        count += 1
        return plain
    }

    /// 11 bytes that count, and one that says whether it is the last.
    private func nonce(_ isLast: Bool) -> [UInt8] {
        [0, 0, 0] + (0..<8).map { UInt8(truncatingIfNeeded: count >> (56 - 8 * UInt64($0))) }
            + [isLast ? 1 : 0]
    }
}
