// Whose turn it is at the firmware's mailbox, which answers one question at a time.

/// Serialises questions to a device that may hang.
///
/// Several readings ask the firmware. One question that hangs must not gather all of them behind it,
/// each with a thread: who has waited for a turn long enough fails, and after a question that got no
/// answer in time nobody asks again for a while.
final class MailboxTurn: Sendable {
    /// Less than a reading's own time limit, more than the kernel gives the firmware (1 s).
    static let patience = Duration.seconds(2)
    /// How long a silent firmware is left alone.
    static let rest = Duration.seconds(5)

    private struct State {
        var isTaken = false
        var silentUntil: ContinuousClock.Instant?
    }

    private enum Turn {
        case mine, othersTooLong, silent
    }

    private let state = Condition(State())
    private let now: @Sendable () -> ContinuousClock.Instant

    init(now: @escaping @Sendable () -> ContinuousClock.Instant = { .now }) {
        self.now = now
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
        let deadline = ContinuousClock.now + patience
        let turn: Turn = state.await { state in
            // Looked at after each wait, too: the question that was waited for may have shown it.
            if let end = state.silentUntil, now() < end { return .found(.silent) }
            guard state.isTaken else {
                state.isTaken = true
                return .found(.mine)
            }
            let left = ContinuousClock.now.duration(to: deadline)
            guard left <= .zero else { return .wait(atMost: left) }
            // Nor does the next one wait for it: a reading may have many questions.
            state.silentUntil = now() + Self.rest
            return .found(.othersTooLong)
        }
        switch turn {
        case .mine: return
        case .othersTooLong:
            throw Self.silence(subject, "another question still waits for its answer")
        case .silent:
            throw Self.silence(subject, "not asked, for a question before got no answer")
        }
    }

    private func end(silentUntil end: ContinuousClock.Instant?) {
        state.with { $0 = State(silentUntil: end) }
        state.wake()
    }

    private static func silence(_ subject: String, _ message: String) -> ReadingError {
        ReadingError(
            .timeout, subject: subject, message: message,
            advice: "if it lasts, look for the firmware in the kernel log ('journalctl -k')")
    }
}
