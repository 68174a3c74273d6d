// A copied database that lies in several files: a whole copy, and logs of what changed since. It is
// checked as it lies, or put together.

internal import GRDBSQLite
internal import Glibc

/// An image: what SQLite would see if the logs stood beside the base as one `-wal` file. Opening it
/// reads all logs and checks their chain. Used by one thread at a time.
public final class DatabaseImage {
    /// Bytes of a page.
    public let pageSize: Int
    /// Pages.
    public private(set) var pageCount: UInt32
    private let basePath: String
    private let base: Descriptor
    private var logs: [Descriptor] = []
    /// Where the latest form of a page is that is not in the base: the index of its log in the
    /// highest 16 bits, and its offset there.
    private var places: [UInt32: UInt64] = [:]
    /// The logs' chain at its end.
    private var chain: WriteAheadLog?

    /// Opens an image.
    ///
    /// - Parameters:
    ///   - base: the whole copy.
    ///   - logs: what changed since, in their order; the first one has the header.
    public init(base: String, logs: [String]) throws(StorageError) {
        basePath = base
        let file = try Descriptor(base)
        self.base = file
        var head = [UInt8](repeating: 0, count: 100)
        let isRead = head.withUnsafeMutableBytes { file.read($0, at: 0) }
        let stated = Int(head[16]) << 8 | Int(head[17])
        pageSize = stated == 1 ? 65_536 : stated
        guard isRead, head.starts(with: Array("SQLite format 3\0".utf8)),
            WriteAheadLog.isPageSize(pageSize), file.size % Int64(pageSize) == 0,
            let count = UInt32(exactly: file.size / Int64(pageSize)),
            (1...Self.mostPages).contains(count)
        else { throw Self.damaged(base, "this is no whole SQLite database") }
        pageCount = count
        for log in logs { try add(log) }
    }

    /// SQLite's limit (sqlite.org/limits.html).
    private static let mostPages: UInt32 = 4_294_967_294

    private static func damaged(_ path: String, _ message: String) -> StorageError {
        StorageError(
            code: .corrupt, operation: "reading a copied database", subject: path, message: message)
    }

    /// Follows a log's chain to its end.
    private func add(_ path: String) throws(StorageError) {
        let log = try Descriptor(path)
        var offset: Int64 = 0
        var chain: WriteAheadLog
        if let before = self.chain {
            chain = before
        } else {
            var header = [UInt8](repeating: 0, count: WriteAheadLog.headerLength)
            let isRead = header.withUnsafeMutableBytes { log.read($0, at: 0) }
            guard isRead, let first = header.withUnsafeBytes({ WriteAheadLog(header: $0) }),
                first.pageSize == pageSize
            else { throw Self.damaged(path, "this is no log of that database") }
            chain = first
            offset = Int64(WriteAheadLog.headerLength)
        }
        logs.append(log)
        let frame = UnsafeMutableRawBufferPointer.allocate(
            byteCount: chain.frameLength, alignment: 8)
        defer { frame.deallocate() }
        guard log.size < 1 << 47, logs.count < 1 << 15 else {
            throw Self.damaged(path, "it is too large")
        }
        var commit: UInt32 = 0
        var highest: UInt32 = pageCount
        while offset < log.size {
            guard log.read(frame, at: offset), let next = chain.open(UnsafeRawBufferPointer(frame))
            else {
                throw Self.damaged(path, "it is damaged at byte \(offset), or not the next one")
            }
            let start = UInt64(clamping: offset) + UInt64(WriteAheadLog.frameHeaderLength)
            places[next.page] = UInt64(clamping: logs.count - 1) << 48 | start
            commit = next.commit
            highest = max(highest, next.page)
            offset += Int64(chain.frameLength)
        }
        guard commit > 0, commit <= Self.mostPages else {
            throw Self.damaged(path, "its end is missing")
        }
        // SQLite would not look for what is beyond, nor find it when the database grows again.
        if commit < highest { for key in places.keys where key > commit { places[key] = nil } }
        pageCount = commit
        self.chain = chain
    }

    /// Reads one page; zeros where there is none (SQLite's lock page).
    private func page(_ number: UInt32, into buffer: UnsafeMutableRawBufferPointer) -> Bool {
        if let place = places[number] {
            return logs[Int(place >> 48)].read(buffer, at: Int64(place & 0xFFFF_FFFF_FFFF))
        }
        let offset = Int64(number - 1) * Int64(pageSize)
        guard offset < base.size else {
            buffer.initializeMemory(as: UInt8.self, repeating: 0)
            return true
        }
        return base.read(buffer, at: offset)
    }

    // MARK: Putting together

    /// Writes the database as one file, which must not exist, and syncs it. It is as SQLite would
    /// leave it after a checkpoint.
    ///
    /// - Parameter isWanted: asked often; false ends it.
    public func assemble(
        to path: String, mode: UInt32 = 0o600, isWanted: () -> Bool = { true }
    ) throws(StorageError) {
        let file = Glibc.open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode)
        guard file >= 0 else { throw Self.failure(path, "make") }
        defer { close(file) }
        let perPiece = max(1, 262_144 / pageSize)
        let piece = UnsafeMutableRawBufferPointer.allocate(
            byteCount: perPiece * pageSize, alignment: 8)
        defer { piece.deallocate() }
        var number: UInt32 = 1
        while number <= pageCount {
            guard isWanted() else {
                throw StorageError(
                    code: .interrupted, operation: "restoring the database", subject: path,
                    message: "it was ended")
            }
            let count = min(perPiece, Int(pageCount - number) + 1)
            for index in 0..<count {
                let page = UnsafeMutableRawBufferPointer(
                    rebasing: piece[(index * pageSize)..<((index + 1) * pageSize)])
                guard self.page(number + UInt32(index), into: page) else {
                    throw Self.damaged(basePath, "page \(number) cannot be read")
                }
            }
            var done = 0
            while done < count * pageSize {
                let more = Glibc.write(
                    file, piece.baseAddress.map { $0 + done }, count * pageSize - done)
                if more < 0, errno == EINTR { continue }
                guard more >= 0 else { throw Self.failure(path, "write") }
                done += more
            }
            number += UInt32(count)
        }
        guard fsync(file) == 0 else { throw Self.failure(path, "write") }
    }

    private static func failure(_ path: String, _ verb: String) -> StorageError {
        let code = errno
        let kind: StorageError.Code =
            switch code {
            case ENOSPC, EDQUOT, EFBIG: .diskFull
            case EROFS: .readOnly
            case EACCES, EPERM, ENOENT, EEXIST: .cannotOpen
            default: .inputOutput
            }
        return StorageError(
            code: kind, operation: "restoring the database", subject: path,
            message: "cannot \(verb): \(String(cString: strerror(code)))")
    }

    // MARK: Checking

    /// What SQLite finds wrong, at most a hundred lines; nil when it was ended before the end.
    ///
    /// - Parameters:
    ///   - isFull: `integrity_check` and `foreign_key_check` in place of `quick_check`.
    ///   - isWanted: asked often; false ends it.
    public func check(
        isFull: Bool, isWanted: () -> Bool = { true }
    ) throws(StorageError) -> [String]? {
        let connection = try PageFileSystem.open(ImageFile(self), flags: SQLITE_OPEN_READONLY)
        defer { sqlite3_close(connection) }
        sqlite3_exec(connection, "PRAGMA temp_store = MEMORY", nil, nil, nil)
        var faults: [String] = []
        let statements =
            isFull
            ? ["PRAGMA integrity_check(100)", "PRAGMA foreign_key_check"]
            : ["PRAGMA quick_check(100)"]
        for sql in statements {
            let code = rows(connection, sql, isWanted) { row in
                if row != ["ok"], faults.count < 100 { faults.append(row.joined(separator: " ")) }
            }
            switch code {
            case SQLITE_DONE: break
            case SQLITE_INTERRUPT: return nil
            default: faults.append(String(cString: sqlite3_errmsg(connection)))
            }
        }
        return faults
    }

    /// The rows of every table; nil for what cannot be counted.
    public func rowCounts() throws(StorageError) -> [String: Int64]? {
        let connection = try PageFileSystem.open(ImageFile(self), flags: SQLITE_OPEN_READONLY)
        defer { sqlite3_close(connection) }
        var tables: [String] = []
        let listed = rows(
            connection,
            """
            SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%'
                ESCAPE '\\' AND sql NOT LIKE 'CREATE VIRTUAL%'
            """, { true }
        ) { row in tables += row.prefix(1) }
        guard listed == SQLITE_DONE else { return nil }
        var counts: [String: Int64] = [:]
        for table in tables {
            let name = table.split(separator: "\"", omittingEmptySubsequences: false)
                .joined(separator: "\"\"")
            let code = rows(connection, "SELECT count(*) FROM \"\(name)\"", { true }) { row in
                counts[table] = row.first.flatMap { Int64($0) }
            }
            guard code == SQLITE_DONE else { return nil }
        }
        return counts
    }

    private func rows(
        _ connection: OpaquePointer, _ sql: String, _ isWanted: () -> Bool,
        _ body: ([String]) -> Void
    ) -> Int32 {
        withoutActuallyEscaping(isWanted) { isWanted in
            var question = Question(isWanted: isWanted)
            return withUnsafeMutablePointer(to: &question) { question in
                sqlite3_progress_handler(connection, 2000, askQuestion, question)
                defer { sqlite3_progress_handler(connection, 0, nil, nil) }
                var statement: OpaquePointer?
                var code = sqlite3_prepare_v2(connection, sql, -1, &statement, nil)
                defer { sqlite3_finalize(statement) }
                guard code == SQLITE_OK else { return code }
                code = sqlite3_step(statement)
                while code == SQLITE_ROW {
                    body(
                        (0..<sqlite3_column_count(statement)).map { index in
                            sqlite3_column_text(statement, index).map { String(cString: $0) } ?? ""
                        })
                    code = sqlite3_step(statement)
                }
                return code
            }
        }
    }

    /// The image as SQLite reads it. The header says that there is no log, for there is none that
    /// SQLite would have to look into.
    private final class ImageFile: PageFile {
        private let image: DatabaseImage
        private let buffer: UnsafeMutableRawBufferPointer

        init(_ image: DatabaseImage) {
            self.image = image
            buffer = .allocate(byteCount: image.pageSize, alignment: 8)
        }

        deinit { buffer.deallocate() }

        var size: Int64 { Int64(image.pageCount) * Int64(image.pageSize) }

        func read(_ output: UnsafeMutableRawBufferPointer, at offset: Int64) -> Int32 {
            let pageSize = Int64(image.pageSize)
            let end = min(size, offset + Int64(output.count))
            var position = offset
            while position < end {
                let number = UInt32(position / pageSize) + 1
                guard image.page(number, into: buffer) else { return SQLITE_IOERR }
                if number == 1 {
                    buffer[18] = 1
                    buffer[19] = 1
                }
                let start = Int(position % pageSize)
                let count = min(Int(end - position), image.pageSize - start)
                let target = Int(position - offset)
                UnsafeMutableRawBufferPointer(rebasing: output[target..<(target + count)])
                    .copyMemory(
                        from: UnsafeRawBufferPointer(rebasing: buffer[start..<(start + count)]))
                position += Int64(count)
            }
            return SQLITE_OK
        }

        func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) -> Int32 { SQLITE_READONLY }
        func truncate(to size: Int64) -> Int32 { SQLITE_READONLY }
    }

    /// An open file.
    private final class Descriptor {
        private let number: Int32
        let size: Int64

        init(_ path: String) throws(StorageError) {
            number = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
            guard number >= 0 else { throw DatabaseImage.failure(path, "read") }
            var status = stat()
            guard fstat(number, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
                close(number)
                throw DatabaseImage.damaged(path, "this is no file")
            }
            size = Int64(status.st_size)
        }

        deinit { close(number) }

        /// Whether all of the buffer could be filled.
        func read(_ buffer: UnsafeMutableRawBufferPointer, at offset: Int64) -> Bool {
            var done = 0
            while done < buffer.count {
                let more = pread(
                    number, buffer.baseAddress.map { $0 + done }, buffer.count - done,
                    off_t(offset) + off_t(done))
                if more < 0, errno == EINTR { continue }
                guard more > 0 else { return false }
                done += more
            }
            return true
        }
    }
}
