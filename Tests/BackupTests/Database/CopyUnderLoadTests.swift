// Copies while the database is written as fast as it takes.

import Foundation
import Glibc
import Storage
import Synchronization
import Testing

@testable import Backup

/// Writes transactions without pause until it is stopped. Each adds a pair of rows that belong
/// together, and changes an old pair, whose pages are mostly copied already.
private final class Hammer: Sendable {
    private let state = Mutex((isStopped: false, acknowledged: 0))
    private let database: Storage.Database
    private let ended = DispatchSemaphore(value: 0)

    init(_ database: Storage.Database) {
        self.database = database
        Thread.detachNewThread { self.run() }
    }

    var acknowledged: Int { state.withLock { $0.acknowledged } }

    func stop() {
        state.withLock { $0.isStopped = true }
        ended.wait()
    }

    private func run() {
        var number: Int64 = 0
        while !state.withLock({ $0.isStopped }) {
            number += 1
            let value = number
            do {
                try database.writeNow { connection in
                    for _ in 0..<2 {
                        try connection.execute(
                            "INSERT INTO pairs (a, b) VALUES (?, ?)", .integer(value),
                            .integer(value))
                    }
                    try connection.execute(
                        "UPDATE messages SET stanza = randomblob(200) WHERE id = ?",
                        .integer(value * 7919 % 3000 + 1))
                }
            } catch {
                Issue.record("the writer failed: \(error)")
                break
            }
            state.withLock { $0.acknowledged = Int(value) }
        }
        ended.signal()
    }
}

@Suite("Copies under load", .serialized)
struct CopyUnderLoadTests {
    @Test("A copy holds all that was committed before a moment near its end, and nothing in part")
    func prefix() throws {
        let fixture = try CopyFixture()
        try fixture.insert(3000)
        _ = try fixture.copy()
        let hammer = Hammer(fixture.database)
        while hammer.acknowledged == 0 { sched_yield() }
        for round in 0..<20 {
            let before = hammer.acknowledged
            _ = try fixture.copy()
            let after = hammer.acknowledged
            let path = try fixture.assembled()
            let answer = try CopyFixture.sqlite(
                path,
                """
                SELECT max(a), count(*), count(DISTINCT a), sum(a) FROM pairs;
                SELECT count(*) FROM pairs p WHERE (SELECT count(*) FROM pairs WHERE a = p.a) <> 2;
                PRAGMA integrity_check;
                """)
            let lines = answer.split(separator: "\n")
            let numbers = try #require(lines.first).split(separator: "|").compactMap { Int($0) }
            try #require(numbers.count == 4, "round \(round): \(answer)")
            let last = numbers[0]
            #expect(last >= before && last <= after + 1, "round \(round)")
            #expect(numbers[1] == 2 * last && numbers[2] == last)
            #expect(numbers[3] == last * (last + 1))
            #expect(lines.dropFirst() == ["0", "ok"])
            let record = try #require(fixture.previous)
            #expect(record.rows["pairs"] == Int64(2 * last))
            #expect(record.isChecked == true)
            try Files.remove(path)
        }
        hammer.stop()
        _ = try fixture.copy()
        #expect(try CopyFixture.pages(fixture.assembled()) == fixture.livePages())
        try fixture.close()
    }

    @Test("The log stays short during a slow copy under load")
    func shortLog() throws {
        let fixture = try CopyFixture()
        try fixture.insert(3000)
        try fixture.insert(6000, bytes: 3000)
        _ = try CopyFixture.sqlite(fixture.file, "PRAGMA wal_checkpoint(TRUNCATE);")
        let hammer = Hammer(fixture.database)
        var largest: Int64 = 0
        var steps = 0
        let before = hammer.acknowledged
        _ = try fixture.copy { _ in
            steps += 1
            // The hammer goes on for a while between two steps.
            let goal = hammer.acknowledged + 30
            while hammer.acknowledged < goal { sched_yield() }
            var status = stat()
            if lstat(fixture.file + "-wal", &status) == 0 {
                largest = max(largest, Int64(status.st_size))
            }
        }
        hammer.stop()
        #expect(steps > 50)
        #expect(hammer.acknowledged - before > 1500)
        // SQLite's checkpoint comes after 1,000 pages of 4 KB.
        #expect(largest > 100_000 && largest < 6_000_000, "\(largest) bytes")
        #expect(try CopyFixture.pages(fixture.assembled()).count > 20_000_000)
        try fixture.close()
    }

    @Test("A transaction that changes all of it during a copy is copied whole or not at all")
    func largeTransactions() throws {
        let fixture = try CopyFixture()
        try fixture.insert(8000, bytes: 3000)
        var changes = 0
        for round in 0..<3 {
            try fixture.insert(1)
            var steps = 0
            let copy = try fixture.copy { progress in
                steps += 1
                // 24 MB: far more than what may wait in memory.
                guard steps == 40 else { return }
                changes += 1
                #expect(throws: Never.self) {
                    try fixture.execute("UPDATE messages SET stanza = randomblob(2999)")
                }
            }
            #expect(changes == round + 1)
            #expect(copy.record.isChecked == true)
            #expect(try CopyFixture.pages(fixture.assembled()) == fixture.livePages())
        }
        try fixture.close()
    }

    @Test("A rollback of much that was written out already does not get into the copy")
    func rollback() throws {
        struct Refusal: Error {}
        let fixture = try CopyFixture()
        try fixture.insert(8000, bytes: 3000)
        var steps = 0
        _ = try fixture.copy { _ in
            steps += 1
            guard steps == 40 else { return }
            // More than the writer's cache holds, so it is in the log before it is rolled back.
            #expect(throws: StorageError.self) {
                try fixture.database.writeNow { connection in
                    try connection.execute("UPDATE messages SET stanza = x'00' WHERE id < 3000")
                    throw Refusal()
                }
            }
        }
        #expect(steps > 40)
        #expect(try CopyFixture.pages(fixture.assembled()) == fixture.livePages())
        try fixture.close()
    }

    @Test("Another program's commits during a copy are in it, too")
    func otherProgram() throws {
        let fixture = try CopyFixture()
        try fixture.insert(8000, bytes: 3000)
        var steps = 0
        _ = try fixture.copy { _ in
            steps += 1
            if steps == 40 {
                #expect(throws: Never.self) {
                    try CopyFixture.sqlite(
                        fixture.file, "UPDATE messages SET stanza = x'01' WHERE id = 5")
                }
            }
        }
        #expect(
            try CopyFixture.sqlite(
                fixture.assembled(), "SELECT hex(stanza) FROM messages WHERE id = 5") == "01\n")
        #expect(try CopyFixture.pages(fixture.assembled()) == fixture.livePages())
        try fixture.close()
    }
}

@Suite("A full disk", .serialized)
struct FullDiskTests {
    /// Whether this process may mount something.
    static let mayMount: Bool = {
        let folder = FileManager.default.temporaryDirectory.path + "/mount-\(UUID().uuidString)"
        guard mkdir(folder, 0o700) == 0 else { return false }
        defer { rmdir(folder) }
        guard mount("tmpfs", folder, "tmpfs", 0, "size=64k") == 0 else { return false }
        return umount(folder) == 0
    }()

    @Test("A full target is told as such, and the server writes on", .enabled(if: mayMount))
    func full() throws {
        let fixture = try CopyFixture()
        try fixture.insert(3000, bytes: 3000)
        let small = fixture.folder + "/small"
        try Files.makeFolder(small)
        try #require(mount("tmpfs", small, "tmpfs", 0, "size=1m") == 0)
        defer { umount(small) }
        let error = #expect(throws: BackupError.self) { try fixture.copy(into: small) }
        #expect(error?.code == .full)
        #expect(error?.message.contains("mounted at \(small)") == true, "\(error as Any)")
        #expect(try Files.names(in: small + "/database/kinglet.db").isEmpty)
        try fixture.insert(10)
        #expect(try fixture.copy().record.rows["messages"] == 3010)
        #expect(umount(small) == 0)
        try fixture.close()
    }

    @Test("No whole copy is begun where it would not fit in with a fifth and a reserve to spare")
    func baseNeedsRoom() throws {
        let fixture = try CopyFixture()
        try fixture.insert(3000, bytes: 3000)
        let size = try fixture.copy(publish: false).record.base.size
        let place = fixture.folder + "/partial/database/kinglet.db"
        let reserve: Int64 = 64 << 20
        func space(_ free: Int64) -> (String) -> FileSystemSpace? {
            { [folder = fixture.folder] in
                #expect($0 == place, "the folder of the part is asked about")
                return FileSystemSpace(free: free, total: 1 << 40, place: folder)
            }
        }
        var pages = 0
        let error = #expect(throws: BackupError.self) {
            try fixture.copy(
                progress: { _ in pages += 1 }, space: space(size + size / 5 + reserve - 1))
        }
        #expect(error?.code == .full && pages == 0)
        #expect(error?.message.contains("mounted at \(fixture.folder)") == true)
        #expect(try Files.names(in: place).isEmpty)
        let copy = try fixture.copy(space: space(size + size / 5 + reserve))
        #expect(copy.record.base.size == size)
        try fixture.close()
    }

    @Test("A part ends before it takes what others on the disk need, however little fits in")
    func reserveStays() throws {
        let fixture = try CopyFixture()
        try fixture.insert(3000, bytes: 3000)
        // Of a file system of 1 GiB, 1 % stays free. The server takes 1 MiB between two looks.
        let (total, begin) = (Int64(1 << 30), Int64(30 << 20))
        var (free, looks) = (begin, 0)
        func shrinking(_ path: String) -> FileSystemSpace? {
            defer { free -= 1 << 20 }
            looks += 1
            return FileSystemSpace(free: free, total: total, place: "/")
        }
        let base = try fixture.copy(space: shrinking)
        #expect(looks > 4, "of \(base.record.base.size) bytes")

        try fixture.execute("UPDATE messages SET stanza = randomblob(2900)")
        (free, looks) = (total / 100 + (3 << 20), 0)
        let error = #expect(throws: BackupError.self) { try fixture.copy(space: shrinking) }
        #expect(error?.code == .full && (2...5).contains(looks), "\(looks)")
        #expect(try Files.names(in: fixture.folder + "/partial/database/kinglet.db").isEmpty)
        try fixture.insert(10)
        (free, looks) = (total, 0)
        #expect(try fixture.copy(space: shrinking).record.changes.count == 1)
        try fixture.close()
    }
}
