// The key that opens everything that leaves the machine encrypted. Its written form is an identity
// of age (age-encryption.org/v1), so that the program `age` opens our files too.

/// The recovery key: an X25519 key.
public struct RecoveryKey: Sendable, Equatable {
    /// The 32 bytes that must stay secret.
    let secret: [UInt8]
}
