// Signed claims (RFC 7515, compact; RFC 7519), as APNs, Google and Web Push want them.

internal import TLS

/// Signs tokens.
enum JSONWebToken {
    /// The token.
    ///
    /// - Parameters:
    ///   - fields: of its header, besides `alg`.
    ///   - claims: what is signed.
    static func sign(
        header fields: [String: JSONValue] = [:], claims: [String: JSONValue], key: SigningKey
    ) throws(TLSError) -> String {
        var header = fields
        header["alg"] = .string(key.algorithm == .es256 ? "ES256" : "RS256")
        let text = "\(part(header)).\(part(claims))"
        return "\(text).\(Base64URL.encode(try key.sign(Array(text.utf8))))"
    }

    private static func part(_ fields: [String: JSONValue]) -> String {
        Base64URL.encode(JSONValue.object(fields).bytes)
    }
}
