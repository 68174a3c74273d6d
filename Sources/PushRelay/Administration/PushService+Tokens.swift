// The tokens of programs, as an administrator makes and revokes them.

internal import Engine
internal import Storage

/// A token as a person may see it: never the token itself.
public struct APITokenDescription: Codable, Sendable, Equatable {
    /// What it is called.
    public var name: String
    /// What it allows.
    public var scopes: [APIScope]
    /// Requests a minute.
    public var rate: Int
    /// When it was made, when it was shown last, and when it ends, as XEP-0082 writes it.
    public var created: String
    /// Nil for never.
    public var used, expires: String?
    /// Its time is over.
    public var isOver: Bool

    init(_ token: APIToken, now: Int64) {
        name = token.name
        scopes = APIScope.allCases.filter { token.scopes.contains($0) }
        rate = token.rate
        created = Clock.timestamp(token.created)
        used = token.used.map { Clock.timestamp($0) }
        expires = token.expires.map { Clock.timestamp($0) }
        isOver = token.expires.map { now >= $0 } ?? false
    }
}

/// A token to make.
public struct NewAPIToken: Codable, Sendable, Equatable {
    /// Requests a minute, and tokens, at most.
    public static let mostRequests = 60_000
    static let mostTokens = 100
    /// Seconds.
    public static let longestLife: Int64 = 3650 * 86_400

    /// What it is called: one of a kind.
    public var name: String
    /// What it allows.
    public var scopes: [APIScope]
    /// Requests a minute.
    public var rate: Int
    /// Seconds for which it is good; nil for ever.
    public var lifetime: Int64?

    /// Creates one.
    public init(name: String, scopes: [APIScope], rate: Int, lifetime: Int64?) {
        self.name = name
        self.scopes = scopes
        self.rate = rate
        self.lifetime = lifetime
    }
}

extension PushService {
    /// Makes a token; gives what it is and its text, which nobody can ask for again. Waits for the
    /// database: never on an event loop.
    public func add(
        _ new: NewAPIToken
    ) throws -> (token: APITokenDescription, text: String) {
        let dispatcher = try dispatcher()
        guard APIName.isName(new.name) else {
            throw PushRefused("the token's name: \(APIName.advice)")
        }
        guard !new.scopes.isEmpty else { throw PushRefused("a token needs a scope") }
        guard (1...NewAPIToken.mostRequests).contains(new.rate) else {
            throw PushRefused("the rate: expected 1 to \(NewAPIToken.mostRequests) a minute")
        }
        guard (1...NewAPIToken.longestLife).contains(new.lifetime ?? 1) else {
            throw PushRefused("a token is good for ten years at most, or for ever")
        }
        let text = APIToken.make()
        let now = dispatcher.now.wall / 1000
        var token = APIToken(
            name: new.name, digest: APIToken.digest(text), scopes: Set(new.scopes),
            rate: new.rate, created: now, expires: new.lifetime.map { now + $0 })
        let fresh = token
        let id = try dispatcher.host.database.writeNow { connection -> Int64? in
            guard try APITokenStore.all(connection).count < NewAPIToken.mostTokens else {
                throw PushRefused(
                    "there are \(NewAPIToken.mostTokens) tokens already; revoke some first")
            }
            return try APITokenStore.insert(connection, fresh)
        }
        guard let id else {
            throw PushRefused("there is a token named \(new.name); revoke it first")
        }
        token.id = id
        api.good.insert(token)
        api.metrics.use.note()
        return (APITokenDescription(token, now: now), text)
    }

    /// All tokens, by name.
    public func tokens() throws -> [APITokenDescription] {
        let dispatcher = try dispatcher()
        let now = dispatcher.now.wall / 1000
        return try dispatcher.host.database.readNow { try APITokenStore.all($0) }
            .map { APITokenDescription($0, now: now) }
    }

    /// Takes a token away: nothing more is done for whoever has it.
    ///
    /// - Parameter cancels: also what it wanted to be sent and has not been yet. Gives how many tasks
    ///   that are.
    public func revokeToken(
        named name: String, cancels: Bool
    ) throws -> (token: APITokenDescription, cancelled: Int) {
        let dispatcher = try dispatcher()
        let now = dispatcher.now.wall
        let database = dispatcher.host.database
        let token = try database.writeNow { connection -> APIToken? in
            let tokens = try APITokenStore.all(connection)
            guard let token = tokens.first(where: { $0.name == name }) else { return nil }
            try APITokenStore.remove(connection, token.id)
            return token
        }
        guard let token else {
            throw PushRefused("there is no token named \(name); see kinglet token list")
        }
        api.good.remove(token.digest)
        let description = APITokenDescription(token, now: now / 1000)
        guard cancels else { return (description, 0) }
        let tasks = try database.readNow {
            try PushTaskStore.unfinished($0, of: token.id)
        }
        for task in tasks {
            var isMore = true
            while isMore {
                let part = try database.writeNow {
                    try PushTasks.cancel(task, now: now, $0)
                }
                dispatcher.didSuppress(part.keys)
                isMore = part.isMore
            }
        }
        return (description, tasks.count)
    }
}
