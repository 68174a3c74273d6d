// Every SQL statement about stored messages. A message is stored once; whoever lists it, an
// archive or the offline store, refers to it by its number.
//
// Rows are only ever appended: what makes them easy to find is written later, in batches, so that
// a message costs one page of the card and not one for every list it is in.

public import Addresses
public import Storage

/// A message as it is stored.
public struct StoredMessage: Sendable {
    /// Its number; later ones are greater.
    public let id: Int64
    /// Milliseconds since 1970.
    public let receivedAt: Int64
    /// As routed, with its namespace declared.
    public let stanza: [UInt8]
    /// Whose archives list it.
    public let keepers: Keepers

    /// Reads the columns `id, received, keepers, stanza` of `messages`, which begin at `column`.
    public init(_ row: ResultRow, at column: Int = 0) {
        id = row.integer(column)
        receivedAt = row.integer(column + 1)
        keepers = Keepers(rawValue: row.integer(column + 2))
        stanza = row.blob(column + 3)
    }
}

/// Whose archives list a message.
public struct Keepers: OptionSet, Sendable {
    /// The bits, as stored.
    public let rawValue: Int64

    /// Creates a set.
    public init(rawValue: Int64) { self.rawValue = rawValue }

    /// The sender's archive.
    public static let sender = Keepers(rawValue: 1)
    /// The receiver's archive.
    public static let receiver = Keepers(rawValue: 2)
}

/// SQL about messages, streams and the addresses in them.
public enum MessageStore {
    static let schema = [
        SchemaStep(
            "messages", 1,
            """
            CREATE TABLE addresses (
                id INTEGER PRIMARY KEY,
                jid TEXT NOT NULL UNIQUE
            );
            CREATE TABLE messages (
                id INTEGER PRIMARY KEY,
                received INTEGER NOT NULL,
                sender INTEGER NOT NULL,
                receiver INTEGER NOT NULL,
                keepers INTEGER NOT NULL,
                stream INTEGER,
                handled INTEGER,
                fingerprint INTEGER,
                stanza BLOB NOT NULL
            );
            CREATE TABLE message_state (
                settled INTEGER NOT NULL,
                next INTEGER NOT NULL
            );
            INSERT INTO message_state (settled, next) VALUES (0, 1);
            CREATE TABLE streams (
                id INTEGER PRIMARY KEY,
                account INTEGER NOT NULL,
                handled INTEGER NOT NULL,
                seen INTEGER NOT NULL
            );
            """)
    ]

    /// The columns that `StoredMessage` reads.
    public static let columns = "id, received, keepers, stanza"

    static func insert(
        _ connection: Connection, id: Int64, receivedAt: Int64, sender: Int64, receiver: Int64,
        keepers: Keepers, stream: StreamPosition?, fingerprint: Int64?, stanza: [UInt8]
    ) throws {
        try connection.execute(
            """
            INSERT INTO messages (
                id, received, sender, receiver, keepers, stream, handled, fingerprint, stanza
            ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            .integer(id), .integer(receivedAt), .integer(sender), .integer(receiver),
            .integer(keepers.rawValue), stream.map { .integer($0.stream) } ?? .null,
            stream.map { .integer(Int64($0.handled)) } ?? .null,
            fingerprint.map { .integer($0) } ?? .null, .blob(stanza))
    }

    /// The number of an address, which it gets if it has none. For bare addresses.
    public static func number(
        of jid: BareJID, in connection: Connection
    ) throws -> Int64 {
        let text = SQLValue.text(jid.description)
        if let id = try existingNumber(of: jid, in: connection) { return id }
        try connection.execute("INSERT INTO addresses (jid) VALUES (?)", text)
        return connection.lastInsertedRow
    }

    /// The number of an address, nil if nothing is stored for it.
    public static func existingNumber(
        of jid: BareJID, in connection: Connection
    ) throws -> Int64? {
        try connection.first(
            "SELECT id FROM addresses WHERE jid = ?", .text(jid.description)
        ) { $0.integer(0) }
    }

    /// Has everything that is stored under a number be another address's, which has none.
    static func rename(_ connection: Connection, _ number: Int64, to jid: BareJID) throws {
        try connection.execute(
            "UPDATE addresses SET jid = ? WHERE id = ?", .text(jid.description),
            .integer(number))
    }

    /// Deletes a message.
    public static func delete(_ connection: Connection, _ id: Int64) throws {
        try keepNumber(connection)
        try connection.execute("DELETE FROM messages WHERE id = ?", .integer(id))
    }

    /// Takes a keeper from a message; without any it goes, unless the offline store has it.
    public static func release(
        _ connection: Connection, _ id: Int64, keeper: Keepers, isWaiting: Bool
    ) throws {
        try connection.execute(
            "UPDATE messages SET keepers = keepers & ~? WHERE id = ?",
            .integer(keeper.rawValue), .integer(id))
        guard !isWaiting else { return }
        try deleteIfUnkept(connection, id)
    }

    /// Deletes a message that no archive lists.
    public static func deleteIfUnkept(_ connection: Connection, _ id: Int64) throws {
        try keepNumber(connection)
        try connection.execute(
            "DELETE FROM messages WHERE id = ? AND keepers = 0", .integer(id))
    }

    /// Deletes messages of a range that has settled and that no archive lists, but for those that
    /// the offline store has.
    static func deleteUnkept(
        _ connection: Connection, _ range: ClosedRange<Int64>,
        isWaiting: (_ message: Int64, _ receiver: Int64) throws -> Bool
    ) throws {
        var unkept: [(id: Int64, receiver: Int64)] = []
        try connection.rows(
            "SELECT id, receiver FROM messages WHERE id BETWEEN ? AND ? AND keepers = 0",
            .integer(range.lowerBound), .integer(range.upperBound)
        ) { unkept.append(($0.integer(0), $0.integer(1))) }
        for (id, receiver) in unkept {
            guard try !isWaiting(id, receiver) else { continue }
            try delete(connection, id)
        }
    }

    /// Before rows go, the next number is noted, so that none is ever used twice.
    private static func keepNumber(_ connection: Connection) throws {
        try connection.execute(
            """
            UPDATE message_state SET next = (SELECT max(id) + 1 FROM messages)
            WHERE next < (SELECT max(id) + 1 FROM messages)
            """)
    }

    /// The number of the next message; greater than that of any before it.
    public static func nextNumber(_ connection: Connection) throws -> Int64 {
        try connection.first(
            """
            SELECT max((SELECT next FROM message_state),
                       coalesce((SELECT max(id) + 1 FROM messages), 1))
            """
        ) { $0.integer(0) } ?? 1
    }

    /// How many messages are stored, of all accounts.
    static func count(_ connection: Connection) throws -> Int {
        try connection.first("SELECT count(*) FROM messages") { Int($0.integer(0)) } ?? 0
    }

    /// Fingerprints of the latest messages and when these were received, oldest first.
    static func fingerprints(
        _ connection: Connection, count: Int
    ) throws -> [(fingerprint: Int64, receivedAt: Int64)] {
        var found: [(fingerprint: Int64, receivedAt: Int64)] = []
        try connection.rows(
            "SELECT fingerprint, received FROM messages ORDER BY id DESC LIMIT ?",
            .integer(Int64(count))
        ) { row in
            let fingerprint = row.integer(0)
            if fingerprint != 0 { found.append((fingerprint, row.integer(1))) }
        }
        return found.reversed()
    }

    // MARK: Settling

    /// Messages above this number are in no list but `messages` itself.
    public static func settled(_ connection: Connection) throws -> Int64 {
        try connection.first("SELECT settled FROM message_state") { $0.integer(0) } ?? 0
    }

    /// The range of the next messages to settle, at most so many; nil if there are none.
    static func unsettled(
        _ connection: Connection, limit: Int
    ) throws -> ClosedRange<Int64>? {
        let settled = try settled(connection)
        let last =
            try connection.first(
                """
                SELECT max(id) FROM (SELECT id FROM messages WHERE id > ? ORDER BY id LIMIT ?)
                """, .integer(settled), .integer(Int64(limit))
            ) { $0.integer(0) } ?? 0
        return last > settled ? settled + 1...last : nil
    }

    static func settle(
        _ connection: Connection, _ range: ClosedRange<Int64>, now: Int64
    ) throws {
        try connection.execute(
            """
            INSERT INTO streams (id, account, handled, seen)
            SELECT stream, sender, max(handled), ? FROM messages
            WHERE id BETWEEN ? AND ? AND stream IS NOT NULL GROUP BY stream
            ON CONFLICT (id) DO UPDATE
            SET handled = max(handled, excluded.handled), seen = excluded.seen
            """, .integer(now), .integer(range.lowerBound), .integer(range.upperBound))
        try connection.execute(
            "UPDATE message_state SET settled = ?", .integer(range.upperBound))
    }

    // MARK: Streams that are gone (XEP-0198 section 5)

    /// How many stanzas of a stream were handled, as far as it was stored; nil if nothing was.
    static func handled(
        _ connection: Connection, _ stream: Int64, of account: BareJID
    ) throws -> UInt32? {
        guard let account = try existingNumber(of: account, in: connection) else { return nil }
        let handled: Int64? = try connection.first(
            """
            SELECT max(handled) FROM (
                SELECT handled FROM streams WHERE id = ?1 AND account = ?2
                UNION ALL
                SELECT handled FROM messages
                WHERE id > (SELECT settled FROM message_state) AND stream = ?1 AND sender = ?2
            ) HAVING count(*) > 0
            """, .integer(stream), .integer(account)
        ) { $0.integer(0) }
        return handled.flatMap { UInt32(exactly: $0) }
    }

    /// Notes how far a stream was when it ended.
    static func note(
        _ connection: Connection, _ position: StreamPosition, of account: BareJID, now: Int64
    ) throws {
        try connection.execute(
            """
            INSERT INTO streams (id, account, handled, seen) VALUES (?, ?, ?, ?)
            ON CONFLICT (id) DO UPDATE
            SET handled = max(handled, excluded.handled), seen = excluded.seen
            """,
            .integer(position.stream), .integer(try number(of: account, in: connection)),
            .integer(Int64(position.handled)), .integer(now))
    }

    /// Forgets streams of which nothing was heard since a time, in seconds since 1970.
    static func forgetStreams(_ connection: Connection, before time: Int64) throws {
        try connection.execute("DELETE FROM streams WHERE seen < ?", .integer(time))
    }

    static func forgetStreams(_ connection: Connection, of account: BareJID) throws {
        guard let number = try existingNumber(of: account, in: connection) else { return }
        try connection.execute("DELETE FROM streams WHERE account = ?", .integer(number))
    }

    /// Forgets how far all streams were.
    static func forgetStreams(_ connection: Connection) throws {
        try connection.execute("DELETE FROM streams")
        try connection.execute(
            """
            UPDATE messages SET stream = NULL, handled = NULL
            WHERE id > (SELECT settled FROM message_state) AND stream IS NOT NULL
            """)
    }
}
