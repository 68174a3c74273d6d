// Every SQL statement about parcels: those of one task that go the same way in one request.

internal import Addresses
internal import Storage

/// A parcel as it lies in the database.
struct ParcelRow: Sendable, Equatable {
    var parcel: Parcel
    var circuit: String
    var provider: ProviderKind
    var app: String
    var hasNext: Bool
    /// Milliseconds since 1970.
    var due: Int64
    var added: Int64
    var expires: Int64
    var tries = 0

    /// The same in memory.
    var item: DeliveryItem {
        DeliveryItem(
            target: 0, version: 1, provider: provider, booked: provider, app: app,
            circuit: circuit, secret: [], account: nil, service: "", node: "", device: nil,
            kind: .notification, unread: 0, details: [], added: added, expires: expires,
            tries: tries, hasNext: hasNext, parcel: parcel)
    }
}

/// One of those that a parcel is for.
struct ParcelMember: Sendable {
    /// Nil when it has been removed.
    var target: PushTargetRow?
    let id: Int64
    let badge: Int?
}

enum ParcelStore {
    private static let columns = """
        p.id, p.task, p.first, p.last, p.count, p.circuit, p.provider, p.app, p.has_next, p.due,
        p.expires, p.tries, (SELECT created FROM push_tasks k WHERE k.id = p.task)
        """

    private static func row(_ row: ResultRow) -> ParcelRow? {
        guard let provider = row.text(6).flatMap(ProviderKind.init(rawValue:)) else { return nil }
        return ParcelRow(
            parcel: Parcel(
                id: row.integer(0), task: row.integer(1), first: row.integer(2),
                last: row.integer(3), count: Int(clamping: row.integer(4))),
            circuit: row.text(5) ?? "", provider: provider, app: row.text(7) ?? "",
            hasNext: row.integer(8) != 0, due: row.integer(9), added: row.integer(12),
            expires: row.integer(10), tries: Int(clamping: row.integer(11)))
    }

    // MARK: In

    /// What goes into a parcel.
    struct Content {
        var task: Int64
        var circuit: String
        var provider: ProviderKind
        var app: String
        var hasNext: Bool
        var due: Int64
        var expires: Int64
        var tries = 0
        /// In ascending order, with what the icon is to show.
        var members: [(target: Int64, badge: Int64?)]
    }

    /// Makes a parcel of targets that have no row in the task yet, or have it elsewhere; nil of none.
    static func insert(
        _ connection: Connection, _ content: Content, added: Int64
    ) throws -> ParcelRow? {
        guard let first = content.members.first?.target, let last = content.members.last?.target
        else { return nil }
        try connection.execute(
            """
            INSERT INTO push_parcels (
                task, circuit, provider, app, first, last, count, has_next, due, expires, tries
            ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            .integer(content.task), .text(content.circuit), .text(content.provider.rawValue),
            .text(content.app), .integer(first), .integer(last),
            .integer(Int64(content.members.count)), .integer(content.hasNext ? 1 : 0),
            .integer(content.due), .integer(content.expires), .integer(Int64(content.tries)))
        let id = connection.lastInsertedRow
        for (target, badge) in content.members {
            try connection.execute(
                """
                INSERT INTO push_sendings (task, target, parcel, badge, state)
                VALUES (?, ?, ?, ?, 0)
                ON CONFLICT (task, target) DO UPDATE SET parcel = excluded.parcel, state = 0,
                    reason = NULL, code = NULL, ended = NULL
                """,
                .integer(content.task), .integer(target), .integer(id),
                badge.map { .integer($0) } ?? .null)
        }
        return ParcelRow(
            parcel: Parcel(
                id: id, task: content.task, first: first, last: last,
                count: content.members.count),
            circuit: content.circuit, provider: content.provider, app: content.app,
            hasNext: content.hasNext, due: content.due, added: added,
            expires: content.expires, tries: content.tries)
    }

    /// Whether a task is for a target already.
    static func contains(
        _ connection: Connection, _ task: Int64, _ target: Int64
    ) throws -> Bool {
        try connection.first(
            "SELECT 1 FROM push_sendings WHERE task = ? AND target = ?", .integer(task),
            .integer(target)
        ) { _ in true } ?? false
    }

    // MARK: Out

    /// Parcels that are due, in order, without those that are held already.
    static func due(
        _ connection: Connection, _ circuit: String, now: Int64, limit: Int, held: Set<Int64>,
        onlyWithNext: Bool
    ) throws -> (rows: [ParcelRow], hasMore: Bool) {
        var found: [ParcelRow] = []
        var hasMore = false
        try connection.scan(
            """
            SELECT \(columns) FROM push_parcels p
            WHERE p.circuit = ? AND (p.due <= ? OR p.due > ?) AND p.expires > ?
                AND p.has_next >= ?
            ORDER BY p.due
            """, .text(circuit), .integer(now), .integer(now + PushQueueStore.farAway),
            .integer(now), .integer(onlyWithNext ? 1 : 0)
        ) { result in
            guard let row = row(result), !held.contains(-row.parcel.id) else { return true }
            guard found.count < limit else {
                hasMore = true
                return false
            }
            found.append(row)
            return true
        }
        return (found, hasMore)
    }

    /// When the next parcel of a circuit is due after a time; nil if there is none.
    static func nextDue(
        _ connection: Connection, _ circuit: String, after now: Int64
    ) throws -> Int64? {
        try connection.first(
            """
            SELECT due FROM push_parcels
            WHERE circuit = ? AND due > ? AND due <= ? ORDER BY due LIMIT 1
            """, .text(circuit), .integer(now), .integer(now + PushQueueStore.farAway)
        ) { $0.integer(0) }
    }

    /// Every circuit for which a parcel waits, with the time at which its first is due.
    static func circuits(
        _ connection: Connection, limit: Int
    ) throws -> [(circuit: String, provider: ProviderKind, due: Int64)] {
        var found: [(String, ProviderKind, Int64)] = []
        var last = ""
        while found.count < limit {
            let next: (String, ProviderKind?, Int64)? = try connection.first(
                """
                SELECT circuit, provider, due FROM push_parcels
                WHERE circuit > ? ORDER BY circuit, due LIMIT 1
                """, .text(last)
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

    /// The members that are still to be told.
    static func members(_ connection: Connection, _ parcel: Parcel) throws -> [ParcelMember] {
        var members: [ParcelMember] = []
        try connection.rows(
            """
            SELECT \(PushTargetStore.columns), s.target, s.badge
            FROM push_sendings s LEFT JOIN push_targets t ON t.id = s.target
            WHERE s.task = ? AND s.target BETWEEN ? AND ? AND s.parcel = ? ORDER BY s.target
            """, .integer(parcel.task), .integer(parcel.first), .integer(parcel.last),
            .integer(parcel.id)
        ) { row in
            let column = PushTargetStore.columnCount
            members.append(
                ParcelMember(
                    target: PushTargetStore.target(row), id: row.integer(column),
                    badge: row.optionalInteger(column + 1).map { Int(clamping: $0) }))
        }
        return members
    }

    static func count(_ connection: Connection, _ parcel: Parcel) throws -> Int {
        try connection.first(
            """
            SELECT count(*) FROM push_sendings
            WHERE task = ? AND target BETWEEN ? AND ? AND parcel = ?
            """, .integer(parcel.task), .integer(parcel.first), .integer(parcel.last),
            .integer(parcel.id)
        ) { Int(clamping: $0.integer(0)) } ?? 0
    }

    static func find(_ connection: Connection, _ id: Int64) throws -> ParcelRow? {
        try connection.first(
            "SELECT \(columns) FROM push_parcels p WHERE p.id = ?", .integer(id)
        ) { row($0) } ?? nil
    }

    /// Parcels whose time is over.
    ///
    /// - Parameter members: so many in all, but for the last one.
    static func ended(
        _ connection: Connection, now: Int64, members: Int
    ) throws -> (rows: [ParcelRow], isMore: Bool) {
        try some(connection, "p.expires <= ?", now, members)
    }

    /// The same of a task.
    static func parcels(
        _ connection: Connection, of task: Int64, members: Int
    ) throws -> (rows: [ParcelRow], isMore: Bool) {
        try some(connection, "p.task = ?", task, members)
    }

    private static func some(
        _ connection: Connection, _ condition: String, _ value: Int64, _ members: Int
    ) throws -> (rows: [ParcelRow], isMore: Bool) {
        var found: [ParcelRow] = []
        var room = members
        var isMore = false
        try connection.scan(
            "SELECT \(columns) FROM push_parcels p WHERE \(condition)", .integer(value)
        ) { result in
            guard room > 0 else {
                isMore = true
                return false
            }
            guard let row = row(result) else { return true }
            room -= max(1, row.parcel.count)
            found.append(row)
            return true
        }
        return (found, isMore)
    }

    /// What waits, the oldest first.
    static func waiting(_ connection: Connection, limit: Int) throws -> [ParcelRow] {
        var found: [ParcelRow] = []
        try connection.rows(
            "SELECT \(columns) FROM push_parcels p ORDER BY p.id LIMIT ?",
            .integer(Int64(max(0, limit)))
        ) { result in
            if let row = row(result) { found.append(row) }
        }
        return found
    }

    /// How many targets wait in all parcels.
    static func waiting(_ connection: Connection) throws -> Int {
        try connection.first("SELECT sum(count) FROM push_parcels") {
            Int(clamping: $0.integer(0))
        } ?? 0
    }

    // MARK: The end

    /// The last result of each member's target.
    static func noteResult(
        _ connection: Connection, _ parcel: Parcel, _ answer: PushAnswer, now: Int64
    ) throws {
        let isSent = answer.outcome == .accepted
        try connection.execute(
            """
            UPDATE push_targets SET reason = ?, code = ?, sent = iif(?, ?, sent),
                failures = iif(?, 0, failures)
            WHERE id IN (
                SELECT target FROM push_sendings
                WHERE task = ? AND target BETWEEN ? AND ? AND parcel = ?)
            """,
            .text(answer.reason.rawValue), .text(isSent ? "" : answer.code),
            .integer(isSent ? 1 : 0), .integer(now), .integer(isSent ? 1 : 0),
            .integer(parcel.task), .integer(parcel.first), .integer(parcel.last),
            .integer(parcel.id))
    }

    /// Apps took it over their own connections.
    static func noteReached(
        _ connection: Connection, _ parcel: Parcel, _ provider: ProviderKind,
        _ members: [ParcelMember], now: Int64
    ) throws {
        var counts = PushTaskCounts()
        for member in members {
            guard try end(connection, parcel, member.id, .reached, nil, now: now) else { continue }
            counts.reached += 1
            if let device = member.target?.device {
                try PushDeviceStore.noteReached(connection, device, now: now / 1000)
            }
        }
        try PushTaskStore.count(connection, parcel.task, provider, counts)
        try setCount(connection, parcel.id, try count(connection, parcel))
    }

    /// What became of one member. False if that was known.
    static func end(
        _ connection: Connection, _ parcel: Parcel, _ target: Int64, _ state: PushSending.State,
        _ answer: PushAnswer?, now: Int64
    ) throws -> Bool {
        try connection.execute(
            """
            UPDATE push_sendings SET parcel = NULL, state = ?, reason = ?, code = ?, ended = ?
            WHERE task = ? AND target = ? AND parcel = ?
            """,
            .integer(state.rawValue), SQLValue(answer?.reason.rawValue),
            SQLValue(answer.flatMap { $0.code.isEmpty ? nil : $0.code }), .integer(now),
            .integer(parcel.task), .integer(target), .integer(parcel.id))
        return connection.changes == 1
    }

    /// What became of all others, and the parcel is gone. Gives how many that were.
    static func endAll(
        _ connection: Connection, _ parcel: Parcel, _ state: PushSending.State,
        _ answer: PushAnswer?, now: Int64
    ) throws -> Int {
        try connection.execute(
            """
            UPDATE push_sendings SET parcel = NULL, state = ?, reason = ?, code = ?, ended = ?
            WHERE task = ? AND target BETWEEN ? AND ? AND parcel = ?
            """,
            .integer(state.rawValue), SQLValue(answer?.reason.rawValue),
            SQLValue(answer.flatMap { $0.code.isEmpty ? nil : $0.code }), .integer(now),
            .integer(parcel.task), .integer(parcel.first), .integer(parcel.last),
            .integer(parcel.id))
        let count = connection.changes
        try remove(connection, parcel.id)
        return count
    }

    /// The member goes to another target, and has no row any more. What its icon was to show, if it
    /// was there.
    static func takeOut(
        _ connection: Connection, _ parcel: Parcel, _ target: Int64
    ) throws -> (badge: Int64?, wasThere: Bool) {
        let badge: Int64?? = try connection.first(
            "SELECT badge FROM push_sendings WHERE task = ? AND target = ? AND parcel = ?",
            .integer(parcel.task), .integer(target), .integer(parcel.id)
        ) { $0.optionalInteger(0) }
        guard let badge else { return (nil, false) }
        try connection.execute(
            "DELETE FROM push_sendings WHERE task = ? AND target = ?", .integer(parcel.task),
            .integer(target))
        return (badge, true)
    }

    static func remove(_ connection: Connection, _ id: Int64) throws {
        try connection.execute("DELETE FROM push_parcels WHERE id = ?", .integer(id))
    }

    /// It is tried again.
    static func postpone(
        _ connection: Connection, _ id: Int64, due: Int64, tries: Int
    ) throws {
        try connection.execute(
            "UPDATE push_parcels SET due = ?, tries = ? WHERE id = ?", .integer(due),
            .integer(Int64(tries)), .integer(id))
    }

    /// So many are left in it.
    static func setCount(_ connection: Connection, _ id: Int64, _ count: Int) throws {
        try connection.execute(
            "UPDATE push_parcels SET count = ? WHERE id = ?", .integer(Int64(count)), .integer(id))
    }
}
