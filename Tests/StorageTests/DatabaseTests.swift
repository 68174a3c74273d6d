// Opening, schema, durability, values and closing.

import Glibc
import Prometheus
import Storage
import Testing

@Suite struct DatabaseTests {
    @Test("Each step of the schema is applied once")
    func appliesStepsOnce() throws {
        let directory = try TemporaryDirectory()
        try withDatabase(in: directory) { try $0.writeNow { try insert($0, "kept") } }
        let second = SchemaStep("items", 2, "ALTER TABLE items ADD COLUMN note TEXT")
        try withDatabase(in: directory, steps: [itemsStep, second]) { database in
            #expect(try database.names() == ["kept"])
            try database.writeNow { connection in
                try connection.execute("UPDATE items SET note = 'new column'")
            }
        }
        try withDatabase(in: directory, steps: [itemsStep, second]) { database in
            let names = try database.names()
            #expect(names == ["kept"])
        }
    }

    @Test("Data of a newer version are refused with advice, and left alone")
    func refusesNewerSchema() throws {
        let directory = try TemporaryDirectory()
        let second = SchemaStep("items", 2, "ALTER TABLE items ADD COLUMN note TEXT")
        try withDatabase(in: directory, steps: [itemsStep, second]) { _ in }
        let error = try storageError { try withDatabase(in: directory) { _ in } }
        #expect(error.code == .newerSchema)
        #expect(error.subject == directory.database)
        #expect(error.description.contains("newer"))
        #expect(error.description.contains(error.advice))
        try withDatabase(in: directory, steps: [itemsStep, second]) { _ in }
    }

    @Test(
        "The durability asked for is the one in force on the writer",
        arguments: [(Durability.full, Int64(2)), (.relaxed, 1)])
    func durability(durability: Durability, synchronous: Int64) throws {
        try withDatabase(durability: durability) { database in
            let level = try database.writeNow { connection in
                try connection.first("PRAGMA synchronous") { $0.integer(0) }
            }
            #expect(level == synchronous)
            let mode = try database.writeNow { connection in
                try connection.first("PRAGMA journal_mode") { $0.text(0) }
            }
            #expect(mode == "wal")
        }
    }

    @Test("Values come out as they went in")
    func values() throws {
        let step = SchemaStep("values", 1, "CREATE TABLE v (a, b, c, d, e)")
        try withDatabase(steps: [step]) { database in
            try database.writeNow { connection in
                try connection.execute(
                    "INSERT INTO v VALUES (?, ?, ?, ?, ?)", .integer(.min), "tëxt",
                    .blob([0, 255]),
                    nil, .blob([]))
            }
            let isSame = try database.readNow { connection in
                try connection.first("SELECT * FROM v") { row in
                    row.integer(0) == .min && row.text(1) == "tëxt" && row.blob(2) == [0, 255]
                        && row.text(3) == nil && row.integer(3) == 0 && row.blob(3).isEmpty
                        && row.blob(4).isEmpty
                }
            }
            #expect(isSame == true)
            let none = try database.readNow { connection in
                try connection.first("SELECT * FROM v WHERE 0") { _ in true }
            }
            #expect(none == nil)
        }
    }

    @Test("A read gives its value on another thread")
    func readsAsynchronously() throws {
        try withDatabase { database in
            try database.writeNow { try insert($0, "a") }
            let reports = Reports<Int64?>()
            database.read({ try $0.first("SELECT count(*) FROM items") { $0.integer(0) } }) {
                reports.add((try? $0.get()) ?? nil)
            }
            #expect(try reports.wait(for: 1) == [1])
        }
    }

    @Test("What was queued is committed before the database closes")
    func closeCommits() throws {
        let directory = try TemporaryDirectory()
        try withDatabase(in: directory) { database in
            for number in 0..<50 {
                database.writer.submit({ try insert($0, "\(number)") }, then: { _ in })
            }
        }
        try withDatabase(in: directory) { database in
            let names = try database.names()
            #expect(names.count == 50)
        }
    }

    @Test("A closed database refuses jobs and reads as closed")
    func refusesAfterClose() throws {
        let directory = try TemporaryDirectory()
        let database = try Database(
            file: directory.database, steps: [itemsStep], durability: .full, registry: Registry())
        try database.close()
        #expect(try storageError { try database.writeNow { try insert($0, "x") } }.code == .closed)
        #expect(try storageError { _ = try database.names() }.code == .closed)
        let reports = Reports<StorageError.Code?>()
        database.writer.submit({ try insert($0, "x") }) { result in
            if case .failure(let error) = result { reports.add(error.code) }
        }
        #expect(try reports.wait(for: 1) == [.closed])
        withExtendedLifetime(directory) {}
    }
}
