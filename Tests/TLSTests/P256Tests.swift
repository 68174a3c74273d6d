// Agreement on keys over P-256, against RFC 5903's vectors and bad keys.

import TLS
import Testing

@Suite("Key agreement on P-256")
struct P256Tests {
    private let secret = hexadecimal(
        "c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433")
    private let publicKey = hexadecimal(
        "04dad0b65394221cf9b051e1feca5787d098dfe637fc90b9ef945d0c3772581180"
            + "5271a0461cdb8252d61f1c456fa3e59ab1f45b33accf5f58389e0577b8990bb3")
    private let otherSecret = hexadecimal(
        "c6ef9c5d78ae012a011164acb397ce2088685d8f06bf9be0b283ab46476bee53")
    private let otherPublicKey = hexadecimal(
        "04d12dfb5289c8d4f81208b70270398c342296970a0bccb74c736fc7554494bf63"
            + "56fbf3ca366cc23e8157854c13c58d6aac23f046ada30f8353e74f33039872ab")
    /// The order of the curve (SEC 2 section 2.4.2).
    private let order = hexadecimal(
        "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551")

    @Test("It is the one of RFC 5903 section 8.1")
    func vectors() throws {
        #expect(try P256.publicKey(of: secret) == publicKey)
        #expect(try P256.publicKey(of: otherSecret) == otherPublicKey)
        let shared = hexadecimal("d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de")
        #expect(try P256.agree(secret: secret, with: otherPublicKey) == shared)
        #expect(try P256.agree(secret: otherSecret, with: publicKey) == shared)
    }

    @Test("Two new pairs agree, and no two are the same")
    func pairs() throws {
        var seen: Set<[UInt8]> = []
        for _ in 0..<50 {
            let (own, other) = (try P256.generate(), try P256.generate())
            #expect(own.secret.count == 32 && own.publicKey.count == 65)
            #expect(try P256.publicKey(of: own.secret) == own.publicKey)
            let shared = try P256.agree(secret: own.secret, with: other.publicKey)
            #expect(shared.count == 32)
            #expect(try P256.agree(secret: other.secret, with: own.publicKey) == shared)
            seen.formUnion([own.secret, other.secret])
        }
        #expect(seen.count == 100)
    }

    @Test("What is no point of the curve is refused")
    func badPoints() {
        var bad: [[UInt8]] = [
            [], [0], [4], [UInt8](repeating: 0, count: 65), Array(publicKey.dropLast()),
            publicKey + [0], [UInt8](repeating: 0xff, count: 65),
            [4] + [UInt8](repeating: 0, count: 64), [4] + [UInt8](repeating: 0xff, count: 64),
            // A compressed point, and the hybrid form.
            [2] + publicKey[1...32], [7] + publicKey.dropFirst(), [6] + publicKey.dropFirst(),
        ]
        for bit in stride(from: 8, to: 65 * 8, by: 5) {
            var moved = publicKey
            moved[bit / 8] ^= 1 << UInt8(bit % 8)
            bad.append(moved)
        }
        for point in bad {
            #expect(throws: TLSError.self) { try P256.agree(secret: secret, with: point) }
        }
        #expect(throws: Never.self) { try P256.agree(secret: secret, with: publicKey) }
    }

    @Test("A secret is a number from 1 to below the curve's order")
    func badSecrets() throws {
        var last = order
        last[31] -= 1
        #expect(try P256.publicKey(of: last).count == 65)
        for bad in [
            [], [1], [UInt8](repeating: 0, count: 32), [UInt8](repeating: 0xff, count: 32), order,
            secret + [0], [0] + secret, Array(secret.dropLast()),
        ] {
            #expect(throws: TLSError.self) { try P256.publicKey(of: bad) }
            #expect(throws: TLSError.self) { try P256.agree(secret: bad, with: publicKey) }
        }
    }
}
