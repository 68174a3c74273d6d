// Failed logins slow down the next ones: of the same account from the same network most, of the
// network less, of the account from anywhere a little. A login waits for its turn before its
// password is looked at, so that hanging up early gains nothing; and turns are given one after
// the other, so that many connections at once gain nothing either.

internal import Addresses
internal import NIOCore
internal import Options
internal import Synchronization

/// Remembers failed logins for a while. Safe on any thread.
public final class LoginThrottle: Sendable {
    private enum Key: Hashable {
        case pair(String, BareJID)
        case network(String)
        case account(BareJID)
    }

    private struct Record {
        var failures = 0
        /// When the next login may be looked at.
        var nextTurn: NIODeadline
    }

    enum Turn: Equatable {
        /// Look at it after this time.
        case after(TimeAmount)
        /// So many wait already that this one is refused unseen; it leaves no trace.
        case refused
    }

    /// So many records are kept; the oldest go first.
    private static let capacity = 10_000
    private static let forgiven = TimeAmount.minutes(10)

    private let longestDelay: Setting<Duration>
    private let records = Mutex<[Key: Record]>([:])

    init(longestDelay: Setting<Duration>) {
        self.longestDelay = longestDelay
    }

    /// The turn of a login that is about to be looked at.
    func turn(network: String, account: BareJID, now: NIODeadline) -> Turn {
        let longest = TimeAmount(longestDelay.value)
        return records.withLock { records in
            let keys = Self.keys(network, account)
            var turn = now
            for (key, _, _) in keys {
                guard let record = records[key] else { continue }
                if record.nextTurn + Self.forgiven < now { records[key] = nil }
                turn = max(turn, record.nextTurn)
            }
            guard turn - now <= longest else { return .refused }
            for (key, free, share) in keys {
                guard let failures = records[key]?.failures else { continue }
                records[key]?.nextTurn =
                    turn + Self.interval(failures - free, longest: longest, share: share)
            }
            return .after(turn - now)
        }
    }

    /// Notes a failure.
    func failed(network: String, account: BareJID, now: NIODeadline) {
        let longest = TimeAmount(longestDelay.value)
        records.withLock { records in
            Self.makeRoom(&records, now: now)
            for (key, free, share) in Self.keys(network, account) {
                var record = records[key] ?? Record(nextTurn: now)
                if record.nextTurn + Self.forgiven < now { record.failures = 0 }
                record.failures += 1
                let interval = Self.interval(record.failures - free, longest: longest, share: share)
                record.nextTurn = max(record.nextTurn, now + interval)
                records[key] = record
            }
        }
    }

    /// A success forgives this account on this network. The network and the account as such are
    /// forgiven by half: a household comes back to speed with its first logins, and one's own
    /// account does not open the way to guess at others'.
    func succeeded(network: String, account: BareJID) {
        records.withLock { records in
            records[.pair(network, account)] = nil
            for key in [Key.network(network), .account(account)] {
                records[key]?.failures /= 2
            }
        }
    }

    /// What a login counts for: the failures that are free, and the share of the longest delay.
    private static func keys(_ network: String, _ account: BareJID) -> [(Key, Int, Int64)] {
        [
            (.pair(network, account), 0, 1), (.network(network), 2, 10),
            // Its owner must not be locked out by others.
            (.account(account), 5, 4),
        ]
    }

    /// 0.1 s, then twice as long each time.
    private static func interval(
        _ failures: Int, longest: TimeAmount, share: Int64
    ) -> TimeAmount {
        guard failures > 0 else { return .zero }
        return min(
            .milliseconds(100 << Int64(min(failures - 1, 16))),
            .nanoseconds(longest.nanoseconds / share))
    }

    private static func makeRoom(_ records: inout [Key: Record], now: NIODeadline) {
        guard records.count + 3 > capacity else { return }
        records = records.filter { $0.value.nextTurn + forgiven > now }
        guard records.count + 3 > capacity else { return }
        for (key, _) in records.sorted(by: { $0.value.nextTurn < $1.value.nextTurn })
            .prefix(capacity / 10)
        {
            records[key] = nil
        }
    }
}
