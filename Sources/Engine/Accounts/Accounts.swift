// The accounts of all domains. Passwords are never stored: each account has SCRAM keys for three
// hashes, each with a salt of its own, because stock clients differ in what they speak.

public import Addresses
internal import SASL
public import Storage
internal import TLS

/// What an account is, without its keys.
public struct Account: Sendable, Equatable {
    /// The bare JID.
    public let jid: BareJID
    /// Refused at login.
    public let isDisabled: Bool
    /// May administrate the server.
    public let isAdministrator: Bool
    /// When it was made, seconds since 1970.
    public let created: Int64
    /// The last login, seconds since 1970, nil for none yet.
    public let lastLogin: Int64?
}

/// Keys derived from a password, ready to be stored.
public struct PasswordKeys: Sendable {
    let keys: [SCRAMCredentials]

    /// Derives keys for every hash. Takes some ten milliseconds: never on an event loop.
    ///
    /// - Parameter password: as typed; prepared here (RFC 8265 section 4.2).
    public init(password: String, iterations: Int) throws(JIDError) {
        let prepared = Array(try Preparation.password(password).utf8)
        keys = SCRAMHash.allCases.map { hash in
            SCRAMCredentials(
                hash: hash, password: prepared,
                salt: SecureRandom.bytes(SCRAMCredentials.saltLength), iterations: iterations)
        }
    }
}

/// Why an account cannot be made or changed.
public enum AccountError: Error, Sendable, Equatable {
    case alreadyExists
    case doesNotExist
    case storage(StorageError)
}

/// The store of accounts. Safe on any thread; `then` closures run on the database's threads.
public struct Accounts: Sendable {
    /// Rounds for new passwords.
    public let iterations: Int
    let database: Database

    init(_ database: Database, iterations: Int) {
        self.database = database
        self.iterations = iterations
    }

    /// Adds an account.
    public func create(
        _ jid: BareJID, _ password: PasswordKeys, isAdministrator: Bool = false, now: Int64,
        then: @escaping @Sendable (Result<Void, AccountError>) -> Void
    ) {
        database.writer.submit(
            { connection in
                try AccountStore.insert(
                    connection, jid, password.keys, isAdministrator: isAdministrator, now: now)
            },
            then: { result in
                then(
                    result.mapError(AccountError.storage).flatMap { inserted in
                        inserted ? .success(()) : .failure(.alreadyExists)
                    })
            })
    }

    /// Replaces the password.
    func setPassword(
        _ jid: BareJID, _ password: PasswordKeys,
        then: @escaping @Sendable (Result<Void, AccountError>) -> Void
    ) {
        database.writer.submit(
            { try AccountStore.replaceKeys($0, jid, password.keys) },
            then: { then(Self.existing($0)) })
    }

    /// Disables or enables logins.
    public func setDisabled(
        _ jid: BareJID, _ isDisabled: Bool,
        then: @escaping @Sendable (Result<Void, AccountError>) -> Void
    ) {
        database.writer.submit(
            { try AccountStore.setDisabled($0, jid, isDisabled) },
            then: { then(Self.existing($0)) })
    }

    private static func existing(
        _ result: Result<Bool, StorageError>
    ) -> Result<Void, AccountError> {
        result.mapError(AccountError.storage).flatMap { changed in
            changed ? .success(()) : .failure(.doesNotExist)
        }
    }

    /// Notes a login.
    func noteLogin(_ jid: BareJID, now: Int64) {
        database.writer.submit(
            { try AccountStore.setLastLogin($0, jid, now) },
            then: { _ in })
    }

    func remove(
        _ jid: BareJID, with others: @escaping @Sendable (Connection) throws -> Void,
        then: @escaping @Sendable (Result<Bool, StorageError>) -> Void
    ) {
        database.writer.submit(
            { connection in
                guard try AccountStore.delete(connection, jid) else { return false }
                try others(connection)
                return true
            }, then: then)
    }

    /// An account with its keys, nil if there is none.
    func find(
        _ jid: BareJID,
        then: @escaping @Sendable (Result<(Account, [SCRAMCredentials])?, StorageError>) -> Void
    ) {
        database.read({ try AccountStore.find($0, jid) }, then: then)
    }

    /// All accounts of a domain, or of all, by address; waits, so never on an event loop.
    public func list(domain: String?) throws(StorageError) -> [Account] {
        try database.readNow { try AccountStore.list($0, domain: domain) }
    }

    /// One account, nil if there is none; waits, so never on an event loop.
    public func account(_ jid: BareJID) throws(StorageError) -> Account? {
        try database.readNow { try AccountStore.find($0, jid)?.0 }
    }

    /// How many accounts there are; waits, so never on an event loop.
    public func count() throws(StorageError) -> Int {
        try database.readNow { try AccountStore.count($0) }
    }

    /// The rounds that most accounts have, so that a stranger's look like theirs; nil without
    /// accounts.
    func commonIterations() throws(StorageError) -> Int? {
        try database.readNow { try AccountStore.commonIterations($0) }
    }

    /// Whether an account exists, within a transaction of a feature.
    public static func exists(_ jid: BareJID, in connection: Connection) throws -> Bool {
        try AccountStore.exists(connection, jid)
    }

    /// When an account last logged in, to the hour: seconds since 1970; nil if it never did, or
    /// is not there.
    public static func lastLogin(_ jid: BareJID, in connection: Connection) throws -> Int64? {
        try AccountStore.find(connection, jid)?.0.lastLogin
    }

    static let schema = AccountStore.schema
}
