// Apple Push Notification service: one app in one environment, with a key of that environment.
//
// A target is the device's token; parameter `voip_token` is the token for calls, where the app has
// one (PushKit).

internal import HTTPClient
internal import Options
internal import TLS

/// Delivers to devices of Apple.
struct APNs: ConfiguredProvider {
    /// Where apps of a kind get their pushes from.
    enum Environment: String, Sendable, CaseIterable {
        case production, sandbox

        var server: String {
            switch self {
            case .production: "https://api.push.apple.com"
            case .sandbox: "https://api.sandbox.push.apple.com"
            }
        }
    }

    /// Bytes of a payload, of one that announces a call, and of a collapse id, at most.
    static let longestPayload = 4096
    static let longestCallPayload = 5120
    /// What is kept for a device that is away, in seconds at most.
    static let longestLifetime = 30 * 86_400
    /// The parameter with the token for calls.
    static let callToken = "voip_token"

    private let app: String
    private let environment: Environment
    private let topic: String
    private let server: String
    private let token: APNsToken

    /// Creates one; `server` is another than Apple's.
    init(
        app: String, key: SigningKey, keyID: String, teamID: String, topic: String,
        environment: Environment, server: String? = nil, memory: any PushMemory
    ) {
        self.app = app
        self.environment = environment
        self.topic = topic
        self.server = server ?? environment.server
        token = APNsToken(key: key, keyID: keyID, teamID: teamID, memory: memory)
    }

    // MARK: The credential

    static let kind = ProviderKind.apns

    static let fields = [
        RecordField(
            name: "key_file",
            help: "an absolute path of the key (.p8), mode 0600 (or 0640, for the service's group)."
        ),
        RecordField(name: "key_id", help: "the key's id, 10 characters."),
        RecordField(name: "team_id", help: "the team's id, 10 characters."),
        RecordField(name: "topic", help: "the app's bundle id."),
        RecordField(
            name: "environment", content: .choice(Environment.allCases.map(\.rawValue)),
            help: "production (the default) or sandbox. Apple's keys are for one of them: an app "
                + "that is in both has two entries with the same name."),
    ]

    static func problems(
        of record: ConfigurationRecord
    ) -> [(text: String, advice: String)] {
        var problems: [(text: String, advice: String)] = []
        for name in ["key_file", "key_id", "team_id", "topic"] where record.string(name) == nil {
            problems.append(("\(name) is missing", "add it; apns needs it"))
        }
        for name in ["key_id", "team_id"] {
            guard let id = record.string(name) else { continue }
            if id.utf8.count != 10 || !id.utf8.allSatisfy(isAlphanumeric) {
                problems.append(("\(name): expected 10 letters and digits", ""))
            }
        }
        if let topic = record.string("topic"),
            !(1...200).contains(topic.utf8.count)
                || !topic.utf8.allSatisfy({ isAlphanumeric($0) || $0 == 0x2D || $0 == 0x2E })
        {
            problems.append(("topic: expected a bundle id, such as org.example.chat", ""))
        }
        return problems
    }

    init(
        _ record: ConfigurationRecord, memory: any PushMemory, read: (String) throws -> [UInt8]
    ) throws(PushCredentialError) {
        let key: SigningKey
        let pem = try record.file("key_file", read)
        do throws(TLSError) {
            key = try SigningKey(
                pem: pem, algorithm: .es256, subject: record.string("key_file") ?? "",
                advice: "give the .p8 file as Apple made it")
        } catch {
            throw PushCredentialError(app: record.app, subject: "key_file", error.description)
        }
        self.init(
            app: record.app, key: key, keyID: try record.needed("key_id"),
            teamID: try record.needed("team_id"), topic: try record.needed("topic"),
            environment: record.string("environment").flatMap { Environment(rawValue: $0) }
                ?? .production, server: try record.server("url"), memory: memory)
    }

    // MARK: A request

    var kind: ProviderKind { Self.kind }

    func circuit(of target: PushTarget) -> String {
        environment == .production ? app : "\(app)/\(environment.rawValue)"
    }

    func problem(of target: PushTarget) -> String? {
        if !Self.isToken(target.token) {
            return "expected a device token of 64 to 200 hexadecimal digits"
        }
        if let token = target.parameters[Self.callToken], !Self.isToken(token) {
            return "\(Self.callToken): expected 64 to 200 hexadecimal digits"
        }
        return nil
    }

    func request(
        _ notification: PushNotification, to target: PushTarget, at time: PushTime
    ) throws(PushFault) -> PushRequest {
        guard problem(of: target) == nil else {
            throw PushFault(.invalidToken(.token, since: nil), .badToken)
        }
        // The end of a call goes where the call went, to take its place.
        let callToken = notification.isUrgent ? target.parameters[Self.callToken] : nil
        let isSeen = notification.isVisible || notification.content?.badge != nil
        let type = callToken != nil ? "voip" : isSeen ? "alert" : "background"
        let body = try notification.fitted(
            callToken != nil ? Self.longestCallPayload : Self.longestPayload
        ) { Self.payload($0, type: type) }
        let lifetime = notification.lifetime(atMost: Self.longestLifetime)
        let headers: [(name: String, value: String)] = [
            ("authorization", "bearer \(try token.text(at: time))"),
            ("apns-topic", callToken != nil ? "\(topic).voip" : topic),
            ("apns-push-type", type),
            ("apns-priority", type != "background" && notification.hurries(true) ? "10" : "5"),
            ("apns-expiration", lifetime == 0 ? "0" : String(time.seconds + Int64(lifetime))),
            ("apns-collapse-id", Base64URL.encode(notification.collapse.prefix(32))),
            ("apns-id", notification.uuid),
            ("content-type", "application/json"),
        ]
        return PushRequest(
            HTTPRequest(
                "POST", "\(server)/3/device/\(callToken ?? target.token)", headers: headers,
                body: body), needsHTTP2: true)
    }

    private static func payload(_ notification: PushNotification, type: String) -> [UInt8] {
        var fields = notification.fields
        var aps: [String: JSONValue] = [:]
        switch type {
        case "alert":
            if notification.isVisible {
                // The app's own extension looks into it before it is shown.
                aps["mutable-content"] = .integer(1)
                aps["sound"] = .string("default")
                var alert: [String: JSONValue] = ["body": .string(notification.text)]
                alert["title"] = notification.sender.map { .string($0) }
                aps["alert"] = .object(alert)
            }
            aps["badge"] = notification.unread.map { .integer(Int64(max(0, $0))) }
            for name in ["sender", "body", "title", "text", "badge"] { fields[name] = nil }
        case "background": aps["content-available"] = .integer(1)
        default: break
        }
        fields["aps"] = .object(aps)
        return JSONValue.object(fields).merged(with: notification.content?.extras[.apns]).bytes
    }

    func renew(at time: PushTime) { token.refuse() }

    var expiries: [CredentialExpiry] {
        token.expiry.map { [CredentialExpiry(kind: "jwt", time: $0)] } ?? []
    }

    // MARK: An answer

    func judge(
        _ response: HTTPResponse, to target: PushTarget, at time: PushTime
    ) -> PushAnswer {
        let json = JSONValue(response.body)
        let reason = json?["reason"]?.text
        if response.isSuccess {
            // Apple's has no body.
            return response.status == 200 && response.body.isEmpty
                ? PushAnswer(.accepted, .accepted) : .garbage(response)
        }
        guard let reason, let answer = answer(reason, json, response, time) else {
            return PushAnswer(
                status: response, at: time, waiter: response.status == 429 ? .device : .circuit,
                code: target.shown(reason))
        }
        return answer
    }

    /// Nil for a reason that nobody knows.
    private func answer(
        _ reason: String, _ json: JSONValue?, _ response: HTTPResponse, _ time: PushTime
    ) -> PushAnswer? {
        let after = RetryAfter.of(response, at: time)
        func answer(_ outcome: PushOutcome, _ why: PushReason) -> PushAnswer {
            PushAnswer(outcome, why, code: reason)
        }
        switch reason {
        case "Unregistered", "ExpiredToken":
            return answer(.invalidToken(.token, since: Self.since(json, time)), .unregistered)
        case "BadDeviceToken":
            return answer(.invalidToken(.environment, since: nil), .badToken)
        case "DeviceTokenNotForTopic":
            return answer(.invalidToken(.app, since: nil), .otherApp)
        case "ExpiredProviderToken":
            return answer(.authorizationExpired(.expired), .credentialExpired)
        case "InvalidProviderToken", "MissingProviderToken", "BadCertificate",
            "BadCertificateEnvironment", "UnrelatedKeyIdInToken", "BadEnvironmentKeyInToken",
            "BadEnvironmentKeyIdInToken":
            return answer(.authorizationExpired(.refused), .credentialRefused)
        case "TooManyRequests":
            return answer(.retry(.device, after: after), .rate)
        case "TooManyProviderTokenUpdates":
            token.stopSigning(at: time)
            return answer(.retry(.circuit, after: .seconds(APNsToken.pause)), .rate)
        case "InternalServerError", "ServiceUnavailable", "Shutdown", "IdleTimeout":
            return answer(.retry(.circuit, after: after), .unavailable)
        case "PayloadTooLarge":
            return answer(.rejected, .tooLarge)
        case "BadCollapseId", "BadExpirationDate", "BadMessageId", "BadPriority", "BadTopic",
            "DuplicateHeaders", "InvalidPushType", "MissingDeviceToken", "MissingTopic",
            "PayloadEmpty", "TopicDisallowed", "Forbidden", "BadPath", "MethodNotAllowed":
            return answer(.rejected, .request)
        default:
            return nil
        }
    }

    /// Milliseconds become seconds; a time to come would outlast every later registration.
    private static func since(_ json: JSONValue?, _ time: PushTime) -> Int64? {
        guard let milliseconds = json?["timestamp"]?.whole, milliseconds > 0 else { return nil }
        return time.isRight ? min(milliseconds / 1000, time.seconds) : milliseconds / 1000
    }

    private static func isToken(_ text: String) -> Bool {
        (64...200).contains(text.utf8.count) && text.utf8.count % 2 == 0
            && text.utf8.allSatisfy { byte in
                switch byte {
                case 0x30...0x39, 0x41...0x46, 0x61...0x66: true
                default: false
                }
            }
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
        default: false
        }
    }
}
