// What the tests of this target share: a database in a directory of its own, closed cleanly.

import Dispatch
import Glibc
import Prometheus
import Storage
import Synchronization
import Testing

/// A directory that is there as long as this object.
final class TemporaryDirectory: Sendable {
    let path: String

    init() throws {
        var template = Array("/tmp/kinglet-storage-XXXXXX".utf8CString)
        path = try template.withUnsafeMutableBufferPointer { buffer in
            let base = try #require(buffer.baseAddress)
            let created = try #require(mkdtemp(base))
            return String(cString: created)
        }
    }

    var database: String { "\(path)/test.db" }

    deinit {
        for suffix in ["", "-wal", "-shm"] { unlink(database + suffix) }
        rmdir(path)
    }
}

let itemsStep = SchemaStep(
    "items", 1, "CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)")

/// Opens a database, lends it, and closes it: which must not throw.
func withDatabase(
    in directory: TemporaryDirectory? = nil, steps: [SchemaStep] = [itemsStep],
    durability: Durability = .full, registry: Registry = Registry(),
    _ body: (Database) throws -> Void
) throws {
    let directory = try directory ?? TemporaryDirectory()
    let database = try Database(
        file: directory.database, steps: steps, durability: durability, registry: registry)
    do {
        try body(database)
    } catch {
        try? database.close()
        throw error
    }
    #expect(throws: Never.self, "a clean close") { try database.close() }
    withExtendedLifetime(directory) {}
}

/// The error that a body throws, if it is the database's.
func storageError(_ body: () throws -> Void) throws -> StorageError {
    try #require(throws: StorageError.self) { try body() }
}

/// What is reported from other threads, in the order of the reports.
final class Reports<Value: Sendable>: Sendable {
    private let values = Mutex<[Value]>([])
    private let arrived = DispatchSemaphore(value: 0)

    func add(_ value: Value) {
        values.withLock { $0.append(value) }
        arrived.signal()
    }

    /// Waits for this many; a failure if they do not come.
    func wait(for count: Int) throws -> [Value] {
        for _ in 0..<count {
            try #require(arrived.wait(timeout: .now() + 120) == .success, "a report is missing")
        }
        return values.withLock { $0 }
    }
}

extension Database {
    /// Keeps the writer busy until the gate is signalled; returns when it is busy.
    func holdWriter() throws -> DispatchSemaphore {
        let gate = DispatchSemaphore(value: 0)
        let busy = DispatchSemaphore(value: 0)
        writer.submit(
            { _ in
                busy.signal()
                gate.wait()
            }, then: { _ in })
        try #require(busy.wait(timeout: .now() + 120) == .success)
        return gate
    }

    /// The names of all items by their ids.
    func names() throws -> [String] {
        try readNow { connection in
            var names: [String] = []
            try connection.rows("SELECT name FROM items ORDER BY id") { row in
                names.append(row.text(0) ?? "")
            }
            return names
        }
    }
}

/// Inserts an item.
func insert(_ connection: Connection, _ name: String) throws {
    try connection.execute("INSERT INTO items (name) VALUES (?)", .text(name))
}
