// Meizu Flyme Push: every request is signed.
//
// A target is the device's pushId. Everything that comes is shown.

internal import HTTPClient
internal import Options
internal import TLS

/// Delivers to telephones of Meizu.
struct Meizu: MakerProvider {
    /// Characters of a title and a content at most.
    private static let longestTitle = 32
    private static let longestContent = 100
    /// Characters of what the app gets, at most.
    private static let longestParameters = 1024
    /// Hours for which a message is kept at most.
    private static let longestHours = 72

    let app: String
    private let identifier: String
    private let secret: String
    private let server: String

    // MARK: The credential

    static let kind = ProviderKind.meizu

    static let fields = [VendorFields.appID, VendorFields.secretFile]

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
        secret = try VendorFields.secret(record, read)
        server = try record.server("url") ?? "https://server-api-push.meizu.com"
    }

    // MARK: A request

    var batchSize: Int { 100 }

    func request(
        _ notification: PushNotification, to targets: [PushTarget], at time: PushTime
    ) throws(PushFault) -> PushRequest {
        try notification.checkIsVisible()
        let hours = (notification.lifetime(atMost: Self.longestHours * 3600) + 3599) / 3600
        var message: [String: JSONValue] = [
            "noticeBarInfo": .object([
                "noticeMsgType": .integer(1), "noticeBarType": .integer(0),
                "title": .string(
                    PushNotification.cut(notification.heading, units: Self.longestTitle)),
                "content": .string(
                    PushNotification.cut(notification.text, units: Self.longestContent)),
            ]),
            "clickTypeInfo": .object(["clickType": .integer(0)]),
            "pushTimeInfo": .object([
                "offLine": .integer(notification.lifetime > 0 ? 1 : 0),
                "validTime": .integer(Int64(max(1, hours))),
            ]),
            "advanceInfo": .object([
                "notifyKey": .string(String(HexDigits.text(notification.collapse).prefix(8)))
            ]),
        ]
        if let parameters = try notification.custom(Self.longestParameters) {
            message["clickTypeInfo"] = .object([
                "clickType": .integer(0), "parameters": .object(parameters),
            ])
        }
        if let receipt = notification.receipt, let url = receipt.url {
            message["extra"] = .object([
                "callback": .string(url), "callback.param": .string(receipt.reference),
            ])
        }
        let text = JSONValue.object(message).merged(
            with: notification.content?.extras[.meizu], except: ["extra"])
        var fields = [
            ("appId", identifier),
            ("messageJson", String(decoding: text.bytes, as: UTF8.self)),
            ("pushIds", targets.map(\.token).joined(separator: ",")),
        ]
        // In the order of their names, as they are before they are escaped.
        let signed = fields.map { "\($0)=\($1)" }.joined() + secret
        guard let digest = MD5.hash(Array(signed.utf8)) else {
            throw PushFault(.authorizationExpired(.refused), .credentialRefused, code: "no MD5")
        }
        fields.append(("sign", HexDigits.text(digest)))
        return PushRequest(
            HTTPRequest(
                "POST", "\(server)/garcia/api/server/push/varnished/pushByPushId",
                headers: [("Content-Type", FormText.type)], body: FormText.bytes(fields)),
            longestAnswer: PushAnswers.longest(targets.count))
    }

    // MARK: An answer

    func judge(
        _ code: String, _ json: JSONValue, _ response: HTTPResponse, to targets: [PushTarget],
        at time: PushTime
    ) -> PushAnswers {
        func answer(_ outcome: PushOutcome, _ reason: PushReason) -> PushAnswer {
            PushAnswer(outcome, reason, code: code)
        }
        switch code {
        case "200":
            var answers = PushAnswers(answer(.accepted, .accepted))
            guard case .object(let failures)? = json["value"] else { return answers }
            for (failure, tokens) in failures {
                let other = Self.answer(ofToken: failure)
                let failed = PushAnswers(other, except: tokens.texts, other, of: targets)
                answers.others.merge(failed.others) { $1 }
            }
            return answers
        case "110010", "1003":
            return PushAnswers(
                answer(.retry(.circuit, after: RetryAfter.of(response, at: time)), .rate))
        case "110019", "110051", "110053": return PushAnswers(answer(.quotaOfDay, .quota))
        case "1006", "110000", "110001", "110009", "110031", "110033":
            return PushAnswers(answer(.authorizationExpired(.refused), .credentialRefused))
        default: return PushAnswers(.unknown(code, response, at: time))
        }
    }

    /// What it means to be in the list of a code.
    private static func answer(ofToken failure: String) -> PushAnswer {
        let code = JSONValue.string(failure).code ?? ""
        return switch code {
        case "110002", "110003", "110010":
            PushAnswer(.invalidToken(.token, since: nil), .unregistered, code: code)
        case "501", "513", "519":
            PushAnswer(.retry(.device, after: nil), .unavailable, code: code)
        // More than five in a minute are folded.
        case "520": PushAnswer(.retry(.device, after: nil), .rate, code: code)
        case "110011": PushAnswer(.quotaOfDay, .quota, code: code)
        default: PushAnswer(.rejected, .request, code: code)
        }
    }
}
