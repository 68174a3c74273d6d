// The PLAIN mechanism (RFC 4616): one message with the password in it.

/// The single step of PLAIN. The stream offers it inside TLS only.
public struct PlainExchange: Sendable {
    // RFC 4616 asks for 255 bytes at least. The limits are those of the things themselves, and
    // together with the two NULs they make 4,096 bytes, the limit of every SASL message here.

    /// The longest authorization identity: a bare JID (RFC 7622 section 3.1) in bytes.
    public static let maximumAuthorizationIDLength = 1_023 + 1 + 1_023
    /// The longest user name: a localpart (RFC 7622 section 3.3) in bytes.
    public static let maximumUsernameLength = 1_023
    /// The longest password in bytes.
    public static let maximumPasswordLength = 1_024

    /// What `[authzid] NUL authcid NUL passwd` says, as the client wrote it (RFC 4616 section 2).
    ///
    /// Name and password still have to be prepared (RFC 8265) before they are compared.
    public static func parse(
        _ message: [UInt8]
    ) throws(SASLFailure) -> (authorizationID: String?, username: String, password: [UInt8]) {
        let fields = message.split(
            separator: 0, maxSplits: 3, omittingEmptySubsequences: false)
        guard fields.count == 3 else {
            throw SASLFailure(.malformedRequest, "PLAIN takes exactly two NUL characters")
        }
        guard !fields[1].isEmpty, !fields[2].isEmpty else {
            throw SASLFailure(.malformedRequest, "The user name or the password is empty")
        }
        guard fields[0].count <= maximumAuthorizationIDLength,
            fields[1].count <= maximumUsernameLength,
            fields[2].count <= maximumPasswordLength
        else {
            throw SASLFailure(.malformedRequest, "An identity or the password is too long")
        }
        guard let authorizationID = String(validating: fields[0], as: UTF8.self),
            let username = String(validating: fields[1], as: UTF8.self),
            String(validating: fields[2], as: UTF8.self) != nil
        else {
            throw SASLFailure(.malformedRequest, "The message is not UTF-8")
        }
        return (authorizationID.isEmpty ? nil : authorizationID, username, Array(fields[2]))
    }
}
