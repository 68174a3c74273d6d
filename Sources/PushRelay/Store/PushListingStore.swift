// Every SQL statement about what is only asked for by a person.

internal import Addresses
internal import Storage

extension PushQueueStore {
    /// What waits, the oldest first.
    static func waiting(
        _ connection: Connection, limit: Int
    ) throws -> [(target: Int64, account: String?, row: PushQueueRow)] {
        var found: [(Int64, String?, PushQueueRow)] = []
        try connection.rows(
            """
            SELECT q.target, t.account, \(columns)
            FROM push_queue q LEFT JOIN push_targets t ON t.id = q.target
            WHERE q.due IS NOT NULL ORDER BY q.added, q.target LIMIT ?
            """, .integer(Int64(limit))
        ) { result in
            guard let row = row(result, at: 2) else { return }
            found.append((result.integer(0), result.text(1), row))
        }
        return found
    }

    /// How many pushes that were given up are remembered.
    static func deadCount(_ connection: Connection) throws -> Int {
        Int(
            clamping: try connection.first("SELECT count(*) FROM push_dead") { $0.integer(0) } ?? 0)
    }
}
