// Every SQL statement about suspended sessions.

internal import Addresses
internal import Storage
internal import XMPP

enum SuspendedSessionStore {
    /// A row as it is found at the start.
    struct Row: Sendable {
        let session: SuspendedSession
        /// It was restored before, by a process that did not suspend it again.
        let isStale: Bool
        /// Its account was disabled meanwhile.
        let isDisabled: Bool
    }

    static let schema = [
        SchemaStep(
            "suspended_sessions", 1,
            """
            CREATE TABLE suspended_sessions (
                number INTEGER PRIMARY KEY,
                id TEXT NOT NULL UNIQUE,
                local TEXT NOT NULL,
                domain TEXT NOT NULL,
                resource TEXT NOT NULL,
                address TEXT NOT NULL,
                since INTEGER NOT NULL,
                flags INTEGER NOT NULL,
                presence BLOB NOT NULL,
                priority INTEGER NOT NULL,
                directed TEXT NOT NULL,
                handled INTEGER NOT NULL,
                base INTEGER NOT NULL,
                acknowledged INTEGER NOT NULL,
                written INTEGER NOT NULL,
                holds INTEGER NOT NULL,
                resumption_time INTEGER NOT NULL,
                remaining INTEGER NOT NULL,
                suspended INTEGER NOT NULL,
                restored INTEGER NOT NULL DEFAULT 0
            );
            CREATE TABLE suspended_stanzas (
                number INTEGER PRIMARY KEY,
                session INTEGER NOT NULL,
                kind TEXT NOT NULL,
                held INTEGER NOT NULL,
                only_copy INTEGER NOT NULL,
                message INTEGER,
                keepers INTEGER,
                waiting INTEGER,
                stanza BLOB NOT NULL,
                share INTEGER,
                shared_message BLOB
            );
            CREATE INDEX suspended_stanzas_session ON suspended_stanzas (session, number);
            """),
        // The error that a stanza is, of those that wait until a client has them.
        SchemaStep(
            "suspended_sessions", 2, "ALTER TABLE suspended_stanzas ADD COLUMN returned INTEGER;"),
    ]

    // MARK: Writing

    /// Writes a session, in place of what was written of it before.
    ///
    /// - Parameter shares: numbers of the messages that several sessions have, and no client.
    static func insert(
        _ connection: Connection, _ session: SuspendedSession,
        _ shares: [ObjectIdentifier: Int64] = [:]
    ) throws {
        try delete(connection, session.id)
        try connection.execute(
            """
            INSERT INTO suspended_sessions (
                id, local, domain, resource, address, since, flags, presence, priority, directed,
                handled, base, acknowledged, written, holds, resumption_time, remaining, suspended
            ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            .text(session.id), .text(session.jid.local), .text(session.jid.domain),
            .text(session.jid.resource), .text(session.address), .integer(session.since),
            .integer(Int64(session.flags)), .blob(session.presence),
            .integer(Int64(session.priority)),
            // No address holds a line's end (RFC 7622).
            .text(session.directed.map(\.description).joined(separator: "\n")),
            .integer(Int64(session.handled)), .integer(Int64(session.base)),
            .integer(Int64(session.acknowledged)), .integer(Int64(session.written)),
            .integer(session.held == nil ? 0 : 1), .integer(Int64(session.resumptionTime)),
            .integer(Int64(session.remaining)), .integer(session.suspendedAt))
        let number = connection.lastInsertedRow
        for stanza in session.queue {
            try insert(connection, stanza, shares, number, isHeld: false)
        }
        for stanza in session.held ?? [] {
            try insert(connection, stanza, shares, number, isHeld: true)
        }
    }

    private static func insert(
        _ connection: Connection, _ stanza: OutboundStanza, _ shares: [ObjectIdentifier: Int64],
        _ session: Int64, isHeld: Bool
    ) throws {
        let share = stanza.shared.flatMap { shares[ObjectIdentifier($0)] }
        let shared = share == nil ? nil : stanza.shared?.message
        try connection.execute(
            """
            INSERT INTO suspended_stanzas (
                session, kind, held, only_copy, message, keepers, waiting, stanza, share,
                shared_message, returned
            ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            .integer(session), .text(stanza.kind.rawValue), .integer(isHeld ? 1 : 0),
            .integer(stanza.isOnlyCopy ? 1 : 0),
            stanza.record.map { .integer($0.id) } ?? .null,
            stanza.record.map { .integer($0.keepers.rawValue) } ?? .null,
            stanza.waiting.map { .integer($0) } ?? .null, .blob(stanza.bytes),
            share.map { .integer($0) } ?? .null,
            // Left out where it is the stanza itself.
            shared.flatMap { $0 == stanza.bytes ? nil : .blob($0) } ?? .null,
            stanza.returned.map { .integer($0) } ?? .null)
    }

    // MARK: Deleting

    static func delete(_ connection: Connection, _ id: String) throws {
        try connection.execute(
            """
            DELETE FROM suspended_stanzas
            WHERE session = (SELECT number FROM suspended_sessions WHERE id = ?)
            """, .text(id))
        try connection.execute("DELETE FROM suspended_sessions WHERE id = ?", .text(id))
    }

    static func delete(_ connection: Connection, of account: BareJID) throws {
        try connection.execute(
            """
            DELETE FROM suspended_stanzas WHERE session IN (
                SELECT number FROM suspended_sessions WHERE local = ? AND domain = ?)
            """, .text(account.local), .text(account.domain))
        try connection.execute(
            "DELETE FROM suspended_sessions WHERE local = ? AND domain = ?",
            .text(account.local), .text(account.domain))
    }

    /// Makes all rows stale: their sessions end at the start.
    static func outdate(_ connection: Connection) throws {
        try connection.execute("UPDATE suspended_sessions SET restored = 1")
    }

    // MARK: Reading

    /// All rows, in the order of their writing. From now on they are stale.
    static func take(_ connection: Connection) throws -> [Row] {
        let stanzas = try stanzas(connection)
        var rows: [Row] = []
        try connection.rows(
            """
            SELECT id, suspended_sessions.local, suspended_sessions.domain, resource, address,
                   flags, presence, priority, directed, handled, base, acknowledged, written,
                   holds, resumption_time, remaining, suspended, restored,
                   (SELECT disabled FROM accounts
                    WHERE accounts.domain = suspended_sessions.domain
                    AND accounts.local = suspended_sessions.local),
                   number, since
            FROM suspended_sessions ORDER BY number
            """
        ) { rows.append(read($0, stanzas[$0.integer(19)] ?? [])) }
        try connection.execute("UPDATE suspended_sessions SET restored = 1")
        return rows
    }

    /// The stanzas by session, and whether they are held.
    private static func stanzas(
        _ connection: Connection
    ) throws -> [Int64: [(OutboundStanza, isHeld: Bool)]] {
        let counts = try shareCounts(connection)
        var shares: [Int64: SharedDelivery] = [:]
        var stanzas: [Int64: [(OutboundStanza, isHeld: Bool)]] = [:]
        try connection.rows(
            """
            SELECT session, kind, held, only_copy, message, keepers, waiting, stanza, share,
                   ifnull(shared_message, stanza), returned
            FROM suspended_stanzas ORDER BY session, number
            """
        ) { row in
            guard let kind = row.text(1).flatMap(Stanza.Kind.init(rawValue:)) else { return }
            let message = row.integer(4)
            let waiting = row.integer(6)
            let share = row.integer(8)
            let returned = row.integer(10)
            if share != 0, shares[share] == nil {
                shares[share] = SharedDelivery(row.blob(9), count: counts[share] ?? 1)
            }
            let stanza = OutboundStanza(
                kind, row.blob(7), receivedAt: nil, isOnlyCopy: row.integer(3) != 0,
                shared: shares[share],
                record: message == 0
                    ? nil : MessageRecord(id: message, keepers: Keepers(rawValue: row.integer(5))),
                waiting: waiting == 0 ? nil : waiting, returned: returned == 0 ? nil : returned)
            stanzas[row.integer(0), default: []].append((stanza, row.integer(2) != 0))
        }
        return stanzas
    }

    /// How many sessions have each message that several have.
    private static func shareCounts(_ connection: Connection) throws -> [Int64: Int] {
        var counts: [Int64: Int] = [:]
        try connection.rows(
            "SELECT share, count(*) FROM suspended_stanzas WHERE share IS NOT NULL GROUP BY share"
        ) { counts[$0.integer(0)] = Int(clamping: $0.integer(1)) }
        return counts
    }

    private static func read(
        _ row: ResultRow, _ stanzas: [(OutboundStanza, isHeld: Bool)]
    ) -> Row {
        let account = BareJID(
            preparedLocal: row.text(1) ?? "", preparedDomain: row.text(2) ?? "")
        let directed = (row.text(8) ?? "").split(separator: "\n")
        let session = SuspendedSession(
            id: row.text(0) ?? "", jid: JID(bare: account, preparedResource: row.text(3) ?? ""),
            address: row.text(4) ?? "", since: row.integer(20),
            flags: UInt8(truncatingIfNeeded: row.integer(5)),
            presence: row.blob(6), priority: Int8(truncatingIfNeeded: row.integer(7)),
            directed: directed.compactMap { try? JID(String($0)) },
            handled: UInt32(truncatingIfNeeded: row.integer(9)),
            base: UInt32(truncatingIfNeeded: row.integer(10)),
            acknowledged: UInt32(truncatingIfNeeded: row.integer(11)),
            written: Int(clamping: row.integer(12)),
            queue: stanzas.filter { !$0.isHeld }.map(\.0),
            held: row.integer(13) == 0 ? nil : stanzas.filter(\.isHeld).map(\.0),
            resumptionTime: max(0, Int(clamping: row.integer(14))),
            remaining: max(0, Int(clamping: row.integer(15))), suspendedAt: row.integer(16))
        return Row(
            session: session, isStale: row.integer(17) != 0, isDisabled: row.integer(18) != 0)
    }
}
