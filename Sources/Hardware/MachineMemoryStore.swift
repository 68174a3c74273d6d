// Every SQL statement about what the readings remember.

public import Storage

/// The table of ``MachineMemory``.
public enum MachineMemoryStore {
    /// The table.
    public static let schema = [
        SchemaStep(
            "machine_memory", 1,
            """
            CREATE TABLE machine_memory (
                key TEXT PRIMARY KEY,
                total INTEGER NOT NULL,
                position INTEGER NOT NULL,
                boot TEXT NOT NULL
            ) WITHOUT ROWID;
            """)
    ]

    /// All that was saved.
    static func entries(
        _ connection: Connection
    ) throws(StorageError) -> [MachineMemory.Entry] {
        var entries: [MachineMemory.Entry] = []
        try connection.rows("SELECT key, total, position, boot FROM machine_memory") { row in
            entries.append(
                MachineMemory.Entry(
                    key: row.text(0) ?? "", total: UInt64(bitPattern: row.integer(1)),
                    position: UInt64(bitPattern: row.integer(2)), boot: row.text(3) ?? ""))
        }
        return entries
    }

    /// Writes entries over those of the same keys.
    static func save(
        _ connection: Connection, _ entries: [MachineMemory.Entry]
    ) throws(StorageError) {
        for entry in entries {
            try connection.execute(
                "INSERT OR REPLACE INTO machine_memory (key, total, position, boot) "
                    + "VALUES (?, ?, ?, ?)",
                .text(entry.key), .integer(Int64(bitPattern: entry.total)),
                .integer(Int64(bitPattern: entry.position)), .text(entry.boot))
        }
    }
}
