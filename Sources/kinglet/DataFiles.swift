// The data directory: names of files, private by their modes, and the lock that says whether a
// server runs.

internal import Backup
internal import Glibc
internal import TLS

/// Paths in the data directory.
struct DataFiles: Sendable {
    let directory: String

    var database: String { directory + "/kinglet.db" }
    var lock: String { directory + "/kinglet.lock" }
    var controlSocket: String { directory + "/control.sock" }
    var initialPassword: String { directory + "/initial-password" }
    /// The authority's certificate, which phones may install.
    var authorityCertificate: String { directory + "/ca.crt" }
    var serverCertificate: String { directory + "/server.crt" }
    var secrets: String { directory + "/secrets" }
    var authorityKey: String { secrets + "/ca.key" }
    var serverKey: String { secrets + "/server.key" }
    var loginSecret: String { secrets + "/login-secret" }
    var pushKey: String { secrets + "/push.key" }
    /// What the endpoints that apps got are encrypted with.
    var endpointKeys: String { secrets + "/unified-push.keys" }

    /// Makes the directories, private to their owner, and becomes that owner.
    func prepare() throws {
        try create(directory)
        try becomeOwner()
        try create(secrets)
    }

    /// Makes a private directory, and those above it.
    private func create(_ path: String) throws {
        var sofar = path.hasPrefix("/") ? "/" : ""
        for part in path.split(separator: "/") {
            sofar += (sofar.isEmpty || sofar.hasSuffix("/") ? "" : "/") + part
            guard mkdir(sofar, sofar == path ? 0o700 : 0o755) == 0 || errno == EEXIST else {
                throw Failure(
                    "\(sofar): cannot be made: \(systemError()); check data_dir in the "
                        + "configuration")
            }
        }
    }

    /// Whether `init` was here, or a restore is to be finished.
    var exist: Bool {
        access(database, F_OK) == 0 || DataSwitch.isUnfinished(in: directory)
    }

    /// As the user that owns the data, so that the server can read what a command of root writes.
    func becomeOwner() throws {
        var status = stat()
        guard geteuid() == 0, stat(directory, &status) == 0, status.st_uid != 0 else { return }
        guard setgroups(0, nil) == 0, setgid(status.st_gid) == 0, setuid(status.st_uid) == 0 else {
            throw Failure("cannot become the owner of \(directory): \(systemError())")
        }
        // Where rclone looks for its configuration, as in the service.
        if let entry = getpwuid(status.st_uid) { setenv("HOME", entry.pointee.pw_dir, 1) }
        unsetenv("XDG_CONFIG_HOME")
    }

    /// The secret that makes up salts for unknown users; made at the first use.
    func loadLoginSecret() throws -> [UInt8] { try loadSecret(loginSecret) }

    /// The key that what the database keeps of devices is encrypted with; made at the first use.
    func loadPushKey() throws -> [UInt8] { try loadSecret(pushKey) }

    private func loadSecret(_ file: String) throws -> [UInt8] {
        if let secret = try readFile(file), secret.count == 32 { return secret }
        let secret = SecureRandom.bytes(32)
        try writeFile(file, secret, mode: 0o600)
        return secret
    }
}

/// The lock on the data, held while the value lives.
struct DataLock: ~Copyable {
    private let descriptor: CInt

    /// Nil when another process holds it.
    init?(_ files: DataFiles) throws {
        descriptor = open(files.lock, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw Failure("\(files.lock): \(systemError()); run this as the owner of the data")
        }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            close(descriptor)
            return nil
        }
        // Before anybody looks for the data, or makes some that seems to be missing.
        try DataSwitch.finish(in: files.directory)
    }

    deinit { close(descriptor) }
}

/// The words for errno.
func systemError(_ code: CInt = errno) -> String {
    String(cString: strerror(code))
}

/// A whole small file, nil when there is none.
func readFile(_ path: String) throws -> [UInt8]? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else {
        if errno == ENOENT { return nil }
        throw Failure("\(path): \(systemError())")
    }
    defer { close(descriptor) }
    var bytes = [UInt8](repeating: 0, count: 1_048_576)
    let count = read(descriptor, &bytes, bytes.count)
    guard count >= 0 else { throw Failure("\(path): \(systemError())") }
    return Array(bytes.prefix(count))
}

/// Writes a file under another name, syncs it and renames it, so that it is there whole or not.
/// Its mode is the one given, whatever the umask.
func writeFile(_ path: String, _ bytes: [UInt8], mode: mode_t) throws {
    let temporary = path + ".new"
    unlink(temporary)
    let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
    guard descriptor >= 0 else { throw Failure("\(path): \(systemError())") }
    let isWritten = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
    let isSynced =
        isWritten == bytes.count && fchmod(descriptor, mode) == 0 && fsync(descriptor) == 0
    var problem = systemError()
    close(descriptor)
    let isThere = isSynced && rename(temporary, path) == 0
    guard isThere else {
        if isSynced { problem = systemError() }
        unlink(temporary)
        throw Failure("\(path): cannot be written: \(problem)")
    }
}
