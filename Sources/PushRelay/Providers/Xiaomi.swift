// Xiaomi MiPush: a form and a secret that never ends.
//
// A target is the device's regid.

internal import HTTPClient
internal import Options

/// Delivers to telephones of Xiaomi.
struct Xiaomi: MakerProvider {
    /// Characters of a title and a description, and bytes of a payload, at most.
    private static let longestTitle = 49
    private static let longestDescription = 127
    private static let longestPayload = 4095
    /// Characters of a URL for receipts at most.
    private static let longestCallback = 128
    /// Fields that are no program's business, as are those for receipts.
    private static let own: Set = ["registration_id", "restricted_package_name"]
    /// Milliseconds for which a message is kept: a day, and ten with a channel of one's own.
    private static let longestLifetime: Int64 = 86_400_000

    let app: String
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

    var batchSize: Int { 1000 }

    func request(
        _ notification: PushNotification, to targets: [PushTarget], at time: PushTime
    ) throws(PushFault) -> PushRequest {
        let longest = Self.longestLifetime * (channel == nil ? 1 : 10)
        let lifetime = min(Int64(max(0, notification.lifetime)) * 1000, longest)
        var fields = [
            ("registration_id", targets.map(\.token).joined(separator: ",")),
            ("restricted_package_name", package),
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
        if let receipt = notification.receipt, let url = receipt.url,
            url.utf8.count <= Self.longestCallback
        {
            fields += [("extra.callback", url), ("extra.callback.param", receipt.reference)]
        }
        for (name, value) in notification.content?.extras[.xiaomi] ?? [:]
        where !Self.own.contains(name) && !name.hasPrefix("extra.callback") {
            let text = value.text ?? String(decoding: value.bytes, as: UTF8.self)
            fields.removeAll { $0.0 == name }
            fields.append((name, text))
        }
        return PushRequest(
            HTTPRequest(
                "POST", "\(server)/v3/message/regid",
                headers: [("Authorization", "key=\(secret)"), ("Content-Type", FormText.type)],
                body: FormText.bytes(fields)),
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
        let gone = answer(.invalidToken(.token, since: nil), .unregistered)
        switch code {
        case "0":
            let bad = json["data"]?["bad_regids"]?.text ?? ""
            return PushAnswers(
                answer(.accepted, .accepted), except: bad.split(separator: ","), gone, of: targets)
        case "20301": return PushAnswers(gone)
        case "10002", "10003", "10027", "10037":
            let after = RetryAfter.of(response, at: time)
            return PushAnswers(answer(.retry(.circuit, after: after), .unavailable))
        case "200001": return PushAnswers(answer(.quotaOfDay, .quota))
        case "21301":
            return PushAnswers(answer(.authorizationExpired(.refused), .credentialRefused))
        case "65015": return PushAnswers(answer(.rejected, .tooLarge))
        default: return PushAnswers(.unknown(code, response, at: time))
        }
    }
}
