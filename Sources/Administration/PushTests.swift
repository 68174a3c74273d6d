// Tests of targets that administrators have asked for. Whoever asked looks from time to time how far
// his is.

internal import PushRelay
internal import Synchronization

/// The tests of a server. Safe on any thread.
final class PushTests: Sendable {
    /// So many go on at one time.
    private static let mostRunning = 4
    /// So many are remembered.
    private static let mostKept = 16

    private struct State {
        var last = 0
        var tests: [Int: PushTest] = [:]
    }

    private let state = Mutex(State())

    /// Starts a test and gives its number.
    func start(_ test: PushTest) throws(AdministrationError) -> Int {
        let number = state.withLock { state -> Int? in
            let ended = state.tests.filter { $0.value.progress(known: .max).hasEnded }
            guard state.tests.count - ended.count < Self.mostRunning else { return nil }
            state.last += 1
            state.tests[state.last] = test
            if state.tests.count > Self.mostKept, let oldest = ended.keys.min() {
                state.tests[oldest] = nil
            }
            return state.last
        }
        guard let number else {
            throw AdministrationError(
                message: "\(Self.mostRunning) tests go on already; wait for one of them")
        }
        Task { await test.run() }
        return number
    }

    /// How far a test is, without the steps that are known; nil for none of that number.
    func progress(_ number: Int, known: Int) -> PushTestProgress? {
        state.withLock { $0.tests[number] }?.progress(known: known)
    }
}
