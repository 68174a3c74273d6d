// Firebase Cloud Messaging, HTTP v1: one project, with a service account.
//
// A target is the device's registration token. Messages are data only: the app says what is shown.

internal import HTTPClient
internal import Options
internal import TLS

/// Delivers to Android devices that have Google's services.
struct FCM: ConfiguredProvider {
    /// Bytes of a payload, and seconds for which it is kept, at most.
    static let longestPayload = 4096
    static let longestLifetime = 2_419_200
    /// How long to wait where Google does not say.
    private static let quotaPause: Duration = .seconds(60)
    private static let outagePause: Duration = .seconds(10)

    private let app: String
    private let account: FCMAccount
    private let server: String

    /// Creates one; `server` is another than Google's.
    init(app: String, account: FCMAccount, server: String? = nil) {
        self.app = app
        self.account = account
        self.server = server ?? "https://fcm.googleapis.com"
    }

    // MARK: The credential

    static let kind = ProviderKind.fcm

    static let fields = [
        RecordField(
            name: "service_account_file",
            help:
                "an absolute path of the service account's JSON file, mode 0600 (or 0640, for the "
                + "service's group)."),
        RecordField(name: "token_url", help: "another server than Google's for access tokens."),
    ]

    static func problems(
        of record: ConfigurationRecord
    ) -> [(text: String, advice: String)] {
        var problems: [(text: String, advice: String)] = []
        if record.string("service_account_file") == nil {
            problems.append(("service_account_file is missing", "add it; fcm needs it"))
        }
        if let url = record.string("token_url"), EndpointURL.server(url) == nil {
            problems.append(("token_url: expected a URL that begins with https://", ""))
        }
        return problems
    }

    init(
        _ record: ConfigurationRecord, memory: any PushMemory, read: (String) throws -> [UInt8]
    ) throws(PushCredentialError) {
        let field = "service_account_file"
        let account = try FCMAccount(
            try record.file(field, read), tokenURL: try record.server("token_url"),
            app: record.app, subject: "\(field): \(record.string(field) ?? "")")
        self.init(app: record.app, account: account, server: try record.server("url"))
    }

    func authorization(at time: PushTime) throws(PushFault) -> PushRequest? {
        try account.authorization(at: time)
    }

    func authorize(_ response: HTTPResponse, at time: PushTime) -> PushAnswer {
        account.authorize(response, at: time)
    }

    func renew(at time: PushTime) { account.forget() }

    var expiries: [CredentialExpiry] { account.expiries }

    // MARK: A request

    var kind: ProviderKind { Self.kind }

    func circuit(of target: PushTarget) -> String { app }

    func problem(of target: PushTarget) -> String? {
        let isToken =
            (1...4096).contains(target.token.utf8.count)
            && target.token.utf8.allSatisfy { (0x21...0x7E).contains($0) }
        return isToken ? nil : "expected a registration token: printable characters, 4096 at most"
    }

    func request(
        _ notification: PushNotification, to target: PushTarget, at time: PushTime
    ) throws(PushFault) -> PushRequest {
        guard problem(of: target) == nil else {
            throw PushFault(.invalidToken(.token, since: nil), .badToken)
        }
        guard let token = account.token(at: time) else {
            throw PushFault(.authorizationExpired(.expired), .credentialExpired)
        }
        // Google counts names and values; that as JSON is never less.
        let data = try notification.fitted(
            Self.longestPayload, { JSONValue.object(Self.data($0)) }, size: { $0.bytes.count })
        let isUrgent = notification.hurries(notification.isUrgent || notification.isVisible)
        let lifetime = notification.lifetime(atMost: Self.longestLifetime)
        var android: [String: JSONValue] = [
            "priority": .string(isUrgent ? "HIGH" : "NORMAL"), "ttl": .string("\(lifetime)s"),
        ]
        // What programs tell would need more keys than Google keeps: the app sees to it.
        if notification.content == nil {
            android["collapse_key"] = .string(Self.collapseKey(notification))
        }
        let message = JSONValue.object([
            "token": .string(target.token), "data": data, "android": .object(android),
        ]).merged(with: notification.content?.extras[.fcm], except: Self.own)
        return PushRequest(
            HTTPRequest(
                "POST", "\(server)/v1/projects/\(account.project)/messages:send",
                headers: [
                    ("Authorization", "Bearer \(token)"), ("Content-Type", "application/json"),
                ], body: JSONValue.object(["message": message]).bytes))
    }

    /// Where it goes is no program's business.
    private static let own: Set = ["token", "topic", "condition", "name"]

    /// Google keeps four keys for a device. What only wakes an app needs one for each account, as
    /// in p2; what says more has one for its conversation; a call takes no message's place.
    static func collapseKey(_ notification: PushNotification) -> String {
        if notification.sender != nil || notification.body != nil {
            return String(HexDigits.text(notification.collapse).prefix(6))
        }
        let use = notification.isUrgent ? "call:" : ""
        let digest = DigestAlgorithm.sha256.hash(Array((use + notification.account).utf8))
        return String(HexDigits.text(digest).prefix(6))
    }

    /// Values are texts, whatever they are.
    private static func data(_ notification: PushNotification) -> [String: JSONValue] {
        var fields = notification.fields.mapValues { value -> JSONValue in
            .string(value.text ?? String(decoding: value.bytes, as: UTF8.self))
        }
        if notification.content != nil {
            fields["collapse"] = .string(
                String(HexDigits.text(notification.collapse).prefix(16)))
        }
        // As p2 has it: an account, perhaps a room, no more.
        if notification.kind == .message { fields["type"] = nil }
        return fields
    }

    // MARK: An answer

    func judge(
        _ response: HTTPResponse, to target: PushTarget, at time: PushTime
    ) -> PushAnswer {
        let json = JSONValue(response.body)
        if response.isSuccess {
            let isMessage = json?["name"]?.text?.hasPrefix("projects/") ?? false
            return isMessage ? PushAnswer(.accepted, .accepted) : .garbage(response)
        }
        let error = json?["error"]
        let details = error?["details"]?.elements ?? []
        let code = Self.detail(details, "google.firebase.fcm.v1.FcmError")?["errorCode"]?.text
        let status = error?["status"]?.text
        guard
            let answer = Self.answer(code ?? status ?? "", error, response, time)
                ?? status.flatMap({ Self.answer($0, error, response, time) })
        else {
            // A proxy's 401 is no reason to call the credential bad.
            if response.status == 401 {
                return PushAnswer(.authorizationExpired(.expired), .credentialExpired, code: "401")
            }
            return PushAnswer(status: response, at: time, code: target.shown(code ?? status))
        }
        return answer
    }

    /// Nil for a code that nobody knows.
    private static func answer(
        _ code: String, _ error: JSONValue?, _ response: HTTPResponse, _ time: PushTime
    ) -> PushAnswer? {
        let details = error?["details"]?.elements ?? []
        let after = RetryAfter.of(response, at: time)
        func answer(_ outcome: PushOutcome, _ reason: PushReason) -> PushAnswer {
            PushAnswer(outcome, reason, code: code)
        }
        switch code {
        case "UNREGISTERED":
            return answer(.invalidToken(.token, since: nil), .unregistered)
        case "SENDER_ID_MISMATCH":
            return answer(.invalidToken(.app, since: nil), .otherApp)
        case "INVALID_ARGUMENT":
            return isAboutToken(error, details)
                ? answer(.invalidToken(.token, since: nil), .badToken)
                : answer(.rejected, .request)
        case "QUOTA_EXCEEDED", "RESOURCE_EXHAUSTED":
            let violations =
                detail(details, "google.rpc.QuotaFailure")?["violations"]?.elements ?? []
            let isDevice = violations.contains {
                $0["subject"]?.text?.hasPrefix("device:") ?? false
            }
            return answer(
                .retry(isDevice ? .device : .circuit, after: after ?? quotaPause), .quota)
        case "UNAVAILABLE", "INTERNAL":
            return answer(.retry(.circuit, after: after ?? outagePause), .unavailable)
        case "THIRD_PARTY_AUTH_ERROR":
            return answer(.authorizationExpired(.refused), .credentialRefused)
        case "UNAUTHENTICATED":
            return answer(.authorizationExpired(.expired), .credentialExpired)
        case "PERMISSION_DENIED":
            return answer(.authorizationExpired(.refused), .credentialRefused)
        default:
            return nil
        }
    }

    private static func detail(_ details: [JSONValue], _ type: String) -> JSONValue? {
        details.first { $0["@type"]?.text?.hasSuffix(type) ?? false }
    }

    /// A bad argument is the token only where Google says so; otherwise it is our own mistake.
    private static func isAboutToken(_ error: JSONValue?, _ details: [JSONValue]) -> Bool {
        // Mostly it says so in its message only.
        if error?["message"]?.text?.hasPrefix("The registration token is not a valid") ?? false {
            return true
        }
        let violations =
            detail(details, "google.rpc.BadRequest")?["fieldViolations"]?.elements ?? []
        return violations.contains { $0["field"]?.text == "message.token" }
    }
}
