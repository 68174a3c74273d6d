// Every SQL statement about archives: who lists which message, preferences, and the index of
// words. The messages themselves are the engine's (`MessageStore`).
//
// The lists are written in batches, when messages settle. Until then a message is found by looking
// through the latest ones, of which there are never many.

internal import Addresses
internal import Engine
internal import Storage
internal import XMPP

enum MessageArchiveStore {
    /// Whether a message waits for its receiver, who is not there.
    typealias IsWaiting = @Sendable (_ message: Int64, Int64, Connection) throws -> Bool

    static let schema = [
        SchemaStep(
            "message_archive", 1,
            """
            CREATE TABLE archive_entries (
                owner INTEGER NOT NULL,
                message INTEGER NOT NULL,
                contact INTEGER NOT NULL,
                PRIMARY KEY (owner, message)
            ) WITHOUT ROWID;
            CREATE INDEX archive_entries_contact ON archive_entries (owner, contact, message);
            CREATE TABLE archive_usage (
                owner INTEGER PRIMARY KEY,
                messages INTEGER NOT NULL,
                bytes INTEGER NOT NULL
            );
            CREATE TABLE archive_spans (
                first INTEGER PRIMARY KEY,
                last INTEGER NOT NULL,
                earliest INTEGER NOT NULL,
                latest INTEGER NOT NULL
            );
            CREATE TABLE archive_preferences (
                owner INTEGER PRIMARY KEY,
                rule TEXT NOT NULL,
                always TEXT NOT NULL,
                never TEXT NOT NULL
            );
            CREATE TABLE archive_removals (
                owner INTEGER PRIMARY KEY,
                through INTEGER NOT NULL
            );
            CREATE TABLE archive_epochs (
                number INTEGER PRIMARY KEY,
                first INTEGER NOT NULL
            );
            CREATE TABLE archive_state (
                key BLOB NOT NULL,
                searchable INTEGER NOT NULL
            );
            CREATE VIRTUAL TABLE archive_text USING fts5 (
                body, owners, content = '', detail = 'full',
                tokenize = "\(SearchText.tokenizer)"
            );
            """)
    ]

    // MARK: Identity

    /// The key of archive ids and the epochs by their first message, made at the first start.
    static func identity(
        _ connection: Connection, newKey: [UInt8]
    ) throws -> (key: [UInt8], epochs: [(number: UInt32, first: Int64)]) {
        if try connection.first("SELECT 1 FROM archive_state", value: { _ in true }) == nil {
            try connection.execute(
                "INSERT INTO archive_state (key, searchable) VALUES (?, 0)", .blob(newKey))
            try connection.execute("INSERT INTO archive_epochs (number, first) VALUES (1, 0)")
        }
        return try existingIdentity(connection) ?? (newKey, [])
    }

    /// The same where it was made.
    static func existingIdentity(
        _ connection: Connection
    ) throws -> (key: [UInt8], epochs: [(number: UInt32, first: Int64)])? {
        let key = try connection.first("SELECT key FROM archive_state") { $0.blob(0) }
        guard let key else { return nil }
        var epochs: [(number: UInt32, first: Int64)] = []
        try connection.rows("SELECT number, first FROM archive_epochs ORDER BY number") { row in
            epochs.append((UInt32(clamping: row.integer(0)), row.integer(1)))
        }
        return (key, epochs)
    }

    // MARK: Lists

    /// Lists settled messages in the archives that keep them.
    static func settle(_ connection: Connection, _ range: ClosedRange<Int64>) throws {
        let (first, last) = (SQLValue.integer(range.lowerBound), SQLValue.integer(range.upperBound))
        // Sorted by owner, so that each page is touched once.
        try connection.execute(
            """
            INSERT OR IGNORE INTO archive_entries (owner, message, contact)
            SELECT sender, id, receiver FROM messages
            WHERE id BETWEEN ?1 AND ?2 AND keepers & 1
            UNION ALL
            SELECT receiver, id, sender FROM messages
            WHERE id BETWEEN ?1 AND ?2 AND keepers & 2 AND NOT (keepers & 1 AND sender = receiver)
            ORDER BY 1, 2
            """, first, last)
        try connection.execute(
            """
            INSERT INTO archive_usage (owner, messages, bytes)
            SELECT owner, count(*), sum(length(stanza)) FROM (
                SELECT sender AS owner, stanza FROM messages
                WHERE id BETWEEN ?1 AND ?2 AND keepers & 1
                UNION ALL
                SELECT receiver, stanza FROM messages
                WHERE id BETWEEN ?1 AND ?2 AND keepers & 2
                    AND NOT (keepers & 1 AND sender = receiver)
            ) WHERE true GROUP BY owner
            ON CONFLICT (owner) DO UPDATE SET
                messages = messages + excluded.messages, bytes = bytes + excluded.bytes
            """, first, last)
        try connection.execute(
            """
            INSERT OR REPLACE INTO archive_spans (first, last, earliest, latest)
            SELECT ?1, ?2, min(received), max(received) FROM messages
            WHERE id BETWEEN ?1 AND ?2 HAVING count(*) > 0
            """, first, last)
    }

    /// How many messages an archive lists and how many bytes they have, those that have not
    /// settled included.
    static func usage(
        _ connection: Connection, of owner: Int64
    ) throws -> (messages: Int, bytes: Int) {
        let listed =
            try connection.first(
                "SELECT messages, bytes FROM archive_usage WHERE owner = ?", .integer(owner)
            ) { (Int($0.integer(0)), Int($0.integer(1))) } ?? (0, 0)
        let latest =
            try connection.first(
                """
                SELECT count(*), coalesce(sum(length(stanza)), 0) FROM messages
                WHERE id > (SELECT settled FROM message_state)
                    AND ((sender = ?1 AND keepers & 1) OR (receiver = ?1 AND keepers & 2))
                """, .integer(owner)
            ) { (Int($0.integer(0)), Int($0.integer(1))) } ?? (0, 0)
        return (listed.0 + latest.0, listed.1 + latest.1)
    }

    /// The same of all archives.
    static func usage(_ connection: Connection) throws -> (messages: Int, bytes: Int) {
        try connection.first(
            """
            SELECT coalesce(sum(messages), 0), coalesce(sum(bytes), 0) FROM (
                SELECT messages, bytes FROM archive_usage
                UNION ALL
                SELECT entries, entries * size FROM (
                    SELECT length(stanza) AS size,
                        (keepers & 1 > 0) + (keepers & 2 > 0)
                        - (keepers & 3 = 3 AND sender = receiver) AS entries
                    FROM messages WHERE id > (SELECT settled FROM message_state)
                )
            )
            """
        ) { (Int($0.integer(0)), Int($0.integer(1))) } ?? (0, 0)
    }

    // MARK: Preferences

    static func accountsWithPreferences(_ connection: Connection) throws -> [BareJID] {
        var accounts: [BareJID] = []
        try connection.rows(
            "SELECT jid FROM archive_preferences JOIN addresses ON addresses.id = owner"
        ) { row in
            if let jid = row.text(0).flatMap({ try? BareJID($0) }) { accounts.append(jid) }
        }
        return accounts
    }

    static func preferences(
        _ connection: Connection, of owner: Int64
    ) throws -> ArchivePreferences? {
        func addresses(_ text: String?) -> Set<JID> {
            Set((text ?? "").split(separator: "\n").compactMap { try? JID($0) })
        }
        return try connection.first(
            "SELECT rule, always, never FROM archive_preferences WHERE owner = ?",
            .integer(owner)
        ) { row in
            ArchivePreferences(
                otherwise: row.text(0).flatMap(ArchivePreferences.Rule.init) ?? .always,
                always: addresses(row.text(1)), never: addresses(row.text(2)))
        }
    }

    static func save(
        _ connection: Connection, _ preferences: ArchivePreferences, of owner: Int64
    ) throws {
        func text(_ addresses: Set<JID>) -> SQLValue {
            .text(addresses.map(\.description).sorted().joined(separator: "\n"))
        }
        try connection.execute(
            """
            INSERT OR REPLACE INTO archive_preferences (owner, rule, always, never)
            VALUES (?, ?, ?, ?)
            """,
            .integer(owner), .text(preferences.otherwise.rawValue), text(preferences.always),
            text(preferences.never))
    }

    // MARK: Words (XEP-0431)

    /// Words of messages that are to be indexed.
    struct Words: Sendable {
        /// The messages above and up to which these are.
        let range: (after: Int64, last: Int64)
        let texts: [(id: Int64, words: String)]
        /// Whether others follow.
        let isMore: Bool
    }

    /// The words of the next settled messages, at most so many; nil when there are none left.
    static func words(_ connection: Connection, limit: Int) throws -> Words? {
        let done = try connection.first("SELECT searchable FROM archive_state") { $0.integer(0) }
        let settled = try MessageStore.settled(connection)
        guard let done, done < settled else { return nil }
        var last = settled
        var texts: [(id: Int64, words: String)] = []
        var count = 0
        try connection.rows(
            """
            SELECT id, stanza FROM messages
            WHERE id > ? AND id <= ? AND keepers != 0 ORDER BY id LIMIT ?
            """, .integer(done), .integer(settled), .integer(Int64(limit))
        ) { row in
            count += 1
            if count == limit { last = row.integer(0) }
            guard let words = Self.words(of: row.blob(1)) else { return }
            texts.append((row.integer(0), words))
        }
        return Words(range: (done, last), texts: texts, isMore: last < settled)
    }

    /// Indexes words that were read before. Nothing, if somebody else did so meanwhile.
    static func index(_ connection: Connection, _ words: Words) throws {
        let done = try connection.first("SELECT searchable FROM archive_state") { $0.integer(0) }
        guard done == words.range.after else { return }
        for (id, words) in words.texts {
            // It may have left archives since.
            let owners = try connection.first(
                "SELECT keepers, sender, receiver FROM messages WHERE id = ?", .integer(id)
            ) { Self.owners($0.integer(0), $0.integer(1), $0.integer(2)) }
            guard let owners, !owners.isEmpty else { continue }
            try connection.execute(
                "INSERT INTO archive_text (rowid, body, owners) VALUES (?, ?, ?)",
                .integer(id), .text(words), .text(owners))
        }
        try connection.execute(
            "UPDATE archive_state SET searchable = ?", .integer(words.range.last))
    }

    static func words(of stanza: [UInt8]) -> String? {
        guard let stanza = Stanza(routed: stanza),
            let text = ArchiveContent.searchableText(stanza)
        else { return nil }
        let words = SearchText.indexed(from: text)
        return words.isEmpty ? nil : words
    }

    /// Words for whose archives list a message.
    static func owners(_ keepers: Int64, _ sender: Int64, _ receiver: Int64) -> String {
        var owners: [String] = []
        if keepers & 1 != 0 { owners.append("o\(sender)") }
        if keepers & 2 != 0 { owners.append("o\(receiver)") }
        return owners.joined(separator: " ")
    }

    // MARK: Removal

    /// Takes a message out of one archive, and deletes it when no list has it any more.
    static func remove(
        _ connection: Connection, _ message: Int64, from owner: Int64, isWaiting: IsWaiting?
    ) throws {
        let row = try connection.first(
            "SELECT keepers, sender, receiver, stanza FROM messages WHERE id = ?",
            .integer(message)
        ) { row in
            (
                keepers: row.integer(0), sender: row.integer(1), receiver: row.integer(2),
                stanza: row.blob(3)
            )
        }
        try connection.execute(
            "DELETE FROM archive_entries WHERE owner = ? AND message = ?",
            .integer(owner), .integer(message))
        guard let row else { return }
        var keeper: Keepers = []
        if row.sender == owner { keeper.insert(.sender) }
        if row.receiver == owner { keeper.insert(.receiver) }
        let before = Keepers(rawValue: row.keepers)
        guard !before.isDisjoint(with: keeper) else { return }
        let after = before.subtracting(keeper)
        try connection.execute(
            "UPDATE archive_usage SET messages = messages - 1, bytes = bytes - ? WHERE owner = ?",
            .integer(Int64(row.stanza.count)), .integer(owner))
        let searchable =
            try connection.first("SELECT searchable FROM archive_state") { $0.integer(0) } ?? 0
        if message <= searchable, let words = words(of: row.stanza) {
            try connection.execute(
                """
                INSERT INTO archive_text (archive_text, rowid, body, owners)
                VALUES ('delete', ?, ?, ?)
                """, .integer(message), .text(words),
                .text(owners(row.keepers, row.sender, row.receiver)))
            let left = owners(after.rawValue, row.sender, row.receiver)
            if !left.isEmpty {
                try connection.execute(
                    "INSERT INTO archive_text (rowid, body, owners) VALUES (?, ?, ?)",
                    .integer(message), .text(words), .text(left))
            }
        }
        try MessageStore.release(
            connection, message, keeper: keeper,
            isWaiting: try isWaiting?(message, row.receiver, connection) ?? false)
    }

    /// Marks everything that an archive lists now as removed; `removeSome` does the work.
    static func markRemoved(_ connection: Connection, of owner: Int64) throws {
        try connection.execute(
            """
            INSERT OR REPLACE INTO archive_removals (owner, through)
            SELECT ?, coalesce(max(id), 0) FROM messages
            """, .integer(owner))
        try connection.execute(
            "DELETE FROM archive_preferences WHERE owner = ?", .integer(owner))
    }

    /// Removes some of what is marked, of one owner, and gives the number; nil when nothing is
    /// marked any more. The messages must have settled.
    static func removeSome(
        _ connection: Connection, limit: Int, isWaiting: IsWaiting?
    ) throws -> Int? {
        let removal = try connection.first(
            "SELECT owner, through FROM archive_removals LIMIT 1"
        ) { ($0.integer(0), $0.integer(1)) }
        guard let (owner, through) = removal else { return nil }
        var messages: [Int64] = []
        try connection.rows(
            """
            SELECT message FROM archive_entries WHERE owner = ? AND message <= ?
            ORDER BY message LIMIT ?
            """, .integer(owner), .integer(through), .integer(Int64(limit))
        ) { messages.append($0.integer(0)) }
        for message in messages {
            try remove(connection, message, from: owner, isWaiting: isWaiting)
        }
        if messages.count < limit {
            try connection.execute(
                "DELETE FROM archive_removals WHERE owner = ?", .integer(owner))
            try connection.execute(
                "DELETE FROM archive_usage WHERE owner = ? AND messages <= 0", .integer(owner))
        }
        return messages.count
    }

    /// Bytes in the archives of each domain's accounts.
    static func bytesByDomain(_ connection: Connection) throws -> [String: Int64] {
        var bytes: [String: Int64] = [:]
        try connection.rows(
            "SELECT jid, bytes FROM archive_usage JOIN addresses ON addresses.id = owner"
        ) { row in
            guard let jid = row.text(0).flatMap({ try? BareJID($0) }) else { return }
            bytes[jid.domain, default: 0] += row.integer(1)
        }
        return bytes
    }

    struct OldMessage: Sendable {
        let id: Int64
        let receivedAt: Int64
        let size: Int64
        /// The archives that list it.
        let owners: [(number: Int64, domain: String)]
    }

    /// The oldest settled messages behind a number.
    static func oldest(
        _ connection: Connection, after id: Int64, limit: Int
    ) throws -> [OldMessage] {
        var messages: [OldMessage] = []
        try connection.rows(
            """
            SELECT messages.id, received, length(stanza), keepers, sender, receiver,
                senders.jid, receivers.jid
            FROM messages
            LEFT JOIN addresses AS senders ON senders.id = sender
            LEFT JOIN addresses AS receivers ON receivers.id = receiver
            WHERE messages.id > ? AND messages.id <= (SELECT settled FROM message_state)
            ORDER BY messages.id LIMIT ?
            """, .integer(id), .integer(Int64(limit))
        ) { row in
            func domain(_ column: Int) -> String {
                row.text(column).flatMap { try? BareJID($0) }?.domain ?? ""
            }
            var owners: [(number: Int64, domain: String)] = []
            let keepers = Keepers(rawValue: row.integer(3))
            if keepers.contains(.sender) { owners.append((row.integer(4), domain(6))) }
            if keepers.contains(.receiver), row.integer(4) != row.integer(5) || owners.isEmpty {
                owners.append((row.integer(5), domain(7)))
            }
            messages.append(
                OldMessage(
                    id: row.integer(0), receivedAt: row.integer(1), size: row.integer(2),
                    owners: owners))
        }
        return messages
    }

    /// Forgets the times of messages that are gone.
    static func deleteSpansOfNothing(_ connection: Connection) throws {
        try connection.execute(
            "DELETE FROM archive_spans WHERE last < (SELECT min(id) FROM messages)")
    }
}
