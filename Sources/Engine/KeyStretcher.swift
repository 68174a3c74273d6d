// PBKDF2 takes milliseconds: never on an event loop, on few threads, and only so many at a time.

internal import Dispatch
internal import Synchronization

/// A small bounded pool for work that computes for long. Safe on any thread.
final class KeyStretcher: Sendable {
    private final class State: Sendable {
        let waiting = Atomic<Int>(0)
        let isFinished = Atomic<Bool>(false)
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
        guard !state.isFinished.load(ordering: .acquiring) else { return false }
        let (_, ahead) = state.waiting.add(1, ordering: .relaxed)
        guard ahead <= longestQueue else {
            state.waiting.subtract(1, ordering: .relaxed)
            return false
        }
        queues[ahead % queues.count].async { [state] in
            if !state.isFinished.load(ordering: .acquiring) { work() }
            state.waiting.subtract(1, ordering: .relaxed)
        }
        return true
    }

    /// Takes no more work and waits for what runs; what is queued is dropped.
    func finish() {
        state.isFinished.store(true, ordering: .releasing)
        for queue in queues { queue.sync {} }
    }
}
