// PBKDF2 takes milliseconds: never on an event loop, on few threads, and only so many at a time.

internal import Dispatch
internal import Synchronization

/// A small bounded pool for work that computes for long. Safe on any thread.
final class KeyStretcher: Sendable {
    private final class State: Sendable {
        let waiting = Atomic<Int>(0)
    }

    private let queues: [DispatchQueue]
    private let longestQueue: Int
    private let state = State()

    init(threads: Int, longestQueue: Int) {
        queues = (0..<threads).map { DispatchQueue(label: "kinglet.key-stretching.\($0)") }
        self.longestQueue = longestQueue
    }

    /// Runs the work soon on another thread; false when too much waits already.
    func run(_ work: @escaping @Sendable () -> Void) -> Bool {
        let (_, ahead) = state.waiting.add(1, ordering: .relaxed)
        guard ahead <= longestQueue else {
            state.waiting.subtract(1, ordering: .relaxed)
            return false
        }
        queues[ahead % queues.count].async { [state] in
            work()
            state.waiting.subtract(1, ordering: .relaxed)
        }
        return true
    }
}
