// Web Push (RFC 8030, 8291, 8292): browsers, and apps that speak like them.
//
// A target is the subscription's endpoint; parameters `p256dh` and `auth` are its keys. The keys of
// users' own subscriptions were made for the server's VAPID key; an app of the configuration may have
// its own.

internal import HTTPClient
internal import Options
internal import TLS

/// Delivers to the endpoints of subscriptions.
struct WebPush: ConfiguredProvider {
    /// Seconds for which services keep a message, at most.
    static let longestLifetime = 2_419_200
    /// Bytes of an endpoint at most.
    static let longestEndpoint = 2048

    private let vapid: VAPID
    private let allowsHTTP: Bool

    /// Creates one.
    ///
    /// - Parameter allowsHTTP: whether an endpoint may be `http:`.
    init(vapid: VAPID, allowsHTTP: Bool = false) {
        self.vapid = vapid
        self.allowsHTTP = allowsHTTP
    }

    // MARK: The credential

    static let kind = ProviderKind.webPush

    static let fields = [
        RecordField(
            name: "contact",
            help: "mailto: or https: address of who answers for the app (the default is "
                + "push.contact)."),
        RecordField(
            name: "key_file",
            help: "an absolute path of a VAPID key (PEM, P-256), mode 0600; without it one is made "
                + "and kept."),
    ]

    static func problems(
        of record: ConfigurationRecord
    ) -> [(text: String, advice: String)] {
        var problems: [(text: String, advice: String)] = []
        if let contact = record.string("contact"),
            let problem = VAPID.problem(ofContact: contact)
        {
            problems.append(("contact: \(problem)", ""))
        }
        if record.string("url") != nil {
            problems.append(("url: a subscription names its server", "remove it"))
        }
        return problems
    }

    init(
        _ record: ConfigurationRecord, memory: any PushMemory, read: (String) throws -> [UInt8]
    ) throws(PushCredentialError) {
        let key: SigningKey
        if let file = record.string("key_file") {
            let pem = try record.file("key_file", read)
            do throws(TLSError) {
                key = try SigningKey(pem: pem, algorithm: .es256, subject: file)
            } catch {
                throw PushCredentialError(app: record.app, subject: "key_file", error.description)
            }
        } else {
            key = try VAPID.key("vapid.app.\(record.app)", in: memory)
        }
        self.init(vapid: try VAPID(key: key, contact: record.string("contact")))
    }

    func with(contact: String?, allowsHTTP: Bool) throws(PushCredentialError) -> Self {
        WebPush(
            vapid: vapid.contact == nil ? try VAPID(key: vapid.key, contact: contact) : vapid,
            allowsHTTP: allowsHTTP)
    }

    // MARK: A request

    var kind: ProviderKind { Self.kind }

    func circuit(of target: PushTarget) -> String {
        EndpointURL(target.token)?.circuit ?? ""
    }

    func problem(of target: PushTarget) -> String? {
        UsersHost.problem(target.token, longest: Self.longestEndpoint, allowsHTTP: allowsHTTP)
            ?? WebPushKeys.problem(of: target)
    }

    func request(
        _ notification: PushNotification, to target: PushTarget, at time: PushTime
    ) throws(PushFault) -> PushRequest {
        guard let endpoint = EndpointURL(target.token, longest: Self.longestEndpoint),
            endpoint.isSecure || allowsHTTP, let keys = WebPushKeys(target)
        else { throw PushFault(.invalidToken(.token, since: nil), .badToken) }
        let plaintext = try notification.fitted(WebPushEncryption.longestPlaintext) {
            JSONValue.object($0.fields).bytes
        }
        let body: [UInt8]
        do throws(TLSError) {
            body = try WebPushEncryption.encrypt(plaintext, for: keys)
        } catch {
            // Only a key that is no point of the curve is the target's fault.
            guard error.code == .malformed else {
                throw PushFault(.retry(.device, after: nil), .unavailable, code: "encryption")
            }
            throw PushFault(.invalidToken(.token, since: nil), .badToken, code: "p256dh")
        }
        let headers = [
            ("Content-Encoding", "aes128gcm"), ("Content-Type", "application/octet-stream"),
            ("Authorization", try vapid.authorization(for: endpoint.origin, at: time)),
        ]
        return PushRequest(
            HTTPRequest(
                "POST", endpoint.text, headers: Self.headers(notification) + headers, body: body),
            isToUsersHost: true)
    }

    /// What RFC 8030 section 5 says of a message.
    static func headers(_ notification: PushNotification) -> [(name: String, value: String)] {
        let urgency =
            notification.hurries(notification.isUrgent)
            ? "high" : notification.isVisible ? "normal" : "low"
        return [
            ("TTL", String(notification.lifetime(atMost: longestLifetime))),
            ("Urgency", urgency),
            // 24 bytes are 32 characters.
            ("Topic", Base64URL.encode(notification.collapse.prefix(24))),
        ]
    }

    func renew(at time: PushTime) { vapid.forget() }

    // MARK: An answer

    func judge(
        _ response: HTTPResponse, to target: PushTarget, at time: PushTime
    ) -> PushAnswer {
        let code = String(response.status)
        switch response.status {
        case 404, 410:
            return PushAnswer(.invalidToken(.token, since: nil), .unregistered, code: code)
        case 401:
            return PushAnswer(.authorizationExpired(.expired), .credentialExpired, code: code)
        case 403:
            // Mostly the subscription was made for another key. One of a user's must not stop
            // those of all others at the same service.
            return PushAnswer(.rejected, .credentialRefused, code: code)
        default:
            return PushAnswer(status: response, at: time, waiter: .device)
        }
    }
}
