// Every SQL statement about tasks of programs. A task has a row for each target that it is for
// (`push_sendings`), which says what became of it; those that are still to be sent are in parcels, and
// a parcel is what the relay queues.

internal import Addresses
internal import Storage

/// A task as it lies in the database.
struct PushTaskRow: Sendable, Equatable {
    var id: Int64 = 0
    /// Whose it is.
    var token: Int64
    /// What tells it from others of its token; nil if nothing does.
    var dedupe: String?
    /// Of what was asked for, to see whether the same is asked for again.
    var digest: [UInt8]
    /// Milliseconds since 1970.
    var created: Int64
    var expires: Int64
    /// The selection of the audience that is being looked up; nil when all of it is known.
    var selection: Int64?
    /// The last that was looked up of it.
    var cursor: Int64 = 0
    /// Nothing more is sent.
    var cancelled: Int64?
    /// Sealed.
    var content: [UInt8]
}

enum PushTaskStore {
    static let schema = [
        SchemaStep(
            "push_tasks", 1,
            """
            CREATE TABLE push_tasks (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                token INTEGER NOT NULL,
                dedupe TEXT,
                digest BLOB NOT NULL,
                created INTEGER NOT NULL,
                expires INTEGER NOT NULL,
                selection INTEGER,
                cursor INTEGER NOT NULL,
                cancelled INTEGER,
                content BLOB NOT NULL
            );
            CREATE UNIQUE INDEX push_tasks_dedupe ON push_tasks (token, dedupe)
                WHERE dedupe IS NOT NULL;
            CREATE INDEX push_tasks_open ON push_tasks (id) WHERE selection IS NOT NULL;
            CREATE TABLE push_task_counts (
                task INTEGER NOT NULL,
                provider TEXT NOT NULL,
                requested INTEGER NOT NULL DEFAULT 0,
                sent INTEGER NOT NULL DEFAULT 0,
                reached INTEGER NOT NULL DEFAULT 0,
                failed INTEGER NOT NULL DEFAULT 0,
                dropped INTEGER NOT NULL DEFAULT 0,
                passed INTEGER NOT NULL DEFAULT 0,
                delivered INTEGER NOT NULL DEFAULT 0,
                PRIMARY KEY (task, provider)
            ) WITHOUT ROWID;
            CREATE TABLE push_sendings (
                task INTEGER NOT NULL,
                target INTEGER NOT NULL,
                parcel INTEGER,
                badge INTEGER,
                state INTEGER NOT NULL,
                reason TEXT,
                code TEXT,
                ended INTEGER,
                delivered INTEGER,
                PRIMARY KEY (task, target)
            ) WITHOUT ROWID;
            CREATE TABLE push_parcels (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                task INTEGER NOT NULL,
                circuit TEXT NOT NULL,
                provider TEXT NOT NULL,
                app TEXT NOT NULL,
                first INTEGER NOT NULL,
                last INTEGER NOT NULL,
                count INTEGER NOT NULL,
                has_next INTEGER NOT NULL,
                due INTEGER NOT NULL,
                expires INTEGER NOT NULL,
                tries INTEGER NOT NULL
            );
            CREATE INDEX push_parcels_due ON push_parcels (circuit, due);
            CREATE INDEX push_parcels_task ON push_parcels (task);
            CREATE INDEX push_parcels_expires ON push_parcels (expires);
            CREATE INDEX push_targets_addressed ON push_targets (id)
                WHERE account IS NOT NULL AND provider <> 'xmpp';
            """)
    ]

    // MARK: Tasks

    private static let columns =
        "id, token, dedupe, digest, created, expires, selection, cursor, cancelled, content"

    private static func task(_ row: ResultRow) -> PushTaskRow {
        PushTaskRow(
            id: row.integer(0), token: row.integer(1), dedupe: row.text(2), digest: row.blob(3),
            created: row.integer(4), expires: row.integer(5), selection: row.optionalInteger(6),
            cursor: row.integer(7), cancelled: row.optionalInteger(8), content: row.blob(9))
    }

    static func insert(_ connection: Connection, _ task: PushTaskRow) throws -> Int64 {
        try connection.execute(
            """
            INSERT INTO push_tasks (
                token, dedupe, digest, created, expires, selection, cursor, content
            ) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
            """,
            .integer(task.token), SQLValue(task.dedupe), .blob(task.digest),
            .integer(task.created), .integer(task.expires),
            task.selection.map { .integer($0) } ?? .null, .integer(task.cursor),
            .blob(task.content))
        return connection.lastInsertedRow
    }

    static func find(
        _ connection: Connection, token: Int64, dedupe: String
    ) throws -> PushTaskRow? {
        try connection.first(
            "SELECT \(columns) FROM push_tasks WHERE token = ? AND dedupe = ?", .integer(token),
            .text(dedupe)
        ) { task($0) }
    }

    static func find(_ connection: Connection, _ id: Int64) throws -> PushTaskRow? {
        try connection.first(
            "SELECT \(columns) FROM push_tasks WHERE id = ?", .integer(id)
        ) { task($0) }
    }

    /// The next whose audience is not all known.
    static func open(_ connection: Connection) throws -> PushTaskRow? {
        try connection.first(
            """
            SELECT \(columns) FROM push_tasks INDEXED BY push_tasks_open
            WHERE selection IS NOT NULL ORDER BY id LIMIT 1
            """
        ) { task($0) }
    }

    /// A task that was not taken after all.
    static func remove(_ connection: Connection, _ id: Int64) throws {
        for table in ["push_sendings", "push_task_counts"] {
            try connection.execute("DELETE FROM \(table) WHERE task = ?", .integer(id))
        }
        try connection.execute("DELETE FROM push_tasks WHERE id = ?", .integer(id))
    }

    static func cancel(_ connection: Connection, _ id: Int64, now: Int64) throws {
        try connection.execute(
            "UPDATE push_tasks SET cancelled = ?, selection = NULL WHERE id = ? AND cancelled IS NULL",
            .integer(now), .integer(id))
    }

    /// The tasks of a token of which something is still to be sent.
    static func unfinished(_ connection: Connection, of token: Int64) throws -> [Int64] {
        var ids: [Int64] = []
        try connection.rows(
            """
            SELECT id FROM push_tasks t WHERE token = ? AND (selection IS NOT NULL
                OR EXISTS (SELECT 1 FROM push_parcels p WHERE p.task = t.id))
            """, .integer(token)
        ) { ids.append($0.integer(0)) }
        return ids
    }

    /// So much of the audience is known; nil for all.
    static func advance(
        _ connection: Connection, _ id: Int64, selection: Int64?, cursor: Int64
    ) throws {
        try connection.execute(
            "UPDATE push_tasks SET selection = ?, cursor = ? WHERE id = ?",
            selection.map { .integer($0) } ?? .null, .integer(cursor), .integer(id))
    }

    static func count(
        _ connection: Connection, _ task: Int64, _ provider: ProviderKind, _ more: PushTaskCounts
    ) throws {
        try connection.execute(
            """
            INSERT INTO push_task_counts (
                task, provider, requested, sent, reached, failed, dropped, passed, delivered
            ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (task, provider) DO UPDATE SET requested = requested + excluded.requested,
                sent = sent + excluded.sent, reached = reached + excluded.reached,
                failed = failed + excluded.failed, dropped = dropped + excluded.dropped,
                passed = passed + excluded.passed, delivered = delivered + excluded.delivered
            """,
            .integer(task), .text(provider.rawValue), .integer(Int64(more.requested)),
            .integer(Int64(more.sent)), .integer(Int64(more.reached)),
            .integer(Int64(more.failed)), .integer(Int64(more.dropped)),
            .integer(Int64(more.passedOn)), .integer(Int64(more.delivered)))
        try PushQueueStore.count(
            connection, provider, requested: more.requested, sent: more.sent,
            suppressed: more.reached, dead: more.failed, dropped: more.dropped,
            passedOn: more.passedOn)
    }

    static func counts(
        _ connection: Connection, _ task: Int64
    ) throws -> [(provider: ProviderKind, counts: PushTaskCounts)] {
        var found: [(ProviderKind, PushTaskCounts)] = []
        try connection.rows(
            """
            SELECT provider, requested, sent, reached, failed, dropped, passed, delivered
            FROM push_task_counts WHERE task = ? ORDER BY provider
            """, .integer(task)
        ) { row in
            guard let provider = row.text(0).flatMap(ProviderKind.init(rawValue:)) else { return }
            func number(_ column: Int) -> Int { Int(clamping: row.integer(column)) }
            found.append(
                (
                    provider,
                    PushTaskCounts(
                        requested: number(1), sent: number(2), reached: number(3),
                        failed: number(4), dropped: number(5), passedOn: number(6),
                        delivered: number(7))
                ))
        }
        return found
    }

    /// How many there are.
    static func count(_ connection: Connection) throws -> Int {
        try connection.first("SELECT count(*) FROM push_tasks") {
            Int(clamping: $0.integer(0))
        } ?? 0
    }

    /// Tasks and targets of them that are forgotten in one transaction.
    private static let mostForgotten = 50
    private static let mostTargets = 5_000

    /// Forgets tasks that nobody asks for any more: the oldest, but for those that are under way.
    /// True if there are more.
    ///
    /// - Parameters:
    ///   - time: those from before (milliseconds since 1970).
    ///   - most: no more than so many stay.
    static func forget(_ connection: Connection, before time: Int64, most: Int) throws -> Bool {
        var ids: [Int64] = []
        try connection.rows(
            """
            SELECT id FROM push_tasks t WHERE (t.created < ? OR t.id <= (
                    SELECT id FROM push_tasks ORDER BY id DESC LIMIT 1 OFFSET ?))
                AND t.selection IS NULL
                AND NOT EXISTS (SELECT 1 FROM push_parcels p WHERE p.task = t.id)
            ORDER BY t.id LIMIT ?
            """, .integer(time), .integer(Int64(most)), .integer(Int64(mostForgotten))
        ) { ids.append($0.integer(0)) }
        var room = mostTargets
        for id in ids {
            try connection.execute(
                """
                DELETE FROM push_sendings WHERE task = ?1 AND target IN (
                    SELECT target FROM push_sendings WHERE task = ?1 LIMIT ?2)
                """, .integer(id), .integer(Int64(room)))
            room -= connection.changes
            guard room > 0 else { return true }
            try remove(connection, id)
        }
        return ids.count == mostForgotten
    }

    // MARK: Whom it is for

    /// A target that a task is for.
    struct Receiver {
        var target: Int64
        var provider: ProviderKind
        var app: String
        var circuit: String
        var device: Int64?
        var hasNext: Bool
        /// What comes after it in its selection begins here.
        var cursor: Int64
    }

    /// Of a device, the first token that may be good.
    private static let isFirst = """
        t.account IS NOT NULL AND t.provider <> 'xmpp' AND t.disabled IS NULL
        AND (t.device IS NULL OR NOT EXISTS (
            SELECT 1 FROM push_targets o
            WHERE o.device = t.device AND o.rank < t.rank AND o.disabled IS NULL))
        """
    private static let receiverColumns = """
        t.id, t.provider, t.app, t.circuit, t.device, t.device IS NOT NULL AND EXISTS (
            SELECT 1 FROM push_targets o
            WHERE o.device = t.device AND o.rank > t.rank AND o.disabled IS NULL)
        """

    /// Some of a selection, in order.
    ///
    /// - Parameter cursor: the last that is known.
    static func receivers(
        _ connection: Connection, _ selection: PushTask.Audience.Selection, after cursor: Int64,
        limit: Int
    ) throws -> [Receiver] {
        var found: [Receiver] = []
        func take(_ row: ResultRow) {
            guard let provider = row.text(1).flatMap(ProviderKind.init(rawValue:)) else { return }
            found.append(
                Receiver(
                    target: row.integer(0), provider: provider, app: row.text(2) ?? "",
                    circuit: row.text(3) ?? "", device: row.optionalInteger(4),
                    hasNext: row.integer(5) != 0, cursor: row.integer(6)))
        }
        let limit = SQLValue.integer(Int64(limit))
        switch selection {
        case .all:
            try connection.rows(
                """
                SELECT \(receiverColumns), t.id
                FROM push_targets t INDEXED BY push_targets_addressed
                WHERE t.id > ? AND \(isFirst) ORDER BY t.id LIMIT ?
                """, .integer(cursor), limit, each: take)
        case .user(let user):
            try connection.rows(
                """
                SELECT \(receiverColumns), t.id FROM push_targets t
                WHERE t.account = ? AND t.id > ? AND \(isFirst) ORDER BY t.id LIMIT ?
                """, .text(user.description), .integer(cursor), limit, each: take)
        case .device(let user, let name):
            try connection.rows(
                """
                SELECT \(receiverColumns), t.id
                FROM push_devices d JOIN push_targets t ON t.device = d.id
                WHERE d.account = ? AND d.name = ? AND t.id > ? AND \(isFirst) LIMIT ?
                """, .text(user.description), .text(name), .integer(cursor), limit, each: take)
        case .tag(let tag):
            try connection.rows(
                """
                SELECT \(receiverColumns), g.device
                FROM push_tags g CROSS JOIN push_targets t ON t.device = g.device
                WHERE g.tag = ? AND g.device > ? AND \(isFirst) ORDER BY g.device LIMIT ?
                """, .text(tag), .integer(cursor), limit, each: take)
        case .alias(let alias):
            try connection.rows(
                """
                SELECT \(receiverColumns), d.id
                FROM push_devices d CROSS JOIN push_targets t ON t.device = d.id
                WHERE d.alias = ? AND d.id > ? AND \(isFirst) ORDER BY d.id LIMIT ?
                """, .text(alias), .integer(cursor), limit, each: take)
        }
        return found
    }

    // MARK: Results

    /// Results from a target on.
    static func sendings(
        _ connection: Connection, _ task: Int64, after target: Int64, limit: Int
    ) throws -> [PushSending] {
        var found: [PushSending] = []
        try connection.rows(
            """
            SELECT s.target, s.state, s.reason, s.code, s.ended, s.delivered, t.account, d.name,
                t.provider, t.app
            FROM push_sendings s LEFT JOIN push_targets t ON t.id = s.target
                LEFT JOIN push_devices d ON d.id = t.device
            WHERE s.task = ? AND s.target > ? ORDER BY s.target LIMIT ?
            """, .integer(task), .integer(target), .integer(Int64(limit))
        ) { row in
            found.append(
                PushSending(
                    target: row.integer(0),
                    state: PushSending.State(rawValue: row.integer(1)) ?? .dropped,
                    reason: row.text(2).flatMap(PushReason.init(rawValue:)), code: row.text(3),
                    ended: row.optionalInteger(4), delivered: row.optionalInteger(5),
                    account: row.text(6).flatMap { try? JID($0) }?.bare, device: row.text(7),
                    provider: row.text(8).flatMap(ProviderKind.init(rawValue:)),
                    app: row.text(9)))
        }
        return found
    }

    /// A provider says that a device has what a task told it. False if it has said so before, or it
    /// was never told.
    static func noteDelivered(
        _ connection: Connection, _ task: Int64, _ target: Int64, now: Int64
    ) throws -> Bool {
        try connection.execute(
            """
            UPDATE push_sendings SET delivered = ?
            WHERE task = ? AND target = ? AND state = 1 AND delivered IS NULL
            """, .integer(now), .integer(task), .integer(target))
        return connection.changes == 1
    }
}
