// SCRAM (RFC 5802) from the client's side, for a client of our own that logs in to see whether the
// server works. Without channel binding: that client knows the server's certificate.

internal import TLS

/// One login. No I/O; randomness is passed in.
public struct SCRAMClientExchange: Sendable {
    /// More rounds than any of our servers asks for would only keep the client busy.
    static let mostIterations = 10_000_000

    private let hash: SCRAMHash
    private let password: [UInt8]
    private let bare: String
    private let nonce: String
    private static let header = "n,,"

    /// - Parameters:
    ///   - user: the account's name; prepared (RFC 7622).
    ///   - password: prepared (RFC 8265 section 4).
    ///   - nonce: random, of printable ASCII without a comma.
    public init(_ hash: SCRAMHash, user: String, password: String, nonce: String) {
        self.hash = hash
        self.password = Array(password.utf8)
        self.nonce = nonce
        var name = ""
        for character in user.unicodeScalars {
            switch character {
            case "=": name += "=3D"
            case ",": name += "=2C"
            default: name.unicodeScalars.append(character)
            }
        }
        bare = "n=\(name),r=\(nonce)"
    }

    /// What the client begins with.
    public var first: [UInt8] { Array((Self.header + bare).utf8) }

    /// The answer to the server's challenge, and what the server has to say thereupon; nil for a
    /// challenge that is none.
    public func final(
        after challenge: [UInt8]
    ) -> (message: [UInt8], expected: [UInt8])? {
        let text = String(decoding: challenge, as: UTF8.self)
        let fields = text.split(separator: ",", omittingEmptySubsequences: false)
        guard fields.count >= 3, fields[0].hasPrefix("r=\(nonce)"),
            fields[0].utf8.count > nonce.utf8.count + 2, fields[1].hasPrefix("s="),
            fields[2].hasPrefix("i="), let salt = Base64.decode(String(fields[1].dropFirst(2))),
            let iterations = Int(fields[2].dropFirst(2)),
            (1...Self.mostIterations).contains(iterations)
        else { return nil }
        let digest = hash.digest
        let salted = digest.pbkdf2(password: password, salt: salt, iterations: iterations)
        let clientKey = digest.hmac(key: salted, Array("Client Key".utf8))
        let serverKey = digest.hmac(key: salted, Array("Server Key".utf8))
        let withoutProof = "c=\(Base64.encode(Array(Self.header.utf8))),\(fields[0])"
        let signed = Array("\(bare),\(text),\(withoutProof)".utf8)
        let signature = digest.hmac(key: digest.hash(clientKey), signed)
        let proof = zip(clientKey, signature).map { $0 ^ $1 }
        return (
            Array("\(withoutProof),p=\(Base64.encode(proof))".utf8),
            Array("v=\(Base64.encode(digest.hmac(key: serverKey, signed)))".utf8)
        )
    }
}
