// Every SQL statement about the restores that this data has been through.

internal import Storage

enum RestorationStore {
    static let schema = [
        SchemaStep(
            "restorations", 1,
            """
            CREATE TABLE restorations (
                mark TEXT PRIMARY KEY,
                noted INTEGER NOT NULL
            ) WITHOUT ROWID;
            """)
    ]

    /// Notes a restore by its mark, in seconds since 1970; false when it was noted before.
    static func insert(_ connection: Connection, _ mark: String, now: Int64) throws -> Bool {
        try connection.execute(
            "INSERT OR IGNORE INTO restorations (mark, noted) VALUES (?, ?)",
            .text(mark), .integer(now))
        return connection.changes > 0
    }
}
