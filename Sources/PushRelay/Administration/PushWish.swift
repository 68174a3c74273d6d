// What an administrator wants of the push relay, and what comes back, as values that go through the
// control socket as JSON.

/// The parts of a wish; each operation reads its own.
public struct PushWish: Codable, Sendable, Equatable {
    /// The number of a target.
    public var target: Int64?
    /// The number of a push that was given up; nil for all.
    public var letter: Int64?
    /// More are not listed.
    public var limit: Int?
    /// A target to add.
    public var new: NewPushTarget?
    /// A token for a program, to make.
    public var newToken: NewAPIToken?
    /// The name of a token.
    public var token: String?
    /// Whether with a token also what it wanted to be sent goes.
    public var cancels: Bool?

    /// Creates a wish.
    public init(
        target: Int64? = nil, letter: Int64? = nil, limit: Int? = nil, new: NewPushTarget? = nil,
        newToken: NewAPIToken? = nil, token: String? = nil, cancels: Bool? = nil
    ) {
        self.newToken = newToken
        self.token = token
        self.cancels = cancels
        self.target = target
        self.letter = letter
        self.limit = limit
        self.new = new
    }
}

/// A target of a user's own. Secret: no answer and no log repeats its URL or what belongs to it.
public struct NewPushTarget: Codable, Sendable, Equatable {
    /// Those that need no app of the configuration.
    public static let kinds: [ProviderKind] = [.ntfy, .gotify, .unifiedPush]

    /// Who delivers.
    public var provider: ProviderKind
    /// The topic, the server or the endpoint.
    public var url: String
    /// The token of ntfy or Gotify, or the secret of an encrypted endpoint (`auth`).
    public var secret: String?
    /// The public key of an encrypted endpoint.
    public var publicKey: String?
    /// The resource of the client whose messages it is for; nil for the account as a whole.
    public var resource: String?
    /// It is woken though another client is in use.
    public var isAlways: Bool

    /// Creates a target.
    public init(
        _ provider: ProviderKind, url: String, secret: String? = nil, publicKey: String? = nil,
        resource: String? = nil, isAlways: Bool = false
    ) {
        self.provider = provider
        self.url = url
        self.secret = secret
        self.publicKey = publicKey
        self.resource = resource
        self.isAlways = isAlways
    }
}

/// What came of a wish; each operation fills in its own part.
public struct PushReport: Codable, Sendable, Equatable {
    /// A list of targets.
    public var targets: PushTargetList?
    /// The target that was added or removed.
    public var target: PushTargetDescription?
    /// Whether it was there already, and has new values now.
    public var isReplaced: Bool?
    /// What waits.
    public var queue: PushQueueDescription?
    /// What was given up.
    public var dead: DeadPushList?
    /// So many of them were forgotten.
    public var dropped: Int?
    /// What came of trying them again.
    public var redriven: PushRedriving?
    /// How it is with those who deliver.
    public var providers: PushProvidersDescription?
    /// How far a test is.
    public var test: PushTestProgress?
    /// The tokens of programs; one that was made or revoked.
    public var tokens: [APITokenDescription]?
    /// The text of the token that was made. Secret: it is shown once, to who made it.
    public var tokenText: String?
    /// So many tasks were cancelled.
    public var cancelled: Int?

    /// Creates an empty report.
    public init() {}
}

/// Why a wish was refused, in a sentence that holds nothing secret.
public struct PushRefused: Error, Sendable, Equatable, CustomStringConvertible {
    /// The sentence.
    public let description: String

    /// Creates a refusal.
    public init(_ description: String) { self.description = description }
}
