// Xiaomi MiPush: a form and a secret that never ends.
//
// A target is the device's regid.

internal import HTTPClient
internal import Options

/// Delivers to telephones of Xiaomi.
struct Xiaomi: ConfiguredProvider {
    /// Characters of a title and a description, and bytes of a payload, at most.
    private static let longestTitle = 49
    private static let longestDescription = 127
    private static let longestPayload = 4095
    /// Milliseconds for which a message is kept: a day, and ten with a channel of one's own.
    private static let longestLifetime: Int64 = 86_400_000

    private let app: String
    private let package: String
    private let secret: String
    private let server: String
    private let channel: String?

    // MARK: The credential

    static let kind = ProviderKind.xiaomi

    static let fields = [
        RecordField(name: "package", help: "the app's package name."),
        VendorFields.secretFile, VendorFields.channel,
    ]

    static func problems(
        of record: ConfigurationRecord
    ) -> [(text: String, advice: String)] {
        VendorFields.problems(of: record, needs: ["package", "secret_file"])
    }

    init(
        _ record: ConfigurationRecord, memory: any PushMemory, read: (String) throws -> [UInt8]
    ) throws(PushCredentialError) {
        app = record.app
        package = try record.needed("package")
        secret = try VendorFields.secret(record, read)
        server = try record.server("url") ?? "https://api.xmpush.xiaomi.com"
        channel = record.string("channel_id")
    }

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
        let longest = Self.longestLifetime * (channel == nil ? 1 : 10)
        let lifetime = min(Int64(max(0, notification.lifetime)) * 1000, longest)
        var fields = [
            ("registration_id", target.token), ("restricted_package_name", package),
            ("payload", try notification.data(Self.longestPayload)),
            ("time_to_live", String(lifetime)),
        ]
        if notification.isVisible {
            fields += [
                ("pass_through", "0"), ("notify_type", "-1"),
                ("notify_id", String(notification.place)),
                ("title", PushNotification.cut(notification.heading, units: Self.longestTitle)),
                (
                    "description",
                    PushNotification.cut(notification.text, units: Self.longestDescription)
                ),
                ("extra.notify_effect", "1"),
            ]
        } else {
            fields.append(("pass_through", "1"))
        }
        if let channel { fields.append(("extra.channel_id", channel)) }
        return PushRequest(
            HTTPRequest(
                "POST", "\(server)/v3/message/regid",
                headers: [("Authorization", "key=\(secret)"), ("Content-Type", FormText.type)],
                body: FormText.bytes(fields)))
    }

    // MARK: An answer

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
        case "0":
            let bad = json?["data"]?["bad_regids"]?.text ?? ""
            return bad.split(separator: ",").contains(target.token[...])
                ? answer(.invalidToken(.token, since: nil), .unregistered)
                : answer(.accepted, .accepted)
        case "20301": return answer(.invalidToken(.token, since: nil), .unregistered)
        case "10002", "10003", "10027", "10037":
            let after = RetryAfter.of(response, at: time)
            return answer(.retry(.circuit, after: after), .unavailable)
        case "200001": return answer(.quotaOfDay, .quota)
        case "21301": return answer(.authorizationExpired(.refused), .credentialRefused)
        case "65015": return answer(.rejected, .tooLarge)
        default: return answer(.rejected, .request)
        }
    }
}
