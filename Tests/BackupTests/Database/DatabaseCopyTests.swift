// What a copy holds, and what it costs the target.

import Foundation
import Storage
import Synchronization
import TLS
import Testing

@testable import Backup

@Suite("Copies of the database")
struct DatabaseCopyTests {
    @Test(
        "The first copy is a base that stock SQLite opens",
        arguments: [nil, 512, 1024, 8192, 65_536] as [Int?])
    func base(pageSize: Int?) throws {
        let fixture = try CopyFixture(pageSize: pageSize)
        try fixture.insert(500)
        let copy = try fixture.copy()
        #expect(copy.record.changes.isEmpty)
        #expect(copy.new.map(\.path.description) == [copy.record.base.path])
        #expect(copy.record.pageSize == pageSize ?? 4096)
        #expect(copy.record.rows["messages"] == 500)
        #expect(copy.record.rows["pairs"] == 0)
        #expect(copy.record.lastMessage == 500)
        #expect(copy.record.isChecked == true)
        #expect(copy.new.first?.md5 != nil)
        let path = try fixture.byHand()
        #expect(
            try CopyFixture.sqlite(
                path, "PRAGMA integrity_check;", "SELECT count(*) FROM messages;") == "ok\n500\n")
        #expect(try CopyFixture.pages(fixture.assembled()) == fixture.livePages())
        try fixture.close()
    }

    @Test("A base and its logs are the live database, by our own reading and by cp and cat")
    func chain() throws {
        var random = SystemRandomNumberGenerator()
        for pageSize in [nil, 1024] as [Int?] {
            let fixture = try CopyFixture(pageSize: pageSize)
            try fixture.insert(3000)
            for round in 0..<12 {
                switch Int.random(in: 0..<5, using: &random) {
                case 0: try fixture.insert(300, bytes: 2000)
                case 1: try fixture.execute("DELETE FROM messages WHERE id % 7 = 3")
                case 2: try fixture.execute("UPDATE messages SET stanza = x'00' WHERE id % 50 = 1")
                case 3:
                    // The file gets smaller, and then may grow again.
                    try fixture.execute("DELETE FROM messages WHERE id % 3 = 0")
                    _ = try CopyFixture.sqlite(fixture.file, "VACUUM;")
                default: try fixture.insert(1)
                }
                let copy = try fixture.copy()
                #expect(copy.new.count <= 1)
                #expect(copy.kept.count + copy.new.count == copy.record.changes.count + 1)
                #expect(try CopyFixture.pages(fixture.assembled()) == fixture.livePages())
                #expect(
                    try CopyFixture.sqlite(fixture.byHand(), ".dump")
                        == CopyFixture.sqlite(fixture.file, ".dump"), "round \(round)")
                let record = try #require(fixture.previous)
                for full in [false, true] {
                    #expect(
                        try DatabaseParts.check(record, in: fixture.store, full: full) == [])
                }
            }
            try fixture.close()
        }
    }

    @Test("A small change costs the target no more than 1.3 times the pages that changed")
    func smallChange() throws {
        let fixture = try CopyFixture()
        try fixture.insert(20_000)
        _ = try fixture.copy()
        let before = try fixture.livePages()
        try fixture.execute("UPDATE messages SET stanza = x'01' WHERE id BETWEEN 5000 AND 5200")
        let copy = try fixture.copy()
        let after = try fixture.livePages()
        #expect(before.count == after.count)
        let changed = stride(from: 0, to: before.count, by: 4096).filter {
            before[$0..<($0 + 4096)] != after[$0..<($0 + 4096)]
        }
        let size = copy.new.reduce(0) { $0 + Int($1.size) }
        #expect(copy.record.changes.count == 1)
        #expect(size <= changed.count * 4096 * 13 / 10)
        try fixture.close()
    }

    @Test("A new base is made when the logs have grown to half of it")
    func newBase() throws {
        let fixture = try CopyFixture()
        try fixture.insert(3000)
        let first = try fixture.copy().record.base
        var rounds = 0
        while try fixture.copy().record.base == first {
            rounds += 1
            try #require(rounds < 20)
            try fixture.execute("UPDATE messages SET stanza = randomblob(299) WHERE id % 3 = 0")
        }
        #expect(fixture.previous?.changes == [])
        #expect(try CopyFixture.pages(fixture.assembled()) == fixture.livePages())
        try fixture.close()
    }

    @Test("A new base is made after 64 logs")
    func manyLogs() throws {
        let fixture = try CopyFixture()
        // Large enough that so many small logs are less than half of it.
        try fixture.insert(1_000, bytes: 3000)
        _ = try fixture.copy()
        for number in 1...64 {
            try fixture.execute("UPDATE messages SET stanza = randomblob(3000) WHERE id = 17")
            #expect(try fixture.copy().record.changes.count == number)
        }
        #expect(try CopyFixture.pages(fixture.assembled()) == fixture.livePages())
        try fixture.insert(1)
        #expect(try fixture.copy().record.changes.isEmpty)
        try fixture.close()
    }
}

@Suite("Unchanged databases")
struct UnchangedDatabaseTests {
    @Test("What did not change is not read again, in the same process and after a restart")
    func skip() throws {
        let fixture = try CopyFixture()
        try fixture.insert(2000)
        let first = try fixture.copy()
        for _ in 0..<2 {
            let again = try fixture.copy()
            #expect(again.unchanged)
            #expect(again.record == first.record)
            #expect(!again.wasRead)
            try fixture.restart()
        }
        try fixture.insert(1)
        #expect(try !fixture.copy().unchanged)
        try fixture.close()
    }

    @Test("A commit is seen, in the log or in the file, and after a restart")
    func seen() throws {
        let fixture = try CopyFixture()
        try fixture.insert(100)
        for how in 0..<4 {
            _ = try fixture.copy()
            // As many pages and rows as before.
            try fixture.execute("UPDATE messages SET stanza = randomblob(300) WHERE id = 50")
            switch how {
            case 1: try fixture.restart()
            case 2: _ = try CopyFixture.sqlite(fixture.file, "PRAGMA wal_checkpoint(TRUNCATE);")
            case 3: _ = try fixture.livePages()
            default: break
            }
            let copy = try fixture.copy()
            #expect(!copy.unchanged && copy.new.count == 1, "\(how)")
            #expect(try CopyFixture.pages(fixture.assembled()) == fixture.livePages())
        }
        try fixture.close()
    }

    @Test("A copy whose last commits were in the log alone is known again after a restart")
    func inTheLog() throws {
        let fixture = try CopyFixture()
        try fixture.insert(100)
        _ = try CopyFixture.sqlite(fixture.file, "PRAGMA wal_checkpoint(TRUNCATE);")
        try fixture.insert(1)
        // The file was last written long ago.
        try FileManager.default.setAttributes(
            [.modificationDate: Date(timeIntervalSince1970: 1_000_000_000)],
            ofItemAtPath: fixture.file)
        _ = try fixture.copy()
        try fixture.restart()
        #expect(try !fixture.copy().wasRead)
        try fixture.close()
    }

    @Test("Without what was seen, an unchanged database is read and gives no new part")
    func reread() throws {
        let fixture = try CopyFixture()
        try fixture.insert(2000)
        let first = try fixture.copy()
        try Files.remove(fixture.memory + "/seen-kinglet.db.json")
        let again = try fixture.copy()
        #expect(again.unchanged)
        #expect(again.new.isEmpty)
        #expect(again.wasRead)
        #expect(again.record == first.record)
        #expect(try !fixture.copy().wasRead)
        try fixture.close()
    }
}

@Suite("Runs that do not end well")
struct AbandonedCopyTests {
    @Test("A copy that was abandoned changes nothing for the next one")
    func abandoned() throws {
        let fixture = try CopyFixture()
        try fixture.insert(3000)
        _ = try fixture.copy()
        for _ in 0..<3 {
            try fixture.insert(20)
            _ = try fixture.copy(publish: false)
        }
        let copy = try fixture.copy()
        #expect(copy.record.changes.count == 1)
        #expect(try CopyFixture.pages(fixture.assembled()) == fixture.livePages())
        try fixture.close()
    }

    @Test("A snapshot that was published before the run died is gone on from")
    func notRemembered() throws {
        let fixture = try CopyFixture()
        try fixture.insert(3000)
        _ = try fixture.copy()
        try fixture.insert(20)
        _ = try fixture.copy(remember: false)
        for _ in 0..<2 {
            try fixture.insert(20)
            _ = try fixture.copy(publish: false)
        }
        let copy = try fixture.copy()
        #expect(copy.record.changes.count == 2)
        #expect(try CopyFixture.pages(fixture.assembled()) == fixture.livePages())
        try fixture.close()
    }

    @Test("A memory that is damaged, cut or another snapshot's leads to a new base")
    func memory() throws {
        let fixture = try CopyFixture()
        try fixture.insert(3000)
        let path = fixture.memory + "/pages-kinglet.db"
        for damage in 0..<4 {
            let base = try fixture.copy().record
            var bytes = Array(try Data(contentsOf: URL(fileURLWithPath: path)))
            switch damage {
            case 0: bytes[5000] ^= 1
            case 1: bytes[100] ^= 1
            case 2: bytes.removeLast(16)
            default: fixture.previous?.base.sha256 = String(repeating: "0", count: 64)
            }
            try Data(bytes).write(to: URL(fileURLWithPath: path))
            try fixture.insert(1)
            let copy = try fixture.copy()
            #expect(copy.record.changes.isEmpty && copy.record.base != base.base, "\(damage)")
            #expect(try CopyFixture.pages(fixture.assembled()) == fixture.livePages())
        }
        try fixture.close()
    }

    @Test("A copy that is cancelled leaves no file, and the next one works")
    func cancelled() throws {
        let fixture = try CopyFixture()
        try fixture.insert(5000)
        let cancellation = Cancellation()
        let error = #expect(throws: BackupError.self) {
            try fixture.copy(cancellation: cancellation) { _ in cancellation.cancel("enough") }
        }
        #expect(error?.code == .cancelled)
        let left = try Files.names(in: fixture.folder + "/partial/database/kinglet.db")
        #expect(left.isEmpty)
        try fixture.insert(1)
        #expect(try fixture.copy().record.rows["messages"] == 5001)
        try fixture.close()
    }

    @Test("A check that does not end is told, and the rows are counted all the same")
    func unfinishedCheck() throws {
        let fixture = try CopyFixture()
        try fixture.insert(2000)
        let copy = try fixture.copy(publish: false)
        #expect(copy.unfinished == nil && copy.record.schema == ["mail": 1])
        let hasty = try fixture.copy(prepare: { $0.checkTime = .zero })
        #expect(hasty.record.isChecked == nil)
        #expect(hasty.unfinished?.contains("check of what was copied did not end") == true)
        #expect(hasty.unfinished?.contains("longer than") == true)
        try fixture.insert(10)
        let long = try fixture.copy(prepare: { $0.mostLogBytes = 0 })
        #expect(long.record.isChecked == nil)
        #expect(long.unfinished?.contains("log had grown") == true)
        try fixture.close()
    }

    @Test("What the pace of a run takes is not counted against its check")
    func restsDoNotCount() throws {
        let fixture = try CopyFixture()
        try fixture.execute(
            """
            WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
            INSERT INTO pairs (a, b) SELECT i, i FROM n
            """)
        let stanzas = Mutex(0)
        func busy() -> Cancellation {
            // So many that it is busy, however often it asks.
            let pace = Pace {
                stanzas.withLock { count in
                    count += 1_000_000
                    return count
                }
            }
            return Cancellation(timeLimit: nil, pace: pace)
        }
        // It rests three times as long as it works, at the least. A machine that is busy itself
        // may need other attempts.
        var isChecked: Bool?
        for _ in 0..<6 where isChecked == nil {
            let began = ContinuousClock.now
            _ = try fixture.copy(publish: false)
            let time = (ContinuousClock.now - began) * 2
            let copy = try fixture.copy(
                publish: false, cancellation: busy(), prepare: { $0.checkTime = time })
            isChecked = copy.record.isChecked
        }
        #expect(isChecked == true)
        try fixture.close()
    }

    @Test("A database that is closed during a copy closes cleanly")
    func closed() throws {
        let fixture = try CopyFixture()
        try fixture.insert(5000)
        let database = fixture.database
        var closing: (any Error)?
        let error = #expect(throws: BackupError.self) {
            try fixture.copy { _ in
                do { try database.close() } catch { closing = error }
            }
        }
        #expect(error?.code == .cancelled)
        #expect(closing == nil)
        fixture.database = try CopyFixture.open(fixture.file)
        #expect(try fixture.copy().record.rows["messages"] == 5000)
        try fixture.close()
    }

    @Test("One flipped bit in any part is found before anything is put together")
    func flippedBits() throws {
        let fixture = try CopyFixture()
        try fixture.insert(3000)
        for _ in 0..<3 {
            _ = try fixture.copy()
            try fixture.execute("UPDATE messages SET stanza = randomblob(250) WHERE id % 90 = 1")
        }
        let record = try #require(fixture.previous)
        #expect(record.changes.count == 2)
        for part in record.changes {
            let path = "\(fixture.store)/\(part.path)"
            let good = try Data(contentsOf: URL(fileURLWithPath: path))
            for position in [0, 20, 40, 5000, good.count - 1] {
                var bad = good
                bad[position] ^= 0x10
                try bad.write(to: URL(fileURLWithPath: path))
                let error = #expect(throws: BackupError.self) { try fixture.assembled() }
                #expect(error?.code == .damaged)
            }
            try good.dropLast(4120).write(to: URL(fileURLWithPath: path))
            #expect(throws: BackupError.self) { try fixture.assembled() }
            try good.write(to: URL(fileURLWithPath: path))
        }
        // The base has no checksums of its own: its digest tells, and SQLite what it can see.
        let path = "\(fixture.store)/\(record.base.path)"
        var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
        #expect(
            ContentHash(DigestAlgorithm.sha256.hash(Array(bytes)))?.description
                == record.base.sha256)
        bytes.replaceSubrange(40_960..<49_152, with: Data(repeating: 0x55, count: 8192))
        try bytes.write(to: URL(fileURLWithPath: path))
        #expect(try !DatabaseParts.check(record, in: fixture.store, full: true).isEmpty)
        try fixture.close()
    }
}
