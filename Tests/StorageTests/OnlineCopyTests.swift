// Turns of the writer, and the copy that is made of them.

import Dispatch
import Glibc
import Prometheus
import Synchronization
import Testing

@testable import Storage

@Suite struct OnlineCopyTests {
    /// All pages of a copy, the latest form of each.
    private func pages(_ copy: OnlineCopy, perStep: Int = 4) throws -> ([UInt32: [UInt8]], UInt32) {
        var pages: [UInt32: [UInt8]] = [:]
        var buffer = PageBuffer()
        while true {
            let step = try copy.step(pages: perStep)
            while copy.takePages(&buffer, all: step.end != nil) {
                let size = buffer.bytes.count / buffer.numbers.count
                for (index, number) in buffer.numbers.enumerated() {
                    pages[number] = Array(buffer.bytes[(index * size)..<((index + 1) * size)])
                }
            }
            if let end = step.end {
                pages[1] = end.firstPage
                return (pages, end.pageCount)
            }
        }
    }

    private func fill(_ database: Database, _ count: Int) throws {
        try database.writeNow { connection in
            for number in 0..<count { try insert(connection, "item \(number)") }
        }
    }

    @Test("A turn comes between two transactions, and what waits is still committed together")
    func turns() throws {
        let registry = Registry()
        try withDatabase(registry: registry) { database in
            let gate = try database.holdWriter()
            let order = Mutex<[String]>([])
            let reports = Reports<Int>()
            let turned = Reports<Int>()
            Thread {
                _ = try? database.writer.takeTurn { _ in order.withLock { $0.append("turn") } }
                turned.add(1)
            }
            for number in 0..<10 {
                database.writer.submit(
                    { connection in
                        order.withLock { $0.append("job") }
                        try insert(connection, "\(number)")
                    }, then: { _ in reports.add(number) })
            }
            gate.signal()
            _ = try turned.wait(for: 1)
            _ = try reports.wait(for: 10)
            let metrics = String(decoding: registry.render(.text004), as: UTF8.self)
            #expect(metrics.contains("kinglet_commit_batch_size_count 2\n"))
            #expect(order.withLock { $0.filter { $0 == "job" }.count } == 10)
            #expect(order.withLock { [$0.first, $0.last] }.contains("turn"))
        }
    }

    @Test("All pages are handed out, also those that change after they were copied")
    func complete() throws {
        try withDatabase { database in
            try fill(database, 3000)
            let copy = try database.beginCopy()
            defer { copy.end() }
            for _ in 0..<5 { #expect(try copy.step(pages: 4).end == nil) }
            var buffer = PageBuffer()
            var early = 0
            while copy.takePages(&buffer, all: false) { early += buffer.numbers.count }
            #expect(early > 10)
            try database.writeNow { try $0.execute("UPDATE items SET name = name || '!'") }
            let (pages, count) = try pages(copy)
            #expect(count > 30)
            // What was not taken above must be there now, and so must all that changed.
            #expect(pages.count > Int(count) / 2)
            let rows = try copy.read { connection in
                try connection.first("SELECT count(*) FROM items") { $0.integer(0) }
            }
            #expect(rows == 3000)
        }
    }

    @Test("What is read after the last step is what was copied, while the writer goes on")
    func snapshot() throws {
        try withDatabase { database in
            try fill(database, 100)
            let copy = try database.beginCopy()
            defer { copy.end() }
            _ = try pages(copy)
            try database.writeNow { try $0.execute("DELETE FROM items") }
            let count = try copy.read { connection in
                try connection.first("SELECT count(*) FROM items") { $0.integer(0) }
            }
            #expect(count == 100)
        }
    }

    @Test("There is one copy at a time, and none of a database that is closed")
    func oneAtATime() throws {
        try withDatabase { database in
            try fill(database, 500)
            let copy = try database.beginCopy()
            _ = try copy.step(pages: 1)
            #expect(try storageError { _ = try database.beginCopy() }.code == .busy)
            copy.end()
            let next = try database.beginCopy()
            _ = try next.step(pages: 1)
            // `withDatabase` closes it under the copy, which must be clean.
        }
    }

    @Test("A statement is ended when it is not wanted any more")
    func unwanted() throws {
        try withDatabase { database in
            var questions = 0
            let error = try storageError {
                _ = try database.readNow { connection in
                    try connection.run(
                        while: {
                            questions += 1
                            return questions < 5
                        },
                        {
                            try connection.first(
                                """
                                WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)
                                SELECT count(*) FROM n
                                """
                            ) { $0.integer(0) }
                        })
                }
            }
            #expect(error.code == .interrupted)
            #expect(questions == 5)
        }
    }
}

/// Starts a thread.
private func Thread(_ body: @escaping @Sendable () -> Void) {
    DispatchQueue.global().async(execute: body)
}

@Suite struct WriteAheadLogTests {
    private func bytes(_ path: String) throws -> [UInt8] {
        let file = try #require(fopen(path, "r"))
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = fread(&piece, 1, piece.count, file)
            if count == 0 { return bytes }
            bytes += piece[..<count]
        }
    }

    @Test("SQLite's own log is read to its last commit, and sealed again it is the same")
    func sqlite() throws {
        let directory = try TemporaryDirectory()
        try withDatabase(in: directory) { database in
            try database.writeNow { for n in 0..<500 { try insert($0, "\(n)") } }
            try database.writeNow { try $0.execute("DELETE FROM items WHERE id % 3 = 0") }
            let log = try bytes(directory.database + "-wal")
            var reader = try #require(log.withUnsafeBytes { WriteAheadLog(header: $0) })
            var writer = reader
            #expect(reader.pageSize == 4096)
            var commits = 0
            var offset = WriteAheadLog.headerLength
            while offset + reader.frameLength <= log.count {
                let frame = Array(log[offset..<(offset + reader.frameLength)])
                guard let read = frame.withUnsafeBytes({ reader.open($0) }) else { break }
                var again = Array(repeating: 0, count: 24) + frame[24...]
                again.withUnsafeMutableBytes {
                    writer.seal($0, page: read.page, commit: read.commit)
                }
                #expect(again == frame)
                if read.commit > 0 { commits += 1 }
                offset += reader.frameLength
            }
            #expect(commits >= 2)
            #expect(reader == writer)
        }
    }

    @Test("A header is read back as it was written, and no other")
    func header() {
        let log = WriteAheadLog(pageSize: 8192, salt: (7, 9))
        var header = log.header
        #expect(header.withUnsafeBytes { WriteAheadLog(header: $0) } == log)
        for index in header.indices where !(12..<16).contains(index) {
            header[index] ^= 4
            #expect(header.withUnsafeBytes { WriteAheadLog(header: $0) } == nil, "\(index)")
            header[index] ^= 4
        }
    }
}
