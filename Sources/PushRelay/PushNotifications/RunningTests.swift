// Whose targets are being tried: everybody's once at a time, and so many accounts' in all.

internal import Addresses
internal import Synchronization

/// Safe on any thread.
final class RunningTests: Sendable {
    private let most: Int
    private let accounts = Mutex<Set<BareJID>>([])

    init(most: Int) { self.most = most }

    /// False if a test of this account goes on, or too many of others.
    func begin(_ account: BareJID) -> Bool {
        accounts.withLock { accounts in
            guard accounts.count < most else { return false }
            return accounts.insert(account).inserted
        }
    }

    func end(_ account: BareJID) { accounts.withLock { _ = $0.remove(account) } }
}
