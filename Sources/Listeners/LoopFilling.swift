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
    }

    private let loops: [Loop]
    private let state = Mutex(State())

    init(_ loops: [Loop]) { self.loops = loops }

    /// A further socket; its first channel accepts, the others do not.
    func add(_ channels: [any Channel]) {
        state.withLock { state in
            state.listeners.append(channels)
            if state.current != 0 {
                move(&state.listeners[state.listeners.count - 1], 0, state.current)
            }
        }
    }

    /// A connection came in: chooses who takes the next one.
    func accepted() {
        let next = preferred()
        state.withLock { state in
            guard next != state.current else { return }
            for index in state.listeners.indices {
                move(&state.listeners[index], state.current, next)
            }
            state.current = next
        }
    }

    private func preferred() -> Int {
        let shares = loops.map { $0.connections / Self.share + ($0.isBusy ? 1 : 0) }
        return shares.indices.min { (shares[$0], $0) < (shares[$1], $1) } ?? 0
    }

    private func move(_ channels: inout [any Channel], _ from: Int, _ to: Int) {
        for (index, accepts) in [(from, false), (to, true)] {
            let channel = channels[index]
            // Always queued, so that the last change asked for is the last one made.
            channel.eventLoop.execute { _ = channel.setOption(.autoRead, value: accepts) }
        }
    }
}
