// Every SQL statement about archives and backups: the new epoch after a restore, and messages that
// come back into one archive.

internal import Addresses
internal import Engine
internal import Storage
internal import XMPP

extension MessageArchiveStore {
    /// Begins a new epoch with the next message: after a restore row numbers come again that may
    /// have been other messages' in between.
    ///
    /// - Parameters:
    ///   - step: how far the epoch's number is from the last one, at random: the same backup may
    ///     have been restored before, and had an epoch then of which this database knows nothing.
    ///   - newKey: for the day when the numbers are used up.
    static func beginEpoch(
        _ connection: Connection, step: UInt32, newKey: [UInt8]
    ) throws {
        let last =
            try connection.first("SELECT max(number) FROM archive_epochs") { $0.integer(0) } ?? 0
        // Without any, nothing has got an id yet.
        guard last > 0 else { return }
        var first = try MessageStore.nextNumber(connection)
        var (number, isOver) = UInt32(clamping: last).addingReportingOverflow(max(1, step))
        if isOver {
            (number, first) = (1, 0)
            try connection.execute("UPDATE archive_state SET key = ?", .blob(newKey))
        }
        // Epochs in which no message was stored.
        try connection.execute("DELETE FROM archive_epochs WHERE first >= ?", .integer(first))
        try connection.execute(
            "INSERT OR REPLACE INTO archive_epochs (number, first) VALUES (?, ?)",
            .integer(Int64(number)), .integer(first))
    }

    /// Tells of a message's number whether it is the same message's in a backup of this database.
    static func past(
        of backup: Database, _ connection: Connection
    ) throws -> @Sendable (Int64) -> Bool {
        guard let theirs = try backup.readNow({ try existingIdentity($0) }),
            let ours = try existingIdentity(connection), theirs.key == ours.key
        else { return { _ in false } }
        return { id in
            theirs.epochs.last { $0.first <= id }?.number
                == ours.epochs.last { $0.first <= id }?.number
        }
    }

    /// Hands out messages of an archive, from old to new, with who they are from and to, and as
    /// whose the owner keeps them.
    static func kept(
        _ connection: Connection, by owner: Int64, after: Int64, limit: Int,
        each: (StoredMessage, _ sender: String, _ receiver: String, Keepers) -> Void
    ) throws {
        try connection.rows(
            """
            SELECT messages.id, received, keepers, stanza, senders.jid, receivers.jid,
                (sender = ?1 AND keepers & 1 > 0) + 2 * (receiver = ?1 AND keepers & 2 > 0) AS own
            FROM messages
            JOIN addresses AS senders ON senders.id = sender
            JOIN addresses AS receivers ON receivers.id = receiver
            WHERE messages.id > ?2 AND own > 0
                AND messages.id > coalesce(
                    (SELECT through FROM archive_removals WHERE owner = ?1), 0)
            ORDER BY messages.id LIMIT ?3
            """, .integer(owner), .integer(after), .integer(Int64(limit))
        ) { row in
            each(
                StoredMessage(row), row.text(4) ?? "", row.text(5) ?? "",
                Keepers(rawValue: row.integer(6)))
        }
    }

    /// Puts a settled message back into an archive; false when it is in it, nil when its number is
    /// another message's.
    static func merge(
        _ connection: Connection, _ message: StoredMessage, sender: Int64, receiver: Int64,
        keepers: Keepers, owner: Int64
    ) throws -> Bool? {
        let id = SQLValue.integer(message.id)
        let found = try connection.first(
            "SELECT keepers, received = ? AND sender = ? AND receiver = ? FROM messages WHERE id = ?",
            .integer(message.receivedAt), .integer(sender), .integer(receiver), id
        ) { (keepers: Keepers(rawValue: $0.integer(0)), isSame: $0.integer(1) != 0) }
        if let found {
            guard found.isSame else { return nil }
            guard found.keepers.isDisjoint(with: keepers) else { return false }
            try connection.execute(
                "UPDATE messages SET keepers = keepers | ? WHERE id = ?",
                .integer(keepers.rawValue), id)
        } else {
            try connection.execute(
                """
                INSERT INTO messages (id, received, sender, receiver, keepers, stanza)
                VALUES (?, ?, ?, ?, ?, ?)
                """, id, .integer(message.receivedAt), .integer(sender), .integer(receiver),
                .integer(keepers.rawValue), .blob(message.stanza))
        }
        let before = found?.keepers ?? []
        // One that has not settled is listed with the others.
        guard message.id <= (try MessageStore.settled(connection)) else { return true }
        try list(connection, message, owner: owner, contact: sender == owner ? receiver : sender)
        let searchable =
            try connection.first("SELECT searchable FROM archive_state") { $0.integer(0) } ?? 0
        guard message.id <= searchable, let words = words(of: message.stanza) else { return true }
        let old = owners(before.rawValue, sender, receiver)
        if !old.isEmpty {
            try connection.execute(
                """
                INSERT INTO archive_text (archive_text, rowid, body, owners)
                VALUES ('delete', ?, ?, ?)
                """, id, .text(words), .text(old))
        }
        try connection.execute(
            "INSERT INTO archive_text (rowid, body, owners) VALUES (?, ?, ?)", id, .text(words),
            .text(owners(before.union(keepers).rawValue, sender, receiver)))
        return true
    }

    private static func list(
        _ connection: Connection, _ message: StoredMessage, owner: Int64, contact: Int64
    ) throws {
        let id = SQLValue.integer(message.id)
        let received = SQLValue.integer(message.receivedAt)
        try connection.execute(
            "INSERT OR IGNORE INTO archive_entries (owner, message, contact) VALUES (?, ?, ?)",
            .integer(owner), id, .integer(contact))
        try connection.execute(
            """
            INSERT INTO archive_usage (owner, messages, bytes) VALUES (?, 1, ?)
            ON CONFLICT (owner) DO UPDATE SET
                messages = messages + 1, bytes = bytes + excluded.bytes
            """, .integer(owner), .integer(Int64(message.stanza.count)))
        // Where the others of its time went, the span went with them.
        try connection.execute(
            """
            INSERT INTO archive_spans (first, last, earliest, latest)
            SELECT ?1, ?1, ?2, ?2 WHERE NOT EXISTS (
                SELECT 1 FROM archive_spans
                WHERE ?1 BETWEEN first AND last AND ?2 BETWEEN earliest AND latest)
            ON CONFLICT (first) DO UPDATE SET
                earliest = min(earliest, excluded.earliest),
                latest = max(latest, excluded.latest)
            """, id, received)
    }
}
