// Accounts that were disabled or removed while somebody had proved their password and not bound a
// resource yet: such a login must not become a session.

internal import Addresses
internal import NIOCore
internal import Synchronization

/// Remembers revocations for as long as a login can take. Safe on any thread.
final class Revocations: Sendable {
    /// The longest `limits.negotiation`.
    private static let remembered = TimeAmount.seconds(600)

    private let times = Mutex<[BareJID: NIODeadline]>([:])

    func note(_ account: BareJID, now: NIODeadline) {
        times.withLock { times in
            times = times.filter { $0.value + Self.remembered > now }
            times[account] = now
        }
    }

    func contains(_ account: BareJID, since login: NIODeadline) -> Bool {
        times.withLock { times in times[account].map { $0 >= login } ?? false }
    }
}
