// Digests, HMAC, PBKDF2 and random text against the vectors that their standards publish.

import TLS
import Testing

@Suite struct DigestTests {
    struct DigestVector: Sendable, CustomTestStringConvertible {
        let algorithm: DigestAlgorithm
        let input: String
        let digest: String
        var testDescription: String { "\(algorithm) of \(input.count) bytes" }
    }

    static let longInput = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"

    static let digestVectors: [DigestVector] = [
        DigestVector(
            algorithm: .sha1, input: "", digest: "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
        DigestVector(
            algorithm: .sha1, input: "abc", digest: "a9993e364706816aba3e25717850c26c9cd0d89d"),
        DigestVector(
            algorithm: .sha1, input: longInput,
            digest: "84983e441c3bd26ebaae4aa1f95129e5e54670f1"),
        DigestVector(
            algorithm: .sha256, input: "",
            digest: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        DigestVector(
            algorithm: .sha256, input: "abc",
            digest: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        DigestVector(
            algorithm: .sha256, input: longInput,
            digest: "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"),
        DigestVector(
            algorithm: .sha384, input: "abc",
            digest: "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded163"
                + "1a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7"),
        DigestVector(
            algorithm: .sha512, input: "",
            digest: "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce"
                + "47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"),
        DigestVector(
            algorithm: .sha512, input: "abc",
            digest: "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
                + "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"),
    ]

    @Test("A digest is the one of the FIPS 180-4 examples", arguments: digestVectors)
    func digest(_ vector: DigestVector) {
        let digest = vector.algorithm.hash(Array(vector.input.utf8))
        #expect(hexadecimal(digest) == vector.digest)
    }

    @Test("Digest, HMAC and PBKDF2 have the announced length", arguments: DigestAlgorithm.allCases)
    func lengths(_ algorithm: DigestAlgorithm) {
        #expect(algorithm.hash([]).count == algorithm.length)
        #expect(algorithm.hmac(key: [], []).count == algorithm.length)
        #expect(
            algorithm.pbkdf2(password: [], salt: [], iterations: 1).count == algorithm.length)
    }

    struct HMACVector: Sendable {
        let key: [UInt8]
        let data: [UInt8]
        let sha256: String
        let sha384: String
        let sha512: String
    }

    /// RFC 4231 sections 4.2 to 4.5, 4.7 and 4.8 (4.6 truncates the result, which we do not).
    static let hmacVectors: [HMACVector] = [
        HMACVector(
            key: [UInt8](repeating: 0x0B, count: 20), data: Array("Hi There".utf8),
            sha256: "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            sha384: "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec6"
                + "82aa034c7cebc59cfaea9ea9076ede7f4af152e8b2fa9cb6",
            sha512: "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde"
                + "daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854"),
        HMACVector(
            key: Array("Jefe".utf8), data: Array("what do ya want for nothing?".utf8),
            sha256: "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            sha384: "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47"
                + "e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649",
            sha512: "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
                + "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"),
        HMACVector(
            key: [UInt8](repeating: 0xAA, count: 20), data: [UInt8](repeating: 0xDD, count: 50),
            sha256: "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
            sha384: "88062608d3e6ad8a0aa2ace014c8a86f0aa635d947ac9feb"
                + "e83ef4e55966144b2a5ab39dc13814b94e3ab6e101a34f27",
            sha512: "fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39"
                + "bf3e848279a722c806b485a47e67c807b946a337bee8942674278859e13292fb"),
        HMACVector(
            key: Array(1...25), data: [UInt8](repeating: 0xCD, count: 50),
            sha256: "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
            sha384: "3e8a69b7783c25851933ab6290af6ca77a9981480850009c"
                + "c5577c6e1f573b4e6801dd23c4a7d679ccf8a386c674cffb",
            sha512: "b0ba465637458c6990e5a8c5f61d4af7e576d97ff94b872de76f8050361ee3db"
                + "a91ca5c11aa25eb4d679275cc5788063a5f19741120c4f2de2adebeb10a298dd"),
        HMACVector(
            key: [UInt8](repeating: 0xAA, count: 131),
            data: Array("Test Using Larger Than Block-Size Key - Hash Key First".utf8),
            sha256: "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            sha384: "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f"
                + "3cd11f05033ac4c60c2ef6ab4030fe8296248df163f44952",
            sha512: "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f352"
                + "6b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598"),
        HMACVector(
            key: [UInt8](repeating: 0xAA, count: 131),
            data: Array(
                ("This is a test using a larger than block-size key and a larger than block-size "
                    + "data. The key needs to be hashed before being used by the HMAC algorithm.")
                    .utf8),
            sha256: "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
            sha384: "6617178e941f020d351e2f254e8fd32c602420feb0b8fb9a"
                + "dccebb82461e99c5a678cc31e799176d3860e6110c46523e",
            sha512: "e37b6a775dc87dbaa4dfa9f96e5e3ffddebd71f8867289865df5a32d20cdc944"
                + "b6022cac3c4982b10d5eeb55c3e4de15134676fb6de0446065c97440fa8c6a58"),
    ]

    @Test("HMAC is the one of RFC 4231", arguments: hmacVectors.indices)
    func hmac(_ index: Int) {
        let vector = Self.hmacVectors[index]
        for (algorithm, expected) in [
            (DigestAlgorithm.sha256, vector.sha256), (.sha384, vector.sha384),
            (.sha512, vector.sha512),
        ] {
            let code = algorithm.hmac(key: vector.key, vector.data)
            #expect(hexadecimal(code) == expected, "\(algorithm)")
        }
    }

    @Test("HMAC-SHA-1 is the one of RFC 2202 section 3")
    func hmacSHA1() {
        let first = DigestAlgorithm.sha1.hmac(
            key: [UInt8](repeating: 0x0B, count: 20), Array("Hi There".utf8))
        #expect(hexadecimal(first) == "b617318655057264e28bc0b6fb378c8ef146be00")
        let second = DigestAlgorithm.sha1.hmac(
            key: Array("Jefe".utf8), Array("what do ya want for nothing?".utf8))
        #expect(hexadecimal(second) == "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79")
    }

    /// RFC 6070 section 2, without the vector of 16,777,216 iterations. Our keys always have 20
    /// bytes: of the vector with 25 the first 20 are compared, of the one with 16 all 16.
    @Test(
        "PBKDF2-HMAC-SHA-1 is the one of RFC 6070",
        arguments: [
            ("password", "salt", 1, "0c60c80f961f0e71f3a9b524af6012062fe037a6"),
            ("password", "salt", 2, "ea6c014dc72d6f8ccd1ed92ace1d41f0d8de8957"),
            ("password", "salt", 4096, "4b007901b765489abead49d926f721d065a429c1"),
            (
                "passwordPASSWORDpassword", "saltSALTsaltSALTsaltSALTsaltSALTsalt", 4096,
                "3d2eec4fe41c849b80c8d83662c0e44a8b291a96"
            ),
            ("pass\0word", "sa\0lt", 4096, "56fa6aa75548099dcc37d7f03425e0c3"),
        ])
    func pbkdf2SHA1(_ vector: (password: String, salt: String, iterations: Int, key: String)) {
        let key = DigestAlgorithm.sha1.pbkdf2(
            password: Array(vector.password.utf8), salt: Array(vector.salt.utf8),
            iterations: vector.iterations)
        #expect(key.count == 20)
        #expect(hexadecimal(key).hasPrefix(vector.key))
    }

    /// There is no published list for these; the expected keys are another implementation's.
    @Test(
        "PBKDF2 with SHA-2 agrees with another implementation",
        arguments: [
            (
                DigestAlgorithm.sha256,
                "c5e478d59288c841aa530db6845c4c8d962893a001ce4e11a4963873aa98134a"
            ),
            (
                .sha384,
                "559726be38db125bc85ed7895f6e3cf574c7a01c080c3447"
                    + "db1e8a76764deb3c307b94853fbe424f6488c5f4f1289626"
            ),
            (
                .sha512,
                "d197b1b33db0143e018b12f3d1d1479e6cdebdcc97c5c0f87f6902e072f457b5"
                    + "143f30602641b3d55cd335988cb36b84376060ecd532e039b742a239434af2d5"
            ),
        ])
    func pbkdf2SHA2(_ algorithm: DigestAlgorithm, _ expected: String) {
        let key = algorithm.pbkdf2(
            password: Array("password".utf8), salt: Array("salt".utf8), iterations: 4096)
        #expect(hexadecimal(key) == expected)
    }

    @Test("Secrets are equal when every byte and the length are")
    func comparison() {
        #expect(constantTimeEqual([], []))
        #expect(constantTimeEqual([1, 2, 3], [1, 2, 3]))
        #expect(!constantTimeEqual([1, 2, 3], [1, 2, 4]))
        #expect(!constantTimeEqual([1, 2, 3], [0, 2, 3]))
        #expect(!constantTimeEqual([1, 2, 3], [1, 2]))
        #expect(!constantTimeEqual([], [0]))
    }

    @Test("Random bytes have the wanted number and do not repeat")
    func randomBytes() {
        for count in [0, 1, 32, 1000] {
            #expect(SecureRandom.bytes(count).count == count)
        }
        #expect(SecureRandom.bytes(32) != SecureRandom.bytes(32))
    }

    @Test("An identifier is URL-safe text of RFC 4648 section 5 without padding")
    func identifiers() {
        #expect(SecureRandom.identifier().utf8.count == 16)
        for (bytes, characters) in [(0, 0), (1, 2), (2, 3), (3, 4), (4, 6), (32, 43)] {
            #expect(SecureRandom.identifier(bytes: bytes).utf8.count == characters)
        }
        let urlSafe = Set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
        // 4,000 characters: the chance that one of the 64 never comes is below 10^-25.
        #expect(Set(SecureRandom.identifier(bytes: 3000)) == urlSafe)
        let many = Set((0..<1000).map { _ in SecureRandom.identifier() })
        #expect(many.count == 1000)
    }

    private func hexadecimal(_ bytes: [UInt8]) -> String {
        bytes.map { byte in
            let digits = String(byte, radix: 16)
            return digits.count == 1 ? "0" + digits : digits
        }.joined()
    }
}
