import Testing

@testable import TLS

@Suite("Digests of blocks")
struct BlockDigestTests {
    @Test("They are the first 16 bytes of BLAKE2b-512 (RFC 7693 appendix A), block after block")
    func vector() {
        let digest = BlockDigest()
        for _ in 0..<3 {
            let (high, low) = Array("abc".utf8).withUnsafeBytes { digest.digest($0) }
            #expect(high == 0x0D4D_1C98_3FA5_80BA)
            #expect(low == 0xE9F6_129F_B697_276A)
            #expect(
                [UInt8](repeating: 7, count: 4096).withUnsafeBytes { digest.digest($0) }.0 != high)
        }
    }
}
