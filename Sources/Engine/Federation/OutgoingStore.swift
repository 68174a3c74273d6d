// Every SQL statement about stanzas that wait for another domain. They are kept until that domain
// has them; the number tells their order.

internal import Addresses
internal import Storage
internal import XMPP

enum OutgoingStore {
    static let schema = [
        SchemaStep(
            "outgoing", 1,
            """
            CREATE TABLE outgoing (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                local TEXT NOT NULL,
                remote TEXT NOT NULL,
                kind TEXT NOT NULL,
                added INTEGER NOT NULL,
                stanza BLOB NOT NULL
            );
            """),
        // Errors that no client of their account has yet.
        SchemaStep(
            "outgoing", 2,
            """
            CREATE TABLE returned (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                account TEXT NOT NULL,
                stanza BLOB NOT NULL
            );
            CREATE INDEX returned_account ON returned (account, id);
            """),
    ]

    /// More errors than this are not kept for an account.
    private static let mostReturned = 100

    struct Row: Sendable {
        let id: Int64
        let local: String
        let remote: String
        let kind: Stanza.Kind
        /// Milliseconds since 1970.
        let addedAt: Int64
        let stanza: [UInt8]
    }

    /// Gives the number of the stanza.
    static func insert(
        _ connection: Connection, from local: String, to remote: String, kind: Stanza.Kind,
        addedAt: Int64, _ stanza: [UInt8]
    ) throws -> Int64 {
        try connection.execute(
            "INSERT INTO outgoing (local, remote, kind, added, stanza) VALUES (?, ?, ?, ?, ?)",
            .text(local), .text(remote), .text(kind.rawValue), .integer(addedAt), .blob(stanza))
        return connection.lastInsertedRow
    }

    static func delete(_ connection: Connection, _ ids: [Int64]) throws {
        for id in ids {
            try connection.execute("DELETE FROM outgoing WHERE id = ?", .integer(id))
        }
    }

    /// All of them, in their order.
    static func all(_ connection: Connection) throws -> [Row] {
        var rows: [Row] = []
        try connection.rows(
            "SELECT id, local, remote, kind, added, stanza FROM outgoing ORDER BY id"
        ) { row in
            rows.append(
                Row(
                    id: row.integer(0), local: row.text(1) ?? "", remote: row.text(2) ?? "",
                    kind: row.text(3).flatMap(Stanza.Kind.init(rawValue:)) ?? .message,
                    addedAt: row.integer(4), stanza: row.blob(5)))
        }
        return rows
    }

    // MARK: Errors that wait for their receivers

    /// Has an error wait in place of the stanza that it is about; false if too many wait.
    static func putBack(_ connection: Connection, _ error: ReturnedError) throws -> Bool {
        try delete(connection, [error.id])
        let account = SQLValue.text(error.account.description)
        guard try Accounts.exists(error.account, in: connection) else { return true }
        try connection.execute(
            """
            INSERT INTO returned (account, stanza) SELECT ?, ?
            WHERE (SELECT count(*) FROM returned WHERE account = ?) < ?
            """,
            account, .blob(error.bytes), account, .integer(Int64(mostReturned)))
        return connection.changes > 0
    }

    /// The errors that wait for an account, in their order.
    static func returned(
        _ connection: Connection, to account: BareJID
    ) throws -> [(id: Int64, bytes: [UInt8])] {
        var rows: [(id: Int64, bytes: [UInt8])] = []
        try connection.rows(
            "SELECT id, stanza FROM returned WHERE account = ? ORDER BY id",
            .text(account.description)
        ) { rows.append(($0.integer(0), $0.blob(1))) }
        return rows
    }

    static func deleteReturned(_ connection: Connection, _ ids: Set<Int64>) throws {
        for id in ids {
            try connection.execute("DELETE FROM returned WHERE id = ?", .integer(id))
        }
    }

    static func deleteReturned(_ connection: Connection, to account: BareJID) throws {
        try connection.execute(
            "DELETE FROM returned WHERE account = ?", .text(account.description))
    }

    static func accountsWithReturned(_ connection: Connection) throws -> [BareJID] {
        var accounts: [BareJID] = []
        try connection.rows("SELECT DISTINCT account FROM returned") { row in
            if let account = row.text(0).flatMap({ try? BareJID($0) }) { accounts.append(account) }
        }
        return accounts
    }
}
