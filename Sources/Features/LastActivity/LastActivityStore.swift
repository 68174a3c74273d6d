// Every SQL statement about last activity.

internal import Addresses
internal import Storage

enum LastActivityStore {
    static let schema = [
        SchemaStep(
            "last_activity", 1,
            """
            CREATE TABLE last_activity (
                account TEXT PRIMARY KEY,
                ended INTEGER NOT NULL
            ) WITHOUT ROWID;
            """)
    ]

    /// - Parameter ended: when the last session ended, seconds since 1970.
    static func set(_ connection: Connection, _ account: BareJID, _ ended: Int64) throws {
        try connection.execute(
            "INSERT OR REPLACE INTO last_activity (account, ended) VALUES (?, ?)",
            .text(account.description), .integer(ended))
    }

    static func find(_ connection: Connection, _ account: BareJID) throws -> Int64? {
        try connection.first(
            "SELECT ended FROM last_activity WHERE account = ?", .text(account.description)
        ) { $0.integer(0) }
    }

    static func delete(_ connection: Connection, _ account: BareJID) throws {
        try connection.execute(
            "DELETE FROM last_activity WHERE account = ?", .text(account.description))
    }
}
