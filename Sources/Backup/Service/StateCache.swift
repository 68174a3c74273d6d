// The state as a scrape and the planner see it: read again only when somebody has written it.

internal import Glibc
internal import Synchronization

/// The latest state. Safe on any thread.
final class StateCache: Sendable {
    private struct Stamp: Equatable {
        var inode: UInt64
        var size: Int64
        var seconds: Int64
        var nanoseconds: Int64
    }
    private struct Held {
        var stamp: Stamp?
        var state = BackupState()
    }

    private let folder: BackupFolder
    private let held = Mutex(Held())

    init(_ folder: BackupFolder) { self.folder = folder }

    /// The state of now. One that cannot be read is as it was.
    var state: BackupState {
        let stamp = stamp()
        return held.withLock { held in
            guard stamp != held.stamp || stamp == nil else { return held.state }
            // Not read again either until somebody has written it.
            held = Held(stamp: stamp, state: (try? BackupState.peek(folder)) ?? held.state)
            return held.state
        }
    }

    /// Reads it again at the next look.
    func forget() { held.withLock { $0.stamp = nil } }

    /// Changes it under the lock; throws `busy` when somebody is at work.
    func update(_ change: (inout BackupState) -> Void) throws(BackupError) {
        let lock = try BackupLock.acquire(folder, purpose: "backup")
        var state = try BackupState.load(folder) { _ in }
        change(&state)
        try state.save(folder)
        _ = consume lock
        forget()
    }

    private func stamp() -> Stamp? {
        var status = Glibc.stat()
        guard stat(folder.state, &status) == 0 else { return nil }
        return Stamp(
            inode: UInt64(status.st_ino), size: Int64(status.st_size),
            seconds: Int64(status.st_mtim.tv_sec), nanoseconds: Int64(status.st_mtim.tv_nsec))
    }
}
