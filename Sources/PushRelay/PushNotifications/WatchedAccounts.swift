// Whose messages are looked at: the accounts that have targets. Asked for every message, so it is a
// set of numbers in memory; an account that is in it by chance costs a look into the database.

internal import Addresses
internal import Synchronization

/// Safe on any thread.
final class WatchedAccounts: Sendable {
    private struct State {
        var hashes: Set<Int> = []
        /// Before that, everybody may have some.
        var isLoaded = false
    }

    private let state = Mutex(State())

    func contains(_ account: BareJID) -> Bool {
        let hash = account.description.hashValue
        return state.withLock { !$0.isLoaded || $0.hashes.contains(hash) }
    }

    func insert(_ account: BareJID) {
        let hash = account.description.hashValue
        state.withLock { _ = $0.hashes.insert(hash) }
    }

    func load(_ hashes: Set<Int>) {
        state.withLock { state in
            state.hashes.formUnion(hashes)
            state.isLoaded = true
        }
    }
}
