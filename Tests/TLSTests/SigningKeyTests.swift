// Signatures of tokens: RFC 7515's examples, and the program openssl as the one who checks.

import Foundation
import TLS
import Testing

/// The bytes of hexadecimal digits.
func hexadecimal(_ text: String) -> [UInt8] {
    let digits = text.compactMap(\.hexDigitValue)
    return stride(from: 0, to: digits.count - 1, by: 2).map {
        UInt8(digits[$0] * 16 + digits[$0 + 1])
    }
}

@Suite("Keys that sign tokens")
struct SigningKeyTests {
    private static func decoded(_ text: String) -> [UInt8] {
        let plain = text.replacingOccurrences(of: "-", with: "+")
            .replacingOccurrences(of: "_", with: "/")
        let padding = String(repeating: "=", count: (4 - plain.count % 4) % 4)
        return [UInt8](Data(base64Encoded: plain + padding) ?? Data())
    }

    private static func pem(_ label: String, _ bytes: [UInt8]) -> [UInt8] {
        let text = Data(bytes).base64EncodedString(options: [
            .lineLength64Characters, .endLineWithLineFeed,
        ])
        return Array("-----BEGIN \(label)-----\n\(text)\n-----END \(label)-----\n".utf8)
    }

    /// A number of 32 bytes in DER.
    private static func integer(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
        var value = Array(bytes.drop { $0 == 0 })
        if value.isEmpty || value[0] >= 0x80 { value.insert(0, at: 0) }
        return [2, UInt8(value.count)] + value
    }

    /// Whether openssl takes a signature in the form of RFC 7518 section 3.4.
    private func isGood(
        _ signature: [UInt8], of text: [UInt8], by key: SigningKey
    ) throws -> Bool {
        guard signature.count == 64 else { return false }
        let numbers = Self.integer(signature[..<32]) + Self.integer(signature[32...])
        return try isGood(der: [0x30, UInt8(numbers.count)] + numbers, of: text, by: key)
    }

    private func isGood(der: [UInt8], of text: [UInt8], by key: SigningKey) throws -> Bool {
        let folder = try TemporaryFolder()
        let file = try folder.write("key.pem", String(decoding: key.pem(), as: UTF8.self))
        let (signed, signature) = ("\(folder.path)/text", "\(folder.path)/signature")
        try Data(text).write(to: URL(fileURLWithPath: signed))
        try Data(der).write(to: URL(fileURLWithPath: signature))
        let answer = try openSSL(
            "dgst", "-sha256", "-prverify", file, "-signature", signature, signed)
        return answer.contains("Verified OK")
    }

    private let text = Array(
        ("eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt"
            + "cGxlLmNvbS9pc19yb290Ijp0cnVlfQ").utf8)

    @Test("ES256 is the one of RFC 7515 appendix A.3, as openssl sees it")
    func example() throws {
        let secret = Self.decoded("jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI")
        // RFC 5915, without the public key.
        let der = hexadecimal("30310201010420") + secret + hexadecimal("a00a06082a8648ce3d030107")
        let key = try SigningKey(
            pem: Self.pem("EC PRIVATE KEY", der), algorithm: .es256, subject: "RFC 7515")
        let point =
            [4] + Self.decoded("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU")
            + Self.decoded("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0")
        #expect(key.publicPoint == point)
        #expect(try P256.publicKey(of: secret) == point)
        let published = Self.decoded(
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
        )
        #expect(try isGood(published, of: text, by: key))
        let own = try key.sign(text)
        #expect(try isGood(own, of: text, by: key))
        #expect(own != published)
    }

    @Test("Each number of a signature has 32 bytes, also when it is small")
    func padding() throws {
        let key = try SigningKey.generate()
        // Of 600, some begin with a byte of zero (1 in 256 for each number).
        var signatures: [[UInt8]] = []
        for count in 0..<600 { signatures.append(try key.sign([UInt8(truncatingIfNeeded: count)])) }
        #expect(signatures.allSatisfy { $0.count == 64 })
        let short = try #require(
            signatures.enumerated().first { $0.element[0] == 0 || $0.element[32] == 0 })
        #expect(
            try isGood(
                short.element, of: [UInt8(truncatingIfNeeded: short.offset)], by: key))
    }

    @Test("RS256 is the signature that openssl makes")
    func rsa() throws {
        let folder = try TemporaryFolder()
        let file = "\(folder.path)/rsa.pem"
        try openSSL("genrsa", "-out", file, "2048")
        let pem = [UInt8](try Data(contentsOf: URL(fileURLWithPath: file)))
        let key = try SigningKey(pem: pem, algorithm: .rs256, subject: file)
        let signature = try key.sign(text)
        #expect(signature.count == 256)
        #expect(key.publicPoint == nil)
        let signed = try folder.write("text", String(decoding: text, as: UTF8.self))
        try openSSL("dgst", "-sha256", "-sign", file, "-out", "\(folder.path)/out", signed)
        let other = try Data(contentsOf: URL(fileURLWithPath: "\(folder.path)/out"))
        #expect([UInt8](other) == signature)
    }

    @Test("A new key is kept as PEM and read again")
    func keeping() throws {
        let key = try SigningKey.generate()
        let again = try SigningKey(pem: key.pem(), algorithm: .es256, subject: "kept")
        #expect(try again.pem() == key.pem())
        #expect(again.publicPoint == key.publicPoint)
        #expect(key.publicPoint?.count == 65)
        #expect(try SigningKey.generate().publicPoint != key.publicPoint)
        #expect(try isGood(again.sign([1]), of: [1], by: key))
        #expect(try key.sign([]).count == 64)
    }

    @Test("A key of another kind, curve or size is refused, and errors do not repeat it")
    func wrongKeys() throws {
        let folder = try TemporaryFolder()
        let file = "\(folder.path)/key.pem"
        func refusal(_ algorithm: SigningKey.Algorithm) throws -> TLSError? {
            let pem = [UInt8](try Data(contentsOf: URL(fileURLWithPath: file)))
            let lines = String(decoding: pem, as: UTF8.self).split(separator: "\n").filter {
                !$0.hasPrefix("-")
            }
            do {
                _ = try SigningKey(
                    pem: pem, algorithm: algorithm, subject: "the file", advice: "look there")
                return nil
            } catch {
                for line in lines { #expect(!error.description.contains(line)) }
                #expect(error.description.contains("the file"))
                #expect(error.advice.contains("look there"))
                #expect(!error.description.contains("tls.key"))
                #expect(error.operation == "read the signing key")
                return error
            }
        }
        try openSSL("ecparam", "-genkey", "-noout", "-name", "secp384r1", "-out", file)
        #expect(try refusal(.es256)?.message.contains("another curve") == true)
        #expect(try refusal(.rs256)?.message.contains("RSA") == true)
        try openSSL("ecparam", "-genkey", "-noout", "-name", "prime256v1", "-out", file)
        #expect(try refusal(.es256) == nil)
        #expect(try refusal(.rs256)?.code == .malformed)
        try openSSL("genpkey", "-algorithm", "ed25519", "-out", file)
        #expect(try refusal(.es256)?.message.contains("another kind") == true)
        #expect(try refusal(.rs256)?.code == .malformed)
        try openSSL("genrsa", "-out", file, "1024")
        #expect(try refusal(.es256)?.code == .malformed)
        #expect(try refusal(.rs256)?.message.contains("1024 bits") == true)
        try openSSL(
            "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-aes256",
            "-pass", "pass:secret", "-out", file)
        #expect(try refusal(.es256)?.code == .keyEncrypted)
    }

    @Test("What is no key is refused")
    func noKeys() throws {
        let good = try SigningKey.generate().pem()
        var bad: [[UInt8]] = [
            [], Array("nothing".utf8), Self.pem("PRIVATE KEY", [1, 2, 3]),
            Self.pem("EC PRIVATE KEY", [UInt8](repeating: 0xff, count: 200)),
            Self.pem("CERTIFICATE", [0x30, 0]),
        ]
        for count in stride(from: 0, to: good.count - 25, by: 11) {
            bad.append(Array(good.prefix(count)))
        }
        for pem in bad {
            for algorithm in [SigningKey.Algorithm.es256, .rs256] {
                #expect(throws: TLSError.self) {
                    try SigningKey(pem: pem, algorithm: algorithm, subject: "nothing")
                }
            }
        }
    }

    @Test("Several threads sign with one key")
    func threads() async throws {
        let key = try SigningKey.generate()
        let signatures = try await withThrowingTaskGroup(of: [UInt8].self) { group in
            for number in 0..<64 { group.addTask { try key.sign([UInt8(number)]) } }
            return try await group.reduce(into: [[UInt8]]()) { $0.append($1) }
        }
        #expect(Set(signatures).count == 64)
    }
}
