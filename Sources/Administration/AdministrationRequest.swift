// What an administrator can ask for and what comes back, as values that go through the control
// socket as JSON. The commands and, later, other ways in use the same.

public import Backup
public import Engine
public import PushRelay

/// One thing to do.
public struct AdministrationRequest: Codable, Sendable, Equatable {
    /// The things that can be done.
    public enum Operation: String, Codable, Sendable, CaseIterable {
        case addUser, removeUser, setPassword, disableUser, enableUser, listUsers, showUser
        case listSessions, closeSessions
        case status, metrics
        case runBackup, cancelBackup, showBackup
        case listFederation, changeFederation, testFederation, showFederationTest
        case listPush, addPush, removePush, testPush, showPushTest, showPushProviders
        case showPushQueue, showDeadPushes, dropDeadPushes, redrivePushes
        case addToken, listTokens, revokeToken
    }

    /// What to do.
    public var operation: Operation
    /// The bare JID that it is about.
    public var jid: String?
    /// Of a user's sessions, only the one with this resource.
    public var resource: String?
    /// A password, which no answer and no log repeats.
    public var password: String?
    /// For a new user.
    public var isAdministrator: Bool?
    /// For a list: only this domain; for federation: the other one.
    public var domain: String?
    /// What is said of another domain.
    public var change: FederationRuleChange?
    /// Which way that is meant; nil for both.
    public var direction: FederationDirection?
    /// Our domain, for a test of the way to another one; nil for the default.
    public var local: String?
    /// The run of a backup that is wanted.
    public var backup: BackupService.Wish?
    /// The number of a run, or of a test.
    public var run: Int?
    /// So many steps of a test are known.
    public var known: Int?
    /// What is wanted of the push relay.
    public var push: PushWish?

    /// Creates a request.
    public init(
        _ operation: Operation, jid: String? = nil, resource: String? = nil,
        password: String? = nil,
        isAdministrator: Bool? = nil, domain: String? = nil,
        backup: BackupService.Wish? = nil, run: Int? = nil,
        change: FederationRuleChange? = nil, direction: FederationDirection? = nil,
        local: String? = nil, known: Int? = nil, push: PushWish? = nil
    ) {
        self.operation = operation
        self.jid = jid
        self.resource = resource
        self.password = password
        self.isAdministrator = isAdministrator
        self.domain = domain
        self.backup = backup
        self.run = run
        self.change = change
        self.direction = direction
        self.local = local
        self.known = known
        self.push = push
    }
}

/// What came of it.
public struct AdministrationAnswer: Codable, Sendable, Equatable {
    /// A sentence for a person when it failed, nil when it worked.
    public var error: String?
    /// The full address that a change was about.
    public var jid: String?
    /// Users, for a list or one user.
    public var users: [UserDescription]?
    /// Sessions of one user; nil when no server runs.
    public var sessions: [SessionDescription]?
    /// The state of the server.
    public var status: ServerStatus?
    /// The metrics page.
    public var metrics: String?
    /// The number of the run that will be, or of the test.
    public var run: Int?
    /// What the backup is at.
    public var activity: BackupService.Activity?
    /// By job, what is to come.
    public var outlook: [String: JobOutlook]?
    /// How it is with other servers.
    public var federation: FederationDescription?
    /// What a change of the rules did.
    public var federationChange: FederationChangeResult?
    /// How far a test is.
    public var federationTest: FederationTestProgress?
    /// What came of a wish about pushes.
    public var push: PushReport?

    /// Creates an answer.
    public init(
        error: String? = nil, jid: String? = nil, users: [UserDescription]? = nil,
        sessions: [SessionDescription]? = nil, status: ServerStatus? = nil,
        metrics: String? = nil, run: Int? = nil, activity: BackupService.Activity? = nil,
        outlook: [String: JobOutlook]? = nil, federation: FederationDescription? = nil,
        federationChange: FederationChangeResult? = nil,
        federationTest: FederationTestProgress? = nil, push: PushReport? = nil
    ) {
        self.error = error
        self.jid = jid
        self.users = users
        self.sessions = sessions
        self.status = status
        self.metrics = metrics
        self.run = run
        self.activity = activity
        self.outlook = outlook
        self.federation = federation
        self.federationChange = federationChange
        self.federationTest = federationTest
        self.push = push
    }
}

/// A user as `kinglet user` shows it.
public struct UserDescription: Codable, Sendable, Equatable {
    /// The bare JID.
    public var jid: String
    /// Whether logins are refused.
    public var disabled: Bool
    /// Whether the user may administrate.
    public var administrator: Bool
    /// When the account was made, as XEP-0082 writes it.
    public var created: String
    /// The last login, nil for none yet.
    public var lastLogin: String?
    /// Resources that are online now; nil when no server runs.
    public var online: [String]?
    /// What is kept for the user, by name; for one user only.
    public var sizes: [String: Int]?
    /// The user's sessions; for one user only, and nil when no server runs.
    public var sessions: [SessionDescription]?
}

/// A device that is online, or was and may come back.
public struct SessionDescription: Codable, Sendable, Equatable {
    /// The resource.
    public var resource: String
    /// Where the client connects from, or did last.
    public var address: String
    /// When it logged in, as XEP-0082 writes it.
    public var since: String
    /// The TLS version of its connection, or `none`; nil while it has no connection.
    public var tls: String?
    /// Whether it has announced itself.
    public var available: Bool
    /// The priority that it announced.
    public var priority: Int?
    /// Without a connection: seconds until the session ends, unless the client resumes it.
    public var hibernatesFor: Int?
    /// Stanzas that the client has not acknowledged; nil if it never does.
    public var unacknowledged: Int?
}

/// The state of the server as `kinglet status` shows it.
public struct ServerStatus: Codable, Sendable, Equatable {
    /// A socket that listens.
    public struct Listener: Codable, Sendable, Equatable {
        /// `client`, `client_tls` or `metrics`.
        public var name: String
        /// The bound address.
        public var address: String
        /// The bound port.
        public var port: Int

        /// Creates an entry.
        public init(name: String, address: String, port: Int) {
            self.name = name
            self.address = address
            self.port = port
        }
    }

    /// A certificate in use.
    public struct Certificate: Codable, Sendable, Equatable {
        /// Domains that it is valid for.
        public var domains: [String]
        /// The end of its validity, as XEP-0082 writes it.
        public var notAfter: String
        /// Whether it comes from this machine's own authority.
        public var localAuthority: Bool

        /// Creates an entry.
        public init(domains: [String], notAfter: String, localAuthority: Bool) {
            self.domains = domains
            self.notAfter = notAfter
            self.localAuthority = localAuthority
        }
    }

    /// Whether the server runs.
    public var running: Bool
    /// The program's version.
    public var version: String
    /// The server's process.
    public var processID: Int32?
    /// When it was started, as XEP-0082 writes it.
    public var started: String?
    /// The domains that it serves.
    public var domains: [String]
    /// What listens; ports are the real ones.
    public var listeners: [Listener]
    /// Clients that are logged in.
    public var sessions: Int?
    /// Accounts.
    public var users: Int
    /// Certificates in use.
    public var certificates: [Certificate]
    /// What is wrong, in sentences; empty when all is well.
    public var problems: [String]
    /// How the backup is.
    public var backup: BackupStatus?
    /// How it is with other servers; filled in when it is asked for.
    public var federation: FederationSummary?
    /// How it is with pushes; filled in when it is asked for.
    public var push: PushSummary?

    /// Creates a status.
    public init(
        running: Bool, version: String, processID: Int32? = nil, started: String? = nil,
        domains: [String], listeners: [Listener] = [], sessions: Int? = nil, users: Int = 0,
        certificates: [Certificate] = [], problems: [String] = [], backup: BackupStatus? = nil
    ) {
        self.running = running
        self.version = version
        self.processID = processID
        self.started = started
        self.domains = domains
        self.listeners = listeners
        self.sessions = sessions
        self.users = users
        self.certificates = certificates
        self.problems = problems
        self.backup = backup
    }
}
