// Opening the data, by the server and by every command that works on the data itself. A database
// that comes from a backup is told so once.

internal import Backup
internal import Engine
internal import Glibc
internal import Logging
internal import NIOCore

extension DataFiles {
    /// Left by a restore, and removed when the database has noted it.
    var restorationMark: String { directory + "/" + Restore.markName }

    /// What distinguishes the restore from others; nil when the data does not come from one. An
    /// empty file, made by hand, stands for the moment at which it was made.
    fileprivate func restoration() throws -> String? {
        guard let bytes = try readFile(restorationMark) else { return nil }
        let text = String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isWhitespace)
        if let word = text.first { return String(word) }
        var status = stat()
        guard lstat(restorationMark, &status) == 0 else {
            throw Failure("\(restorationMark): \(systemError())")
        }
        return "\(status.st_mtim.tv_sec).\(status.st_mtim.tv_nsec)-\(status.st_ino)"
    }
}

/// Opens the data of a program. The caller has the lock.
func openHost(
    _ program: ProgramOptions, _ builder: HostBuilder, eventLoops: [any EventLoop], log: Logger
) throws -> Host {
    let files = program.files
    let mark = try files.restoration()
    let host = try Host(
        builder, domains: program.domains, databaseFile: files.database,
        loginSecret: try files.loadLoginSecret(), eventLoops: eventLoops, restoration: mark,
        log: log)
    guard mark != nil else { return host }
    log.notice("the data comes from a backup; clients will fetch their history anew")
    // If it stays, the next start finds it noted.
    if unlink(files.restorationMark) != 0 {
        log.warning("\(files.restorationMark): cannot be removed: \(systemError())")
    }
    return host
}
