// Statements on one connection, as a feature's store writes them. The SQL library stays behind
// this file.

internal import Foundation
internal import GRDB

/// A value that goes into or comes out of a column.
public enum SQLValue: Sendable, Equatable, ExpressibleByStringLiteral,
    ExpressibleByIntegerLiteral, ExpressibleByNilLiteral
{
    case integer(Int64)
    case text(String)
    case blob([UInt8])
    case null

    /// Text.
    public init(stringLiteral value: String) { self = .text(value) }
    /// An integer.
    public init(integerLiteral value: Int64) { self = .integer(value) }
    /// NULL.
    public init(nilLiteral: ()) { self = .null }

    /// NULL for nil.
    public init(_ text: String?) { self = text.map { .text($0) } ?? .null }

    fileprivate var databaseValue: DatabaseValue {
        switch self {
        case .integer(let value): value.databaseValue
        case .text(let value): value.databaseValue
        case .blob(let value): Data(value).databaseValue
        case .null: .null
        }
    }
}

/// One row of a result, valid while it is handed out.
public struct ResultRow {
    fileprivate let row: Row

    /// Column `index` as an integer, 0 for NULL.
    public func integer(_ index: Int) -> Int64 {
        Int64.fromDatabaseValue(row[index] as DatabaseValue) ?? 0
    }

    /// Column `index` as an integer, nil for NULL.
    public func optionalInteger(_ index: Int) -> Int64? {
        Int64.fromDatabaseValue(row[index] as DatabaseValue)
    }

    /// Column `index` as text, nil for NULL and for a number.
    public func text(_ index: Int) -> String? {
        String.fromDatabaseValue(row[index] as DatabaseValue)
    }

    /// Column `index` as bytes, empty for NULL.
    public func blob(_ index: Int) -> [UInt8] {
        Data.fromDatabaseValue(row[index] as DatabaseValue).map { Array($0) } ?? []
    }
}

/// Which transaction of the writer's a piece of work belongs to, for those who remember things
/// beside the database: with another number, the one before is over. `onRollback` says whether it
/// failed.
public struct TransactionStamp: Sendable, Equatable {
    /// Counts transactions.
    public var number = 0
}

/// A database connection, lent to one piece of work. Owner: the writer or one reader, for the
/// time of the work.
public struct Connection {
    let database: GRDB.Database
    let file: String
    /// The transaction, for the writer's connection.
    public internal(set) var stamp = TransactionStamp()

    init(database: GRDB.Database, file: String, stamp: TransactionStamp = TransactionStamp()) {
        self.database = database
        self.file = file
        self.stamp = stamp
    }

    /// Runs a statement that gives no rows. Prepared once per connection.
    public func execute(_ sql: String, _ arguments: SQLValue...) throws(StorageError) {
        try run(sql) {
            let statement = try database.cachedStatement(sql: sql)
            try statement.execute(arguments: StatementArguments(arguments.map(\.databaseValue)))
        }
    }

    /// Hands out each row of a result.
    public func rows(
        _ sql: String, _ arguments: SQLValue..., each: (ResultRow) -> Void
    ) throws(StorageError) {
        try query(sql, arguments) { row in
            each(row)
            return true
        }
    }

    /// Hands out the rows of a result as long as they are wanted.
    public func scan(
        _ sql: String, _ arguments: SQLValue..., while isWanted: (ResultRow) -> Bool
    ) throws(StorageError) {
        try query(sql, arguments, isWanted)
    }

    /// The first row of a result, turned into a value; nil when there is none.
    public func first<Value>(
        _ sql: String, _ arguments: SQLValue..., value: (ResultRow) -> Value
    ) throws(StorageError) -> Value? {
        var result: Value?
        try query(sql, arguments) { row in
            result = value(row)
            return false
        }
        return result
    }

    /// Rows that the last statement inserted, changed or deleted.
    public var changes: Int { database.changesCount }

    /// The row id that the last insert made.
    public var lastInsertedRow: Int64 { database.lastInsertedRowID }

    private func query(
        _ sql: String, _ arguments: [SQLValue], _ body: (ResultRow) -> Bool
    ) throws(StorageError) {
        try run(sql) {
            let statement = try database.cachedStatement(sql: sql)
            let cursor = try Row.fetchCursor(
                statement, arguments: StatementArguments(arguments.map(\.databaseValue)))
            while let row = try cursor.next() {
                guard body(ResultRow(row: row)) else { break }
            }
        }
    }

    private func run(_ sql: String, _ body: () throws -> Void) throws(StorageError) {
        do {
            try body()
        } catch {
            let verb = sql.split(whereSeparator: \.isWhitespace).prefix(3).joined(separator: " ")
            throw StorageError(error, operation: verb, subject: file)
        }
    }
}
