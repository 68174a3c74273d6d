// One writer commits for everybody.

import Dispatch
import Prometheus
import Storage
import Testing

@Suite struct GroupCommitTests {
    @Test("Jobs that wait are committed together, in their order, and reported in it")
    func manyJobsOneCommit() throws {
        let registry = Registry()
        try withDatabase(registry: registry) { database in
            let reports = Reports<Int>()
            let gate = try database.holdWriter()
            for number in 0..<100 {
                database.writer.submit({ try insert($0, "item \(number)") }) { result in
                    if case .success = result { reports.add(number) }
                }
            }
            #expect(database.writer.queuedJobs == 100)
            gate.signal()
            #expect(try reports.wait(for: 100) == Array(0..<100))
            #expect(try database.names() == (0..<100).map { "item \($0)" })
            let metrics = String(decoding: registry.render(.text004), as: UTF8.self)
            #expect(metrics.contains("kinglet_commit_batch_size_count 2\n"))
            #expect(metrics.contains("kinglet_commit_batch_size_sum 101\n"))
            #expect(metrics.contains("kinglet_commit_queue_jobs 0\n"))
        }
    }

    @Test("A job that fails takes no other job of its batch with it")
    func oneFailingJob() throws {
        let registry = Registry()
        try withDatabase(registry: registry) { database in
            let reports = Reports<StorageError.Code?>()
            let gate = try database.holdWriter()
            for name in ["a", "a", "b"] {
                database.writer.submit({ try insert($0, name) }) { result in
                    if case .failure(let error) = result {
                        reports.add(error.code)
                    } else {
                        reports.add(nil)
                    }
                }
            }
            gate.signal()
            #expect(try reports.wait(for: 3) == [nil, .constraint, nil])
            #expect(try database.names() == ["a", "b"])
            let metrics = String(decoding: registry.render(.text004), as: UTF8.self)
            #expect(metrics.contains("kinglet_commit_failures_total 1\n"))
            #expect(
                metrics.contains("kinglet_storage_writable 1\n"), "the job's fault, not the disk's")
        }
    }

    @Test("A job that throws after it wrote leaves nothing behind")
    func rollsBack() throws {
        struct Refusal: Error {}
        try withDatabase { database in
            let error = try storageError {
                try database.writeNow { connection in
                    try insert(connection, "half")
                    throw Refusal()
                }
            }
            #expect(error.code == .other)
            #expect(try database.names().isEmpty)
        }
    }

    @Test("A result is reported when other connections can read it, not before")
    func reportsAfterCommit() throws {
        try withDatabase { database in
            let reports = Reports<Int>()
            let gate = try database.holdWriter()
            for name in ["a", "b", "c"] {
                database.writer.submit({ try insert($0, name) }) { _ in
                    reports.add((try? database.names().count) ?? -1)
                }
            }
            gate.signal()
            #expect(try reports.wait(for: 3) == [3, 3, 3])
        }
    }

    @Test("A job's value comes back, and its statements see the jobs before it")
    func returnsValues() throws {
        try withDatabase { database in
            let row = try database.writeNow { connection in
                try insert(connection, "a")
                return connection.lastInsertedRow
            }
            let changes = try database.writeNow { connection in
                try connection.execute("UPDATE items SET name = 'b' WHERE id = ?", .integer(row))
                return connection.changes
            }
            #expect(changes == 1)
            #expect(try database.names() == ["b"])
        }
    }

    @Test("A job in no hurry goes with the next transaction, behind those that asked for it")
    func unhurried() throws {
        let registry = Registry()
        try withDatabase(registry: registry) { database in
            let reports = Reports<String>()
            database.writer.submit(size: 0, within: .seconds(30), { try insert($0, "later") }) {
                _ in reports.add("later")
            }
            database.writer.submit({ try insert($0, "now") }) { _ in reports.add("now") }
            let order = try reports.wait(for: 2)
            #expect(order == ["now", "later"])
            #expect(try database.names() == ["now", "later"])
            let metrics = String(decoding: registry.render(.text004), as: UTF8.self)
            #expect(metrics.contains("kinglet_commit_batch_size_count 1\n"))
        }
    }

    @Test("A job in no hurry is committed alone when its time is over, and before the end")
    func unhurriedAlone() throws {
        let directory = try TemporaryDirectory()
        let reports = Reports<String>()
        try withDatabase(in: directory) { database in
            for (name, time) in [("soon", Duration.milliseconds(1)), ("late", .seconds(30))] {
                database.writer.submit(size: 0, within: time, { try insert($0, name) }) { _ in
                    reports.add(name)
                }
                if name == "soon" { _ = try reports.wait(for: 1) }
            }
        }
        #expect(try reports.wait(for: 1) == ["soon", "late"])
        try withDatabase(in: directory) { database in
            let names = try database.names()
            #expect(names == ["soon", "late"])
        }
    }
}
