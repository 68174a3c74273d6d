// What an administrator can do, written once. Works on a running server and on data at rest
// alike: the difference is who opened the host.

internal import Addresses
public import Backup
internal import Dispatch
public import Engine
public import PushRelay
internal import Storage
internal import Synchronization
internal import XMPP

/// Carries out administration requests. Safe on any thread, though it waits for the database:
/// never on an event loop.
public struct Administrator: Sendable {
    /// How long event loops have to answer.
    private static let patience = DispatchTimeInterval.seconds(20)

    let host: Host
    let isRunning: Bool
    private let status: @Sendable () -> ServerStatus
    private let metrics: @Sendable () -> String
    private let backup: BackupService?
    let push: PushService?
    let tests = FederationTests()
    let pushTests = PushTests()

    /// - Parameters:
    ///   - isRunning: whether clients can be online.
    ///   - status: what the whole program knows of itself; users are filled in here.
    ///   - metrics: the metrics page.
    ///   - backup: of the running server; nil where none makes backups.
    ///   - push: what wakes phones; nil where nothing does.
    public init(
        host: Host, isRunning: Bool, status: @escaping @Sendable () -> ServerStatus,
        metrics: @escaping @Sendable () -> String, backup: BackupService? = nil,
        push: PushService? = nil
    ) {
        self.host = host
        self.isRunning = isRunning
        self.status = status
        self.metrics = metrics
        self.backup = backup
        self.push = push
    }

    /// Does it and gives the answer.
    public func perform(_ request: AdministrationRequest) -> AdministrationAnswer {
        do {
            return try answer(request)
        } catch let error as AdministrationError {
            return AdministrationAnswer(error: error.message)
        } catch {
            return AdministrationAnswer(error: "\(error)")
        }
    }

    private func answer(_ request: AdministrationRequest) throws -> AdministrationAnswer {
        switch request.operation {
        case .addUser:
            let jid = try localAccount(request)
            let keys = try keys(request)
            try wait(jid) { done in
                host.accounts.create(
                    jid, keys, isAdministrator: request.isAdministrator ?? false,
                    now: Clock.secondsSince1970(), then: done)
            }
            return AdministrationAnswer(jid: jid.description)
        case .setPassword:
            let jid = try account(request)
            let keys = try keys(request)
            try wait(jid) { done in host.setPassword(jid, keys, then: done) }
            return AdministrationAnswer(jid: jid.description)
        case .removeUser:
            let jid = try account(request)
            let removed = try waitForResult { done in host.removeAccount(jid, then: done) }.get()
            guard removed else { throw AdministrationError.noSuchUser(jid) }
            return AdministrationAnswer(jid: jid.description)
        case .disableUser, .enableUser:
            let jid = try account(request)
            let isDisabled = request.operation == .disableUser
            try wait(jid) { done in host.accounts.setDisabled(jid, isDisabled, then: done) }
            if isDisabled {
                host.endSessions(of: jid, StreamError(.policyViolation, "the account is disabled"))
            }
            return AdministrationAnswer(jid: jid.description)
        case .listUsers:
            let domain = try request.domain.map { try domainName($0) }
            return AdministrationAnswer(
                users: try host.accounts.list(domain: domain).map(describe))
        case .showUser:
            let jid = try account(request)
            guard let (account, sizes) = try host.accountAndSizes(of: jid) else {
                throw AdministrationError.noSuchUser(jid)
            }
            var user = describe(account)
            user.sizes = Dictionary(sizes.map { ($0.name, $0.value) }) { $0 + $1 }
            if isRunning { user.sessions = try describe(host.sessions.sessions(of: jid)) }
            return AdministrationAnswer(users: [user])
        case .listSessions, .closeSessions:
            let jid = try account(request)
            guard try host.accounts.account(jid) != nil else {
                throw AdministrationError.noSuchUser(jid)
            }
            guard isRunning else {
                guard request.operation == .listSessions else {
                    throw AdministrationError(
                        message: "the server does not run, so there is no session to close")
                }
                return AdministrationAnswer(jid: jid.description)
            }
            let sessions = try sessions(of: jid, resource: request.resource)
            let described = try describe(sessions)
            if request.operation == .closeSessions { try close(sessions) }
            return AdministrationAnswer(jid: jid.description, sessions: described)
        case .status:
            var status = status()
            status.users = try host.accounts.count()
            if isRunning { status.sessions = host.sessions.all.count }
            status.federation = federationSummary
            status.push = try push?.summary(isRunning: isRunning)
            return AdministrationAnswer(status: status)
        case .metrics:
            return AdministrationAnswer(metrics: metrics())
        case .runBackup, .cancelBackup, .showBackup:
            return try backup(request)
        case .listFederation, .changeFederation, .testFederation, .showFederationTest:
            return try federation(request)
        case .listPush, .addPush, .removePush, .testPush, .showPushTest, .showPushProviders,
            .showPushQueue, .showDeadPushes, .dropDeadPushes, .redrivePushes, .addToken,
            .listTokens, .revokeToken:
            return try push(request)
        }
    }

    private func backup(_ request: AdministrationRequest) throws -> AdministrationAnswer {
        guard let backup else {
            throw AdministrationError(
                message: "the server makes no backups; was it started with --isolated?")
        }
        switch request.operation {
        case .runBackup:
            return AdministrationAnswer(
                run: try backup.run(request.backup ?? BackupService.Wish()).get())
        case .cancelBackup:
            if let number = request.run { backup.cancel(number) }
            return AdministrationAnswer()
        default:
            return AdministrationAnswer(activity: backup.activity, outlook: backup.outlook)
        }
    }

    // MARK: Reading the request

    func account(_ request: AdministrationRequest) throws -> BareJID {
        guard let text = request.jid, !text.isEmpty else {
            throw AdministrationError(message: "which user? Give an address like alice@domain")
        }
        guard text.contains("@") || !isDomain(text) else {
            throw AdministrationError(message: "\(text) is a domain, not a user")
        }
        // A bare name means the first domain.
        let full = text.contains("@") ? text : "\(text)@\(host.domains.first ?? "")"
        do {
            let jid = try BareJID(full)
            guard !jid.isDomain else {
                throw AdministrationError(message: "\(text) is a domain, not a user")
            }
            return jid
        } catch let error as JIDError {
            throw AdministrationError(message: "\(error)")
        }
    }

    private func isDomain(_ text: String) -> Bool {
        (try? Preparation.domain(text)).map { host.isLocal($0) } ?? false
    }

    private func localAccount(_ request: AdministrationRequest) throws -> BareJID {
        let jid = try account(request)
        guard host.isLocal(jid.domain) else {
            throw AdministrationError(
                message: "\(jid.domain) is not a domain of this server; it has: "
                    + host.domains.joined(separator: ", "))
        }
        return jid
    }

    func domainName(_ text: String) throws -> String {
        do {
            return try Preparation.domain(text)
        } catch {
            throw AdministrationError(message: "\(error)")
        }
    }

    private func keys(_ request: AdministrationRequest) throws -> PasswordKeys {
        guard let password = request.password, !password.isEmpty else {
            throw AdministrationError(message: "a password is needed")
        }
        do {
            return try PasswordKeys(password: password, iterations: host.accounts.iterations)
        } catch {
            throw AdministrationError(message: "this password cannot be used: \(error)")
        }
    }

    private func describe(_ account: Account) -> UserDescription {
        UserDescription(
            jid: account.jid.description, disabled: account.isDisabled,
            administrator: account.isAdministrator, created: Clock.timestamp(account.created),
            lastLogin: account.lastLogin.map { Clock.timestamp($0) },
            online: isRunning
                ? host.sessions.sessions(of: account.jid).map(\.jid.resource) : nil)
    }

    // MARK: Sessions

    private func sessions(of jid: BareJID, resource: String?) throws -> [Session] {
        let sessions = host.sessions.sessions(of: jid)
        guard let resource else { return sessions }
        let full: JID
        do {
            full = try JID("\(jid)/\(resource)")
        } catch {
            throw AdministrationError(message: "\(error)")
        }
        guard let session = sessions.first(where: { $0.jid == full }) else {
            throw AdministrationError(message: "\(jid) has no session \(resource)")
        }
        return [session]
    }

    /// Those that end meanwhile are left out.
    private func describe(_ sessions: [Session]) throws -> [SessionDescription] {
        try answers(of: sessions) { $0.describe(then: $1) }.compactMap { $0.map(describe) }
    }

    private func describe(_ session: Session.Description) -> SessionDescription {
        let availability = session.availability
        return SessionDescription(
            resource: session.jid.resource, address: session.address,
            since: Clock.timestamp(session.since), tls: session.tls?.rawValue,
            available: availability.isAvailable,
            priority: availability.isAvailable ? Int(availability.priority) : nil,
            hibernatesFor: session.hibernatesFor.map { Int($0) },
            unacknowledged: session.unacknowledged)
    }

    private func close(_ sessions: [Session]) throws {
        let error = StreamError(.policyViolation, "closed by the administrator")
        _ = try answers(of: sessions) { session, done in session.terminate(error) { done(()) } }
    }

    /// Asks all sessions at once. An event loop that is stuck must not keep the administrator.
    private func answers<Value: Sendable>(
        of sessions: [Session],
        _ ask: (Session, @escaping @Sendable (Value) -> Void) -> Void
    ) throws -> [Value] {
        let waiting = sessions.map { session in
            let waiting = Waiting<Value>()
            ask(session) { waiting.finish($0) }
            return waiting
        }
        let end = DispatchTime.now() + Self.patience
        return try zip(sessions, waiting).map { session, waiting in
            guard let value = waiting.wait(until: end) else {
                throw AdministrationError(
                    message: "the session \(session.jid) does not answer; is the server overloaded?"
                )
            }
            return value
        }
    }

    // MARK: Waiting for the writer

    private func wait(
        _ jid: BareJID,
        _ start: (@escaping @Sendable (Result<Void, AccountError>) -> Void) -> Void
    ) throws {
        switch waitForResult(start) {
        case .success: return
        case .failure(.alreadyExists):
            throw AdministrationError(message: "\(jid) exists already")
        case .failure(.doesNotExist):
            throw AdministrationError.noSuchUser(jid)
        case .failure(.storage(let error)):
            throw AdministrationError(message: "\(error)")
        }
    }

    func waitForResult<Value: Sendable>(
        _ start: (@escaping @Sendable (Value) -> Void) -> Void
    ) -> Value {
        let waiting = Waiting<Value>()
        start { waiting.finish($0) }
        return waiting.wait()
    }
}

/// Why a request was refused, in a sentence.
struct AdministrationError: Error {
    let message: String

    static func noSuchUser(_ jid: BareJID) -> AdministrationError {
        AdministrationError(message: "there is no user \(jid)")
    }
}
