// Every SQL statement about accounts.

internal import Addresses
internal import SASL
internal import Storage

enum AccountStore {
    static let schema = [
        SchemaStep(
            "accounts", 1,
            """
            CREATE TABLE accounts (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                domain TEXT NOT NULL,
                local TEXT NOT NULL,
                created INTEGER NOT NULL,
                last_login INTEGER,
                disabled INTEGER NOT NULL DEFAULT 0,
                administrator INTEGER NOT NULL DEFAULT 0,
                UNIQUE (domain, local)
            );
            CREATE TABLE scram_keys (
                account INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
                hash TEXT NOT NULL,
                iterations INTEGER NOT NULL,
                salt BLOB NOT NULL,
                stored_key BLOB NOT NULL,
                server_key BLOB NOT NULL,
                PRIMARY KEY (account, hash)
            ) WITHOUT ROWID;
            """)
    ]

    static func insert(
        _ connection: Connection, _ jid: BareJID, _ keys: [SCRAMCredentials],
        isAdministrator: Bool, now: Int64
    ) throws -> Bool {
        try connection.execute(
            """
            INSERT INTO accounts (domain, local, created, administrator) VALUES (?, ?, ?, ?)
            ON CONFLICT DO NOTHING
            """,
            .text(jid.domain), .text(jid.local), .integer(now),
            .integer(isAdministrator ? 1 : 0))
        guard connection.changes == 1 else { return false }
        try insertKeys(connection, account: connection.lastInsertedRow, keys)
        return true
    }

    static func replaceKeys(
        _ connection: Connection, _ jid: BareJID, _ keys: [SCRAMCredentials]
    ) throws -> Bool {
        guard let account = try id(connection, jid) else { return false }
        try connection.execute("DELETE FROM scram_keys WHERE account = ?", .integer(account))
        try insertKeys(connection, account: account, keys)
        return true
    }

    private static func insertKeys(
        _ connection: Connection, account: Int64, _ keys: [SCRAMCredentials]
    ) throws {
        for key in keys {
            try connection.execute(
                """
                INSERT INTO scram_keys (account, hash, iterations, salt, stored_key, server_key)
                VALUES (?, ?, ?, ?, ?, ?)
                """,
                .integer(account), .text(key.hash.rawValue), .integer(Int64(key.iterations)),
                .blob(key.salt), .blob(key.storedKey), .blob(key.serverKey))
        }
    }

    static func setDisabled(
        _ connection: Connection, _ jid: BareJID, _ isDisabled: Bool
    ) throws -> Bool {
        try connection.execute(
            "UPDATE accounts SET disabled = ? WHERE domain = ? AND local = ?",
            .integer(isDisabled ? 1 : 0), .text(jid.domain), .text(jid.local))
        return connection.changes == 1
    }

    static func setLastLogin(_ connection: Connection, _ jid: BareJID, _ now: Int64) throws {
        try connection.execute(
            "UPDATE accounts SET last_login = ? WHERE domain = ? AND local = ?",
            .integer(now), .text(jid.domain), .text(jid.local))
    }

    static func delete(_ connection: Connection, _ jid: BareJID) throws -> Bool {
        guard let account = try id(connection, jid) else { return false }
        try connection.execute("DELETE FROM scram_keys WHERE account = ?", .integer(account))
        try connection.execute("DELETE FROM accounts WHERE id = ?", .integer(account))
        return true
    }

    private static func id(_ connection: Connection, _ jid: BareJID) throws -> Int64? {
        try connection.first(
            "SELECT id FROM accounts WHERE domain = ? AND local = ?",
            .text(jid.domain), .text(jid.local)
        ) { $0.integer(0) }
    }

    static func exists(_ connection: Connection, _ jid: BareJID) throws -> Bool {
        try id(connection, jid) != nil
    }

    static func find(
        _ connection: Connection, _ jid: BareJID
    ) throws -> (Account, [SCRAMCredentials])? {
        var account: Account?
        var keys: [SCRAMCredentials] = []
        try connection.rows(
            """
            SELECT domain, local, disabled, administrator, created, last_login,
                   hash, iterations, salt, stored_key, server_key
            FROM accounts LEFT JOIN scram_keys ON scram_keys.account = accounts.id
            WHERE domain = ? AND local = ?
            """,
            .text(jid.domain), .text(jid.local)
        ) { row in
            account = read(row)
            guard let hash = row.text(6).flatMap(SCRAMHash.init(rawValue:)) else { return }
            keys.append(
                SCRAMCredentials(
                    hash: hash, iterations: Int(row.integer(7)), salt: row.blob(8),
                    storedKey: row.blob(9), serverKey: row.blob(10)))
        }
        return account.map { ($0, keys) }
    }

    static func list(_ connection: Connection, domain: String?) throws -> [Account] {
        var accounts: [Account] = []
        try connection.rows(
            """
            SELECT domain, local, disabled, administrator, created, last_login FROM accounts
            WHERE ?1 IS NULL OR domain = ?1 ORDER BY domain, local
            """,
            SQLValue(domain)
        ) { accounts.append(read($0)) }
        return accounts
    }

    /// What most of some accounts have: reading all would delay the start.
    static func commonIterations(_ connection: Connection) throws -> Int? {
        try connection.first(
            """
            SELECT iterations FROM (SELECT iterations FROM scram_keys LIMIT 300)
            GROUP BY iterations ORDER BY count(*) DESC LIMIT 1
            """
        ) { Int($0.integer(0)) }
    }

    static func count(_ connection: Connection) throws -> Int {
        try connection.first("SELECT count(*) FROM accounts") { Int($0.integer(0)) } ?? 0
    }

    private static func read(_ row: ResultRow) -> Account {
        Account(
            jid: BareJID(preparedLocal: row.text(1) ?? "", preparedDomain: row.text(0) ?? ""),
            isDisabled: row.integer(2) != 0, isAdministrator: row.integer(3) != 0,
            created: row.integer(4), lastLogin: row.integer(5) == 0 ? nil : row.integer(5))
    }

    // MARK: Backups

    /// An account as another database has it.
    struct Copy: Sendable {
        let jid: BareJID
        let created: Int64
        let isDisabled: Bool
        let isAdministrator: Bool
        let keys: [SCRAMCredentials]
    }

    static func copy(_ connection: Connection, _ jid: BareJID) throws -> Copy? {
        guard let (_, keys) = try find(connection, jid) else { return nil }
        return try connection.first(
            "SELECT created, disabled, administrator FROM accounts WHERE domain = ? AND local = ?",
            .text(jid.domain), .text(jid.local)
        ) { row in
            Copy(
                jid: jid, created: row.integer(0), isDisabled: row.integer(1) != 0,
                isAdministrator: row.integer(2) != 0, keys: keys)
        }
    }

    /// Makes an account that another database has; false when there is one of that name.
    static func insert(_ connection: Connection, _ copy: Copy) throws -> Bool {
        guard
            try insert(
                connection, copy.jid, copy.keys, isAdministrator: copy.isAdministrator,
                now: copy.created)
        else { return false }
        if copy.isDisabled { _ = try setDisabled(connection, copy.jid, true) }
        return true
    }
}
