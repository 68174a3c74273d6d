// Every SQL statement about the queue, the dead letters and the books. A target has one row in the
// queue, from the first push on: what waits for it, how much nobody has seen, and when it got the
// last. A later push takes the place of one that waits.

internal import Addresses
internal import Storage

/// What the queue holds of a target.
struct PushQueueRow: Sendable, Equatable {
    var circuit = ""
    /// In whose books what waits is.
    var provider: ProviderKind
    /// When what waits may be sent, milliseconds since 1970; nil if nothing waits.
    var due: Int64?
    var kind = PushNotification.Kind.message
    /// Messages since the device was in use.
    var unread = 0
    /// The number of the last message.
    var message: Int64 = 0
    /// Counts what was asked.
    var version: Int64 = 0
    var added: Int64 = 0
    var expires: Int64 = 0
    var tries = 0
    /// When the last one was sent; 0 for never.
    var sent: Int64 = 0
    /// The version that counted as suppressed last; 0 for none.
    var suppressed: Int64 = 0
    /// The one in which something is unread (`Wakeups.conversation`), or `several`.
    var conversation = several
    /// Sealed.
    var details: [UInt8] = []

    static let several: Int64 = 0
}

/// A push that was given up.
struct DeadLetter: Sendable, Equatable {
    var id: Int64
    var target: Int64
    var provider: ProviderKind
    var account: String?
    var kind: PushNotification.Kind
    var reason: PushReason
    var code: String
    var unread: Int
    var tries: Int
    /// Milliseconds since 1970.
    var added: Int64
    var died: Int64
}

extension DeadLetter {
    /// Of what waits for a target.
    init(
        _ target: Int64, _ row: PushQueueRow, _ account: String?, _ reason: PushReason, died: Int64
    ) {
        self.init(
            id: 0, target: target, provider: row.provider, account: account, kind: row.kind,
            reason: reason, code: "", unread: row.unread, tries: row.tries, added: row.added,
            died: died)
    }
}

/// What became of all that was asked of a provider, since the database was made.
struct PushBooks: Sendable, Equatable {
    var requested = 0
    var sent = 0
    /// Another took its place.
    var collapsed = 0
    /// The device was in use before it was sent.
    var suppressed = 0
    var dead = 0
    /// Its target was removed.
    var dropped = 0
    /// The device's next token is tried instead: it is another's push from then on.
    var passedOn = 0
    /// Tries beyond the first.
    var retried = 0
    /// Of all these, what is still to be sent.
    var waiting = 0

    /// Everything that was asked for has become something.
    var isBalanced: Bool {
        requested == sent + collapsed + suppressed + dead + dropped + passedOn + waiting
    }
}

enum PushQueueStore {
    static let schema = [
        SchemaStep(
            "push_queue", 1,
            """
            CREATE TABLE push_queue (
                target INTEGER PRIMARY KEY,
                circuit TEXT NOT NULL,
                provider TEXT NOT NULL,
                due INTEGER,
                kind INTEGER NOT NULL,
                unread INTEGER NOT NULL,
                message INTEGER NOT NULL,
                version INTEGER NOT NULL,
                added INTEGER NOT NULL,
                expires INTEGER NOT NULL,
                tries INTEGER NOT NULL,
                sent INTEGER NOT NULL,
                suppressed INTEGER NOT NULL,
                conversation INTEGER NOT NULL DEFAULT 0,
                details BLOB NOT NULL
            );
            CREATE INDEX push_queue_due ON push_queue (circuit, due) WHERE due IS NOT NULL;
            CREATE INDEX push_queue_expires ON push_queue (expires) WHERE due IS NOT NULL;
            CREATE TABLE push_dead (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                target INTEGER NOT NULL,
                provider TEXT NOT NULL,
                account TEXT,
                kind INTEGER NOT NULL,
                reason TEXT NOT NULL,
                code TEXT NOT NULL,
                unread INTEGER NOT NULL,
                tries INTEGER NOT NULL,
                added INTEGER NOT NULL,
                died INTEGER NOT NULL
            );
            CREATE TABLE push_books (
                provider TEXT PRIMARY KEY,
                requested INTEGER NOT NULL DEFAULT 0,
                sent INTEGER NOT NULL DEFAULT 0,
                collapsed INTEGER NOT NULL DEFAULT 0,
                suppressed INTEGER NOT NULL DEFAULT 0,
                dead INTEGER NOT NULL DEFAULT 0,
                dropped INTEGER NOT NULL DEFAULT 0,
                retried INTEGER NOT NULL DEFAULT 0
            ) WITHOUT ROWID;
            CREATE TABLE push_memory (
                name TEXT PRIMARY KEY,
                value BLOB NOT NULL
            ) WITHOUT ROWID;
            """),
        SchemaStep(
            "push_queue", 2,
            "ALTER TABLE push_books ADD COLUMN passed INTEGER NOT NULL DEFAULT 0;"),
    ]

    static let columns = """
        q.circuit, q.provider, q.due, q.kind, q.unread, q.message, q.version, q.added, q.expires, q.tries,
        q.sent, q.suppressed, q.conversation, q.details
        """

    /// Reads the columns, which begin at `column`.
    static func row(_ row: ResultRow, at column: Int) -> PushQueueRow? {
        guard let provider = row.text(column + 1).flatMap(ProviderKind.init(rawValue:)) else {
            return nil
        }
        return PushQueueRow(
            circuit: row.text(column) ?? "", provider: provider,
            due: row.optionalInteger(column + 2),
            kind: PushNotification.Kind(rawValue: row.integer(column + 3)) ?? .message,
            unread: Int(clamping: row.integer(column + 4)), message: row.integer(column + 5),
            version: row.integer(column + 6), added: row.integer(column + 7),
            expires: row.integer(column + 8), tries: Int(clamping: row.integer(column + 9)),
            sent: row.integer(column + 10), suppressed: row.integer(column + 11),
            conversation: row.integer(column + 12), details: row.blob(column + 13))
    }

    static func find(_ connection: Connection, _ target: Int64) throws -> PushQueueRow? {
        try connection.first(
            "SELECT \(columns) FROM push_queue q WHERE q.target = ?", .integer(target)
        ) { row($0, at: 0) } ?? nil
    }

    /// The targets of an account that are enabled, each with its row of the queue; the tokens of one
    /// device in the order in which they are tried.
    static func targets(
        _ connection: Connection, of account: BareJID
    ) throws -> [(target: PushTargetRow, queued: PushQueueRow?)] {
        var found: [(PushTargetRow, PushQueueRow?)] = []
        try connection.rows(
            """
            SELECT \(PushTargetStore.columns), \(columns)
            FROM push_targets t LEFT JOIN push_queue q ON q.target = t.id
            WHERE t.account = ? AND t.disabled IS NULL ORDER BY t.device, t.rank, t.id
            """, .text(account.description)
        ) { result in
            guard let target = PushTargetStore.target(result) else { return }
            found.append((target, row(result, at: PushTargetStore.columnCount)))
        }
        return found
    }

    // MARK: In

    /// Writes a target's row.
    static func put(
        _ connection: Connection, _ target: Int64, _ row: PushQueueRow
    ) throws {
        try connection.execute(
            """
            INSERT OR REPLACE INTO push_queue (
                target, circuit, provider, due, kind, unread, message, version, added, expires,
                tries, sent, suppressed, conversation, details
            ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            .integer(target), .text(row.circuit), .text(row.provider.rawValue),
            row.due.map { .integer($0) } ?? .null, .integer(row.kind.rawValue),
            .integer(Int64(row.unread)), .integer(row.message), .integer(row.version),
            .integer(row.added), .integer(row.expires), .integer(Int64(row.tries)),
            .integer(row.sent), .integer(row.suppressed), .integer(row.conversation),
            .blob(row.details))
    }

    /// Adds to the books of a provider.
    static func count(
        _ connection: Connection, _ provider: ProviderKind, requested: Int = 0, sent: Int = 0,
        collapsed: Int = 0, suppressed: Int = 0, dead: Int = 0, dropped: Int = 0,
        passedOn: Int = 0, retried: Int = 0
    ) throws {
        try connection.execute(
            """
            INSERT INTO push_books (
                provider, requested, sent, collapsed, suppressed, dead, dropped, passed, retried
            ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (provider) DO UPDATE SET requested = requested + excluded.requested,
                sent = sent + excluded.sent, collapsed = collapsed + excluded.collapsed,
                suppressed = suppressed + excluded.suppressed, dead = dead + excluded.dead,
                dropped = dropped + excluded.dropped, passed = passed + excluded.passed,
                retried = retried + excluded.retried
            """,
            .text(provider.rawValue), .integer(Int64(requested)), .integer(Int64(sent)),
            .integer(Int64(collapsed)), .integer(Int64(suppressed)), .integer(Int64(dead)),
            .integer(Int64(dropped)), .integer(Int64(passedOn)), .integer(Int64(retried)))
    }

    /// Nobody has to be told any more what waits for a target: its device is in use.
    static func suppress(_ connection: Connection, _ target: Int64) throws {
        guard let row = try find(connection, target) else { return }
        guard row.due != nil else {
            return try connection.execute(
                "UPDATE push_queue SET unread = 0 WHERE target = ?", .integer(target))
        }
        try count(connection, row.provider, suppressed: 1)
        // The version tells a push that is under way that it does not count here any more.
        try connection.execute(
            """
            UPDATE push_queue SET due = NULL, unread = 0, suppressed = version,
                version = version + 1, tries = 0, details = x'' WHERE target = ?
            """, .integer(target))
    }

    /// The target goes, and with it what waits.
    static func drop(_ connection: Connection, _ target: Int64) throws {
        if let row = try find(connection, target), row.due != nil {
            try count(connection, row.provider, dropped: 1)
        }
        try connection.execute("DELETE FROM push_queue WHERE target = ?", .integer(target))
    }

    /// What waits is another target's from now on.
    static func passOn(
        _ connection: Connection, _ target: Int64, _ provider: ProviderKind
    ) throws {
        try count(connection, provider, passedOn: 1)
        try connection.execute(
            "UPDATE push_queue SET due = NULL, tries = 0, details = x'' WHERE target = ?",
            .integer(target))
    }

    // MARK: Out

    /// A push arrived.
    static func noteSent(
        _ connection: Connection, _ target: Int64, version: Int64, provider: ProviderKind,
        next: Int64, now: Int64
    ) throws {
        guard let row = try find(connection, target) else { return }
        if row.version == version {
            // It may have been given up while it was under way.
            try count(connection, row.provider, sent: 1, dead: row.due == nil ? -1 : 0)
            try connection.execute(
                """
                UPDATE push_queue SET due = NULL, sent = ?, tries = 0, details = x''
                WHERE target = ?
                """, .integer(now), .integer(target))
        } else {
            // It counted as suppressed while it was under way, or as collapsed.
            let isSuppressed = row.suppressed == version
            try count(
                connection, provider, sent: 1, collapsed: isSuppressed ? 0 : -1,
                suppressed: isSuppressed ? -1 : 0)
            // The one that took its place waits for its window, unless it is a call.
            try connection.execute(
                """
                UPDATE push_queue SET due = CASE WHEN kind IN (1, 2) THEN due ELSE max(due, ?) END,
                    sent = ?, tries = 0 WHERE target = ?
                """, .integer(next), .integer(now), .integer(target))
        }
    }

    /// It failed, and is to be tried again.
    static func noteRetry(
        _ connection: Connection, _ target: Int64, version: Int64, provider: ProviderKind,
        due: Int64, tries: Int
    ) throws {
        try count(connection, provider, retried: 1)
        try connection.execute(
            """
            UPDATE push_queue SET tries = CASE WHEN version = ? THEN ? ELSE 0 END,
                due = CASE WHEN version <> ? AND kind IN (1, 2) THEN due ELSE max(due, ?) END
            WHERE target = ? AND due IS NOT NULL
            """, .integer(version), .integer(Int64(tries)), .integer(version), .integer(due),
            .integer(target))
    }

    /// A call rings no more and did not get there; if messages were asked for with it, those are
    /// still to be told. False if there are none.
    static func endCall(
        _ connection: Connection, _ target: Int64, lifetime: Int64, now: Int64
    ) throws -> Bool {
        try connection.execute(
            """
            UPDATE push_queue SET kind = 0, due = ?, tries = 0,
                expires = added + ?
            WHERE target = ? AND due IS NOT NULL AND kind IN (1, 2) AND unread > 0
                AND added + ? > ?
            """, .integer(now), .integer(lifetime), .integer(target), .integer(lifetime),
            .integer(now))
        return connection.changes == 1
    }

    /// It is given up. What took its place while it was under way stays, unless the target ends.
    static func noteDead(
        _ connection: Connection, _ letter: DeadLetter, version: Int64, endsAll: Bool, limit: Int
    ) throws {
        guard let row = try find(connection, letter.target) else { return }
        // Suppressed meanwhile: nobody misses it.
        guard row.due != nil, endsAll || row.suppressed != version else { return }
        try insertDead(connection, letter, limit: limit)
        if row.version != version, !endsAll {
            try count(connection, letter.provider, collapsed: -1, dead: 1)
            return
        }
        try count(connection, row.provider, dead: 1)
        try connection.execute(
            "UPDATE push_queue SET due = NULL, tries = 0, details = x'' WHERE target = ?",
            .integer(letter.target))
    }

    private static func insertDead(
        _ connection: Connection, _ letter: DeadLetter, limit: Int
    ) throws {
        try connection.execute(
            """
            INSERT INTO push_dead (
                target, provider, account, kind, reason, code, unread, tries, added, died
            ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            .integer(letter.target), .text(letter.provider.rawValue), SQLValue(letter.account),
            .integer(letter.kind.rawValue), .text(letter.reason.rawValue), .text(letter.code),
            .integer(Int64(letter.unread)), .integer(Int64(letter.tries)),
            .integer(letter.added), .integer(letter.died))
        try connection.execute(
            "DELETE FROM push_dead WHERE id <= ?",
            .integer(connection.lastInsertedRow - Int64(limit)))
    }

    /// Rows that are due, in order, without those that are held already.
    ///
    /// - Parameter onlyWithNext: those whose devices have another token.
    static func due(
        _ connection: Connection, _ circuit: String, now: Int64, limit: Int, held: Set<Int64>,
        onlyWithNext: Bool = false
    ) throws -> (rows: [(target: PushTargetRow, queued: PushQueueRow)], hasMore: Bool) {
        var found: [(PushTargetRow, PushQueueRow)] = []
        var hasMore = false
        // A time far in the future was written by a clock that was wrong.
        try connection.scan(
            """
            SELECT \(PushTargetStore.columns), \(columns)
            FROM push_queue q JOIN push_targets t ON t.id = q.target
            WHERE q.circuit = ? AND q.due IS NOT NULL AND (q.due <= ? OR q.due > ?)
                AND q.expires > ? AND (NOT ? OR t.device IS NOT NULL AND EXISTS (
                    SELECT 1 FROM push_targets o WHERE o.device = t.device AND o.rank > t.rank
                        AND o.disabled IS NULL))
            ORDER BY q.due
            """, .text(circuit), .integer(now), .integer(now + farAway), .integer(now),
            .integer(onlyWithNext ? 1 : 0)
        ) { result in
            guard let target = PushTargetStore.target(result), !held.contains(target.id) else {
                return true
            }
            guard found.count < limit else {
                hasMore = true
                return false
            }
            if let row = row(result, at: PushTargetStore.columnCount) {
                found.append((target, row))
            }
            return true
        }
        return (found, hasMore)
    }

    /// Later than any wait that is asked for: milliseconds.
    static let farAway: Int64 = 2 * 86_400_000

    /// When the next row of a circuit is due after a time; nil if there is none.
    static func nextDue(
        _ connection: Connection, _ circuit: String, after now: Int64
    ) throws -> Int64? {
        try connection.first(
            """
            SELECT due FROM push_queue
            WHERE circuit = ? AND due IS NOT NULL AND due > ? AND due <= ? ORDER BY due LIMIT 1
            """, .text(circuit), .integer(now), .integer(now + farAway)
        ) { $0.integer(0) }
    }

    /// Every circuit for which something waits, with the time at which its first is due.
    static func circuits(
        _ connection: Connection, limit: Int
    ) throws -> [(circuit: String, provider: ProviderKind, due: Int64)] {
        var found: [(String, ProviderKind, Int64)] = []
        var last: String?
        while found.count < limit {
            // One look into the index for each circuit, however many rows it has.
            let next: (String, ProviderKind?, Int64)? = try connection.first(
                """
                SELECT circuit, provider, due FROM push_queue
                WHERE due IS NOT NULL AND circuit > ? ORDER BY circuit, due LIMIT 1
                """, .text(last ?? "")
            ) { row in
                (
                    row.text(0) ?? "", row.text(1).flatMap(ProviderKind.init(rawValue:)),
                    row.integer(2)
                )
            }
            guard let next else { break }
            last = next.0
            if let provider = next.1 { found.append((next.0, provider, next.2)) }
        }
        return found
    }

    /// Rows whose time is over.
    static func expired(
        _ connection: Connection, now: Int64, limit: Int
    ) throws -> [(target: Int64, account: String?, row: PushQueueRow)] {
        var found: [(Int64, String?, PushQueueRow)] = []
        try connection.rows(
            """
            SELECT q.target, t.account, \(columns)
            FROM push_queue q LEFT JOIN push_targets t ON t.id = q.target
            WHERE q.due IS NOT NULL AND q.expires <= ? ORDER BY q.expires LIMIT ?
            """, .integer(now), .integer(Int64(limit))
        ) { result in
            guard let row = row(result, at: 2) else { return }
            found.append((result.integer(0), result.text(1), row))
        }
        return found
    }

    /// What was asked for while the clock stood before this time was asked for just now. Gives how
    /// much that is.
    static func rebase(_ connection: Connection, before year: Int64, now: Int64) throws -> Int {
        try connection.execute(
            """
            UPDATE push_queue SET expires = expires - added + ?, added = ?, due = ?
            WHERE due IS NOT NULL AND added < ?
            """, .integer(now), .integer(now), .integer(now), .integer(year))
        return connection.changes
    }
}
