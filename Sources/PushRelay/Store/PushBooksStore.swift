// Every SQL statement about dead letters, the books, and what providers remember.

internal import Storage

extension PushQueueStore {
    // MARK: Questions

    /// The newest first.
    static func dead(_ connection: Connection, limit: Int) throws -> [DeadLetter] {
        var letters: [DeadLetter] = []
        try connection.rows(
            "SELECT \(deadColumns) FROM push_dead ORDER BY id DESC LIMIT ?", .integer(Int64(limit))
        ) { row in
            if let letter = letter(row) { letters.append(letter) }
        }
        return letters
    }

    /// From a number on, the oldest first.
    static func dead(
        _ connection: Connection, from id: Int64, limit: Int
    ) throws -> [DeadLetter] {
        var letters: [DeadLetter] = []
        try connection.rows(
            "SELECT \(deadColumns) FROM push_dead WHERE id >= ? ORDER BY id LIMIT ?",
            .integer(id), .integer(Int64(limit))
        ) { row in
            if let letter = letter(row) { letters.append(letter) }
        }
        return letters
    }

    private static let deadColumns =
        "id, target, provider, account, kind, reason, code, unread, tries, added, died"

    private static func letter(_ row: ResultRow) -> DeadLetter? {
        guard let provider = row.text(2).flatMap(ProviderKind.init(rawValue:)),
            let reason = row.text(5).flatMap(PushReason.init(rawValue:))
        else { return nil }
        return DeadLetter(
            id: row.integer(0), target: row.integer(1), provider: provider,
            account: row.text(3),
            kind: PushNotification.Kind(rawValue: row.integer(4)) ?? .message,
            reason: reason, code: row.text(6) ?? "",
            unread: Int(clamping: row.integer(7)), tries: Int(clamping: row.integer(8)),
            added: row.integer(9), died: row.integer(10))
    }

    static func removeDead(_ connection: Connection, _ id: Int64?) throws -> Int {
        if let id {
            try connection.execute("DELETE FROM push_dead WHERE id = ?", .integer(id))
        } else {
            try connection.execute("DELETE FROM push_dead")
        }
        return connection.changes
    }

    static func books(_ connection: Connection) throws -> [ProviderKind: PushBooks] {
        var books: [ProviderKind: PushBooks] = [:]
        try connection.rows(
            """
            SELECT provider, requested, sent, collapsed, suppressed, dead, dropped, passed, retried
            FROM push_books
            """
        ) { row in
            guard let provider = row.text(0).flatMap(ProviderKind.init(rawValue:)) else { return }
            func number(_ column: Int) -> Int { Int(clamping: row.integer(column)) }
            books[provider] = PushBooks(
                requested: number(1), sent: number(2), collapsed: number(3),
                suppressed: number(4), dead: number(5), dropped: number(6), passedOn: number(7),
                retried: number(8))
        }
        try connection.rows(
            "SELECT provider, count(*) FROM push_queue WHERE due IS NOT NULL GROUP BY provider"
        ) { row in
            guard let provider = row.text(0).flatMap(ProviderKind.init(rawValue:)) else { return }
            books[provider, default: PushBooks()].waiting = Int(clamping: row.integer(1))
        }
        try connection.rows(
            "SELECT provider, sum(count) FROM push_parcels GROUP BY provider"
        ) { row in
            guard let provider = row.text(0).flatMap(ProviderKind.init(rawValue:)) else { return }
            books[provider, default: PushBooks()].waiting += Int(clamping: row.integer(1))
        }
        return books
    }

    /// How many wait, and since when the oldest does (milliseconds since 1970).
    static func depth(_ connection: Connection) throws -> (count: Int, oldest: Int64?) {
        let (count, oldest): (Int64, Int64?) =
            try connection.first(
                "SELECT count(*), min(added) FROM push_queue WHERE due IS NOT NULL"
            ) { row in (row.integer(0), row.optionalInteger(1)) } ?? (0, nil)
        let (parcels, first): (Int64, Int64?) =
            try connection.first(
                """
                SELECT sum(p.count), min(k.created)
                FROM push_parcels p JOIN push_tasks k ON k.id = p.task
                """
            ) { row in (row.integer(0), row.optionalInteger(1)) } ?? (0, nil)
        return (Int(clamping: count + parcels), [oldest, first].compactMap { $0 }.min())
    }

    // MARK: What providers remember

    static func memory(_ connection: Connection) throws -> [String: [UInt8]] {
        var memory: [String: [UInt8]] = [:]
        try connection.rows("SELECT name, value FROM push_memory") { row in
            if let name = row.text(0) { memory[name] = row.blob(1) }
        }
        return memory
    }

    static func remember(_ connection: Connection, _ name: String, _ value: [UInt8]) throws {
        try connection.execute(
            "INSERT OR REPLACE INTO push_memory (name, value) VALUES (?, ?)", .text(name),
            .blob(value))
    }
}
