// Honor Push, by client credentials.
//
// A target is the device's push token. The domains are in the configuration: Honor has moved them.

internal import HTTPClient
internal import Options

/// Delivers to telephones of Honor.
struct Honor: ConfiguredProvider {
    /// Bytes of a message at most, with room for how they are counted.
    private static let longest = 3840
    /// Seconds for which a message is kept at most.
    static let longestLifetime = 1_296_000

    private let app: String
    private let identifier: String
    private let credentials: ClientCredentials
    private let server: String

    // MARK: The credential

    static let kind = ProviderKind.honor

    static let fields = [
        VendorFields.appID, VendorFields.clientID, VendorFields.secretFile, VendorFields.tokenURL,
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
                ?? "https://iam.developer.hihonor.com/auth/realms/developer/protocol/"
                + "openid-connect/token",
            identifier: record.string("client_id") ?? identifier,
            secret: try VendorFields.secret(record, read))
        server = try record.server("url") ?? "https://push-api.cloud.hihonor.com"
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
        // The request says when it was made.
        guard time.isRight else { throw .clock }
        guard let token = credentials.token.text(at: time) else {
            throw PushFault(.authorizationExpired(.expired), .credentialExpired)
        }
        var message = try notification.fitted(
            Self.longest, { Self.message($0) }, size: { JSONValue.object($0).bytes.count })
        message["token"] = .array([.string(target.token)])
        return PushRequest(
            HTTPRequest(
                "POST", "\(server)/api/v1/\(identifier)/sendMessage",
                headers: [
                    ("Authorization", "Bearer \(token)"), ("Content-Type", "application/json"),
                    ("timestamp", String(time.seconds * 1000)),
                ], body: JSONValue.object(message).bytes))
    }

    private static func message(_ notification: PushNotification) -> [String: JSONValue] {
        let lifetime = max(1, notification.lifetime(atMost: longestLifetime))
        var android: [String: JSONValue] = ["ttl": .string("\(lifetime)s")]
        if notification.isVisible {
            android["notification"] = .object([
                "title": .string(notification.heading), "body": .string(notification.text),
                "importance": .string("NORMAL"), "notifyId": .integer(notification.place),
                "clickAction": .object(["type": .integer(3)]),
            ])
        }
        let data = String(decoding: JSONValue.object(notification.fields).bytes, as: UTF8.self)
        return ["android": .object(android), "data": .string(data)]
    }

    // MARK: An answer

    /// Clients of Honor do not agree which code is a success, so `sendResult` says it.
    func judge(
        _ response: HTTPResponse, to target: PushTarget, at time: PushTime
    ) -> PushAnswer {
        let json = JSONValue(response.body)
        let code = json?["code"]?.code ?? String(response.status)
        func answer(_ outcome: PushOutcome, _ reason: PushReason) -> PushAnswer {
            PushAnswer(outcome, reason, code: code)
        }
        if code == "80300007" {
            return answer(.invalidToken(.token, since: nil), .unregistered)
        }
        if response.status == 401 || code == "401" {
            return answer(.authorizationExpired(.expired), .credentialExpired)
        }
        guard response.isSuccess else { return PushAnswer(status: response, at: time, code: code) }
        guard let data = json?["data"], case .boolean(let isSent)? = data["sendResult"] else {
            return .garbage(response)
        }
        if data["expireTokens"]?.contains(target.token) ?? false {
            return answer(.invalidToken(.token, since: nil), .unregistered)
        }
        if data["failTokens"]?.contains(target.token) ?? false {
            return answer(.retry(.device, after: nil), .unavailable)
        }
        return isSent ? answer(.accepted, .accepted) : answer(.rejected, .request)
    }
}
