// Whose turn it is at the firmware's mailbox, which answers one question at a time.

import Glibc

/// Serialises questions to a device that may hang.
///
/// Several readings ask the firmware. One question that hangs must not gather all of them behind it,
/// each with a thread: who has waited for his turn long enough fails, and after a question that got
/// no answer in time nobody asks again for a while.
///
/// `@unchecked Sendable`: what varies is read and written with `mutex` held only, and the two pthread
/// objects stay at one address from `init` to `deinit`.
final class MailboxTurn: @unchecked Sendable {
    /// Less than a reading's own time limit, more than the kernel gives the firmware (1 s).
    static let patience = Duration.seconds(2)
    /// How long a silent firmware is left alone.
    static let rest = Duration.seconds(10)

    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var isTaken = false
    private var silentUntil: ContinuousClock.Instant?
    private let now: @Sendable () -> ContinuousClock.Instant

    init(now: @escaping @Sendable () -> ContinuousClock.Instant = { .now }) {
        self.now = now
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

    /// Runs `question` when nobody else asks.
    func take<Value>(
        subject: String, patience: Duration = patience,
        _ question: () throws(ReadingError) -> Value
    ) throws(ReadingError) -> Value {
        try begin(subject, patience)
        do throws(ReadingError) {
            let value = try question()
            end(silentUntil: nil)
            return value
        } catch {
            end(silentUntil: error.code == .timeout ? now() + Self.rest : nil)
            throw error
        }
    }

    private func begin(_ subject: String, _ patience: Duration) throws(ReadingError) {
        var deadline = timespec()
        clock_gettime(CLOCK_MONOTONIC, &deadline)
        let (seconds, attoseconds) = max(patience, .zero).components
        deadline.tv_sec += Int(clamping: min(seconds, 86_400))
        deadline.tv_nsec += Int(attoseconds / 1_000_000_000)
        if deadline.tv_nsec >= 1_000_000_000 {
            deadline.tv_sec += 1
            deadline.tv_nsec -= 1_000_000_000
        }
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while isTaken, pthread_cond_timedwait(condition, mutex, &deadline) == 0 {}
        if isTaken {
            throw Self.silence(subject, "another question still waits for its answer")
        }
        // Looked at here, for the question that was waited for may have shown it.
        if let end = silentUntil, now() < end {
            throw Self.silence(subject, "not asked, for a question before got no answer")
        }
        isTaken = true
    }

    private func end(silentUntil end: ContinuousClock.Instant?) {
        pthread_mutex_lock(mutex)
        isTaken = false
        silentUntil = end
        pthread_cond_signal(condition)
        pthread_mutex_unlock(mutex)
    }

    private static func silence(_ subject: String, _ message: String) -> ReadingError {
        ReadingError(
            .timeout, subject: subject, message: message,
            advice: "if it lasts, look for the firmware in the kernel log ('journalctl -k')")
    }
}
