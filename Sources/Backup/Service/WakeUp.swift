// A wait that others can end. By the clock that nobody sets: libdispatch's semaphores wait by the
// time of day, and when that is set back by a year, so long does their wait become.

internal import Glibc

/// Lets one thread wait until it is woken or time is up. Safe on any thread.
///
/// `@unchecked Sendable`: `isWoken` is touched with `lock` held only, and the two pthread objects
/// stay at one address from `init` to `deinit`.
final class WakeUp: @unchecked Sendable {
    private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var isWoken = false

    init() {
        pthread_mutex_init(lock, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(condition, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(lock)
        condition.deallocate()
        lock.deallocate()
    }

    /// Ends the present wait, or the next one.
    func signal() {
        pthread_mutex_lock(lock)
        isWoken = true
        pthread_cond_signal(condition)
        pthread_mutex_unlock(lock)
    }

    /// Waits for `signal`, or so long.
    func wait(seconds: Double) {
        var end = Glibc.timespec()
        clock_gettime(CLOCK_MONOTONIC, &end)
        let nanoseconds = Int(min(max(seconds, 0), 3600) * 1e9) + end.tv_nsec
        end.tv_sec += nanoseconds / 1_000_000_000
        end.tv_nsec = nanoseconds % 1_000_000_000
        pthread_mutex_lock(lock)
        while !isWoken, pthread_cond_timedwait(condition, lock, &end) == 0 {}
        isWoken = false
        pthread_mutex_unlock(lock)
    }
}
