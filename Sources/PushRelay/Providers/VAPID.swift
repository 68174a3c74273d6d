// How we tell push services who we are (RFC 8292): a token for each origin, signed with a key that
// subscriptions were made for and that therefore never changes.

internal import Synchronization
internal import TLS

/// A key and the tokens that were signed with it.
///
/// Its state is behind a lock, so it may be used on any thread.
final class VAPID: Sendable {
    /// Seconds: how long a token is good for, and what is left of that when another is signed.
    static let life: Int64 = 12 * 3600
    static let rest: Int64 = 3600
    /// Tokens that are kept.
    static let mostTokens = 64

    private struct Token {
        var text: String
        var end: Int64
    }

    /// The public key, for those who subscribe (`applicationServerKey`): base64url of 65 bytes.
    let publicKey: String
    /// What signs.
    let key: SigningKey
    /// Who answers for us; nil where nobody was named.
    let contact: String?
    private let tokens = Mutex<[String: Token]>([:])

    /// Uses a key on P-256; `contact` is for those who run a push service.
    init(key: SigningKey, contact: String?) throws(PushCredentialError) {
        guard let point = key.publicPoint else {
            throw PushCredentialError(subject: "VAPID key", "it has no public key on P-256")
        }
        publicKey = Base64URL.encode(point)
        self.key = key
        self.contact = contact
    }

    /// What names of such keys begin with.
    static let memoryPrefix = "vapid"

    /// The key that was kept under a name; the first time one is made.
    static func key(_ name: String, in memory: any PushMemory) throws(PushCredentialError)
        -> SigningKey
    {
        do throws(TLSError) {
            if let pem = memory.load(name) {
                // One that cannot be read is not replaced: all subscriptions were made for it.
                return try SigningKey(
                    pem: pem, algorithm: .es256, subject: "the key that was kept",
                    advice: "restore the database from a backup")
            }
            let key = try SigningKey.generate()
            memory.save(name, try key.pem())
            return key
        } catch {
            throw PushCredentialError(subject: "VAPID key", error.description)
        }
    }

    /// What is wrong with a contact: nil when it is good.
    static func problem(ofContact contact: String) -> String? {
        let text = contact.lowercased()
        let isMail =
            text.hasPrefix("mailto:") && text.dropFirst(7).dropFirst().contains("@")
            && !text.hasSuffix("@")
        let url = text.hasPrefix("https://") ? EndpointURL(contact) : nil
        guard contact.utf8.count <= 256, contact.utf8.allSatisfy({ (0x21...0x7E).contains($0) }),
            isMail || url != nil
        else { return "expected mailto: and an address, or a URL that begins with https://" }
        let host = url?.host ?? text.split(separator: "@").last.map(String.init) ?? ""
        // Push services refuse it.
        if host == "localhost" || host.hasSuffix(".localhost") {
            return "expected an address that others can reach, not localhost"
        }
        return nil
    }

    /// The field `Authorization` of a request to an origin.
    func authorization(for origin: String, at time: PushTime) throws(PushFault) -> String {
        guard time.isRight else { throw .clock }
        let text = try tokens.withLock { tokens throws(PushFault) in
            if let token = tokens[origin], token.end - time.seconds > Self.rest,
                token.end - time.seconds <= Self.life
            {
                return token.text
            }
            tokens[origin] = nil
            while tokens.count >= Self.mostTokens,
                let oldest = tokens.min(by: { $0.value.end < $1.value.end })?.key
            {
                tokens[oldest] = nil
            }
            let token = try sign(origin, time)
            tokens[origin] = token
            return token.text
        }
        return "vapid t=\(text), k=\(publicKey)"
    }

    /// Signs anew from now on.
    func forget() {
        tokens.withLock { $0 = [:] }
    }

    private func sign(_ origin: String, _ time: PushTime) throws(PushFault) -> Token {
        let end = time.seconds + Self.life
        var claims: [String: JSONValue] = ["aud": .string(origin), "exp": .integer(end)]
        claims["sub"] = contact.map { .string($0) }
        do throws(TLSError) {
            return Token(
                text: try JSONWebToken.sign(
                    header: ["typ": .string("JWT")], claims: claims, key: key), end: end)
        } catch {
            throw PushFault(.authorizationExpired(.refused), .credentialRefused, code: "signature")
        }
    }
}
