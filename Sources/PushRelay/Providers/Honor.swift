// Honor Push, by client credentials.
//
// A target is the device's push token. The domains are in the configuration: Honor has moved them.

internal import HTTPClient
internal import Options

/// Delivers to telephones of Honor.
struct Honor: MakerProvider {
    /// Bytes of a message at most, with room for how they are counted.
    private static let longest = 3840
    /// Seconds for which a message is kept at most.
    static let longestLifetime = 1_296_000

    let app: String
    private let identifier: String
    private let credentials: ClientCredentials
    private let server: String
    private let badgeClass: String?

    // MARK: The credential

    static let kind = ProviderKind.honor

    static let fields = [
        VendorFields.appID, VendorFields.clientID, VendorFields.secretFile, VendorFields.tokenURL,
        VendorFields.badgeClass,
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
        badgeClass = record.string("badge_class")
    }

    func authorization(at time: PushTime) -> PushRequest? { credentials.authorization(at: time) }

    func authorize(_ response: HTTPResponse, at time: PushTime) -> PushAnswer {
        credentials.authorize(response, at: time)
    }

    func renew(at time: PushTime) { credentials.token.forget() }

    var expiries: [CredentialExpiry] { credentials.token.expiries }

    // MARK: A request

    var batchSize: Int { 1000 }

    func request(
        _ notification: PushNotification, to targets: [PushTarget], at time: PushTime
    ) throws(PushFault) -> PushRequest {
        // The request says when it was made.
        guard time.isRight else { throw .clock }
        guard let token = credentials.token.text(at: time) else {
            throw PushFault(.authorizationExpired(.expired), .credentialExpired)
        }
        let message = try notification.fitted(
            Self.longest, { self.message($0) }, size: { $0.bytes.count })
        return PushRequest(
            HTTPRequest(
                "POST", "\(server)/api/v1/\(identifier)/sendMessage",
                headers: [
                    ("Authorization", "Bearer \(token)"), ("Content-Type", "application/json"),
                    ("timestamp", String(time.seconds * 1000)),
                ],
                body: message.merged(with: [
                    "token": .array(targets.map { .string($0.token) })
                ]).bytes), longestAnswer: PushAnswers.longest(targets.count))
    }

    private func message(_ notification: PushNotification) -> JSONValue {
        let lifetime = max(1, notification.lifetime(atMost: Self.longestLifetime))
        var android: [String: JSONValue] = ["ttl": .string("\(lifetime)s")]
        android["biTag"] = (notification.receipt?.reference).map { .string($0) }
        if notification.isVisible {
            var shown: [String: JSONValue] = [
                "title": .string(notification.heading), "body": .string(notification.text),
                "importance": .string("NORMAL"), "notifyId": .integer(notification.place),
                "clickAction": .object(["type": .integer(3)]),
            ]
            if let badgeClass,
                let (name, count) = notification.badge(set: "setNum", add: "addNum")
            {
                shown["badge"] = .object([
                    name: .integer(count), "badgeClass": .string(badgeClass),
                ])
            }
            android["notification"] = .object(shown)
        }
        let data = String(decoding: JSONValue.object(notification.fields).bytes, as: UTF8.self)
        return JSONValue.object(["android": .object(android), "data": .string(data)])
            .merged(
                with: notification.content?.extras[.honor], except: ["token", "topic", "condition"])
    }

    // MARK: An answer

    /// Clients of Honor do not agree which code is a success, so `sendResult` says it.
    func judge(
        _ response: HTTPResponse, to targets: [PushTarget], at time: PushTime
    ) -> PushAnswers {
        let json = JSONValue(response.body)
        let code = json?["code"]?.code ?? String(response.status)
        return judge(code, json ?? .null, response, to: targets, at: time)
    }

    func judge(
        _ code: String, _ json: JSONValue, _ response: HTTPResponse, to targets: [PushTarget],
        at time: PushTime
    ) -> PushAnswers {
        func answer(_ outcome: PushOutcome, _ reason: PushReason) -> PushAnswer {
            PushAnswer(outcome, reason, code: code)
        }
        let gone = answer(.invalidToken(.token, since: nil), .unregistered)
        if code == "80300007" { return PushAnswers(gone) }
        if response.status == 401 || code == "401" {
            return PushAnswers(answer(.authorizationExpired(.expired), .credentialExpired))
        }
        guard response.isSuccess else {
            return PushAnswers(PushAnswer(status: response, at: time, code: code))
        }
        guard let data = json["data"], case .boolean(let isSent)? = data["sendResult"] else {
            return PushAnswers(.garbage(response))
        }
        var answers = PushAnswers(
            isSent ? answer(.accepted, .accepted) : answer(.rejected, .request),
            except: data["failTokens"]?.texts ?? [],
            // Those that stay among them are gone.
            answer(.retry(.device, after: nil), .unregistered), of: targets)
        let expired = PushAnswers(
            gone, except: data["expireTokens"]?.texts ?? [], gone, of: targets)
        answers.others.merge(expired.others) { $1 }
        return answers
    }
}
