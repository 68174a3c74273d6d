// The interface for programs and apps by HTTP, below `/api/`: programs of the owner's tell people
// something, with a token; apps of the owner's register devices, with their user's password.

internal import Addresses
internal import Engine
internal import NIOCore
internal import Options
internal import Prometheus
internal import Storage
internal import Synchronization

/// The interface. Safe on any thread.
public final class PushAPI: Sendable {
    /// Bytes of a body at most.
    static let longestTask = 256 << 10
    static let longestRegistration = 64 << 10

    let relay: PushRelayState
    let good = APITokens()
    let metrics: APIMetrics
    private let host = Mutex<Host?>(nil)
    private let watch = Mutex<@Sendable (BareJID) -> Void>({ _ in })

    init(_ relay: PushRelayState, _ metrics: APIMetrics) {
        self.relay = relay
        self.metrics = metrics
    }

    /// The database is open.
    ///
    /// - Parameter watch: called for accounts that have devices from now on.
    func open(_ host: Host, watch: @escaping @Sendable (BareJID) -> Void) throws {
        self.host.withLock { $0 = host }
        self.watch.withLock { $0 = watch }
        let tokens = try host.database.readNow { try APITokenStore.all($0) }
        good.load(tokens)
        if !tokens.isEmpty { metrics.use.note() }
    }

    // MARK: Routes

    /// Everything that it answers.
    public var routes: [APIRoute] {
        [
            APIRoute(
                method: .get, path: "/api/openapi.json", rest: nil, bodyLimit: 0,
                handle: { _ in .document }),
            route(.post, "/api/v1/tasks", limit: Self.longestTask) { try await $0.makeTask($1) },
            route(.get, "/api/v1/tasks/", "") { try await $0.showTask($1) },
            route(.delete, "/api/v1/tasks/", "") { try await $0.cancelTask($1) },
            route(.get, "/api/v1/tasks/", "/targets") { try await $0.showTargets($1) },
            route(.get, "/api/v1/devices") { try await $0.showDevices($1) },
            route(.get, "/api/v1/apps") { try await $0.showApps($1) },
            route(.get, "/api/v1/registrations") { try await $0.showRegistrations($1) },
            route(.get, "/api/v1/registrations/", "") { try await $0.showRegistration($1) },
            route(.put, "/api/v1/registrations/", "", limit: Self.longestRegistration) {
                try await $0.register($1)
            },
            route(.delete, "/api/v1/registrations/", "") { try await $0.unregister($1) },
        ]
    }

    private func route(
        _ method: APIRoute.Method, _ path: String, _ rest: String? = nil, limit: Int = 0,
        _ body: @escaping @Sendable (PushAPI, APIRequest) async throws -> APIAnswer
    ) -> APIRoute {
        APIRoute(
            method: method, path: path, rest: rest, bodyLimit: limit,
            handle: { [self] request in
                metrics.use.note()
                do {
                    let answer = try await body(self, request)
                    metrics.requests[.accepted].add()
                    return answer
                } catch let problem as APIProblem {
                    metrics.requests[APIResult(problem.kind)].add()
                    return problem.answer
                } catch {
                    metrics.requests[.unavailable].add()
                    return Self.storage.answer
                }
            })
    }

    static let storage = APIProblem(
        .unavailable, "it cannot be stored or read at the moment; try again"
    ).retrying(after: 5)

    // MARK: Who asks

    /// The token of a request, if it is good and allows this.
    func token(_ request: APIRequest, _ scope: APIScope?) throws(APIProblem) -> APIToken {
        let now = try dispatcher.now
        switch good.take(request.authorization, now: now) {
        case .success(let (token, isNoted)):
            if isNoted {
                try openHost.database.writer.submit(
                    size: 64,
                    { try APITokenStore.noteUsed($0, token.id, now: now.wall / 1000) },
                    then: { _ in })
            }
            guard let scope else { return token }
            guard token.scopes.contains(scope) else {
                throw APIProblem(.forbidden, "this token is not for \(scope.rawValue)")
            }
            return token
        case .failure(.missing):
            throw Self.unauthorized("show a token: Authorization: Bearer kinglet_…", "")
        case .failure(.unknown):
            throw Self.unknownToken
        case .failure(.expired):
            throw Self.unauthorized("this token's time is over", "error=\"invalid_token\"")
        case .failure(.rate(let seconds)):
            throw APIProblem(.rate, "more than this token may ask").retrying(after: seconds)
        }
    }

    static var unknownToken: APIProblem {
        unauthorized("there is no such token", "error=\"invalid_token\"")
    }

    /// RFC 6750 section 3.
    private static func unauthorized(_ detail: String, _ error: String) -> APIProblem {
        var problem = APIProblem(.unauthorized, detail)
        let separator = error.isEmpty ? "" : ", "
        problem.headers = [("WWW-Authenticate", "Bearer realm=\"kinglet\"\(separator)\(error)")]
        return problem
    }

    /// The user of a request, if the password is right (RFC 7617).
    func user(_ request: APIRequest) async throws -> BareJID {
        let host = try openHost
        guard let header = request.authorization, header.utf8.count <= 8192,
            header.prefix(6).lowercased() == "basic ",
            let bytes = PaddedBase64.decode(String(header.dropFirst(6).drop { $0 == " " })),
            let text = String(validating: bytes, as: UTF8.self),
            let colon = text.firstIndex(of: ":")
        else { throw Self.noPassword("show the user's address and password: Authorization: Basic") }
        let name = text[..<colon]
        let password = String(text[text.index(after: colon)...])
        // Without a domain, the first one is meant.
        let address = name.contains("@") ? String(name) : "\(name)@\(host.domains.first ?? "")"
        guard let jid = try? JID(address), jid.isBare, !jid.bare.isDomain, !password.isEmpty else {
            throw Self.noPassword("the user or the password is wrong")
        }
        switch await host.check(password, of: jid.bare, from: request.network) {
        case .right: return jid.bare
        case .wrong: throw Self.noPassword("the user or the password is wrong")
        case .disabled: throw APIProblem(.forbidden, "the account is disabled")
        case .throttled:
            throw APIProblem(.rate, "too many wrong passwords before").retrying(after: 30)
        case .unavailable: throw Self.storage
        }
    }

    private static func noPassword(_ detail: String) -> APIProblem {
        var problem = APIProblem(.unauthorized, detail)
        problem.headers = [
            ("WWW-Authenticate", "Basic realm=\"kinglet\", charset=\"UTF-8\"")
        ]
        return problem
    }

    // MARK: The server

    var dispatcher: PushDispatcher {
        get throws(APIProblem) {
            guard let dispatcher = relay.dispatcher else { throw Self.storage }
            return dispatcher
        }
    }

    var tasks: PushTasks {
        get throws(APIProblem) {
            guard let tasks = relay.tasks else { throw Self.storage }
            return tasks
        }
    }

    var openHost: Host {
        get throws(APIProblem) {
            guard let host = host.withLock({ $0 }) else { throw Self.storage }
            return host
        }
    }

    func didRegister(_ account: BareJID) { watch.withLock({ $0 })(account) }

    /// Reads, and waits for it.
    func read<Value: Sendable>(
        _ work: @escaping @Sendable (Connection) throws -> Value
    ) async throws -> Value {
        let database = try openHost.database
        return try await withCheckedThrowingContinuation { continuation in
            database.read(work) { continuation.resume(with: $0) }
        }
    }

    /// Writes, and waits until that is durable.
    func write<Value: Sendable>(
        _ work: @escaping @Sendable (Connection) throws -> Value
    ) async throws -> Value {
        let database = try openHost.database
        return try await withCheckedThrowingContinuation { continuation in
            database.writer.submit(work) { continuation.resume(with: $0) }
        }
    }
}
