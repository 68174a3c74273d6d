// A virtual file system for SQLite (sqlite.org/vfs.html), whose files are objects of ours: the
// destination of a copy, and an image that lies in several files.
//
// THREADS: SQLite calls on the thread that uses the connection. A connection is used by one thread
// at a time, and so is its file. Only the table of names is shared.

internal import GRDBSQLite
internal import Glibc
internal import Synchronization

/// What SQLite takes for a database file. Belongs to the connection that opened it.
protocol PageFile: AnyObject {
    /// Bytes.
    var size: Int64 { get }
    /// Fills the buffer; what lies beyond the end is left as it is (zeros). A result code.
    func read(_ buffer: UnsafeMutableRawBufferPointer, at offset: Int64) -> Int32
    /// A result code.
    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) -> Int32
    /// A result code.
    func truncate(to size: Int64) -> Int32
}

/// The file system: registered once, and its files known by names for the moment of opening.
enum PageFileSystem {
    static let name = "kinglet-pages"

    /// Unchecked: the object goes from who opens the connection to the connection, never to both.
    fileprivate struct Entry: @unchecked Sendable { let file: any PageFile }
    fileprivate static let files = Mutex<(next: Int, files: [String: Entry])>((0, [:]))

    /// Opens a connection on an object.
    static func open(_ file: any PageFile, flags: Int32) throws(StorageError) -> OpaquePointer {
        guard isRegistered else {
            throw StorageError(
                code: .other, operation: "copying the database", subject: name,
                message: "SQLite takes no file system of ours")
        }
        let entry = Entry(file: file)
        let path = files.withLock { state in
            state.next += 1
            let path = "/kinglet-pages/\(state.next)"
            state.files[path] = entry
            return path
        }
        var connection: OpaquePointer?
        let code = sqlite3_open_v2(path, &connection, flags | SQLITE_OPEN_NOMUTEX, name)
        // SQLite opens the file at the first statement.
        if code == SQLITE_OK {
            sqlite3_exec(connection, "PRAGMA page_count", nil, nil, nil)
        }
        let isTaken = files.withLock { $0.files.removeValue(forKey: path) == nil }
        guard let connection, code == SQLITE_OK, isTaken else {
            sqlite3_close(connection)
            throw StorageError(
                code: .other, operation: "copying the database", subject: name,
                message: String(cString: sqlite3_errstr(code)))
        }
        return connection
    }

    fileprivate static func take(_ path: String) -> (any PageFile)? {
        files.withLock { $0.files.removeValue(forKey: path) }?.file
    }

    /// Both tables are read by SQLite for ever, so they are never freed.
    private static let isRegistered: Bool = {
        let table = UnsafeMutablePointer<sqlite3_vfs>.allocate(capacity: 1)
        table.initialize(to: makeTable())
        return sqlite3_vfs_register(table, 0) == SQLITE_OK
    }()

    private static func makeTable() -> sqlite3_vfs {
        var table = sqlite3_vfs()
        table.iVersion = 1
        table.szOsFile = Int32(MemoryLayout<OpenFile>.size)
        table.mxPathname = 512
        table.zName = UnsafePointer(strdup(name))
        table.xOpen = { _, path, file, flags, outFlags in
            openPageFile(path, file, flags, outFlags)
        }
        table.xDelete = { _, _, _ in SQLITE_OK }
        table.xAccess = { _, _, _, result in
            // No journal, no log.
            result?.pointee = 0
            return SQLITE_OK
        }
        table.xFullPathname = { _, path, count, output in
            guard let path, let output, strlen(path) < Int(count) else { return SQLITE_CANTOPEN }
            strcpy(output, path)
            return SQLITE_OK
        }
        table.xRandomness = { _, count, output in
            for index in 0..<Int(max(0, count)) { output?[index] = CChar.random(in: 0...127) }
            return count
        }
        table.xSleep = { _, microseconds in microseconds }
        table.xCurrentTime = { _, day in
            // The Julian day of 1970.
            day?.pointee = 2_440_587.5 + Double(time(nil)) / 86_400
            return SQLITE_OK
        }
        table.xGetLastError = { _, _, _ in 0 }
        return table
    }
}

private func openPageFile(
    _ path: UnsafePointer<CChar>?, _ file: UnsafeMutablePointer<sqlite3_file>?, _ flags: Int32,
    _ outFlags: UnsafeMutablePointer<Int32>?
) -> Int32 {
    file?.pointee.pMethods = nil
    guard let path, let file, let object = PageFileSystem.take(String(cString: path)) else {
        return SQLITE_CANTOPEN
    }
    file.withMemoryRebound(to: OpenFile.self, capacity: 1) { open in
        open.initialize(
            to: OpenFile(
                base: sqlite3_file(pMethods: methods),
                handle: Unmanaged.passRetained(Handle(object))))
    }
    outFlags?.pointee = flags
    return SQLITE_OK
}

/// What SQLite calls an open file: its own part, then ours.
private struct OpenFile {
    var base: sqlite3_file
    var handle: Unmanaged<Handle>
}

private final class Handle {
    let file: any PageFile
    init(_ file: any PageFile) { self.file = file }
}

private func object(_ file: UnsafeMutablePointer<sqlite3_file>?) -> (any PageFile)? {
    guard let file else { return nil }
    return UnsafeRawPointer(file).assumingMemoryBound(to: OpenFile.self).pointee.handle
        .takeUnretainedValue().file
}

/// Never written after its making, and never freed: SQLite reads it on any thread.
nonisolated(unsafe) private let methods: UnsafePointer<sqlite3_io_methods> = {
    var table = sqlite3_io_methods()
    table.iVersion = 1
    table.xClose = { file in
        guard let file else { return SQLITE_OK }
        UnsafeRawPointer(file).assumingMemoryBound(to: OpenFile.self).pointee.handle.release()
        file.pointee.pMethods = nil
        return SQLITE_OK
    }
    table.xRead = { file, output, count, offset in
        guard let object = object(file), let output, count >= 0, offset >= 0 else {
            return SQLITE_IOERR
        }
        let buffer = UnsafeMutableRawBufferPointer(start: output, count: Int(count))
        buffer.initializeMemory(as: UInt8.self, repeating: 0)
        let code = object.read(buffer, at: offset)
        guard code == SQLITE_OK else { return code }
        let shortRead = SQLITE_IOERR | 2 << 8
        return offset + Int64(count) <= object.size ? SQLITE_OK : shortRead
    }
    table.xWrite = { file, bytes, count, offset in
        guard let object = object(file), let bytes, count >= 0, offset >= 0 else {
            return SQLITE_IOERR
        }
        return object.write(UnsafeRawBufferPointer(start: bytes, count: Int(count)), at: offset)
    }
    table.xTruncate = { file, size in object(file)?.truncate(to: size) ?? SQLITE_IOERR }
    table.xSync = { _, _ in SQLITE_OK }
    table.xFileSize = { file, size in
        size?.pointee = object(file)?.size ?? 0
        return SQLITE_OK
    }
    table.xLock = { _, _ in SQLITE_OK }
    table.xUnlock = { _, _ in SQLITE_OK }
    table.xCheckReservedLock = { _, result in
        result?.pointee = 0
        return SQLITE_OK
    }
    table.xFileControl = { _, _, _ in SQLITE_NOTFOUND }
    // The smallest: with a larger one SQLite would write neighbours of a page too.
    table.xSectorSize = { _ in 512 }
    table.xDeviceCharacteristics = { _ in SQLITE_IOCAP_POWERSAFE_OVERWRITE }
    let pointer = UnsafeMutablePointer<sqlite3_io_methods>.allocate(capacity: 1)
    pointer.initialize(to: table)
    return UnsafePointer(pointer)
}()
