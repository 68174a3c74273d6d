// Why an authentication failed, in the words of RFC 6120.

/// The defined conditions of a `<failure/>` (RFC 6120 section 6.5); the raw value is the element.
public enum SASLCondition: String, Sendable, CaseIterable {
    /// The client gave up (6.5.1).
    case aborted = "aborted"
    /// The account exists and is switched off (6.5.2).
    case accountDisabled = "account-disabled"
    /// The password was right and is too old (6.5.3).
    case credentialsExpired = "credentials-expired"
    /// The mechanism needs TLS first (6.5.4).
    case encryptionRequired = "encryption-required"
    /// The text of the element was not base64 (6.5.5).
    case incorrectEncoding = "incorrect-encoding"
    /// The authorization identity is not well-formed or not for this user (6.5.6).
    case invalidAuthzid = "invalid-authzid"
    /// The mechanism was not offered (6.5.7).
    case invalidMechanism = "invalid-mechanism"
    /// The message does not follow the mechanism's syntax (6.5.8).
    case malformedRequest = "malformed-request"
    /// The account asks for a stronger mechanism (6.5.9).
    case mechanismTooWeak = "mechanism-too-weak"
    /// The proof is wrong, or the user does not exist; which of the two is not told (6.5.10).
    case notAuthorized = "not-authorized"
    /// The server cannot tell at the moment, for example because its storage fails (6.5.11).
    case temporaryAuthFailure = "temporary-auth-failure"
}

/// An authentication that failed.
public struct SASLFailure: Error, Sendable, Equatable {
    /// What the client is told.
    public let condition: SASLCondition
    /// What was wrong with the message, in English. It holds no secret and says nothing about
    /// accounts, so it may go to the client's developer as `<text/>` and to the log.
    public let text: String?

    /// A failure with `condition` and an explanation.
    public init(_ condition: SASLCondition, _ text: String? = nil) {
        self.condition = condition
        self.text = text
    }
}
