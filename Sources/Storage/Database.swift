// The embedded database: one file in WAL mode, one writer that commits for everybody, and a few
// readers.

internal import GRDB
internal import GRDBSQLite
internal import Glibc
public import Prometheus

/// How much a power cut may cost.
public enum Durability: String, Sendable, CaseIterable {
    /// What was acknowledged is on the disk (`synchronous=FULL`).
    case full
    /// The last seconds may be lost with the power, though not with a crash
    /// (`synchronous=NORMAL`).
    case relaxed
}

/// The open database. Safe on any thread: readers have connections of their own, and all writes
/// go through one queue.
public final class Database: Sendable {
    /// The version of SQLite.
    public static var engineVersion: String { String(cString: sqlite3_libversion()) }

    /// The file.
    public let file: String
    /// So many read at one time.
    static let readers = 3

    /// The one writer.
    public let writer: GroupCommitWriter
    private let pool: DatabasePool

    /// Opens the file, creates it if need be, and brings its schema up to date.
    ///
    /// - Parameter longestQueue: bytes of work that may wait for the disk.
    public init(
        file: String, steps: [SchemaStep], durability: Durability,
        longestQueue: Int = 33_554_432, registry: Registry
    ) throws(StorageError) {
        self.file = file
        do {
            var configuration = Configuration()
            configuration.label = "kinglet"
            configuration.maximumReaderCount = Self.readers
            configuration.busyMode = .timeout(5)
            configuration.prepareDatabase { database in
                // A Pi has little memory. What readers come back to, the kernel has; the pages
                // that the writer changes are its own until the commit.
                let kilobytes = database.configuration.readonly ? 400 : 2000
                try database.execute(sql: "PRAGMA cache_size = -\(kilobytes)")
            }
            Self.prepareLog(file)
            pool = try DatabasePool(path: file, configuration: configuration)
            try Self.migrate(pool, file: file, steps: steps)
            // GRDB sets NORMAL for WAL after `prepareDatabase`, so the choice is made here.
            let level = durability == .full ? "FULL" : "NORMAL"
            try pool.writeWithoutTransaction { database in
                try database.execute(sql: "PRAGMA synchronous = \(level)")
                try database.execute(sql: "PRAGMA journal_size_limit = 67108864")
            }
        } catch {
            throw StorageError(error, operation: "opening the database", subject: file)
        }
        writer = GroupCommitWriter(
            pool: pool, file: file, longestQueue: longestQueue, registry: registry)
    }

    /// GRDB makes and drops a table when there is no log or an empty one, so that every start would
    /// change the database and cost a backup. A log shorter than its header counts as empty for
    /// SQLite (sqlite.org/walformat.html section 2.3) but not for GRDB. The byte is appended: should
    /// another process write the log just now, it stands behind that, where it means nothing.
    private static func prepareLog(_ file: String) {
        var status = stat()
        guard lstat(file, &status) == 0, status.st_size > 0 else { return }
        let log = Glibc.open(
            "\(file)-wal", O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
            status.st_mode & 0o666)
        guard log >= 0 else { return }
        if fstat(log, &status) == 0, status.st_size == 0 {
            _ = Glibc.write(log, [0] as [UInt8], 1)
        }
        Glibc.close(log)
    }

    private static func migrate(
        _ pool: DatabasePool, file: String, steps: [SchemaStep]
    ) throws {
        var migrator = DatabaseMigrator()
        for step in steps {
            migrator.registerMigration(step.identifier) { database in
                try database.execute(sql: step.sql)
            }
        }
        if try pool.read(migrator.hasBeenSuperseded) {
            throw StorageError(
                code: .newerSchema, operation: "opening the database", subject: file,
                message: "a newer version of kinglet has written it")
        }
        try migrator.migrate(pool)
    }

    /// The last step of each feature's tables that a connection finds done.
    public static func schema(of connection: Connection) throws -> [String: Int] {
        var schema: [String: Int] = [:]
        for identifier in try DatabaseMigrator().appliedIdentifiers(connection.database) {
            guard let dot = identifier.lastIndex(of: "."),
                let number = Int(identifier[identifier.index(after: dot)...])
            else { continue }
            let feature = String(identifier[..<dot])
            schema[feature] = max(number, schema[feature, default: 0])
        }
        return schema
    }

    /// Reads on a thread of the readers and hands the result to `then` there.
    public func read<Value: Sendable>(
        _ work: @escaping @Sendable (Connection) throws -> Value,
        then: @escaping @Sendable (Result<Value, StorageError>) -> Void
    ) {
        let file = file
        pool.asyncRead { result in
            then(
                Result { try work(Connection(database: try result.get(), file: file)) }
                    .mapError { StorageError($0, operation: "reading", subject: file) })
        }
    }

    /// Waits until nobody reads any more, for tests.
    func awaitReaders() { try? pool.barrierWriteWithoutTransaction { _ in } }

    /// Reads and waits; for commands and tests, never on an event loop.
    public func readNow<Value>(
        _ work: (Connection) throws -> Value
    ) throws(StorageError) -> Value {
        do {
            return try pool.read { try work(Connection(database: $0, file: file)) }
        } catch {
            throw StorageError(error, operation: "reading", subject: file)
        }
    }

    /// Writes and waits for the commit; for commands and tests, never on an event loop.
    public func writeNow<Value: Sendable>(
        _ work: @escaping @Sendable (Connection) throws -> Value
    ) throws(StorageError) -> Value {
        try writer.submitAndWait(work)
    }

    /// Commits what is queued, checkpoints, and closes.
    ///
    /// - Throws: `StorageError` when a statement is still in use, which is a programming error.
    public func close() throws(StorageError) {
        writer.finish()
        do {
            try pool.writeWithoutTransaction { database in
                _ = try database.checkpoint(.truncate)
            }
            try pool.close()
        } catch {
            throw StorageError(error, operation: "closing the database", subject: file)
        }
    }
}
