// Credentials for users who do not exist, so that asking does not tell who does.

import TLS

/// Invents the credentials that an unknown user is challenged with, so that nobody can harvest
/// the names of those who exist (RFC 6120 section 6.5.10).
///
/// The salt of a user who exists is the same at every attempt, so an invented one must be, too: it
/// is derived from the name with a secret of this server. The keys are derived likewise; no
/// password leads to them.
public struct FakeCredentials: Sendable {
    private let secret: [UInt8]
    private let iterations: Int

    /// - Parameters:
    ///   - secret: at least 16 random bytes, kept over restarts; whoever knows them can tell
    ///     invented users from real ones.
    ///   - iterations: the count that real users get at present.
    public init(secret: [UInt8], iterations: Int) {
        self.secret = secret
        self.iterations = iterations
    }

    /// The invented credentials of `username` at `domain`, always the same for the same server.
    ///
    /// - Parameter username: the prepared localpart (RFC 7622 section 3.3), as it is for users who
    ///   exist: two spellings of one name must not get two salts.
    public func credentials(
        username: String, domain: String, hash: SCRAMHash
    ) -> SCRAMCredentials {
        func derive(_ purpose: String, with digest: DigestAlgorithm) -> [UInt8] {
            // NUL separates, since no name of a user, a domain or a digest contains it.
            let input = [purpose, hash.rawValue, domain, username].joined(separator: "\0")
            return digest.hmac(key: secret, Array(input.utf8))
        }
        let salt = derive("salt", with: .sha256).prefix(SCRAMCredentials.saltLength)
        return SCRAMCredentials(
            hash: hash, iterations: iterations, salt: Array(salt),
            storedKey: derive("StoredKey", with: hash.digest),
            serverKey: derive("ServerKey", with: hash.digest))
    }
}
