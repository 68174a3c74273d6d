// What tells, without reading it, whether a database is still as it was.

internal import GRDB
internal import GRDBSQLite
internal import Glibc

/// The last commit of a database, as far as its file and the header of the index of its log
/// (sqlite.org/walformat.html section 2) tell.
public struct DatabaseState: Codable, Sendable, Equatable {
    /// The file; the times in nanoseconds since 1970.
    struct File: Codable, Sendable, Equatable {
        var inode: UInt64
        var size: Int64
        var modified: Int64
        var changed: Int64
    }

    var file: File
    /// The number of the last frame, the pages, the checksum of the last frame, and the salts.
    var log: [UInt32]
    /// Everything that was committed is in the file.
    var isWhole: Bool
    /// The file was last written so long before this was taken that a later write has another time.
    var isSettled: Bool

    /// Whether nothing was committed since the other one was taken. In doubt it says no.
    public func isSame(as earlier: DatabaseState) -> Bool {
        guard file.inode == earlier.file.inode else { return false }
        // The number of the last frame: an empty log says nothing of what it held.
        if log == earlier.log, let last = log.first, last > 0 { return true }
        return isWhole && earlier.isWhole && earlier.isSettled && file == earlier.file
    }

    /// A file that was written less than this ago may be written again in the same tick of the
    /// kernel's clock.
    static let settlingTime: Int64 = 100_000_000

    /// Reads the state; nil when it cannot be told. The connection must have read something since
    /// it was opened.
    ///
    /// The index is read where SQLite has mapped it. To open and close it here would end SQLite's
    /// own locks on it (sqlite.org/howtocorrupt.html section 2.2).
    static func read(_ database: GRDB.Database, file path: String) -> DatabaseState? {
        var status = stat()
        var now = timespec()
        guard let index = copyOfIndex(database), lstat(path, &status) == 0,
            clock_gettime(CLOCK_REALTIME, &now) == 0
        else { return nil }
        let header = index.prefix(12)
        // SQLite writes it twice, so that nobody takes one that is half written.
        guard header == index[12..<24], header.first == 3_007_000 else { return nil }
        let last = index[4]
        let file = File(
            inode: UInt64(status.st_ino), size: Int64(status.st_size),
            modified: nanoseconds(status.st_mtim), changed: nanoseconds(status.st_ctim))
        let age = nanoseconds(now) - file.modified
        return DatabaseState(
            file: file, log: Array(index[4..<10]), isWhole: index[24] == last,
            isSettled: age > settlingTime)
    }

    private static func nanoseconds(_ time: timespec) -> Int64 {
        let (seconds, isTooMuch) = Int64(time.tv_sec).multipliedReportingOverflow(by: 1_000_000_000)
        return isTooMuch ? .max : seconds &+ Int64(time.tv_nsec)
    }

    /// Two copies of the header, of 12 words each, and how many frames are in the file.
    private static func copyOfIndex(_ database: GRDB.Database) -> [UInt32]? {
        var file: UnsafeMutablePointer<sqlite3_file>?
        var region: UnsafeMutableRawPointer?
        guard
            sqlite3_file_control(
                database.sqliteConnection, "main", SQLITE_FCNTL_FILE_POINTER, &file) == SQLITE_OK,
            let file, let methods = file.pointee.pMethods, methods.pointee.iVersion >= 2,
            let map = methods.pointee.xShmMap,
            map(file, 0, 32_768, 0, &region) == SQLITE_OK, let region
        else { return nil }
        let words = UnsafeRawBufferPointer(start: region, count: 100)
        return (0..<25).map { words.loadUnaligned(fromByteOffset: 4 * $0, as: UInt32.self) }
    }
}
