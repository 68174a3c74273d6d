// Failed logins slow down the next ones of the same address and of the same account. Answers to
// failures are given one after the other per address, so that many connections at once gain
// nothing.

internal import Addresses
internal import NIOCore
internal import Options
internal import Synchronization

/// Remembers failed logins for a while. Safe on any thread.
public final class LoginThrottle: Sendable {
    private enum Key: Hashable {
        case address(String)
        case account(BareJID)
    }

    private struct Record {
        var failures = 0
        /// When the next failure may be answered.
        var nextAnswer: NIODeadline
    }

    /// So many addresses and accounts are remembered; the oldest go first.
    private static let capacity = 10_000
    /// An account's owner must not be locked out by others, so accounts wait less.
    private static let longestAccountDelay = Duration.seconds(5)

    private let longestDelay: Setting<Duration>
    private let records = Mutex<[Key: Record]>([:])

    init(longestDelay: Setting<Duration>) {
        self.longestDelay = longestDelay
    }

    /// Whether so many failures wait for their answer that a further login is refused unseen.
    func isBlocked(address: String, now: NIODeadline) -> Bool {
        let longest = TimeAmount(longestDelay.value)
        return records.withLock { records in
            guard let record = records[.address(address)] else { return false }
            return record.nextAnswer > now + longest
        }
    }

    /// Notes a failure and says how long its answer has to wait: 0.1 s, then twice as long each
    /// time.
    func failed(address: String, account: BareJID?, now: NIODeadline) -> TimeAmount {
        let longest = longestDelay.value
        return records.withLock { records in
            if records.count >= Self.capacity {
                records = records.filter { $0.value.nextAnswer + .seconds(60) > now }
                if records.count >= Self.capacity { records.removeAll() }
            }
            var answer = Self.note(&records, .address(address), longest: longest, now: now)
            if let account {
                let shorter = min(longest, Self.longestAccountDelay)
                answer = max(
                    answer, Self.note(&records, .account(account), longest: shorter, now: now))
            }
            return answer - now
        }
    }

    private static func note(
        _ records: inout [Key: Record], _ key: Key, longest: Duration, now: NIODeadline
    ) -> NIODeadline {
        var record = records[key] ?? Record(nextAnswer: now)
        // Forgiven after ten quiet minutes.
        if record.nextAnswer + .minutes(10) < now { record.failures = 0 }
        let delay = min(Duration.milliseconds(100 << min(record.failures, 16)), longest)
        record.failures += 1
        record.nextAnswer = max(record.nextAnswer, now) + TimeAmount(delay)
        records[key] = record
        return record.nextAnswer
    }

    /// A success forgives the account, and the address too.
    func succeeded(address: String, account: BareJID) {
        records.withLock { records in
            records[.address(address)] = nil
            records[.account(account)] = nil
        }
    }
}
