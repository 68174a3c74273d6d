// Every SQL statement about offline messages.

internal import Addresses
internal import Storage

struct StoredMessage: Sendable {
    let id: Int64
    /// Seconds since 1970.
    let receivedAt: Int64
    /// As routed, with its namespace.
    let stanza: [UInt8]
}

enum OfflineMessageStore {
    /// More than this are not read at once; the rest follows.
    static let batch = 500

    static let schema = [
        SchemaStep(
            "offline_messages", 1,
            """
            CREATE TABLE offline_messages (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                account TEXT NOT NULL,
                received INTEGER NOT NULL,
                stanza BLOB NOT NULL
            );
            CREATE INDEX offline_messages_account ON offline_messages (account, id);
            """)
    ]

    enum Insertion: Sendable {
        case inserted, noAccount, full
    }

    static func insert(
        _ connection: Connection, _ message: StoredMessage, _ account: BareJID, limit: Int
    ) throws -> Insertion {
        guard try count(connection, of: account) < limit else { return .full }
        try connection.execute(
            "INSERT INTO offline_messages (account, received, stanza) VALUES (?, ?, ?)",
            .text(account.description), .integer(message.receivedAt), .blob(message.stanza))
        return .inserted
    }

    static func messages(
        _ connection: Connection, of account: BareJID
    ) throws -> [StoredMessage] {
        var messages: [StoredMessage] = []
        try connection.rows(
            """
            SELECT id, received, stanza FROM offline_messages
            WHERE account = ? ORDER BY id LIMIT \(batch)
            """,
            .text(account.description)
        ) { row in
            messages.append(
                StoredMessage(
                    id: row.integer(0), receivedAt: row.integer(1), stanza: row.blob(2)))
        }
        return messages
    }

    static func delete(
        _ connection: Connection, of account: BareJID, through id: Int64
    ) throws {
        try connection.execute(
            "DELETE FROM offline_messages WHERE account = ? AND id <= ?",
            .text(account.description), .integer(id))
    }

    static func deleteAll(_ connection: Connection, of account: BareJID) throws {
        try connection.execute(
            "DELETE FROM offline_messages WHERE account = ?", .text(account.description))
    }

    static func count(_ connection: Connection, of account: BareJID) throws -> Int {
        try connection.first(
            "SELECT count(*) FROM offline_messages WHERE account = ?", .text(account.description)
        ) { Int($0.integer(0)) } ?? 0
    }

    static func count(_ connection: Connection) throws -> Int {
        try connection.first("SELECT count(*) FROM offline_messages") { Int($0.integer(0)) } ?? 0
    }
}
