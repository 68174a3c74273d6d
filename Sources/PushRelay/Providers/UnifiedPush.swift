// UnifiedPush: the endpoint that a distributor gave an app of the user's.
//
// A target is the endpoint. With the parameters `p256dh` and `auth` it is Web Push, as the
// specification demands since 2025; without them what is posted is what the app gets, as before.

internal import HTTPClient

/// Delivers to endpoints of UnifiedPush.
struct UnifiedPush: PushProvider {
    /// Bytes of an endpoint and of a body at most.
    static let longestEndpoint = 1000
    static let longestBody = 4096

    private let webPush: WebPush
    private let allowsHTTP: Bool

    /// Creates one.
    init(webPush: WebPush, allowsHTTP: Bool = false) {
        self.webPush = webPush
        self.allowsHTTP = allowsHTTP
    }

    var kind: ProviderKind { .unifiedPush }

    func circuit(of target: PushTarget) -> String {
        EndpointURL(target.token)?.circuit ?? ""
    }

    func problem(of target: PushTarget) -> String? {
        UsersHost.problem(target.token, longest: Self.longestEndpoint, allowsHTTP: allowsHTTP)
            ?? (isEncrypted(target) ? WebPushKeys.problem(of: target) : nil)
    }

    func request(
        _ notification: PushNotification, to target: PushTarget, at time: PushTime
    ) throws(PushFault) -> PushRequest {
        guard let endpoint = EndpointURL(target.token, longest: Self.longestEndpoint),
            endpoint.isSecure || allowsHTTP
        else { throw PushFault(.invalidToken(.token, since: nil), .badToken) }
        if isEncrypted(target) { return try webPush.request(notification, to: target, at: time) }
        let body = try notification.fitted(Self.longestBody) {
            JSONValue.object($0.fields).bytes
        }
        let headers = WebPush.headers(notification) + [("Content-Type", "application/json")]
        return PushRequest(
            HTTPRequest("POST", endpoint.text, headers: headers, body: body), isToUsersHost: true)
    }

    func renew(at time: PushTime) { webPush.renew(at: time) }

    func judge(
        _ response: HTTPResponse, to target: PushTarget, at time: PushTime
    ) -> PushAnswer {
        let code = String(response.status)
        switch response.status {
        case 401 where !isEncrypted(target):
            // Nothing but the URL could be wrong: ejabberd says so when it has expired.
            return PushAnswer(.invalidToken(.token, since: nil), .unregistered, code: code)
        case 507:
            // ntfy: nobody listens at the moment.
            return PushAnswer(
                .retry(.device, after: RetryAfter.of(response, at: time)), .unavailable, code: code)
        default:
            return webPush.judge(response, to: target, at: time)
        }
    }

    /// One key without the other is a mistake, no wish to go without.
    private func isEncrypted(_ target: PushTarget) -> Bool {
        target.parameters[WebPushKeys.publicKeyName] != nil
            || target.parameters[WebPushKeys.secretName] != nil
    }
}
