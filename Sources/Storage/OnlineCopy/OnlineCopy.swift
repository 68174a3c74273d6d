// A consistent copy of the database while it is written: SQLite's online backup
// (sqlite.org/backup.html), one small step per turn of the writer. It runs on the writer's own
// connection, so that what is committed meanwhile is carried into the copy and nothing begins
// again; and between the steps nobody reads, so that the log stays as short as ever.

internal import Dispatch
internal import GRDB
internal import GRDBSQLite
internal import Glibc

/// A copy under way. Belongs to one thread, which may block: never an event loop.
public final class OnlineCopy: Sendable {
    /// What a step did.
    public struct Step: Sendable {
        /// Pages that are copied, and pages in all.
        public var done: Int, total: Int
        /// CPU time that it and the changes since the last one took on the writer's thread.
        public var duration: Duration
        /// Set when the copy is complete.
        public var end: End?
    }

    /// What was copied.
    public struct End: Sendable {
        /// Bytes of a page.
        public var pageSize: Int
        /// Pages.
        public var pageCount: UInt32
        /// The first page, which is handed out here only.
        public var firstPage: [UInt8]
        /// The commit that the copy ends with; nil when it cannot be told.
        public var state: DatabaseState?
    }

    /// Bytes of the log's file when it began.
    public let logBytes: Int64
    private let database: Database
    private let work: CopyWork

    init(_ database: Database, keptBack: Int) throws(StorageError) {
        self.database = database
        logBytes = Self.size(database.file + "-wal")
        let work = try CopyWork(file: database.file, keptBack: keptBack)
        self.work = work
        guard database.writer.setAtEnd({ work.end() }) else {
            throw StorageError(
                code: .busy, operation: "copying the database", subject: database.file,
                message: "another copy is under way, or the server is stopping")
        }
    }

    /// Copies so many pages more. Afterwards they are to be taken (`takePages`).
    public func step(pages: Int) throws(StorageError) -> Step {
        try database.writer.takeTurn { [work] in
            try work.step($0, pages: Int32(clamping: max(1, pages)))
        }
    }

    /// Exchanges pages for an empty buffer; false when there are none. Of a page that comes twice,
    /// the later one counts.
    ///
    /// - Parameter all: also those that changed after they were copied and may change again.
    public func takePages(_ buffer: inout PageBuffer, all: Bool) -> Bool {
        work.sink.takeFresh(&buffer)
        if buffer.numbers.isEmpty, all || work.sink.changedBytes > work.drainedAt {
            work.sink.takeChanged(&buffer)
        }
        return !buffer.numbers.isEmpty
    }

    /// Reads what was copied, after the last step, while the writer goes on. Ends when
    /// `endReading` is called.
    public func read<Value>(
        _ body: (Connection) throws -> Value
    ) throws(StorageError) -> Value {
        do {
            return try work.reader.inDatabase {
                try body(Connection(database: $0, file: database.file))
            }
        } catch {
            throw StorageError(error, operation: "checking the copy", subject: database.file)
        }
    }

    /// Lets the log be emptied again.
    public func endReading() { work.endReading() }

    /// A state that still holds after a restart, if nothing was committed since it was read: all of
    /// the log is brought into the file, and its time is let pass. May take a second.
    public func settled(_ state: DatabaseState) -> DatabaseState {
        let file = database.file
        endReading()
        func current() -> DatabaseState? {
            try? work.reader.inDatabase { database in
                _ = try Int.fetchOne(database, sql: "SELECT count(*) FROM sqlite_schema")
                return DatabaseState.read(database, file: file)
            }
        }
        guard var now = current(), now.log == state.log else { return state }
        if !now.isWhole {
            // By this connection, so that the writer does not wait for it.
            _ = try? work.reader.inDatabase { try $0.checkpoint(.passive) }
            guard let later = current(), later.log == state.log else { return state }
            now = later
        }
        for _ in 0..<3 where !now.isSettled {
            // Until the files are so old that another change would show in their times. Nothing tells
            // of that; it is the run's thread, which nobody waits for.
            usleep(UInt32(DatabaseState.settlingTime / 1000) + 20_000)
            guard let later = current(), later.log == state.log else { return state }
            now = later
        }
        return now
    }

    /// Ends the copy, complete or not; the writer goes on as if it had never been.
    public func end() {
        endReading()
        // A writer that has ended takes no turns, and does it itself: it is not to forget that.
        let isTaken: Void? = try? database.writer.takeTurn { [work] _ in work.end() }
        if isTaken != nil { database.writer.clearAtEnd() }
        try? work.reader.close()
    }

    private static func size(_ path: String) -> Int64 {
        var status = stat()
        return lstat(path, &status) == 0 ? Int64(status.st_size) : 0
    }
}

extension Database {
    /// Begins a copy; there is one at a time. Whoever begins it ends it.
    ///
    /// - Parameter keptBack: bytes of changed pages that wait in memory at most.
    public func beginCopy(keptBack: Int = 8_388_608) throws(StorageError) -> OnlineCopy {
        try OnlineCopy(self, keptBack: keptBack)
    }

    /// The last commit, as far as it can be told without reading the database.
    public func state() throws(StorageError) -> DatabaseState? {
        try readNow { connection in
            _ = try connection.first("SELECT count(*) FROM sqlite_schema") { $0.integer(0) }
            return DatabaseState.read(connection.database, file: file)
        }
    }
}

/// The part that belongs to the writer's thread.
///
/// Unchecked: `destination`, `backup` and the counts are touched in turns of the writer only, or
/// when it has ended; the others do not change.
private final class CopyWork: @unchecked Sendable {
    let sink: PageSink
    let reader: DatabaseQueue
    /// Bytes of changed pages at which they are taken before the end.
    let drainedAt: Int
    private let keptBack: Int
    private let file: String
    private var destination: OpaquePointer?
    private var backup: OpaquePointer?
    private var lastDone = 0
    private var restarts = 0
    private var waits = 0

    /// The writer's changes can make it begin again: after a rollback of much, or when another
    /// program writes.
    private static let mostRestarts = 5

    init(file: String, keptBack: Int) throws(StorageError) {
        self.file = file
        self.keptBack = keptBack
        drainedAt = keptBack / 4
        sink = PageSink(limit: keptBack)
        var configuration = Configuration()
        configuration.label = "kinglet.copy"
        configuration.busyMode = .timeout(5)
        configuration.allowsUnsafeTransactions = true
        do {
            reader = try DatabaseQueue(path: file, configuration: configuration)
        } catch {
            throw StorageError(error, operation: "copying the database", subject: file)
        }
    }

    func step(_ database: GRDB.Database, pages: Int32) throws -> OnlineCopy.Step {
        let began = threadTime()
        if backup == nil { try begin(database) }
        sink.setStepping(true)
        let code = sqlite3_backup_step(backup, pages)
        sink.setStepping(false)
        let total = Int(sqlite3_backup_pagecount(backup))
        let done = total - Int(sqlite3_backup_remaining(backup))
        var step = OnlineCopy.Step(done: done, total: total, duration: .zero)
        switch code {
        case SQLITE_OK:
            if done < lastDone { try noteRestart() }
            lastDone = done
            waits = 0
        case SQLITE_BUSY, SQLITE_LOCKED:
            waits += 1
            if waits > 100 { throw failure(.busy, "another program keeps it locked") }
        case SQLITE_DONE:
            step.end = try complete(database)
        default:
            guard sink.isOverflown else {
                throw DatabaseError(
                    resultCode: ResultCode(rawValue: code),
                    message: String(cString: sqlite3_errstr(code)))
            }
            try noteRestart()
            step.done = 0
            end()
        }
        // What the changes cost in between can only be estimated.
        step.duration = threadTime() - began + .microseconds(2 * sink.takeRewrites())
        return step
    }

    private func failure(_ code: StorageError.Code, _ message: String) -> StorageError {
        StorageError(
            code: code, operation: "copying the database", subject: file, message: message)
    }

    private func noteRestart() throws {
        restarts += 1
        lastDone = 0
        if restarts > Self.mostRestarts {
            throw failure(.busy, "too much of it changes while it is copied")
        }
    }

    private func begin(_ database: GRDB.Database) throws {
        sink.reset()
        let flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
        let destination = try PageFileSystem.open(sink, flags: flags)
        self.destination = destination
        sqlite3_exec(
            destination,
            """
            PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
            PRAGMA cache_size = 10
            """, nil, nil, nil)
        backup = sqlite3_backup_init(destination, "main", database.sqliteConnection, "main")
        guard backup != nil else {
            throw DatabaseError(
                resultCode: ResultCode(rawValue: sqlite3_errcode(destination)),
                message: String(cString: sqlite3_errmsg(destination)))
        }
        lastDone = 0
    }

    /// Still in the turn of the last step, so that nothing is committed in between.
    private func complete(_ database: GRDB.Database) throws -> OnlineCopy.End {
        let total = UInt32(clamping: sqlite3_backup_pagecount(backup))
        end()
        var first = sink.first
        guard first.count >= 512, let count = Self.word(first, 28), count == total else {
            throw failure(.other, "SQLite did not hand out its first page")
        }
        // SQLite gives the copy a schema number of its own.
        let schema = try UInt32.fetchOne(database, sql: "PRAGMA schema_version") ?? 0
        for index in 0..<4 {
            first[40 + index] = UInt8(truncatingIfNeeded: schema >> (24 - 8 * UInt32(index)))
        }
        try reader.inDatabase { reader in
            try reader.execute(sql: "BEGIN DEFERRED")
            _ = try Int.fetchOne(reader, sql: "SELECT count(*) FROM sqlite_schema")
        }
        return OnlineCopy.End(
            pageSize: first.count, pageCount: total, firstPage: first,
            state: DatabaseState.read(database, file: file))
    }

    private static func word(_ bytes: [UInt8], _ offset: Int) -> UInt32? {
        guard bytes.count >= offset + 4 else { return nil }
        return bytes[offset..<(offset + 4)].reduce(0) { $0 << 8 | UInt32($1) }
    }

    func endReading() {
        _ = try? reader.inDatabase { reader in
            if reader.isInsideTransaction { try reader.execute(sql: "ROLLBACK") }
        }
    }

    func end() {
        if let backup { sqlite3_backup_finish(backup) }
        backup = nil
        if let destination { sqlite3_close(destination) }
        destination = nil
    }
}

/// CPU time of this thread.
func threadTime() -> Duration {
    var time = timespec()
    guard clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) == 0 else { return .zero }
    return .seconds(Int64(time.tv_sec)) + .nanoseconds(Int64(time.tv_nsec))
}
