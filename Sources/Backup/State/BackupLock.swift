// One run, check or restore at a time. The lock is the kernel's, so it dies with its process, or
// with the last of the programs that inherited it.

internal import Glibc

/// The lock on everything below `backup-state`, held while the value lives.
struct BackupLock: ~Copyable {
    /// For programs that are started (`Program.inherited`).
    let descriptor: Int32

    private init(_ descriptor: Int32) { self.descriptor = descriptor }

    /// Throws `busy`, with who holds it, when somebody does.
    ///
    /// - Parameter purpose: what others are told, such as `backup run`.
    static func acquire(
        _ folder: BackupFolder, purpose: String
    ) throws(BackupError) -> BackupLock {
        try folder.prepare()
        let path = folder.lock
        let file = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard file >= 0 else { throw Files.error(path, "open") }
        while flock(file, LOCK_EX | LOCK_NB) != 0 {
            if errno == EINTR { continue }
            let error =
                errno == EWOULDBLOCK ? busy(file, path) : Files.error(path, "lock")
            close(file)
            throw error
        }
        // Only a help for people: the lock itself does not depend on it.
        let text = Array("\(getpid()) \(purpose)\n".utf8)
        if ftruncate(file, 0) == 0 { _ = pwrite(file, text, text.count, 0) }
        return BackupLock(file)
    }

    private static func busy(_ file: Int32, _ path: String) -> BackupError {
        var bytes = [UInt8](repeating: 0, count: 128)
        let count = max(0, pread(file, &bytes, bytes.count, 0))
        let words = bytes.prefix(count).prefix { (0x20...0x7E).contains($0) }
        let text = String(decoding: words, as: UTF8.self)
        let parts = text.split(separator: " ", maxSplits: 1)
        let holder =
            parts.count == 2 ? "process \(parts[0]) is at \(parts[1])" : "another one is at work"
        return BackupError(
            .busy, subject: "backup", holder,
            advice: "wait until it is done; kinglet backup list shows how far it is")
    }

    deinit {
        // Whatever was started has ended. A program that somebody starts at this very moment has a
        // copy of the descriptor until it is replaced, and would keep the lock with it.
        flock(descriptor, LOCK_UN)
        close(descriptor)
    }
}
