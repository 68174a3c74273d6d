// Requests of the server's own to other domains, and their answers.

public import Addresses
public import NIOCore
internal import Synchronization
public import XMPP

/// What the server has asked and not been answered. Safe on any thread.
public final class ServerRequests: Sendable {
    /// More than this are not asked at one time.
    private static let limit = 10_000

    private struct Question {
        let asked: JID
        let timeout: Scheduled<Void>
        let then: @Sendable (Stanza?) -> Void
    }

    private let questions = Mutex<[String: Question]>([:])

    init() {}

    /// Waits for the answer to a request with this id, a result or an error; `then` gets nil if
    /// none comes in time. Called once, on any thread.
    public func expect(
        _ id: String, from asked: JID, within time: TimeAmount, on eventLoop: any EventLoop,
        then: @escaping @Sendable (Stanza?) -> Void
    ) {
        let timeout = eventLoop.scheduleTask(in: time) { self.conclude(id, nil) }
        let isFull = questions.withLock { questions in
            guard questions.count < Self.limit else { return true }
            questions[id] = Question(asked: asked, timeout: timeout, then: then)
            return false
        }
        guard isFull else { return }
        timeout.cancel()
        then(nil)
    }

    /// An answer came to the server's own address; false if nothing was asked.
    func answer(_ stanza: Stanza) -> Bool {
        guard stanza.isError || stanza.isType("result"), let id = stanza.id else { return false }
        let isAsked = questions.withLock { $0[id]?.asked == stanza.from }
        if isAsked { conclude(id, stanza) }
        return isAsked
    }

    private func conclude(_ id: String, _ answer: Stanza?) {
        guard let question = questions.withLock({ $0.removeValue(forKey: id) }) else { return }
        question.timeout.cancel()
        question.then(answer)
    }
}
