// Gotify: an application on the user's own server.
//
// A target is the server's URL; parameter `app_token` is the application's token.

internal import HTTPClient

/// Delivers to servers of Gotify.
struct Gotify: PushProvider {
    /// The parameter with the application's token.
    static let tokenName = "app_token"
    /// Bytes of a URL, of a message and of a token at most.
    static let longestURL = 1000
    static let longestMessage = 4096
    private static let longestToken = 256

    private let allowsHTTP: Bool

    /// Creates one.
    init(allowsHTTP: Bool = false) { self.allowsHTTP = allowsHTTP }

    var kind: ProviderKind { .gotify }

    func circuit(of target: PushTarget) -> String {
        EndpointURL(target.token)?.circuit ?? ""
    }

    func problem(of target: PushTarget) -> String? {
        if let problem = UsersHost.problem(
            target.token, longest: Self.longestURL, allowsHTTP: allowsHTTP)
        {
            return problem
        }
        if EndpointURL(target.token)?.base == nil { return "expected a server's URL, no query" }
        if token(of: target) == nil {
            return "\(Self.tokenName): expected the token of an application"
        }
        return nil
    }

    func request(
        _ notification: PushNotification, to target: PushTarget, at time: PushTime
    ) throws(PushFault) -> PushRequest {
        guard problem(of: target) == nil, let token = token(of: target),
            let server = EndpointURL(target.token, longest: Self.longestURL)?.base
        else { throw PushFault(.invalidToken(.token, since: nil), .badToken) }
        let body = try notification.fitted(Self.longestMessage, Self.message)
        return PushRequest(
            HTTPRequest(
                "POST", "\(server)/message",
                headers: [("X-Gotify-Key", token), ("Content-Type", "application/json")],
                body: body), isToUsersHost: true)
    }

    private static func message(_ notification: PushNotification) -> [UInt8] {
        let priority: Int64 =
            notification.kind == .call || notification.hurries(false)
            ? 8 : notification.isVisible ? 5 : 0
        return JSONValue.object([
            "title": .string(notification.sender ?? notification.title),
            "message": .string(notification.text),
            "priority": .integer(priority),
        ]).merged(with: notification.content?.extras[.gotify]).bytes
    }

    private func token(of target: PushTarget) -> String? {
        guard let token = target.parameters[Self.tokenName],
            (1...Self.longestToken).contains(token.utf8.count),
            token.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
        else { return nil }
        return token
    }

    func judge(
        _ response: HTTPResponse, to target: PushTarget, at time: PushTime
    ) -> PushAnswer {
        let code = String(response.status)
        switch response.status {
        case 200..<300:
            // It gives the message back with a number.
            let isMessage = JSONValue(response.body)?["id"]?.whole != nil
            return isMessage
                ? PushAnswer(.accepted, .accepted) : .garbage(response, waiter: .device)
        case 401, 403:
            // The token is this user's: only he can mend it.
            return PushAnswer(.rejected, .credentialRefused, code: code)
        default:
            return PushAnswer(status: response, at: time, waiter: .device)
        }
    }
}
