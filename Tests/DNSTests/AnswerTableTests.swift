import Synchronization
import Testing

@testable import DNS

@Suite("Answers are kept for their lifetime, and one question is asked once")
struct AnswerTableTests {
    private static func answer(_ code: DNSError.Code, seconds: Int) -> Answer {
        var answer = Answer(hosts: [])
        answer.result = .failure(DNSError(code, "a.test"))
        answer.lifetime = .seconds(seconds)
        return answer
    }

    private func code(_ outcome: AnswerTable.Outcome?) -> DNSError.Code? {
        if case .failure(let error) = outcome { error.code } else { nil }
    }

    @Test("An answer holds until its lifetime is over")
    func lifetime() {
        let clock = SetClock()
        let table = AnswerTable(limit: 10, now: clock.now)
        #expect(table.known(.services("a.test")) == nil)
        table.finish(.services("a.test"), Self.answer(.noSuchDomain, seconds: 60))
        clock.advance(.milliseconds(59_999))
        #expect(code(table.known(.services("a.test"))) == .noSuchDomain)
        // The kind of question counts.
        #expect(table.known(.addresses("a.test")) == nil)
        clock.advance(.milliseconds(1))
        #expect(table.known(.services("a.test")) == nil)
    }

    @Test("Of too many answers those go that are over, then the oldest")
    func limit() {
        let clock = SetClock()
        let table = AnswerTable(limit: 3, now: clock.now)
        for (index, seconds) in [100, 3, 100].enumerated() {
            table.finish(.services("\(index).test"), Self.answer(.timeout, seconds: seconds))
            clock.advance(.seconds(2))
        }
        func kept() -> [Int] {
            (0..<6).filter { table.known(.services("\($0).test")) != nil }
        }
        table.finish(.services("3.test"), Self.answer(.timeout, seconds: 100))
        #expect(kept() == [0, 2, 3])
        clock.advance(.seconds(1))
        table.finish(.services("4.test"), Self.answer(.timeout, seconds: 100))
        #expect(kept() == [2, 3, 4])
        // The same again needs no room.
        table.finish(.services("2.test"), Self.answer(.timeout, seconds: 100))
        #expect(kept() == [2, 3, 4])
    }

    /// Makes a task wait, as the resolver does, and tells what it is to do.
    private func wait(
        _ table: AnswerTable, _ number: UInt64, isCancelled: Bool = false,
        then: @escaping @Sendable (AnswerTable.Step) -> Void
    ) async -> DNSError.Code? {
        code(
            await withCheckedContinuation { waiter in
                then(table.wait(waiter, number, for: .services("a.test")) { isCancelled })
            })
    }

    @Test("The first one asks, the others wait with it, and who gives up leaves them waiting")
    func sharing() async {
        let now = ContinuousClock.now
        let table = AnswerTable(limit: 10) { now }
        let question = Question.services("a.test")
        #expect(!table.isWanted(question))
        let first = await wait(table, 1) { step in
            #expect(step == .ask)
            table.cancel(1, for: question)
        }
        #expect(first == .cancelled)
        // It is under way all the same.
        let finished = Self.answer(.refused, seconds: 5)
        let meeting = Meeting(of: 2) { table.finish(question, finished) }
        async let second = wait(table, 2) { meeting.come($0) }
        async let third = wait(table, 3) { meeting.come($0) }
        #expect(await [second, third] == [.refused, .refused])
        #expect(meeting.steps == [.wait, .wait])
        // Somebody who comes after the answer gets it at once.
        let late = await wait(table, 4) { #expect($0 == .wait) }
        #expect(late == .refused)
        let cancelled = await wait(table, 5, isCancelled: true) { #expect($0 == .wait) }
        #expect(cancelled == .cancelled)
    }

    @Test("A question that nobody waits for any more counts as not asked")
    func unwanted() async {
        let table = AnswerTable(limit: 10) { .now }
        let question = Question.services("a.test")
        _ = await wait(table, 1) { _ in table.cancel(1, for: question) }
        #expect(!table.isWanted(question))
        _ = await wait(table, 2) { step in
            #expect(step == .ask)
            #expect(table.isWanted(question))
            table.fail(question, .refused)
        }
        // An error of that kind is not kept.
        #expect(table.known(question) == nil)
    }

    @Test("After the stop everybody hears so, and nothing is kept")
    func stop() async {
        let table = AnswerTable(limit: 10) { .now }
        let question = Question.services("a.test")
        table.finish(question, Self.answer(.refused, seconds: 100))
        #expect(await wait(table, 1) { _ in } == .refused)
        table.stop()
        table.finish(question, Self.answer(.refused, seconds: 100))
        #expect(table.known(question) == nil)
        let late = await wait(table, 2) { #expect($0 == .wait) }
        #expect(late == .cancelled)
    }
}

/// Does something once so many have come.
private final class Meeting: Sendable {
    private let count: Int
    private let done: @Sendable () -> Void
    private let told = Mutex<[AnswerTable.Step]>([])

    var steps: [AnswerTable.Step] { told.withLock { $0 } }

    init(of count: Int, _ done: @escaping @Sendable () -> Void) {
        self.count = count
        self.done = done
    }

    func come(_ step: AnswerTable.Step) {
        let isFull = told.withLock { steps in
            steps.append(step)
            return steps.count == count
        }
        if isFull { done() }
    }
}

/// A clock that a test sets.
final class SetClock: Sendable {
    private let time = Mutex(ContinuousClock.now)

    var now: @Sendable () -> ContinuousClock.Instant {
        { [self] in time.withLock { $0 } }
    }

    func advance(_ duration: Duration) {
        time.withLock { $0 = $0.advanced(by: duration) }
    }
}
