// Which event loop takes the next connection. Loops are filled one after the other, because a
// message between two clients of one loop needs no second thread to wake up: on a quiet server
// that is half of its cost. A busy loop, and one that has its share, leaves the next to others.

internal import Engine
internal import NIOCore
internal import Synchronization

/// Lets one loop at a time accept. Safe on any thread.
final class LoopFilling: Sendable {
    /// So many connections are a share.
    private static let share = 512

    private struct State {
        /// Per listening socket one channel for each loop.
        var listeners: [[any Channel]] = []
        /// The loop that accepts.
        var current = 0
        /// The next loop does not accept yet.
        var isMoving = false
    }

    private let loops: [Loop]
    private let state = Mutex(State())

    init(_ loops: [Loop]) { self.loops = loops }

    /// Begins to accept. The channels do not read by themselves.
    func start(_ listeners: [[any Channel]]) {
        state.withLock { $0.listeners = listeners }
        setAccepting(true, 0) {}
    }

    /// A connection came in: chooses who takes the next one.
    func accepted() {
        let next = preferred()
        let current: Int? = state.withLock { state in
            guard !state.isMoving, next != state.current else { return nil }
            state.isMoving = true
            return state.current
        }
        guard let current else { return }
        // One after the other: two loops that wake up for one connection are one too many, which
        // NIO takes for a fault.
        setAccepting(false, current) {
            self.setAccepting(true, next) {
                self.state.withLock { state in
                    state.current = next
                    state.isMoving = false
                }
            }
        }
    }

    private func setAccepting(
        _ accepts: Bool, _ loop: Int, then: @escaping @Sendable () -> Void
    ) {
        let channels = state.withLock { $0.listeners.map { $0[loop] } }
        loops[loop].eventLoop.execute {
            for channel in channels { _ = channel.setOption(.autoRead, value: accepts) }
            then()
        }
    }

    private func preferred() -> Int {
        let shares = loops.map { $0.connections / Self.share + ($0.isBusy ? 1 : 0) }
        return shares.indices.min { (shares[$0], $0) < (shares[$1], $1) } ?? 0
    }
}
