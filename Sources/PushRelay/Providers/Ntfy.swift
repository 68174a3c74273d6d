// ntfy: a topic of the user's, on his own server or a public one.
//
// A target is the topic's URL, `https://host/topic`; parameter `access_token` is a token (`tk_…`) or
// `user:password`. What is sent is JSON to the server's root: of what may stand in a header, the
// sender's name would have to be encoded in a way that not every version reads.

internal import Foundation
internal import HTTPClient

/// Delivers to topics of ntfy.
struct Ntfy: PushProvider {
    /// The parameter with a credential.
    static let tokenName = "access_token"
    /// Bytes of a URL, a message (a longer one becomes a file), a title and a credential at most.
    static let longestURL = 1000
    static let longestMessage = 4096
    private static let longestCredential = 512
    /// A visitor's requests come back at this rate, and a day's quota is looked at again.
    private static let ratePause: Duration = .seconds(5)
    private static let quotaPause: Duration = .seconds(3600)

    private let allowsHTTP: Bool

    /// Creates one.
    init(allowsHTTP: Bool = false) { self.allowsHTTP = allowsHTTP }

    var kind: ProviderKind { .ntfy }

    func circuit(of target: PushTarget) -> String {
        EndpointURL(target.token)?.circuit ?? ""
    }

    func problem(of target: PushTarget) -> String? {
        if let problem = UsersHost.problem(
            target.token, longest: Self.longestURL, allowsHTTP: allowsHTTP)
        {
            return problem
        }
        if topic(of: target) == nil {
            return
                "expected the URL of a topic, such as https://ntfy.example.org/topic: 1 to 64 of "
                + "A-Z, a-z, 0-9, _ and -"
        }
        if let token = target.parameters[Self.tokenName], authorization(token) == nil {
            return "\(Self.tokenName): expected a token or user:password, printable characters"
        }
        return nil
    }

    func request(
        _ notification: PushNotification, to target: PushTarget, at time: PushTime
    ) throws(PushFault) -> PushRequest {
        guard problem(of: target) == nil, let (server, topic) = topic(of: target) else {
            throw PushFault(.invalidToken(.token, since: nil), .badToken)
        }
        let body = try notification.fitted(Self.longestMessage) {
            Self.message($0, topic: topic)
        }
        var headers: [(name: String, value: String)] = [("Content-Type", "application/json")]
        if let token = target.parameters[Self.tokenName].flatMap(authorization) {
            headers.append(("Authorization", token))
        }
        // Nobody wants to see later that it rang.
        if notification.lifetime <= 0 || notification.kind == .call {
            headers.append(("X-Cache", "no"))
        }
        return PushRequest(
            HTTPRequest("POST", "\(server)/", headers: headers, body: body), isToUsersHost: true)
    }

    /// What would use the user's account for something else.
    private static let own: Set = ["topic", "email", "call", "delay"]

    private static func message(_ notification: PushNotification, topic: String) -> [UInt8] {
        let priority: Int64 =
            notification.kind == .call
            ? 5 : notification.hurries(false) ? 4 : notification.isVisible ? 3 : 1
        let tag = notification.kind == .call ? "telephone_receiver" : "speech_balloon"
        return JSONValue.object([
            "topic": .string(topic),
            "title": .string(notification.sender ?? notification.title),
            "message": .string(notification.text),
            "priority": .integer(priority),
            "tags": .array([.string(tag)]),
        ]).merged(with: notification.content?.extras[.ntfy], except: Self.own).bytes
    }

    /// The server's URL without a slash at its end, and the topic's name.
    private func topic(of target: PushTarget) -> (server: String, topic: String)? {
        guard let base = EndpointURL(target.token, longest: Self.longestURL)?.base,
            let slash = base.lastIndex(of: "/")
        else { return nil }
        let server = String(base[..<slash])
        let topic = base[base.index(after: slash)...]
        guard EndpointURL(server) != nil, (1...64).contains(topic.utf8.count),
            topic.utf8.allSatisfy({ byte in
                switch byte {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "_"), UInt8(ascii: "-"):
                    true
                default: false
                }
            })
        else { return nil }
        return (server, String(topic))
    }

    /// Nil for what may not stand in a header.
    private func authorization(_ credential: String) -> String? {
        guard (1...Self.longestCredential).contains(credential.utf8.count) else { return nil }
        if !credential.hasPrefix("tk_"), credential.contains(":") {
            guard credential.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else { return nil }
            return "Basic \(Data(credential.utf8).base64EncodedString())"
        }
        guard credential.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else { return nil }
        return "Bearer \(credential)"
    }

    func judge(
        _ response: HTTPResponse, to target: PushTarget, at time: PushTime
    ) -> PushAnswer {
        let json = JSONValue(response.body)
        let after = RetryAfter.of(response, at: time)
        if response.isSuccess {
            let isMessage = json?["id"]?.text != nil && json?["code"] == nil
            return isMessage
                ? PushAnswer(.accepted, .accepted) : .garbage(response, waiter: .device)
        }
        // Who has a credential has limits of his own; others share those of our address.
        let hasAccount = target.parameters[Self.tokenName] != nil
        let waiter: PushOutcome.Waiter = hasAccount ? .device : .circuit
        let number = json?["code"]?.whole ?? Int64(response.status)
        let code = (100...99_999).contains(number) ? String(number) : String(response.status)
        switch number {
        case 40101, 40301, 401, 403:
            // The credential is this user's: only he can mend it.
            return PushAnswer(.rejected, .credentialRefused, code: code)
        case 41301, 413:
            return PushAnswer(.rejected, .tooLarge, code: code)
        case 42908:
            let outcome: PushOutcome =
                hasAccount ? .retry(.device, after: after ?? Self.quotaPause) : .quotaOfDay
            return PushAnswer(outcome, .quota, code: code)
        case 42901, 429:
            return PushAnswer(.retry(waiter, after: after ?? Self.ratePause), .rate, code: code)
        case 50701, 507:
            return PushAnswer(.retry(.device, after: after), .unavailable, code: code)
        case 300..<400:
            return PushAnswer(.retry(.device, after: after), .redirection, code: code)
        default:
            // A number of ntfy's begins with the status.
            return PushAnswer(status: response, at: time, waiter: waiter, code: code)
        }
    }
}
