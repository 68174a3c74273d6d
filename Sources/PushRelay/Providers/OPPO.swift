// OPPO Push, also for OnePlus and realme: a signature buys an access token for a day.
//
// A target is the device's registration id. Its beginning says where the telephone was sold: another
// host serves those from outside of China. Everything that comes is shown.

internal import HTTPClient
internal import Options
internal import TLS

/// Delivers to telephones of OPPO.
final class OPPO: MakerProvider {
    /// Characters of a title and a content at most.
    private static let longestTitle = 50
    private static let longestContent = 50
    /// Characters of what the app gets, at most.
    private static let longestParameters = 4000
    /// Seconds for which a message is kept, and a token lives, at most.
    private static let longestLifetime = 10 * 86_400
    private static let tokenLife: Int64 = 86_400
    /// Where receipts go, and what is shown once, is no program's business.
    private static let own: Set = ["call_back_url", "call_back_parameter", "app_message_id"]
    /// What a minute's limit is waited for.
    private static let minute: Duration = .seconds(60)

    let app: String
    private let key: String
    private let secret: String
    private let server: String
    private let channel: String?
    private let category: String?
    private let template: String?
    private let token = AccessToken(early: 3600)
    /// The same for telephones from outside of China.
    private let abroad: OPPO?

    // MARK: The credential

    static let kind = ProviderKind.oppo

    static let fields = [
        VendorFields.appKey, VendorFields.secretFile, VendorFields.channel, VendorFields.category,
        RecordField(
            name: "template_id",
            help: "the template that was granted for private messages; it stands for their text."),
        RecordField(
            name: "url_abroad",
            help: "the server for telephones from outside of China, such as one for tests."),
    ]

    static func problems(
        of record: ConfigurationRecord
    ) -> [(text: String, advice: String)] {
        var problems = VendorFields.problems(of: record, needs: ["app_key", "secret_file"])
        if let url = record.string("url_abroad"), EndpointURL.server(url) == nil {
            problems.append(("url_abroad: expected a URL that begins with https://", ""))
        }
        return problems
    }

    convenience init(
        _ record: ConfigurationRecord, memory: any PushMemory, read: (String) throws -> [UInt8]
    ) throws(PushCredentialError) {
        let url = try record.server("url")
        let secret = try VendorFields.secret(record, read)
        let abroad = try OPPO(
            record, secret,
            server: try record.server("url_abroad") ?? url
                ?? "https://api-intl.push.oppomobile.com", abroad: nil)
        try self.init(
            record, secret, server: url ?? "https://api.push.oppomobile.com", abroad: abroad)
    }

    private init(
        _ record: ConfigurationRecord, _ secret: String, server: String, abroad: OPPO?
    ) throws(PushCredentialError) {
        app = record.app
        key = try record.needed("app_key")
        self.secret = secret
        self.server = server
        self.abroad = abroad
        channel = record.string("channel_id")
        category = record.string("category")
        template = record.string("template_id")
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

    var expiries: [CredentialExpiry] { token.expiries + (abroad?.expiries ?? []) }

    // MARK: A request

    var batchSize: Int { 1000 }

    func circuit(of target: PushTarget) -> String {
        Self.isFromAbroad(target.token) ? "\(app) abroad" : app
    }

    func serving(_ target: PushTarget) -> any PushProvider {
        Self.isFromAbroad(target.token) ? abroad ?? self : self
    }

    /// `CN_…`, `OPPO_CN_…` and ids without such a beginning are of telephones from China.
    static func isFromAbroad(_ token: String) -> Bool {
        let parts = token.split(separator: "_", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count > 1 else { return false }
        let country = parts[0] == "OPPO" && parts.count > 2 ? parts[1] : parts[0]
        return country.utf8.count == 2 && country.utf8.allSatisfy { (0x41...0x5A).contains($0) }
            && country != "CN"
    }

    func request(
        _ notification: PushNotification, to targets: [PushTarget], at time: PushTime
    ) throws(PushFault) -> PushRequest {
        try notification.checkIsVisible()
        guard let token = token.text(at: time) else {
            throw PushFault(.authorizationExpired(.expired), .credentialExpired)
        }
        let shown = try shown(notification)
        let messages = targets.map { target -> JSONValue in
            .object([
                "target_type": .integer(2), "target_value": .string(target.token),
                // One that comes twice is shown once.
                "notification": shown.merged(with: [
                    "app_message_id": .string(Self.identifier(notification, target))
                ]),
            ])
        }
        let isOne = messages.count == 1
        let text = isOne ? messages[0].bytes : JSONValue.array(messages).bytes
        return PushRequest(
            HTTPRequest(
                "POST",
                "\(server)/server/v1/message/notification/\(isOne ? "unicast" : "unicast_batch")",
                headers: [("auth_token", token), ("Content-Type", FormText.type)],
                body: FormText.bytes([
                    (isOne ? "message" : "messages", String(decoding: text, as: UTF8.self))
                ])), longestAnswer: PushAnswers.longest(targets.count))
    }

    /// Another one for each device: of several with the same, one might be all that is sent.
    private static func identifier(
        _ notification: PushNotification, _ target: PushTarget
    ) -> String {
        let digest = DigestAlgorithm.sha256.hash(
            notification.identifier + Array(target.token.utf8))
        return String(HexDigits.text(digest).prefix(32))
    }

    private func shown(_ notification: PushNotification) throws(PushFault) -> JSONValue {
        let lifetime = notification.lifetime(atMost: Self.longestLifetime)
        var shown: [String: JSONValue] = [
            "style": .integer(1), "click_action_type": .integer(0),
            "off_line": .boolean(lifetime > 0), "off_line_ttl": .integer(Int64(lifetime)),
        ]
        // A template has its own words. What a program says has none, unless that names one.
        if let template, notification.content == nil {
            shown["private_msg_template_id"] = .string(template)
        } else {
            shown["title"] = .string(
                PushNotification.cut(notification.heading, units: Self.longestTitle))
            shown["content"] = .string(
                PushNotification.cut(notification.text, units: Self.longestContent))
        }
        shown["channel_id"] = channel.map { .string($0) }
        shown["category"] = category.map { .string($0) }
        shown["action_parameters"] = try notification.custom(Self.longestParameters).map {
            .string(String(decoding: JSONValue.object($0).bytes, as: UTF8.self))
        }
        if let receipt = notification.receipt, let url = receipt.url {
            shown["call_back_url"] = .string(url)
            shown["call_back_parameter"] = .string(receipt.reference)
        }
        let extras = notification.content?.extras[.oppo]
        if extras?["private_msg_template_id"] != nil {
            shown["title"] = nil
            shown["content"] = nil
        }
        return JSONValue.object(shown).merged(with: extras, except: Self.own)
    }

    // MARK: An answer

    func judge(
        _ code: String, _ json: JSONValue, _ response: HTTPResponse, to targets: [PushTarget],
        at time: PushTime
    ) -> PushAnswers {
        let after = RetryAfter.of(response, at: time)
        var answers = PushAnswers(
            Self.answer(code, after) ?? .unknown(code, response, at: time))
        guard code == "0", targets.count > 1 else { return answers }
        // Of several, each has a code of its own.
        var others: [String: PushAnswer] = [:]
        for item in json["data"]?.elements ?? [] {
            guard let token = item["registrationId"]?.text, let code = item["errorCode"]?.code,
                code != "0"
            else { continue }
            others[token] =
                Self.answer(code, after) ?? PushAnswer(.rejected, .request, code: code)
        }
        guard !others.isEmpty else { return answers }
        for (index, target) in targets.enumerated() {
            answers.others[index] = others[target.token]
        }
        return answers
    }

    /// Nil for a code that nobody knows.
    private static func answer(_ code: String, _ after: Duration?) -> PushAnswer? {
        func answer(_ outcome: PushOutcome, _ reason: PushReason) -> PushAnswer {
            PushAnswer(outcome, reason, code: code)
        }
        switch code {
        case "0": return answer(.accepted, .accepted)
        case "11": return answer(.authorizationExpired(.expired), .credentialExpired)
        case "12": return answer(.authorizationExpired(.refused), .credentialRefused)
        case "13": return answer(.retry(.circuit, after: after ?? minute), .rate)
        case "33": return answer(.quotaOfDay, .quota)
        case "10000": return answer(.invalidToken(.token, since: nil), .unregistered)
        case "-1", "-2": return answer(.retry(.circuit, after: after), .unavailable)
        default: return nil
        }
    }
}
