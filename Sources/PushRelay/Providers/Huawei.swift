// Huawei Push Kit, by client credentials.
//
// A target is the device's push token. What is to be seen is shown by the telephone itself, which
// starts no app for it; what is not goes to the app as it is.

internal import HTTPClient
internal import Options
internal import Synchronization

/// Delivers to telephones of Huawei.
final class Huawei: MakerProvider {
    /// Bytes of a message without its tokens, as Huawei counts them, and what is left of them for
    /// the spaces that may be counted too.
    static let longestMessage = 4096
    private static let longest = longestMessage - 256
    /// Seconds for which a message is kept at most.
    static let longestLifetime = 15 * 86_400

    let app: String
    private let identifier: String
    private let credentials: ClientCredentials
    private let server: String
    private let channel: String?
    private let category: String
    private let badgeClass: String?
    /// The app was not granted the haste that calls want.
    private let mayHurry = Atomic<Bool>(true)

    // MARK: The credential

    static let kind = ProviderKind.huawei

    static let fields = [
        VendorFields.appID, VendorFields.clientID, VendorFields.secretFile, VendorFields.tokenURL,
        VendorFields.channel, VendorFields.category, VendorFields.badgeClass,
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
        guard let token = credentials.token.text(at: time) else {
            throw PushFault(.authorizationExpired(.expired), .credentialExpired)
        }
        let message = try notification.fitted(
            Self.longest, { self.message($0) }, size: { $0.bytes.count })
        return PushRequest(
            HTTPRequest(
                "POST", "\(server)/v1/\(identifier)/messages:send",
                headers: [
                    ("Authorization", "Bearer \(token)"), ("Content-Type", "application/json"),
                ],
                body: JSONValue.object([
                    "message": message.merged(with: [
                        "token": .array(targets.map { .string($0.token) })
                    ])
                ]).bytes), longestAnswer: PushAnswers.longest(targets.count))
    }

    private func message(_ notification: PushNotification) -> JSONValue {
        let lifetime = max(1, notification.lifetime(atMost: Self.longestLifetime))
        let isUrgent =
            notification.hurries(notification.isUrgent) && mayHurry.load(ordering: .relaxed)
        var android: [String: JSONValue] = [
            "collapse_key": .integer(notification.place % 101),
            "urgency": .string(isUrgent ? "HIGH" : "NORMAL"),
            "category": .string(notification.kind == .call ? "VOIP" : category),
            "ttl": .string("\(lifetime)s"),
        ]
        android["bi_tag"] = (notification.receipt?.reference).map { .string($0) }
        if notification.isVisible {
            var shown: [String: JSONValue] = [
                "title": .string(notification.heading), "body": .string(notification.text),
                "importance": .string("NORMAL"), "notify_id": .integer(notification.place),
                "click_action": .object(["type": .integer(3)]),
            ]
            shown["channel_id"] = channel.map { .string($0) }
            if let badgeClass,
                let (name, count) = notification.badge(set: "set_num", add: "add_num")
            {
                shown["badge"] = .object([
                    name: .integer(count), "class": .string(badgeClass),
                ])
            }
            android["notification"] = .object(shown)
        }
        let data = String(decoding: JSONValue.object(notification.fields).bytes, as: UTF8.self)
        return JSONValue.object(["android": .object(android), "data": .string(data)])
            .merged(
                with: notification.content?.extras[.huawei],
                except: ["token", "topic", "condition"])
    }

    // MARK: An answer

    /// A success of HTTP is none of the message's: its code says what became of it.
    func judge(
        _ code: String, _ json: JSONValue, _ response: HTTPResponse, to targets: [PushTarget],
        at time: PushTime
    ) -> PushAnswers {
        func answer(_ outcome: PushOutcome, _ reason: PushReason) -> PushAnswer {
            PushAnswer(outcome, reason, code: code)
        }
        if code == "80100000" {
            // Which of the tokens are none stands in a text that is JSON.
            let list = json["msg"]?.text.flatMap { JSONValue(Array($0.utf8)) }
            return PushAnswers(
                answer(.accepted, .accepted), except: list?["illegal_tokens"]?.texts ?? [],
                answer(.invalidToken(.token, since: nil), .unregistered), of: targets)
        }
        let after = RetryAfter.of(response, at: time)
        return PushAnswers(
            self.answer(code, answer, after) ?? .unknown(code, response, at: time))
    }

    /// Nil for a code that nobody knows.
    private func answer(
        _ code: String, _ answer: (PushOutcome, PushReason) -> PushAnswer, _ after: Duration?
    ) -> PushAnswer? {
        switch code {
        case "80000000": return answer(.accepted, .accepted)
        case "80300007": return answer(.invalidToken(.token, since: nil), .unregistered)
        case "80200001", "80200003", "80200005":
            return answer(.authorizationExpired(.expired), .credentialExpired)
        case "80300002", "80600003":
            return answer(.authorizationExpired(.refused), .credentialRefused)
        case "80300011":
            mayHurry.store(false, ordering: .relaxed)
            return answer(.retry(.device, after: nil), .request)
        case "81000001": return answer(.retry(.circuit, after: after), .unavailable)
        case "80300008": return answer(.rejected, .tooLarge)
        case "80100001", "80100003", "80100004", "80100013", "80100016", "80100018", "80300010":
            return answer(.rejected, .request)
        default: return nil
        }
    }
}
