// Failures in the terms of whoever has to act on them.

import Glibc
import Prometheus
import Storage
import Testing

@Suite struct StorageErrorTests {
    @Test("A directory that does not exist cannot be opened")
    func missingDirectory() throws {
        let error = try storageError {
            _ = try Database(
                file: "/nonexistent/kinglet/test.db", steps: [], durability: .full,
                registry: Registry())
        }
        #expect(error.code == .cannotOpen)
        #expect(error.subject == "/nonexistent/kinglet/test.db")
        #expect(error.description.contains("directory"))
    }

    @Test("A file that is no database is corrupt, and stays as it is")
    func corruptFile() throws {
        let directory = try TemporaryDirectory()
        let junk = [UInt8](repeating: 0x6B, count: 8192)
        let file = try #require(fopen(directory.database, "w"))
        #expect(fwrite(junk, 1, junk.count, file) == junk.count)
        fclose(file)
        let error = try storageError {
            _ = try Database(
                file: directory.database, steps: [itemsStep], durability: .full,
                registry: Registry())
        }
        #expect(error.code == .corrupt)
        #expect(error.advice.contains("backup"))
        var status = stat()
        #expect(stat(directory.database, &status) == 0)
        #expect(status.st_size == off_t(junk.count))
    }

    @Test("A violated constraint is told apart from a wrong statement")
    func statementErrors() throws {
        try withDatabase { database in
            try database.writeNow { try insert($0, "a") }
            let constraint = try storageError { try database.writeNow { try insert($0, "a") } }
            #expect(constraint.code == .constraint)
            #expect(constraint.operation == "INSERT INTO items")
            let missing = try storageError {
                try database.readNow { try $0.rows("SELECT 1 FROM nothing") { _ in } }
            }
            #expect(missing.code == .other)
            #expect(missing.message.contains("nothing"))
        }
    }

    @Test("A reader cannot write")
    func readerCannotWrite() throws {
        try withDatabase { database in
            let error = try storageError { try database.readNow { try insert($0, "x") } }
            #expect(error.code == .readOnly)
            #expect(try database.names().isEmpty)
        }
    }

    @Test("Every code has advice", arguments: StorageError.Code.allCases)
    func advice(code: StorageError.Code) {
        let error = StorageError(code: code, operation: "o", subject: "s", message: "m")
        #expect(!error.advice.isEmpty)
        #expect(error.description == "o (s): m; \(error.advice)")
    }
}
