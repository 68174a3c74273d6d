// vivo Push: a signature buys an access token for a day.
//
// A target is the device's regId. Everything that comes is shown.

internal import HTTPClient
internal import Options
internal import TLS

/// Delivers to telephones of vivo.
struct Vivo: MakerProvider {
    /// How wide a title and a content may be; what is not Latin counts twice.
    private static let widestTitle = 40
    private static let widestContent = 100
    /// Characters of what the app gets, at most.
    private static let longestCustom = 1024
    /// Seconds for which a message is kept, at least and at most, and a token lives.
    private static let shortestLifetime = 60
    private static let longestLifetime = 86_400
    private static let tokenLife: Int64 = 86_400
    /// Seconds that vivo's clock may be from ours before a refusal is the time's fault.
    private static let tolerance: Int64 = 300

    let app: String
    private let identifier: Int64
    private let key: String
    private let secret: String
    private let server: String
    private let category: String
    private let token = AccessToken(early: 3600)

    // MARK: The credential

    static let kind = ProviderKind.vivo

    static let fields = [
        VendorFields.appID, VendorFields.appKey, VendorFields.secretFile, VendorFields.category,
    ]

    static func problems(
        of record: ConfigurationRecord
    ) -> [(text: String, advice: String)] {
        VendorFields.problems(of: record, needs: ["app_id", "app_key", "secret_file"])
    }

    init(
        _ record: ConfigurationRecord, memory: any PushMemory, read: (String) throws -> [UInt8]
    ) throws(PushCredentialError) {
        app = record.app
        guard let identifier = Int64(try record.needed("app_id")) else {
            throw PushCredentialError(app: app, subject: "app_id", "it is no number")
        }
        self.identifier = identifier
        key = try record.needed("app_key")
        secret = try VendorFields.secret(record, read)
        server = try record.server("url") ?? "https://api-push.vivo.com.cn"
        category = record.string("category") ?? "IM"
    }

    func authorization(at time: PushTime) throws(PushFault) -> PushRequest? {
        guard token.isStale(at: time) else { return nil }
        guard time.isRight else { throw .clock }
        let moment = time.seconds * 1000
        let text = "\(identifier)\(key)\(moment)\(secret)"
        guard let digest = MD5.hash(Array(text.utf8)) else {
            throw PushFault(.authorizationExpired(.refused), .credentialRefused, code: "no MD5")
        }
        return PushRequest(
            HTTPRequest(
                "POST", "\(server)/message/auth",
                headers: [("Content-Type", "application/json")],
                body: JSONValue.object([
                    "appId": .integer(identifier), "appKey": .string(key),
                    "timestamp": .integer(moment), "sign": .string(HexDigits.text(digest)),
                ]).bytes))
    }

    func authorize(_ response: HTTPResponse, at time: PushTime) -> PushAnswer {
        let json = JSONValue(response.body)
        guard response.isSuccess, let code = json?["result"]?.code else {
            return response.isSuccess ? .garbage(response) : .login(response, at: time)
        }
        switch code {
        case "0":
            let isTaken = token.take(json?["authToken"]?.text, life: Self.tokenLife, at: time)
            return isTaken ? PushAnswer(.accepted, .accepted) : .garbage(response)
        case "10072", "10093":
            return PushAnswer(.retry(.circuit, after: nil), .rate, code: code)
        default:
            // The signature holds the time: one of them is wrong, and not the secret.
            if let date = response.header("Date").flatMap(RetryAfter.date),
                abs(date - time.seconds) > Self.tolerance
            {
                return PushAnswer(.retry(.circuit, after: nil), .clock, code: code)
            }
            return PushAnswer(.authorizationExpired(.refused), .credentialRefused, code: code)
        }
    }

    func renew(at time: PushTime) { token.forget() }

    var expiries: [CredentialExpiry] { token.expiries }

    // MARK: A request

    func request(
        _ notification: PushNotification, to target: PushTarget, at time: PushTime
    ) throws(PushFault) -> PushRequest {
        guard problem(of: target) == nil else {
            throw PushFault(.invalidToken(.token, since: nil), .badToken)
        }
        try notification.checkIsVisible()
        guard let token = token.text(at: time) else {
            throw PushFault(.authorizationExpired(.expired), .credentialExpired)
        }
        let lifetime = max(
            Self.shortestLifetime, notification.lifetime(atMost: Self.longestLifetime))
        var message: [String: JSONValue] = [
            "appId": .integer(identifier), "regId": .string(target.token),
            "notifyType": .integer(4), "notifyId": .integer(notification.place),
            "title": .string(
                PushNotification.cut(notification.heading, units: Self.widestTitle, wide: 2)),
            "content": .string(
                PushNotification.cut(notification.text, units: Self.widestContent, wide: 2)),
            "timeToLive": .integer(Int64(lifetime)), "skipType": .integer(1),
            "networkType": .integer(-1), "classification": .integer(1),
            "category": .string(category), "pushMode": .integer(0),
            "requestId": .string(HexDigits.text(notification.identifier)),
        ]
        if let receipt = notification.receipt, let url = receipt.url {
            message["extra"] = .object([
                "callback": .string(url), "callback.param": .string(receipt.reference),
            ])
        }
        message["clientCustomMap"] = try notification.custom(Self.longestCustom).map { .object($0) }
        return PushRequest(
            HTTPRequest(
                "POST", "\(server)/message/send",
                headers: [("authToken", token), ("Content-Type", "application/json")],
                body: JSONValue.object(message).merged(
                    with: notification.content?.extras[.vivo],
                    except: ["appId", "regId", "alias", "requestId", "extra"]
                ).bytes))
    }

    // MARK: An answer

    static let codeName = "result"

    func judge(
        _ code: String, _ json: JSONValue, _ response: HTTPResponse, to targets: [PushTarget],
        at time: PushTime
    ) -> PushAnswers {
        func answer(_ outcome: PushOutcome, _ reason: PushReason) -> PushAnswer {
            PushAnswer(outcome, reason, code: code)
        }
        let gone = answer(.invalidToken(.token, since: nil), .unregistered)
        switch code {
        case "0":
            let invalid = (json["invalidUsers"]?.elements ?? []).compactMap { $0["userid"]?.text }
            return PushAnswers(answer(.accepted, .accepted), except: invalid, gone, of: targets)
        case "10000":
            return PushAnswers(answer(.authorizationExpired(.expired), .credentialExpired))
        case "10302": return PushAnswers(gone)
        case "10070": return PushAnswers(answer(.quotaOfDay, .quota))
        case "10072", "10252", "10254":
            return PushAnswers(
                answer(.retry(.circuit, after: RetryAfter.of(response, at: time)), .rate))
        case "10094":
            return PushAnswers(answer(.authorizationExpired(.refused), .credentialRefused))
        default: return PushAnswers(.unknown(code, response, at: time))
        }
    }
}
