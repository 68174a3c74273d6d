// Streaming digests, authenticated encryption and key agreement, against their RFCs' vectors.

import TLS
import Testing

@Suite("Digests in pieces, sealing and key agreement")
struct SealingTests {
    private func bytes(_ text: String) -> [UInt8] {
        let digits = text.compactMap(\.hexDigitValue)
        return stride(from: 0, to: digits.count - 1, by: 2).map {
            UInt8(digits[$0] * 16 + digits[$0 + 1])
        }
    }

    @Test("A digest in pieces is the digest of the whole", arguments: [1, 3, 64, 1000])
    func pieces(size: Int) {
        let whole = (0..<5000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        let digest = StreamingDigest(.sha256)
        for start in stride(from: 0, to: whole.count, by: size) {
            digest.update(whole[start..<min(whole.count, start + size)])
        }
        digest.update([])
        #expect(digest.finish() == DigestAlgorithm.sha256.hash(whole))
    }

    @Test("MD5 is the one of RFC 1321 appendix A.5")
    func md5() {
        #expect(StreamingDigest(.md5).finish() == bytes("d41d8cd98f00b204e9800998ecf8427e"))
        let digest = StreamingDigest(.md5)
        digest.update(Array("message ".utf8))
        Array("digest".utf8).withUnsafeBytes { digest.update($0) }
        #expect(digest.finish() == bytes("f96b697d7cb7938d525a2f31aaf161d0"))
    }

    private let sunscreen = Array(
        ("Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the "
            + "future, sunscreen would be it.").utf8)

    @Test("ChaCha20-Poly1305 is the one of RFC 8439 section 2.8.2")
    func sealing() throws {
        let cipher = try ChaCha20Poly1305(key: Array(0x80...0x9f))
        let nonce = bytes("070000004041424344454647")
        let additional = bytes("50515253c0c1c2c3c4c5c6c7")
        let sealed = try cipher.seal(sunscreen, nonce: nonce, additional: additional)
        #expect(
            sealed
                == bytes(
                    "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6"
                        + "3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36"
                        + "92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc"
                        + "3ff4def08e4b7a9de576d26586cec64b6116"
                        + "1ae10b594f09e26a7e902ecbd0600691"))
        #expect(try cipher.open(sealed, nonce: nonce, additional: additional) == sunscreen)
        // The same object goes on with other nonces, in both directions.
        let empty = try cipher.seal([], nonce: [UInt8](repeating: 9, count: 12))
        #expect(empty.count == 16)
        #expect(try cipher.open(empty, nonce: [UInt8](repeating: 9, count: 12)) == [])
    }

    @Test("What is forged in any bit, cut, or of another key, nonce or addition does not open")
    func forgery() throws {
        let cipher = try ChaCha20Poly1305(key: Array(0x80...0x9f))
        let nonce = [UInt8](repeating: 1, count: 12)
        let sealed = try cipher.seal([1, 2, 3], nonce: nonce, additional: [7])
        for bit in 0..<sealed.count * 8 {
            var forged = sealed
            forged[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(try cipher.open(forged, nonce: nonce, additional: [7]) == nil)
        }
        for count in 0..<sealed.count {
            let cut = Array(sealed.prefix(count))
            #expect(try cipher.open(cut, nonce: nonce, additional: [7]) == nil)
        }
        #expect(try cipher.open(sealed, nonce: nonce) == nil)
        let other = [UInt8](repeating: 2, count: 12)
        #expect(try cipher.open(sealed, nonce: other, additional: [7]) == nil)
        let stranger = try ChaCha20Poly1305(key: Array(0x81...0xa0))
        #expect(try stranger.open(sealed, nonce: nonce, additional: [7]) == nil)
        #expect(try cipher.open(sealed, nonce: nonce, additional: [7]) == [1, 2, 3])
    }

    @Test("Keys and nonces of another length are refused")
    func lengths() throws {
        #expect(throws: TLSError.self) { try ChaCha20Poly1305(key: [1, 2, 3]) }
        let cipher = try ChaCha20Poly1305(key: Array(0x80...0x9f))
        #expect(throws: TLSError.self) { try cipher.seal([1], nonce: [1]) }
        #expect(throws: TLSError.self) { try X25519.publicKey(of: [1]) }
        #expect(throws: TLSError.self) {
            try X25519.agree(secret: [UInt8](repeating: 1, count: 32), with: [])
        }
    }

    @Test("X25519 is the one of RFC 7748 sections 5.2 and 6.1")
    func agreement() throws {
        #expect(
            try X25519.agree(
                secret: bytes("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"),
                with: bytes("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c"))
                == bytes("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"))
        let bob = bytes("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
        let alice = bytes("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
        #expect(
            try X25519.publicKey(of: bob)
                == bytes("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"))
        #expect(
            try X25519.agree(secret: bob, with: alice)
                == bytes("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"))
    }

    @Test("A public key that makes everybody agree on zeros is refused (RFC 7748 section 6.1)")
    func weakKeys() {
        let secret = [UInt8](repeating: 5, count: 32)
        let one: [UInt8] = [1] + [UInt8](repeating: 0, count: 31)
        for weak in [[UInt8](repeating: 0, count: 32), one] {
            #expect(throws: TLSError.self) { try X25519.agree(secret: secret, with: weak) }
        }
    }

    @Test("HKDF is the one of RFC 5869 appendices A.1 to A.3")
    func derivation() {
        let secret = [UInt8](repeating: 0x0b, count: 22)
        #expect(
            HKDF.sha256(secret: secret, salt: Array(0...12), info: Array(0xf0...0xf9), length: 42)
                == bytes(
                    "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
                        + "34007208d5b887185865"))
        #expect(
            HKDF.sha256(
                secret: Array(0...0x4f), salt: Array(0x60...0xaf), info: Array(0xb0...0xff),
                length: 82)
                == bytes(
                    "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c"
                        + "59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71"
                        + "cc30c58179ec3e87c14c01d5c1f3434f1d87"))
        #expect(
            HKDF.sha256(secret: secret, salt: [], info: [], length: 42)
                == bytes(
                    "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
                        + "9d201395faa4b61a96c8"))
    }
}
