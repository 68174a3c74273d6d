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

    deinit {
        for suffix in ["", "-wal", "-shm"] { unlink(database + suffix) }
        rmdir(path)
    }
}
