// Huawei Push Kit, by client credentials.
//
// A target is the device's push token. What is to be seen is shown by the telephone itself, which
// starts no app for it; what is not goes to the app as it is.

internal import HTTPClient
internal import Options
internal import Synchronization

/// Delivers to telephones of Huawei.
final class Huawei: ConfiguredProvider {
    /// Bytes of a message without its tokens, as Huawei counts them, and what is left of them for
    /// the spaces that may be counted too.
    static let longestMessage = 4096
    private static let longest = longestMessage - 256
    /// Seconds for which a message is kept at most.
    static let longestLifetime = 15 * 86_400

    private let app: String
    private let identifier: String
    private let credentials: ClientCredentials
    private let server: String
    private let channel: String?
    private let category: String
    /// The app was not granted the haste that calls want.
    private let mayHurry = Atomic<Bool>(true)

    // MARK: The credential

    static let kind = ProviderKind.huawei

    static let fields = [
        VendorFields.appID, VendorFields.clientID, VendorFields.secretFile, VendorFields.tokenURL,
        VendorFields.channel, VendorFields.category,
    ]

    static func problems(
        of record: ConfigurationRecord
    ) -> [(text: String, advice: String)] {
        VendorFields.problems(of: record, needs: ["app_id", "secret_file"])
    }

    init(
        _ record: ConfigurationRecord, memory: any PushMemory, read: (String) throws -> [UInt8]
    ) throws(PushCredentialError) {
        app = record.app
        identifier = try record.needed("app_id")
        credentials = ClientCredentials(
            url: try record.server("token_url")
                ?? "https://oauth-login.cloud.huawei.com/oauth2/v3/token",
            identifier: record.string("client_id") ?? identifier,
            secret: try VendorFields.secret(record, read))
        server = try record.server("url") ?? "https://push-api.cloud.huawei.com"
        channel = record.string("channel_id")
        category = record.string("category") ?? "IM"
    }

    func authorization(at time: PushTime) -> PushRequest? { credentials.authorization(at: time) }

    func authorize(_ response: HTTPResponse, at time: PushTime) -> PushAnswer {
        credentials.authorize(response, at: time)
    }

    func renew(at time: PushTime) { credentials.token.forget() }

    var expiries: [CredentialExpiry] { credentials.token.expiries }

    // MARK: A request

    var kind: ProviderKind { Self.kind }

    func circuit(of target: PushTarget) -> String { app }

    func problem(of target: PushTarget) -> String? { VendorFields.problem(ofToken: target.token) }

    func request(
        _ notification: PushNotification, to target: PushTarget, at time: PushTime
    ) throws(PushFault) -> PushRequest {
        guard problem(of: target) == nil else {
            throw PushFault(.invalidToken(.token, since: nil), .badToken)
        }
        guard let token = credentials.token.text(at: time) else {
            throw PushFault(.authorizationExpired(.expired), .credentialExpired)
        }
        var message = try notification.fitted(
            Self.longest, { self.message($0) }, size: { JSONValue.object($0).bytes.count })
        message["token"] = .array([.string(target.token)])
        return PushRequest(
            HTTPRequest(
                "POST", "\(server)/v1/\(identifier)/messages:send",
                headers: [
                    ("Authorization", "Bearer \(token)"), ("Content-Type", "application/json"),
                ], body: JSONValue.object(["message": .object(message)]).bytes))
    }

    private func message(_ notification: PushNotification) -> [String: JSONValue] {
        let lifetime = max(1, notification.lifetime(atMost: Self.longestLifetime))
        let isUrgent = notification.isUrgent && mayHurry.load(ordering: .relaxed)
        var android: [String: JSONValue] = [
            "collapse_key": .integer(notification.place % 101),
            "urgency": .string(isUrgent ? "HIGH" : "NORMAL"),
            "category": .string(notification.kind == .call ? "VOIP" : category),
            "ttl": .string("\(lifetime)s"),
        ]
        if notification.isVisible {
            var shown: [String: JSONValue] = [
                "title": .string(notification.heading), "body": .string(notification.text),
                "importance": .string("NORMAL"), "notify_id": .integer(notification.place),
                "click_action": .object(["type": .integer(3)]),
            ]
            shown["channel_id"] = channel.map { .string($0) }
            android["notification"] = .object(shown)
        }
        let data = String(decoding: JSONValue.object(notification.fields).bytes, as: UTF8.self)
        return ["android": .object(android), "data": .string(data)]
    }

    // MARK: An answer

    /// A success of HTTP is none of the message's: its code says what became of it.
    func judge(
        _ response: HTTPResponse, to target: PushTarget, at time: PushTime
    ) -> PushAnswer {
        let json = JSONValue(response.body)
        guard let code = json?["code"]?.code else {
            return response.isSuccess
                ? .garbage(response) : PushAnswer(status: response, at: time)
        }
        func answer(_ outcome: PushOutcome, _ reason: PushReason) -> PushAnswer {
            PushAnswer(outcome, reason, code: code)
        }
        switch code {
        case "80000000": return answer(.accepted, .accepted)
        case "80100000":
            // Which of the tokens are none stands in a text that is JSON.
            let list = json?["msg"]?.text.flatMap { JSONValue(Array($0.utf8)) }
            let isIllegal = list?["illegal_tokens"]?.contains(target.token) ?? false
            return isIllegal
                ? answer(.invalidToken(.token, since: nil), .unregistered)
                : answer(.accepted, .accepted)
        case "80300007": return answer(.invalidToken(.token, since: nil), .unregistered)
        case "80200001", "80200003", "80200005":
            return answer(.authorizationExpired(.expired), .credentialExpired)
        case "80300002", "80600003":
            return answer(.authorizationExpired(.refused), .credentialRefused)
        case "80300011":
            mayHurry.store(false, ordering: .relaxed)
            return answer(.retry(.device, after: nil), .request)
        case "81000001":
            let after = RetryAfter.of(response, at: time)
            return answer(.retry(.circuit, after: after), .unavailable)
        case "80300008": return answer(.rejected, .tooLarge)
        default: return answer(.rejected, .request)
        }
    }
}
