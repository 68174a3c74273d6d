// Reads that end when their time is up, so that one that has much to look at holds up nobody.

internal import GRDB
internal import GRDBSQLite

extension Connection {
    /// Runs statements, and has SQLite give up when their time is over.
    ///
    /// - Throws: what the body throws; `StorageError` with the code `interrupted` when the time was
    ///   over.
    public func limited<Value>(
        to time: Duration, _ body: () throws -> Value
    ) throws -> Value {
        var deadline = ContinuousClock.now + time
        return try withUnsafeMutablePointer(to: &deadline) { pointer in
            // Every so many instructions of SQLite's machine, some 0.1 ms.
            sqlite3_progress_handler(
                database.sqliteConnection, 2000, isOver, UnsafeMutableRawPointer(pointer))
            defer { sqlite3_progress_handler(database.sqliteConnection, 0, nil, nil) }
            return try body()
        }
    }
}

extension Connection {
    /// Runs statements as long as they are wanted. `isWanted` is asked every 0.1 ms or so, and may
    /// take its time, which leaves the processor to others.
    ///
    /// - Throws: what the body throws; `StorageError` with the code `interrupted` when they were no
    ///   longer wanted.
    public func run<Value>(while isWanted: () -> Bool, _ body: () throws -> Value) throws -> Value {
        try withoutActuallyEscaping(isWanted) { isWanted in
            var question = Question(isWanted: isWanted)
            return try withUnsafeMutablePointer(to: &question) { pointer in
                sqlite3_progress_handler(
                    database.sqliteConnection, 2000, askQuestion, pointer)
                defer { sqlite3_progress_handler(database.sqliteConnection, 0, nil, nil) }
                return try body()
            }
        }
    }
}

/// What `askQuestion` asks.
struct Question { let isWanted: () -> Bool }

/// THREADS: called on the thread that runs the statement, while that is waited for.
func askQuestion(_ question: UnsafeMutableRawPointer?) -> Int32 {
    guard let question else { return 0 }
    return question.assumingMemoryBound(to: Question.self).pointee.isWanted() ? 0 : 1
}

/// THREADS: called on the thread that runs the statement, while `limited` waits for it.
private func isOver(_ deadline: UnsafeMutableRawPointer?) -> Int32 {
    guard let deadline else { return 0 }
    let time = deadline.assumingMemoryBound(to: ContinuousClock.Instant.self).pointee
    return ContinuousClock.now > time ? 1 : 0
}
