// Who may look something up now. One account has one query at work at a time, and searches leave
// room for everybody else.

internal import Addresses
internal import Synchronization

/// Runs queries in turn. Safe on any thread.
final class ArchiveReaders: Sendable {
    /// Runs, and says when it is done.
    typealias Work = @Sendable (_ done: @escaping @Sendable () -> Void) -> Void

    /// One reader of the database stays free for logins.
    private static let mostRunning = 2
    private static let mostSearching = 1
    private static let mostWaitingOfAccount = 20
    private static let mostWaiting = 2000

    private struct Query {
        let account: BareJID
        let isSearch: Bool
        let work: Work
    }

    private struct State {
        var waiting: [Query] = []
        var running: Set<BareJID> = []
        var searching = 0

        mutating func next() -> Query? {
            guard running.count < ArchiveReaders.mostRunning else { return nil }
            let index = waiting.firstIndex { query in
                !running.contains(query.account)
                    && !(query.isSearch && searching >= ArchiveReaders.mostSearching)
            }
            guard let index else { return nil }
            let query = waiting.remove(at: index)
            running.insert(query.account)
            if query.isSearch { searching += 1 }
            return query
        }
    }

    private let state = Mutex(State())

    /// Runs the work when it is its turn; false when too much waits.
    func run(for account: BareJID, isSearch: Bool, _ work: @escaping Work) -> Bool {
        let isTaken = state.withLock { state in
            let own = state.waiting.count { $0.account == account }
            guard own < Self.mostWaitingOfAccount, state.waiting.count < Self.mostWaiting else {
                return false
            }
            state.waiting.append(Query(account: account, isSearch: isSearch, work: work))
            return true
        }
        if isTaken { runNext() }
        return isTaken
    }

    private func runNext() {
        while let query = state.withLock({ $0.next() }) {
            query.work {
                self.state.withLock { state in
                    state.running.remove(query.account)
                    if query.isSearch { state.searching -= 1 }
                }
                self.runNext()
            }
        }
    }
}
