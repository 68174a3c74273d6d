// A token that a provider's service gave out for a credential, until it is to be fetched again.

internal import HTTPClient
internal import Synchronization

/// The token in use, if there is one. Safe on any thread.
final class AccessToken: Sendable {
    private struct Token {
        var text: String
        var refresh: Int64
        var end: Int64
    }

    /// Seconds for which one may live: one that seems to live longer was given while the clock was
    /// far ahead.
    static let longestLife: Int64 = 86_400
    /// Characters of one at most.
    private static let longest = 4096

    private let early: Int64
    private let token = Mutex<Token?>(nil)

    /// - Parameter early: seconds before its end at which another one is fetched.
    init(early: Int64 = 300) { self.early = early }

    /// What to send; nil when there is none.
    func text(at time: PushTime) -> String? {
        token.withLock { token in
            guard let token, time.seconds < token.end,
                token.end - time.seconds <= Self.longestLife
            else { return nil }
            return token.text
        }
    }

    /// Whether another one is to be fetched.
    func isStale(at time: PushTime) -> Bool {
        token.withLock { token in
            guard let token else { return true }
            return time.seconds >= token.refresh || token.end - time.seconds > Self.longestLife
        }
    }

    /// Takes one that lives for so many seconds; false if it cannot be one.
    func take(_ text: String?, life: Int64?, at time: PushTime) -> Bool {
        guard let text, (1...Self.longest).contains(text.utf8.count),
            text.utf8.allSatisfy({ (0x21...0x7E).contains($0) }),
            let life, (1...Self.longestLife).contains(life)
        else { return false }
        let early = min(early, life / 2)
        token.withLock { token in
            token = Token(
                text: text, refresh: time.seconds + life - early, end: time.seconds + life)
        }
        return true
    }

    /// Drops it.
    func forget() {
        token.withLock { $0 = nil }
    }

    /// When it ends, in seconds since 1970.
    var expiry: Int64? { token.withLock { $0?.end } }

    /// The same for a metric.
    var expiries: [CredentialExpiry] {
        expiry.map { [CredentialExpiry(kind: "access_token", time: $0)] } ?? []
    }
}

/// Client credentials of OAuth 2.0 (RFC 6749 section 4.4), as Huawei and Honor want them.
final class ClientCredentials: Sendable {
    let token = AccessToken()
    private let url: String
    private let identifier: String
    private let secret: String

    init(url: String, identifier: String, secret: String) {
        self.url = url
        self.identifier = identifier
        self.secret = secret
    }

    /// The request for a token; nil when there is a good one.
    func authorization(at time: PushTime) -> PushRequest? {
        guard token.isStale(at: time) else { return nil }
        return PushRequest(
            HTTPRequest(
                "POST", url, headers: [("Content-Type", FormText.type)],
                body: FormText.bytes([
                    ("grant_type", "client_credentials"), ("client_id", identifier),
                    ("client_secret", secret),
                ])))
    }

    /// Takes the answer.
    func authorize(_ response: HTTPResponse, at time: PushTime) -> PushAnswer {
        if response.isSuccess {
            let json = JSONValue(response.body)
            let isTaken = token.take(
                json?["access_token"]?.text, life: json?["expires_in"]?.whole, at: time)
            return isTaken ? PushAnswer(.accepted, .accepted) : .garbage(response)
        }
        return .login(response, at: time)
    }
}

extension PushAnswer {
    /// What it means that there is no access token: nobody's message is wrong.
    static func login(_ response: HTTPResponse, at time: PushTime) -> PushAnswer {
        let answer = PushAnswer(status: response, at: time)
        guard case .rejected = answer.outcome else { return answer }
        guard response.status == 400 else {
            return PushAnswer(.retry(.circuit, after: nil), .garbage, code: answer.code)
        }
        return PushAnswer(.authorizationExpired(.refused), .credentialRefused, code: "400")
    }
}
