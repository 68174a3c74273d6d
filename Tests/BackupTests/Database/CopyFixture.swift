// A database that is copied again and again into one store, as a target would hold it.

import Foundation
import Programs
import Prometheus
import Storage
import Testing

@testable import Backup

/// A database, a target's memory, and all parts that were ever published.
final class CopyFixture {
    static let step = SchemaStep(
        "mail", 1,
        """
        CREATE TABLE messages (id INTEGER PRIMARY KEY, stanza BLOB NOT NULL);
        CREATE TABLE pairs (id INTEGER PRIMARY KEY, a INTEGER NOT NULL, b INTEGER NOT NULL);
        CREATE INDEX pairs_by_a ON pairs (a);
        """)

    let folder: String
    var file: String { folder + "/kinglet.db" }
    var memory: String { folder + "/memory" }
    var store: String { folder + "/store" }
    var database: Storage.Database
    var previous: Manifest.Database?
    private var restores = 0

    init(pageSize: Int? = nil, durability: Durability = .relaxed) throws {
        folder = FileManager.default.temporaryDirectory.path + "/copy-\(UUID().uuidString)"
        try Files.makeFolder(folder + "/memory")
        try Files.makeFolder(folder + "/store")
        if let pageSize {
            _ = try Self.sqlite(
                folder + "/kinglet.db", "PRAGMA page_size = \(pageSize); VACUUM;")
        }
        database = try Self.open(folder + "/kinglet.db", durability)
    }

    static func open(_ file: String, _ durability: Durability = .relaxed) throws -> Storage.Database
    {
        try Storage.Database(
            file: file, steps: [step], durability: durability, registry: Registry())
    }

    func restart() throws {
        try database.close()
        database = try Self.open(file)
    }

    func close() throws {
        try database.close()
        try Files.remove(folder)
    }

    /// Copies into a folder of its own, and publishes unless told otherwise.
    func copy(
        publish: Bool = true, remember: Bool = true, into place: String? = nil,
        cancellation: Cancellation = Cancellation(), progress: (Backup.Progress) -> Void = { _ in },
        space: ((String) -> FileSystemSpace?)? = nil,
        prepare: (inout DatabaseCopier) -> Void = { _ in }
    ) throws -> DatabaseCopy {
        let place = place ?? "\(folder)/partial"
        try Files.remove("\(folder)/partial")
        var copier = DatabaseCopier(database: database)
        if let space { copier.space = space }
        prepare(&copier)
        let copy = try copier.copy(
            previous: previous, memory: memory, into: place, md5: true,
            cancellation: cancellation, progress: progress)
        guard publish else { return copy }
        for entry in copy.new {
            let target = "\(store)/\(entry.path)"
            try Files.makeFolder(Files.parent(of: target))
            try #require(rename("\(place)/\(entry.path)", target) == 0)
        }
        previous = copy.record
        if remember { try copy.commit() }
        return copy
    }

    func insert(_ count: Int, bytes: Int = 300) throws {
        try database.writeNow { connection in
            for _ in 0..<count {
                try connection.execute(
                    "INSERT INTO messages (stanza) VALUES (randomblob(?))", .integer(Int64(bytes)))
            }
        }
    }

    func execute(_ sql: String) throws {
        try database.writeNow { try $0.execute(sql) }
    }

    /// The published image as one file.
    func assembled() throws -> String {
        restores += 1
        let path = "\(folder)/restored-\(restores).db"
        try DatabaseParts.assemble(try #require(previous), in: store, to: path)
        return path
    }

    /// The same by hand, as the recovery plan says.
    func byHand() throws -> String {
        restores += 1
        let path = "\(folder)/by-hand-\(restores).db"
        let record = try #require(previous)
        try FileManager.default.copyItem(atPath: "\(store)/\(record.base.path)", toPath: path)
        var log = Data()
        for part in record.changes {
            log += try Data(contentsOf: URL(fileURLWithPath: "\(store)/\(part.path)"))
        }
        if !log.isEmpty { try log.write(to: URL(fileURLWithPath: path + "-wal")) }
        return path
    }

    /// The pages, but for the counters that SQLite sets itself when it writes.
    static func pages(_ path: String) throws -> [UInt8] {
        var bytes = Array(try Data(contentsOf: URL(fileURLWithPath: path)))
        for index in Array(24..<28) + Array(92..<100) where index < bytes.count { bytes[index] = 0 }
        return bytes
    }

    /// The live database's pages; everything is brought into its file first. Another process
    /// copies it: to close the file in this one would end SQLite's locks on it.
    func livePages() throws -> [UInt8] {
        _ = try Self.sqlite(file, "PRAGMA wal_checkpoint(PASSIVE);")
        let copy = "\(folder)/live"
        let program = try #require(Program.find("cp"))
        try #require(Program(program, [file, copy]).run(output: { _ in }) == .exited(0))
        return try Self.pages(copy)
    }

    /// What the stock program says.
    static func sqlite(_ path: String, _ commands: String...) throws -> String {
        let program = try #require(Program.find("sqlite3"), "the Debian package sqlite3 is missing")
        var output: [UInt8] = []
        let end = try Program(program, [path] + commands).run(output: { output += $0 })
        try #require(end == .exited(0))
        return String(decoding: output, as: UTF8.self)
    }
}
