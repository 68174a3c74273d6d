// What SQLite says of a copy: its rows, and whether it is sound. Both have a time that they may
// take, for as long as somebody reads, the log cannot be emptied.

internal import Glibc
internal import Storage

/// Facts of a copied database.
struct CopyFacts {
    /// Of the tables that were counted in time.
    var rows: [String: Int64] = [:]
    var lastMessage: Int64 = 0
    /// The last step of each feature's tables.
    var schema: [String: Int]?
    /// Nil when no check ended.
    var isChecked: Bool?
    /// Whether it was `integrity_check` that ended.
    var isCheckedWhole = false
    var faults: [String] = []
    /// What did not end, a sentence; nil when everything did.
    var unfinished: String?
}

/// Reads them, after the last step of a copy.
struct FactsReader {
    /// A check reads at least so fast, in bytes a second; a larger database gets more time.
    private static let rate: Int64 = 16 << 20
    /// The whole check takes longer, for it looks at every index.
    private static let wholeTimes = 10

    let copier: DatabaseCopier
    let copy: OnlineCopy
    /// Of the database.
    let bytes: Int64
    let cancellation: Cancellation

    /// - Parameter whole: `integrity_check` and `foreign_key_check` come first, and `quick_check`
    ///   only when they do not end.
    func read(whole: Bool) throws(BackupError) -> CopyFacts {
        var facts = CopyFacts()
        let time = copier.checkTime + .seconds(bytes / Self.rate)
        var what: [String] = []
        if try !inTime(time, { try count($0, &facts) }) { what.append("the rows were not counted") }
        if whole {
            facts.isCheckedWhole = try check(
                ["PRAGMA integrity_check(100)", "PRAGMA foreign_key_check"],
                time * Self.wholeTimes, &facts)
        }
        if facts.isChecked == nil, try !check(["PRAGMA quick_check(100)"], time, &facts) {
            what.append("SQLite's check of what was copied did not end")
        }
        if !what.isEmpty {
            let reason =
                isLogLong
                ? "the log had grown to \(copier.mostLogBytes >> 20) MiB"
                : "it takes longer than \(time.components.seconds) s"
            facts.unfinished = "\(copier.name): \(what.joined(separator: ", and ")): \(reason)"
        }
        return facts
    }

    private var isLogLong: Bool {
        var status = stat()
        return lstat(copier.database.file + "-wal", &status) == 0
            && Int64(status.st_size) > copier.mostLogBytes
    }

    /// False when it did not end in its time, in which what the run's pace takes is not counted.
    private func inTime(
        _ time: Duration, _ body: (Connection) throws -> Void
    ) throws(BackupError) -> Bool {
        let began = ContinuousClock.now
        var rested = Duration.zero
        func isWanted() -> Bool {
            guard cancellation.reason == nil, ContinuousClock.now - began - rested < time,
                !isLogLong
            else { return false }
            if let pace = cancellation.pace {
                let before = ContinuousClock.now
                pace.rest { cancellation.reason == nil }
                rested += ContinuousClock.now - before
            }
            return true
        }
        do {
            try copy.read { connection in
                try connection.run(while: isWanted) { try body(connection) }
            }
            return true
        } catch {
            try cancellation.check()
            guard error.code == .interrupted else { throw BackupError(storage: error) }
            return false
        }
    }

    private func check(
        _ statements: [String], _ time: Duration, _ facts: inout CopyFacts
    ) throws(BackupError) -> Bool {
        var faults: [String] = []
        let hasEnded = try inTime(time) { connection in
            for sql in statements {
                try connection.rows(sql) { row in
                    let line = row.text(0) ?? ""
                    if line != "ok", faults.count < 100 {
                        faults.append(
                            sql.hasSuffix("foreign_key_check")
                                ? "a row of \(line) names one that is not there" : line)
                    }
                }
            }
        }
        guard hasEnded else { return false }
        facts.isChecked = faults.isEmpty
        facts.faults = faults
        return true
    }

    private func count(_ connection: Connection, _ facts: inout CopyFacts) throws {
        var tables: [String] = []
        try connection.rows(
            """
            SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%'
                ESCAPE '\\' AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name
            """
        ) { tables.append($0.text(0) ?? "") }
        if tables.contains("messages") {
            facts.lastMessage =
                try connection.first("SELECT max(rowid) FROM messages") { $0.integer(0) } ?? 0
        }
        facts.schema = try Storage.Database.schema(of: connection)
        for table in tables {
            let name = table.split(separator: "\"", omittingEmptySubsequences: false)
                .joined(separator: "\"\"")
            facts.rows[table] =
                try connection.first("SELECT count(*) FROM \"\(name)\"") { $0.integer(0) }
        }
    }
}
