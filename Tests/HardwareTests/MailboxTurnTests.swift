// Turns at the mailbox: one question at a time, and what happens behind one that hangs.

import Synchronization
import Testing

@testable import Hardware

@Suite("Mailbox turn", .timeLimit(.minutes(10)))
struct MailboxTurnTests {
    private static let late = ReadingError(systemError: 110, subject: "test")

    @Test("Who comes while another question hangs waits for a bounded time, then fails")
    func boundedWait() async throws {
        let turn = MailboxTurn()
        let (asking, asks) = AsyncStream.makeStream(of: Void.self)
        let (ended, end) = AsyncStream.makeStream(of: Void.self)
        let release = Condition(false)
        try ReadingThread.start {
            try? turn.take(subject: "first") { () throws(ReadingError) in
                asks.yield()
                release.await { $0 ? .found(()) : .wait(atMost: nil) }
            }
            end.yield()
        }
        for await _ in asking { break }
        let error = #expect(throws: ReadingError.self) {
            try turn.take(subject: "second", patience: .milliseconds(1)) {
                () throws(ReadingError) in
                Issue.record("two questions at a time")
            }
        }
        #expect(error?.code == .timeout)
        #expect(error?.subject == "second")
        // The next one does not wait at all.
        #expect(throws: ReadingError.self) {
            try turn.take(subject: "third", patience: .seconds(3600)) { () throws(ReadingError) in
                Issue.record("two questions at a time")
            }
        }
        release.with { $0 = true }
        release.wake()
        for await _ in ended { break }
        // A question that took long but was answered is no reason to rest.
        #expect(try turn.take(subject: "fourth") { () throws(ReadingError) in 7 } == 7)
    }

    @Test("After a question without an answer nobody asks for a while, then again")
    func rest() throws {
        let now = Mutex(ContinuousClock.now)
        let turn = MailboxTurn(now: { now.withLock { $0 } })
        var asked = 0
        func ask(_ failure: ReadingError?) throws(ReadingError) {
            try turn.take(subject: "test") { () throws(ReadingError) in
                asked += 1
                if let failure { throw failure }
            }
        }
        #expect(throws: Self.late) { try ask(Self.late) }
        let error = #expect(throws: ReadingError.self) { try ask(nil) }
        #expect(error?.code == .timeout)
        #expect(asked == 1)
        now.withLock { $0 += MailboxTurn.rest }
        try ask(nil)
        try ask(nil)
        #expect(asked == 3)
    }

    @Test("Another failure lets the next question pass")
    func otherFailure() throws {
        let turn = MailboxTurn()
        let denied = ReadingError(systemError: 13, subject: "test")
        #expect(throws: denied) {
            try turn.take(subject: "test") { () throws(ReadingError) in throw denied }
        }
        #expect(try turn.take(subject: "test") { () throws(ReadingError) in 7 } == 7)
    }
}
