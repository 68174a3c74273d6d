// What the server stores instead of a password (RFC 5802 section 3).

public import TLS

/// The digest of a SCRAM mechanism; the raw value is its name in the mechanism's name.
public enum SCRAMHash: String, CaseIterable, Sendable, Codable {
    /// RFC 5802.
    case sha1 = "SHA-1"
    /// RFC 7677.
    case sha256 = "SHA-256"
    /// draft-melnikov-scram-sha-512.
    case sha512 = "SHA-512"

    /// The algorithm behind the name.
    public var digest: DigestAlgorithm {
        switch self {
        case .sha1: .sha1
        case .sha256: .sha256
        case .sha512: .sha512
        }
    }
}

/// The keys of one user for one digest, from which the password cannot be read back.
///
/// A thief of these keys can guess passwords at the price of `iterations` per guess, and can pretend
/// to be the server, but cannot log in: that takes the ClientKey.
public struct SCRAMCredentials: Sendable, Equatable {
    /// The length of a new user's salt in bytes. Every salt has it, invented ones too
    /// (`FakeCredentials`), because a client sees the length.
    public static let saltLength = 16

    /// The digest that the keys belong to.
    public let hash: SCRAMHash
    /// How often PBKDF2 iterates.
    public let iterations: Int
    /// The random salt.
    public let salt: [UInt8]
    /// H(ClientKey): checks the client's proof.
    public let storedKey: [UInt8]
    /// Signs the server's own proof.
    public let serverKey: [UInt8]

    /// Keys that were computed before and stored.
    public init(
        hash: SCRAMHash, iterations: Int, salt: [UInt8], storedKey: [UInt8], serverKey: [UInt8]
    ) {
        self.hash = hash
        self.iterations = iterations
        self.salt = salt
        self.storedKey = storedKey
        self.serverKey = serverKey
    }

    /// Computes the keys of `password`. Takes milliseconds: never on an event loop.
    ///
    /// - Parameters:
    ///   - password: in UTF-8, already prepared (RFC 8265 section 4.2).
    ///   - salt: `saltLength` random bytes.
    ///   - iterations: 1 to `Int32.max`; at least 4,096 by RFC 7677 section 4.
    public init(hash: SCRAMHash, password: [UInt8], salt: [UInt8], iterations: Int) {
        let digest = hash.digest
        let saltedPassword = digest.pbkdf2(
            password: password, salt: salt, iterations: iterations)
        let clientKey = digest.hmac(key: saltedPassword, Array("Client Key".utf8))
        self.init(
            hash: hash, iterations: iterations, salt: salt, storedKey: digest.hash(clientKey),
            serverKey: digest.hmac(key: saltedPassword, Array("Server Key".utf8)))
    }

    /// Whether these are the keys of `password` (already prepared), for PLAIN and for a change of
    /// password. Takes milliseconds whatever the answer is: never on an event loop.
    public func verifies(password: [UInt8]) -> Bool {
        // The count was read from storage: a damaged row is a wrong password, not a crash.
        guard iterations > 0, iterations <= Int32.max else { return false }
        let computed = SCRAMCredentials(
            hash: hash, password: password, salt: salt, iterations: iterations)
        let sameStoredKey = constantTimeEqual(computed.storedKey, storedKey)
        let sameServerKey = constantTimeEqual(computed.serverKey, serverKey)
        return sameStoredKey && sameServerKey
    }
}

extension SCRAMCredentials: CustomStringConvertible, CustomDebugStringConvertible {
    /// The parameters without salt and keys, so that no log can contain them.
    public var description: String { "SCRAM-\(hash.rawValue) keys, \(iterations) iterations" }

    /// The same: a debugger's or a test's output may be kept, too.
    public var debugDescription: String { description }
}
