// What is known and what is being asked: answers are kept for their lifetime, and those who ask for
// the same wait for the same query.

internal import Synchronization

/// Answers by question, and who waits for which. Any thread may call it.
final class AnswerTable: Sendable {
    typealias Outcome = Result<Answer.Found, DNSError>
    typealias Waiter = CheckedContinuation<Outcome, Never>

    /// What one who asked is to do.
    enum Step {
        /// Nothing: somebody has asked already.
        case wait
        /// Ask the name servers.
        case ask
    }

    private struct Kept {
        var answer: Answer
        var since: ContinuousClock.Instant
    }

    private struct State {
        var kept: [Question: Kept] = [:]
        var asked: [Question: [UInt64: Waiter]] = [:]
        var lastWaiter: UInt64 = 0
        var isStopped = false
    }

    private let limit: Int
    private let now: @Sendable () -> ContinuousClock.Instant
    private let state = Mutex(State())

    /// - Parameters:
    ///   - limit: answers that are kept at most.
    ///   - now: a clock that does not jump.
    init(limit: Int, now: @escaping @Sendable () -> ContinuousClock.Instant) {
        self.limit = max(1, limit)
        self.now = now
    }

    /// A number for one who is going to wait.
    func newWaiter() -> UInt64 {
        state.withLock { state in
            state.lastWaiter += 1
            return state.lastWaiter
        }
    }

    /// What is known about a question.
    func known(_ question: Question) -> Outcome? {
        state.withLock { state in
            guard let kept = state.kept[question], isValid(kept) else { return nil }
            return kept.answer.result
        }
    }

    /// Makes somebody wait, who hears of it at once when that makes no sense.
    ///
    /// - Parameter isCancelled: asked under the lock, so that `cancel` comes either before, and it
    ///   is true, or finds the waiter.
    func wait(
        _ waiter: Waiter, _ number: UInt64, for question: Question, isCancelled: () -> Bool
    ) -> Step {
        let (step, outcome): (Step, Outcome?) = state.withLock { state in
            if state.isStopped || isCancelled() {
                return (.wait, .failure(DNSError(.cancelled, question.name)))
            }
            if let kept = state.kept[question], isValid(kept) {
                return (.wait, kept.answer.result)
            }
            let isAsked = state.asked[question] != nil
            state.asked[question, default: [:]][number] = waiter
            return (isAsked ? .wait : .ask, nil)
        }
        if let outcome { waiter.resume(returning: outcome) }
        return step
    }

    /// Somebody waits no longer; the others do.
    func cancel(_ number: UInt64, for question: Question) {
        state.withLock { $0.asked[question]?.removeValue(forKey: number) }?
            .resume(returning: .failure(DNSError(.cancelled, question.name)))
    }

    /// Whether anybody waits; if not, the question counts as not asked.
    func isWanted(_ question: Question) -> Bool {
        state.withLock { state in
            if state.asked[question]?.isEmpty == false { return true }
            state.asked[question] = nil
            return false
        }
    }

    /// Keeps an answer and tells it to those who wait.
    func finish(_ question: Question, _ answer: Answer) {
        let waiters = state.withLock { state in
            if !state.isStopped {
                makeRoom(in: &state.kept, for: question)
                state.kept[question] = Kept(answer: answer, since: now())
            }
            return state.asked.removeValue(forKey: question)
        }
        for waiter in waiters?.values ?? [:].values { waiter.resume(returning: answer.result) }
    }

    /// Ends it with an error that is not kept.
    func fail(_ question: Question, _ code: DNSError.Code) {
        let waiters = state.withLock { $0.asked.removeValue(forKey: question) }
        for waiter in waiters?.values ?? [:].values {
            waiter.resume(returning: .failure(DNSError(code, question.name)))
        }
    }

    /// Nobody gets an answer any more.
    func stop() {
        let asked = state.withLock { state in
            state.isStopped = true
            state.kept = [:]
            defer { state.asked = [:] }
            return state.asked
        }
        for (question, waiters) in asked {
            for waiter in waiters.values {
                waiter.resume(returning: .failure(DNSError(.cancelled, question.name)))
            }
        }
    }

    private func isValid(_ kept: Kept) -> Bool {
        kept.since.duration(to: now()) < kept.answer.lifetime
    }

    /// What is over goes first, then what is oldest: an eighth at a time, for all are looked through.
    private func makeRoom(in kept: inout [Question: Kept], for question: Question) {
        guard kept[question] == nil, kept.count >= limit else { return }
        kept = kept.filter { isValid($0.value) }
        guard kept.count >= limit else { return }
        let oldest = kept.sorted { $0.value.since < $1.value.since }.prefix(max(1, limit / 8))
        for (question, _) in oldest { kept[question] = nil }
    }
}
