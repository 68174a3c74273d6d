// What stands behind every provider of pushes: a request is made from a notification and a target,
// and what comes back is one of six outcomes. A provider does no I/O and keeps no time: the relay
// sends its requests and says what time it is. Adding one is a file here and a line in
// `AllProviders`.

public import HTTPClient
public import Prometheus

/// Who delivers pushes; a closed set, fit for a metric's label.
public enum ProviderKind: String, MetricLabel, Codable {
    /// Another app server, by XMPP (XEP-0357).
    case xmpp
    case apns, fcm
    case webPush = "web_push"
    /// An endpoint that takes what is posted to it, encrypted or not.
    case unifiedPush = "unified_push"
    case ntfy, gotify
    /// Makers of telephones.
    case huawei, honor, xiaomi, oppo, vivo, meizu
    /// The label's name.
    public static var labelName: String { "provider" }

    /// Whether what is to wake an app has to be seen: these start none for what is not.
    var showsAll: Bool {
        switch self {
        case .huawei, .honor, .xiaomi, .oppo, .vivo, .meizu: true
        case .xmpp, .apns, .fcm, .webPush, .unifiedPush, .ntfy, .gotify: false
        }
    }

    /// Milliseconds by which its day begins before that of UTC: a quota of a day ends with it.
    var dayOffset: Int64 { showsAll ? 8 * 3_600_000 : 0 }
}

/// What somebody is to notice. It holds nothing that tells who writes what unless its receiver
/// asked for that.
public struct PushNotification: Sendable, Equatable {
    /// What happened.
    public enum Kind: Int64, Sendable, CaseIterable {
        case message = 0
        /// Somebody calls: useless once it has rung.
        case call = 1
        /// A call is over; takes the place of `call`.
        case callEnded = 2
        /// An administrator or a user tries whether it works.
        case test = 3
        /// A program tells somebody something.
        case notification = 4
    }

    /// What happened.
    public var kind: Kind
    /// The same for all tries of one notification: 16 bytes.
    public var identifier: [UInt8]
    /// What tells one account of a device from another, and nobody else anything.
    public var account: String
    /// The same of a room; nil if it is not about one.
    public var channel: String?
    /// A keyed digest of what the notification is about, 32 bytes: a later one with the same takes
    /// the place of this one. Each provider makes what it needs of it.
    public var collapse: [UInt8]
    /// How many messages nobody has seen; nil if that is not known. Absolute, for what comes between
    /// may be lost.
    public var unread: Int?
    /// Who writes; nil unless the receiver asked for it.
    public var sender: String?
    /// What is written; nil unless the receiver asked for it.
    public var body: String?
    /// Whether somebody is to see it; otherwise it only wakes the app.
    public var isVisible: Bool
    /// Seconds for which it is of use; 0 is now or never.
    public var lifetime: Int
    /// What a program adds; nil for what this server tells by itself.
    var content: PushContent?
    /// Where the provider may say that it has arrived.
    var receipt: PushReceiptAddress?

    /// Creates a notification; the parts are described at the properties.
    public init(
        _ kind: Kind, identifier: [UInt8], account: String, channel: String? = nil,
        collapse: [UInt8], unread: Int? = nil, sender: String? = nil, body: String? = nil,
        isVisible: Bool = true, lifetime: Int
    ) {
        self.kind = kind
        self.identifier = identifier
        self.account = account
        self.channel = channel
        self.collapse = collapse
        self.unread = unread
        self.sender = sender
        self.body = body
        self.isVisible = isVisible
        self.lifetime = lifetime
    }

    /// Whether it must not wait.
    public var isUrgent: Bool { kind == .call || kind == .callEnded }

    /// Whether the device is to be woken from its deepest sleep: a program says it, or else `usually`.
    func hurries(_ usually: Bool) -> Bool { content?.isHigh ?? usually }
}

/// What a program adds to a notification. Its title and text are the sender and the body.
struct PushContent: Sendable, Equatable {
    /// What an app's icon shows.
    enum Badge: Sendable, Equatable {
        case set(Int)
        case add(Int)
    }

    /// For the app.
    var data: [String: JSONValue] = [:]
    /// What a device's own count becomes, where the service counts.
    var badge: Badge?
    /// It is worth the battery.
    var isHigh = true
    /// What only one service knows, as that names it.
    var extras: [ProviderKind: [String: JSONValue]] = [:]
}

/// Where a provider may say what became of a notification.
struct PushReceiptAddress: Sendable, Equatable {
    /// Of this server; an unguessable one. Nil where the provider is told once, in its console.
    var url: String?
    /// Comes back with what is said.
    var reference: String
}

/// Where a notification goes, as far as a provider has to know it. Secret: never in a log.
public struct PushTarget: Sendable, Equatable {
    /// The device's token, or the URL of an endpoint, a topic or a server.
    public var token: String
    /// What belongs to it, by the names that the provider's file gives: keys of an encryption, a
    /// credential, an environment.
    public var parameters: [String: String]

    /// Creates a target.
    public init(_ token: String, _ parameters: [String: String] = [:]) {
        self.token = token
        self.parameters = parameters
    }
}

/// A request that carries a notification or fetches an authorization.
public struct PushRequest: Sendable, Equatable {
    /// What is sent; a secret in every part.
    public var request: HTTPRequest
    /// Only HTTP/2 will do.
    public var needsHTTP2: Bool
    /// A user named the host: it must not be one of this network's (SSRF).
    public var isToUsersHost: Bool
    /// Bytes of an answer at most.
    public var longestAnswer: Int

    /// Creates a request.
    public init(
        _ request: HTTPRequest, needsHTTP2: Bool = false, isToUsersHost: Bool = false,
        longestAnswer: Int = 64 << 10
    ) {
        self.request = request
        self.longestAnswer = longestAnswer
        self.needsHTTP2 = needsHTTP2
        self.isToUsersHost = isToUsersHost
    }
}

/// The time, as far as it is known.
public struct PushTime: Sendable, Equatable {
    /// Seconds since 1970; may be wrong.
    public var seconds: Int64
    /// Whether it may be signed: a Pi has no clock when it boots.
    public var isRight: Bool

    /// Creates a time.
    public init(seconds: Int64, isRight: Bool = true) {
        self.seconds = seconds
        self.isRight = isRight
    }
}

/// What became of a push.
public enum PushOutcome: Sendable, Equatable {
    /// For which part of a registration a token is invalid.
    public enum Scope: Sendable, Equatable {
        /// The device is gone from it, or never was there.
        case token
        /// It is another app's.
        case app
        /// It may be the other environment's: that one is tried once, then it counts as `token`.
        case environment
    }

    /// Who has to wait.
    public enum Waiter: Sendable, Equatable {
        case device
        /// All that share the credential and the server.
        case circuit
    }

    /// What is wrong with the credential.
    public enum Credential: Sendable, Equatable {
        /// It is old: a new one may be made or fetched, once.
        case expired
        /// Somebody has to mend it: nothing more is sent with it for the time being.
        case refused
    }

    case accepted
    /// - Parameter since: the provider knew it at this time (seconds since 1970): whoever registered
    ///   later is not meant.
    case invalidToken(Scope, since: Int64?)
    /// - Parameter after: as long as the provider asked for, if it did.
    case retry(Waiter, after: Duration?)
    case authorizationExpired(Credential)
    /// It will not be accepted however often it comes.
    case rejected
    /// Nothing more is taken on this day.
    case quotaOfDay
}

/// Why; a closed set, fit for a metric's label.
public enum PushReason: String, MetricLabel, Codable {
    case accepted
    case unregistered
    case badToken = "bad_token"
    case otherApp = "other_app"
    case rate
    case quota
    case unavailable
    case timeout
    case connection
    case name
    case tls
    /// What came is not what the provider says.
    case garbage
    case redirection
    case forbiddenAddress = "forbidden_address"
    case credentialExpired = "credential_expired"
    case credentialRefused = "credential_refused"
    case tooLarge = "too_large"
    case request
    /// The clock is not right yet.
    case clock
    /// Nothing was heard of another app server.
    case noAnswer = "no_answer"
    /// Its time was over before it could be sent.
    case expired
    /// The app of the configuration is not there any more.
    case noApp = "no_app"
    /// The label's name.
    public static var labelName: String { "reason" }
}

/// An outcome with what a person wants to know about it.
public struct PushAnswer: Sendable, Equatable {
    /// Characters of a code at most.
    private static let longestCode = 64

    /// What is to be done.
    public var outcome: PushOutcome
    /// Why.
    public var reason: PushReason
    /// The provider's own word or number, such as `Unregistered` or `503`; printable ASCII, never the
    /// token.
    public var code: String

    /// Creates an answer; of the code, what cannot be printed is left out.
    public init(_ outcome: PushOutcome, _ reason: PushReason, code: String = "") {
        self.outcome = outcome
        self.reason = reason
        let printable = code.unicodeScalars.filter { (0x20...0x7E).contains($0.value) }
        self.code = String(String.UnicodeScalarView(printable.prefix(Self.longestCode)))
    }
}

/// What became of a push to several targets.
public struct PushAnswers: Sendable, Equatable {
    /// For those of which nothing else is said.
    public var rest: PushAnswer
    /// By the target's place in the request.
    public var others: [Int: PushAnswer]

    /// The same for all.
    public init(_ rest: PushAnswer, _ others: [Int: PushAnswer] = [:]) {
        self.rest = rest
        self.others = others
    }

    /// Bytes that are looked at of an answer about so many.
    static func longest(_ count: Int) -> Int { (64 << 10) + count * 512 }

    /// What became of it for the target at a place.
    public subscript(_ index: Int) -> PushAnswer { others[index] ?? rest }
}

/// Why there is no request.
public struct PushFault: Error, Sendable, Equatable {
    /// What counts as the provider's answer.
    public var answer: PushAnswer

    /// Creates a fault.
    public init(_ outcome: PushOutcome, _ reason: PushReason, code: String = "") {
        answer = PushAnswer(outcome, reason, code: code)
    }

    /// Nothing can be signed before the clock is right.
    public static let clock = PushFault(.retry(.circuit, after: nil), .clock)
}

/// When a credential ends.
public struct CredentialExpiry: Sendable, Equatable {
    /// What it is: `access_token`, `jwt`, `key`.
    public var kind: String
    /// Seconds since 1970.
    public var time: Int64
}

/// Delivers to one kind of device with one credential, or without any. Safe on any thread.
public protocol PushProvider: Sendable {
    /// Which one it is.
    var kind: ProviderKind { get }
    /// What shares a circuit breaker: the credential and the server. For one with a single server the
    /// app's name, for others the origin (`https://host:port`) of the target's URL.
    func circuit(of target: PushTarget) -> String
    /// What delivers to a target: another one where a provider has several servers.
    func serving(_ target: PushTarget) -> any PushProvider
    /// What is wrong with a target before anything is sent; nil when it is a possible one.
    func problem(of target: PushTarget) -> String?
    /// What has to be fetched before a request can be made; nil when nothing has. The relay sees to it
    /// that only one is under way.
    func authorization(at time: PushTime) throws(PushFault) -> PushRequest?
    /// The answer to that; `accepted` if a request can be made now.
    func authorize(_ response: HTTPResponse, at time: PushTime) -> PushAnswer
    /// The request that carries a notification.
    func request(
        _ notification: PushNotification, to target: PushTarget, at time: PushTime
    ) throws(PushFault) -> PushRequest
    /// What the answer to it means.
    func judge(_ response: HTTPResponse, to target: PushTarget, at time: PushTime) -> PushAnswer
    /// Targets that one request can be for at most, where all are told the same.
    var batchSize: Int { get }
    /// The request that carries a notification to several targets, all of them possible ones.
    func request(
        _ notification: PushNotification, to targets: [PushTarget], at time: PushTime
    ) throws(PushFault) -> PushRequest
    /// What the answer to it means for each.
    func judge(_ response: HTTPResponse, to targets: [PushTarget], at time: PushTime) -> PushAnswers
    /// The credential was said to be expired: make or fetch another one.
    func renew(at time: PushTime)
    /// When what it holds now ends.
    var expiries: [CredentialExpiry] { get }
}

extension PushProvider {
    /// This one.
    public func serving(_ target: PushTarget) -> any PushProvider { self }
    /// One.
    public var batchSize: Int { 1 }
    /// The one for the only target.
    public func request(
        _ notification: PushNotification, to targets: [PushTarget], at time: PushTime
    ) throws(PushFault) -> PushRequest {
        guard let target = targets.first else { throw PushFault(.rejected, .request) }
        return try request(notification, to: target, at: time)
    }
    /// That of the only target.
    public func judge(
        _ response: HTTPResponse, to targets: [PushTarget], at time: PushTime
    ) -> PushAnswers {
        PushAnswers(
            targets.first.map { judge(response, to: $0, at: time) }
                ?? PushAnswer(.rejected, .request))
    }
    /// Nothing.
    public func authorization(at time: PushTime) throws(PushFault) -> PushRequest? { nil }
    /// Nothing was asked for.
    public func authorize(_ response: HTTPResponse, at time: PushTime) -> PushAnswer {
        PushAnswer(.accepted, .accepted)
    }
    /// There is none to renew.
    public func renew(at time: PushTime) {}
    /// None.
    public var expiries: [CredentialExpiry] { [] }
}

/// What a provider keeps over restarts, such as a token that must not be signed anew too often. Safe
/// on any thread; what it keeps is encrypted at rest.
public protocol PushMemory: Sendable {
    /// What was kept under a name; nil for nothing.
    func load(_ name: String) -> [UInt8]?
    /// Keeps it, soon.
    func save(_ name: String, _ value: [UInt8])
}
