// Senders on other domains whom their receivers do not know: each may send so many stanzas a minute,
// and all of one domain ten times as many. The database is asked who is known only when that is used
// up, and not often about receivers that one sender names.

internal import Addresses
internal import NIOCore
internal import Synchronization

/// Who sends to whom across domains.
struct Acquaintance: Hashable, Sendable {
    let account: BareJID
    let contact: BareJID
}

/// What strangers have sent. Safe on any thread.
final class Strangers: Sendable {
    /// Entries of each table.
    private static let limit = 4096
    /// All strangers of a domain together may send so many times as much as one.
    private static let domainFactor = 10
    /// Questions to the database a minute about one sender.
    private static let questionRate = 10
    /// How long it is remembered that somebody is known, and that they are not.
    private static let knownTime = TimeAmount.hours(1)
    private static let unknownTime = TimeAmount.seconds(30)

    /// Tokens that come in at a rate per minute, a minute's worth at most.
    private struct Bucket: Sendable {
        var tokens: Double
        var filledAt: NIODeadline

        mutating func fill(_ rate: Int, _ now: NIODeadline) {
            let earned = max(0, (now - filledAt).seconds) * Double(rate) / 60
            tokens = min(Double(rate), tokens + earned)
            filledAt = now
        }
    }

    private struct Verdict: Sendable {
        let isKnown: Bool
        let until: NIODeadline
    }

    /// What each sender and each domain may have.
    private struct Allowance: Sendable {
        var senders = RecentTable<BareJID, Bucket>(limit: limit)
        var domains = RecentTable<String, Bucket>(limit: limit)

        /// Takes a token of the sender's and one of its domain's, if both have one.
        mutating func take(_ sender: BareJID, _ rate: Int, _ now: NIODeadline) -> Bool {
            let domainRate = rate * Strangers.domainFactor
            var bucket = senders[sender] ?? Bucket(tokens: Double(rate), filledAt: now)
            var domain = domains[sender.domain] ?? Bucket(tokens: Double(domainRate), filledAt: now)
            bucket.fill(rate, now)
            domain.fill(domainRate, now)
            let isAllowed = bucket.tokens >= 1 && domain.tokens >= 1
            if isAllowed {
                bucket.tokens -= 1
                domain.tokens -= 1
            }
            senders[sender] = bucket
            domains[sender.domain] = domain
            return isAllowed
        }
    }

    private struct State {
        var stanzas = Allowance()
        var questions = Allowance()
        var lookups = Allowance()
        var verdicts = RecentTable<Acquaintance, Verdict>(limit: limit)
        /// Of whom the database is being asked, and how often: what they send meanwhile waits.
        var asked: [Acquaintance: Int] = [:]
    }

    enum Answer { case admit, refuse, ask }

    private let state = Mutex(State())

    /// Whether something may come in.
    ///
    /// - Parameters:
    ///   - rate: what one sender may send in a minute.
    ///   - isLookup: whether it is something that the database has to answer anyway. Of that a
    ///     stranger has as much again: a mass login must not use up what messages need.
    ///   - isKnown: whether the memory of who is online says that they know each other.
    func admit(
        _ pair: Acquaintance, rate: Int, isLookup: Bool = false, now: NIODeadline,
        isKnown: () -> Bool = { false }
    ) -> Answer {
        state.withLock { state in
            if let count = state.asked[pair] {
                state.asked[pair] = count + 1
                return .ask
            }
            let verdict = state.verdicts[pair].flatMap { $0.until > now ? $0 : nil }
            if verdict?.isKnown == true { return .admit }
            if verdict == nil, isKnown() {
                state.verdicts[pair] = Verdict(isKnown: true, until: now + Self.knownTime)
                return .admit
            }
            let isWithinRate =
                isLookup
                ? state.lookups.take(pair.contact, rate, now)
                : state.stanzas.take(pair.contact, rate, now)
            if isWithinRate { return .admit }
            guard verdict == nil, state.questions.take(pair.contact, Self.questionRate, now)
            else { return .refuse }
            state.asked[pair] = 1
            return .ask
        }
    }

    /// What the database said, when something that waited for that goes on; nil if it could not
    /// say.
    func conclude(_ pair: Acquaintance, isKnown: Bool?, now: NIODeadline) {
        state.withLock { state in
            let count = (state.asked[pair] ?? 1) - 1
            state.asked[pair] = count > 0 ? count : nil
            guard let isKnown else { return }
            state.verdicts[pair] = Verdict(
                isKnown: isKnown, until: now + (isKnown ? Self.knownTime : Self.unknownTime))
        }
    }

    /// An account has written to somebody.
    func note(_ contact: BareJID, isKnownTo account: BareJID, now: NIODeadline) {
        let verdict = Verdict(isKnown: true, until: now + Self.knownTime)
        state.withLock { state in
            state.verdicts[Acquaintance(account: account, contact: contact)] = verdict
        }
    }
}
