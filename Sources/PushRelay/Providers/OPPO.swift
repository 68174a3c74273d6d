// OPPO Push, also for OnePlus and realme: a signature buys an access token for a day.
//
// A target is the device's registration id. Those of telephones that were sold outside of China are
// served by another host: an app of their own, with `url`. Everything that comes is shown.

internal import HTTPClient
internal import Options
internal import TLS

/// Delivers to telephones of OPPO.
struct OPPO: ConfiguredProvider {
    /// Characters of a title and a content at most.
    private static let longestTitle = 50
    private static let longestContent = 50
    /// Seconds for which a message is kept, and a token lives, at most.
    private static let longestLifetime = 10 * 86_400
    private static let tokenLife: Int64 = 86_400
    /// What a minute's limit is waited for.
    private static let minute: Duration = .seconds(60)

    private let app: String
    private let key: String
    private let secret: String
    private let server: String
    private let channel: String?
    private let category: String?
    private let token = AccessToken(early: 3600)

    // MARK: The credential

    static let kind = ProviderKind.oppo

    static let fields = [
        VendorFields.appKey, VendorFields.secretFile, VendorFields.channel, VendorFields.category,
    ]

    static func problems(
        of record: ConfigurationRecord
    ) -> [(text: String, advice: String)] {
        VendorFields.problems(of: record, needs: ["app_key", "secret_file"])
    }

    init(
        _ record: ConfigurationRecord, memory: any PushMemory, read: (String) throws -> [UInt8]
    ) throws(PushCredentialError) {
        app = record.app
        key = try record.needed("app_key")
        secret = try VendorFields.secret(record, read)
        server = try record.server("url") ?? "https://api.push.oppomobile.com"
        channel = record.string("channel_id")
        category = record.string("category")
    }

    func authorization(at time: PushTime) throws(PushFault) -> PushRequest? {
        guard token.isStale(at: time) else { return nil }
        guard time.isRight else { throw .clock }
        let moment = String(time.seconds * 1000)
        let digest = DigestAlgorithm.sha256.hash(Array((key + moment + secret).utf8))
        return PushRequest(
            HTTPRequest(
                "POST", "\(server)/server/v1/auth", headers: [("Content-Type", FormText.type)],
                body: FormText.bytes([
                    ("app_key", key), ("timestamp", moment), ("sign", HexDigits.text(digest)),
                ])))
    }

    func authorize(_ response: HTTPResponse, at time: PushTime) -> PushAnswer {
        let json = JSONValue(response.body)
        guard response.isSuccess, let code = json?["code"]?.code else {
            return response.isSuccess ? .garbage(response) : .login(response, at: time)
        }
        switch code {
        case "0":
            let isTaken = token.take(
                json?["data"]?["auth_token"]?.text, life: Self.tokenLife, at: time)
            return isTaken ? PushAnswer(.accepted, .accepted) : .garbage(response)
        case "-1", "-2", "13":
            return PushAnswer(.retry(.circuit, after: nil), .unavailable, code: code)
        default:
            return PushAnswer(.authorizationExpired(.refused), .credentialRefused, code: code)
        }
    }

    func renew(at time: PushTime) { token.forget() }

    var expiries: [CredentialExpiry] { token.expiries }

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
        guard let token = token.text(at: time) else {
            throw PushFault(.authorizationExpired(.expired), .credentialExpired)
        }
        let lifetime = notification.lifetime(atMost: Self.longestLifetime)
        var shown: [String: JSONValue] = [
            // One that comes twice is shown once.
            "app_message_id": .string(HexDigits.text(notification.identifier)),
            "style": .integer(1), "click_action_type": .integer(0),
            "title": .string(
                PushNotification.cut(notification.heading, units: Self.longestTitle)),
            "content": .string(
                PushNotification.cut(notification.text, units: Self.longestContent)),
            "off_line": .boolean(lifetime > 0), "off_line_ttl": .integer(Int64(lifetime)),
        ]
        shown["channel_id"] = channel.map { .string($0) }
        shown["category"] = category.map { .string($0) }
        let message: JSONValue = .object([
            "target_type": .integer(2), "target_value": .string(target.token),
            "notification": .object(shown),
        ])
        return PushRequest(
            HTTPRequest(
                "POST", "\(server)/server/v1/message/notification/unicast",
                headers: [("auth_token", token), ("Content-Type", FormText.type)],
                body: FormText.bytes([
                    ("message", String(decoding: message.bytes, as: UTF8.self))
                ])))
    }

    // MARK: An answer

    func judge(
        _ response: HTTPResponse, to target: PushTarget, at time: PushTime
    ) -> PushAnswer {
        guard let code = JSONValue(response.body)?["code"]?.code else {
            return response.isSuccess
                ? .garbage(response) : PushAnswer(status: response, at: time)
        }
        func answer(_ outcome: PushOutcome, _ reason: PushReason) -> PushAnswer {
            PushAnswer(outcome, reason, code: code)
        }
        let after = RetryAfter.of(response, at: time)
        switch code {
        case "0": return answer(.accepted, .accepted)
        case "11": return answer(.authorizationExpired(.expired), .credentialExpired)
        case "12": return answer(.authorizationExpired(.refused), .credentialRefused)
        case "13": return answer(.retry(.circuit, after: after ?? Self.minute), .rate)
        case "33": return answer(.quotaOfDay, .quota)
        case "10000": return answer(.invalidToken(.token, since: nil), .unregistered)
        case "-1", "-2": return answer(.retry(.circuit, after: after), .unavailable)
        default: return answer(.rejected, .request)
        }
    }
}
