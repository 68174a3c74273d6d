// A place for one test's database.

import Glibc
import Testing

/// A directory that is there as long as this object.
final class TemporaryDirectory: Sendable {
    let path: String

    init() throws {
        var template = Array("/tmp/kinglet-engine-XXXXXX".utf8CString)
        path = try template.withUnsafeMutableBufferPointer { buffer in
            let base = try #require(buffer.baseAddress)
            let created = try #require(mkdtemp(base))
            return String(cString: created)
        }
    }

    var database: String { "\(path)/kinglet.db" }

    /// The database, which nobody has open.
    func read() throws -> [UInt8] {
        let file = try #require(fopen(database, "r"))
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = fread(&piece, 1, piece.count, file)
            guard count > 0 else { return bytes }
            bytes += piece[..<count]
        }
    }

    /// Replaces the database, which nobody has open.
    func write(_ bytes: [UInt8]) throws {
        for suffix in ["", "-wal", "-shm"] { unlink(database + suffix) }
        let file = try #require(fopen(database, "w"))
        let count = fwrite(bytes, 1, bytes.count, file)
        #expect(fclose(file) == 0 && count == bytes.count)
    }

    deinit {
        for suffix in ["", "-wal", "-shm"] { unlink(database + suffix) }
        rmdir(path)
    }
}
