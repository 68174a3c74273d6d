// Every SQL statement about offline messages.

internal import Addresses
internal import Engine
internal import Storage

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
            """),
        // What waits is a message like any other, stored once.
        SchemaStep(
            "offline_messages", 2,
            """
            ALTER TABLE offline_messages RENAME TO offline_messages_before;
            CREATE TABLE offline_messages (
                receiver INTEGER NOT NULL,
                message INTEGER NOT NULL,
                PRIMARY KEY (receiver, message)
            ) WITHOUT ROWID;
            INSERT OR IGNORE INTO addresses (jid)
                SELECT DISTINCT account FROM offline_messages_before;
            INSERT INTO messages (id, received, sender, receiver, keepers, stanza)
                SELECT before.id, received * 1000, 0, addresses.id, 0, stanza
                FROM offline_messages_before AS before JOIN addresses ON jid = account;
            INSERT INTO offline_messages (receiver, message)
                SELECT receiver, id FROM messages;
            DROP TABLE offline_messages_before;
            """),
    ]

    /// False when so many wait already.
    static func insert(
        _ connection: Connection, _ message: Int64, _ receiver: Int64, limit: Int
    ) throws -> Bool {
        guard try count(connection, receiver) < limit else { return false }
        try connection.execute(
            "INSERT OR IGNORE INTO offline_messages (receiver, message) VALUES (?, ?)",
            .integer(receiver), .integer(message))
        return true
    }

    static func contains(
        _ connection: Connection, _ message: Int64, _ receiver: Int64
    ) throws -> Bool {
        try connection.first(
            "SELECT 1 FROM offline_messages WHERE receiver = ? AND message = ?",
            .integer(receiver), .integer(message)
        ) { _ in true } ?? false
    }

    static func messages(
        _ connection: Connection, of account: BareJID
    ) throws -> [StoredMessage] {
        guard let receiver = try MessageStore.existingNumber(of: account, in: connection) else {
            return []
        }
        var messages: [StoredMessage] = []
        var bytes = 0
        try connection.rows(
            """
            SELECT \(MessageStore.columns) FROM offline_messages
            JOIN messages ON messages.id = message
            WHERE offline_messages.receiver = ? ORDER BY message LIMIT \(batch)
            """,
            .integer(receiver)
        ) { row in
            // Once full, nothing more, or a later one would come before an earlier one.
            guard bytes < batchBytes else { return }
            let message = StoredMessage(row)
            bytes += message.stanza.count
            messages.append(message)
        }
        return messages
    }

    /// Takes messages from the queue; those that no archive lists are deleted.
    ///
    /// - Returns: how many there were.
    static func delete(
        _ connection: Connection, of account: BareJID, _ messages: [Int64]
    ) throws -> Int {
        guard let receiver = try MessageStore.existingNumber(of: account, in: connection) else {
            return 0
        }
        var count = 0
        for message in messages {
            try connection.execute(
                "DELETE FROM offline_messages WHERE receiver = ? AND message = ?",
                .integer(receiver), .integer(message))
            guard connection.changes > 0 else { continue }
            count += 1
            try MessageStore.deleteIfUnkept(connection, message)
        }
        return count
    }

    static func deleteAll(_ connection: Connection, of account: BareJID) throws {
        guard let receiver = try MessageStore.existingNumber(of: account, in: connection) else {
            return
        }
        var messages: [Int64] = []
        try connection.rows(
            "SELECT message FROM offline_messages WHERE receiver = ?", .integer(receiver)
        ) { messages.append($0.integer(0)) }
        _ = try delete(connection, of: account, messages)
    }

    // MARK: Backups

    /// Has messages wait for an account again that waited for it in a backup. One whose number is
    /// another message's now is left out.
    ///
    /// - Parameter isPast: whether a number is the same message's in both.
    /// - Returns: how many wait again.
    static func merge(
        _ account: BareJID, from backup: Database, _ connection: Connection,
        isPast: (Int64) -> Bool
    ) throws -> Int {
        let receiver = try MessageStore.number(of: account, in: connection)
        let next = try MessageStore.nextNumber(connection)
        var (count, after) = (0, Int64(0))
        while true {
            let start = after
            let waiting = try backup.readNow { try self.waiting($0, account, after: start) }
            guard let last = waiting.last else { return count }
            after = last.message.id
            for (message, sender) in waiting where isPast(message.id) && message.id < next {
                let from = try sender.flatMap { try? BareJID($0) }.map {
                    try MessageStore.number(of: $0, in: connection)
                }
                if try wait(connection, message, from: from ?? 0, for: receiver) { count += 1 }
            }
        }
    }

    private static func waiting(
        _ connection: Connection, _ account: BareJID, after: Int64
    ) throws -> [(message: StoredMessage, sender: String?)] {
        guard let receiver = try MessageStore.existingNumber(of: account, in: connection) else {
            return []
        }
        var found: [(message: StoredMessage, sender: String?)] = []
        try connection.rows(
            """
            SELECT messages.id, received, keepers, stanza, senders.jid FROM offline_messages
            JOIN messages ON messages.id = message
            LEFT JOIN addresses AS senders ON senders.id = sender
            WHERE offline_messages.receiver = ? AND message > ? ORDER BY message LIMIT \(batch)
            """, .integer(receiver), .integer(after)
        ) { found.append((StoredMessage($0), $0.text(4))) }
        return found
    }

    /// False when the message waits already, or its number is another's.
    private static func wait(
        _ connection: Connection, _ message: StoredMessage, from sender: Int64, for receiver: Int64
    ) throws -> Bool {
        let id = SQLValue.integer(message.id)
        let isSame = try connection.first(
            "SELECT received = ? AND sender = ? AND receiver = ? FROM messages WHERE id = ?",
            .integer(message.receivedAt), .integer(sender), .integer(receiver), id
        ) { $0.integer(0) != 0 }
        if isSame == false { return false }
        if isSame == nil {
            // No archive lists it; the receiver's may, once it has its own back.
            try connection.execute(
                """
                INSERT INTO messages (id, received, sender, receiver, keepers, stanza)
                VALUES (?, ?, ?, ?, 0, ?)
                """, id, .integer(message.receivedAt), .integer(sender), .integer(receiver),
                .blob(message.stanza))
        }
        try connection.execute(
            "INSERT OR IGNORE INTO offline_messages (receiver, message) VALUES (?, ?)",
            .integer(receiver), id)
        return connection.changes > 0
    }

    /// How many messages wait for an account.
    static func count(_ connection: Connection, of account: BareJID) throws -> Int {
        guard let receiver = try MessageStore.existingNumber(of: account, in: connection) else {
            return 0
        }
        return try count(connection, receiver)
    }

    private static func count(_ connection: Connection, _ receiver: Int64) throws -> Int {
        try connection.first(
            "SELECT count(*) FROM offline_messages WHERE receiver = ?", .integer(receiver)
        ) { Int($0.integer(0)) } ?? 0
    }

    static func count(_ connection: Connection) throws -> Int {
        try connection.first("SELECT count(*) FROM offline_messages") { Int($0.integer(0)) } ?? 0
    }
}
