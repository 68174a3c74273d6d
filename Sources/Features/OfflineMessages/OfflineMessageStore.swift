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
    /// So many bytes are read at once, and one message at least; the rest follows.
    private static let batchBytes = 262_144
    private static let batch = 200

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
        var bytes = 0
        try connection.rows(
            """
            SELECT id, received, stanza FROM offline_messages
            WHERE account = ? ORDER BY id LIMIT \(batch)
            """,
            .text(account.description)
        ) { row in
            // Once full, nothing more, or a later one would come before an earlier one.
            guard bytes < batchBytes else { return }
            let stanza = row.blob(2)
            bytes += stanza.count
            messages.append(
                StoredMessage(id: row.integer(0), receivedAt: row.integer(1), stanza: stanza))
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
