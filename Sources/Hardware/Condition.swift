// State that threads share and wait on: a lock and a condition variable in one.

import Glibc

/// What a thread does next after it looked at the state.
enum Look<Outcome> {
    /// Goes on with this.
    case found(Outcome)
    /// Waits until somebody changes the state, at most so long, and looks again; nil: however long.
    case wait(atMost: Duration?)
}

/// A value behind a lock that threads can wait for.
///
/// `@unchecked Sendable`: `state` is touched with `mutex` held only, and the two pthread objects
/// stay at one address from `init` to `deinit`.
final class Condition<State: Sendable>: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var state: State

    init(_ state: State) {
        self.state = state
        pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        // A Pi has no battery-backed clock: the time of day jumps when it first learns it.
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(condition, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    /// Reads or changes the state. Those who wait do not notice before ``wake()``.
    func with<Value>(_ body: (inout State) -> Value) -> Value {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return body(&state)
    }

    /// Has those who wait look again.
    func wake() { pthread_cond_broadcast(condition) }

    /// Looks at the state, and waits, until `look` has found what it wants.
    func await<Outcome>(_ look: (inout State) -> Look<Outcome>) -> Outcome {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while true {
            switch look(&state) {
            case .found(let outcome):
                return outcome
            case .wait(nil):
                pthread_cond_wait(condition, mutex)
            case .wait(let limit?):
                var deadline = Self.deadline(in: limit)
                pthread_cond_timedwait(condition, mutex, &deadline)
            }
        }
    }

    private static func deadline(in limit: Duration) -> timespec {
        var deadline = timespec()
        clock_gettime(CLOCK_MONOTONIC, &deadline)
        let (seconds, attoseconds) = max(limit, .zero).components
        deadline.tv_sec += Int(clamping: min(seconds, 86_400))
        deadline.tv_nsec += Int(attoseconds / 1_000_000_000)
        if deadline.tv_nsec >= 1_000_000_000 {
            deadline.tv_sec += 1
            deadline.tv_nsec -= 1_000_000_000
        }
        return deadline
    }
}
