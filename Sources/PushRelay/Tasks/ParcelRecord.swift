// What is written down of a parcel: what became of each member, and what is tried again.

internal import Addresses
internal import Storage

/// What is known of a parcel's members, besides what holds for all.
struct ParcelOutcome: Sendable {
    var members: [ParcelMember] = []
    /// By the target.
    var answers: [Int64: PushAnswer] = [:]

    init(_ members: [ParcelMember] = []) { self.members = members }
}

struct ParcelRecord: DeliveryRecord {
    let item: DeliveryItem
    let outcome: ParcelOutcome
    /// Of the members of which the outcome says nothing else.
    let answer: PushAnswer
    let end: DeliveryEnd
    let now: PushMoment
    let wakeups: Wakeups
    let batchSize: @Sendable (ProviderKind, String) -> Int

    private var seconds: Int64 { now.wall / 1000 }

    /// What is gathered while it is written.
    private struct Work {
        var counts = PushTaskCounts()
        var written = Written()
        /// Those that are tried again by themselves, by how often they failed and when.
        var later: [(target: Int64, badge: Int64?, due: Int64)] = []
        /// Those that another token is tried for, by the way that it goes.
        var passed: [Way: [(target: Int64, badge: Int64?)]] = [:]
    }

    private struct Way: Hashable {
        var circuit: String
        var provider: ProviderKind
        var app: String
        var hasNext: Bool
    }

    func write(_ connection: Connection) throws -> Written {
        guard let parcel = item.parcel,
            let row = try ParcelStore.find(connection, parcel.id)
        else { return Written() }
        var work = Work()
        for member in outcome.members { try write(member, parcel, &work, connection) }
        switch end {
        case .waiting: break
        case .sent:
            try noteSent(parcel, connection)
            work.counts.sent += try ParcelStore.endAll(
                connection, parcel, .sent, nil, now: now.wall)
        case .later(let due, let tries):
            try ParcelStore.noteResult(connection, parcel, answer, now: seconds)
            try ParcelStore.postpone(connection, parcel.id, due: due, tries: tries)
            try PushQueueStore.count(connection, item.booked, retried: 1)
            try keepRest(parcel, connection)
            work.written.next = due
        case .passedOn, .dead(disables: true):
            for member in try ParcelStore.members(connection, parcel) {
                try settle(member, parcel, answer, &work, connection)
            }
            try ParcelStore.remove(connection, parcel.id)
        case .dead(disables: false):
            try ParcelStore.noteResult(connection, parcel, answer, now: seconds)
            let count = try ParcelStore.endAll(
                connection, parcel, .failed, answer, now: now.wall)
            work.counts.failed += count
            work.written.failed[answer.reason, default: 0] += count
        }
        try insertLater(row, &work, connection)
        try insertPassed(row, &work, connection)
        try PushTaskStore.count(connection, parcel.task, item.booked, work.counts)
        return work.written
    }

    // MARK: Members

    private func write(
        _ member: ParcelMember, _ parcel: Parcel, _ work: inout Work, _ connection: Connection
    ) throws {
        guard member.target != nil else {
            let isEnded = try ParcelStore.end(
                connection, parcel, member.id, .dropped, nil, now: now.wall)
            work.counts.dropped += isEnded ? 1 : 0
            return
        }
        guard let answer = outcome.answers[member.id] else { return }
        try settle(member, parcel, answer, &work, connection)
    }

    /// What follows for a member that did not get it: its device's next token is tried, or it is tried
    /// again, or given up.
    private func settle(
        _ member: ParcelMember, _ parcel: Parcel, _ answer: PushAnswer, _ work: inout Work,
        _ connection: Connection
    ) throws {
        guard answer.outcome != .accepted else { return }
        var mayTryAgain = answer.isTemporary
        if case .invalidToken = answer.outcome {
            // One that registered anew meanwhile is not meant.
            mayTryAgain = try !disable(member, answer, &work, connection)
        }
        try PushTargetStore.noteFailure(
            connection, member.id, answer.reason, answer.code, isFinal: !mayTryAgain)
        if try passOn(member, parcel, &work, connection) { return }
        let tries = item.tries + 1
        let due =
            now.wall
            + Backoff.delay(tries: tries, wish: wish(answer), random: .random(in: 0...1))
        if mayTryAgain, tries < Backoff.mostTries, due < item.expires {
            let (badge, wasThere) = try ParcelStore.takeOut(connection, parcel, member.id)
            if wasThere { work.later.append((member.id, badge, due)) }
            return
        }
        // One that stays gone is gone.
        if mayTryAgain, answer.reason == .unregistered, tries >= Backoff.mostTries {
            _ = try disable(member, answer, &work, connection)
        }
        let isEnded = try ParcelStore.end(
            connection, parcel, member.id, .failed, answer, now: now.wall)
        guard isEnded else { return }
        work.counts.failed += 1
        work.written.failed[answer.reason, default: 0] += 1
    }

    /// Milliseconds that a provider wants to be left alone.
    private func wish(_ answer: PushAnswer) -> Int64? {
        switch answer.outcome {
        case .retry(_, let after): return after.map(Deliveries.milliseconds)
        case .quotaOfDay:
            let day: Int64 = 86_400_000
            return day - (now.wall + item.provider.dayOffset) % day
        case .accepted, .invalidToken, .rejected, .authorizationExpired: return nil
        }
    }

    /// A member is told by its device's next token. False if it has none.
    private func passOn(
        _ member: ParcelMember, _ parcel: Parcel, _ work: inout Work, _ connection: Connection
    ) throws -> Bool {
        guard let target = member.target,
            let next = try PushTargetStore.next(connection, after: target),
            try !ParcelStore.contains(connection, parcel.task, next.id)
        else { return false }
        let (badge, wasThere) = try ParcelStore.takeOut(connection, parcel, member.id)
        guard wasThere else { return true }
        work.counts.passedOn += 1
        work.written.passedOn[item.provider, default: 0] += 1
        let way = Way(
            circuit: next.circuit, provider: next.provider, app: next.app, hasNext: next.hasNext)
        work.passed[way, default: []].append((next.id, badge))
        return true
    }

    /// Its token is none, unless it has another one by now.
    /// False in that case.
    private func disable(
        _ member: ParcelMember, _ answer: PushAnswer, _ work: inout Work,
        _ connection: Connection
    ) throws -> Bool {
        guard let known = member.target,
            let target = try PushTargetStore.target(connection, member.id),
            target.secret == known.secret
        else { return false }
        if case .invalidToken(_, let since?) = answer.outcome, target.refreshed > since {
            return false
        }
        guard target.disabledAt == nil else { return true }
        try PushTargetStore.disable(
            connection, member.id, answer.reason, answer.code, now: seconds)
        work.written.invalidated[item.provider, default: 0] += 1
        return true
    }

    // MARK: The others

    private func noteSent(_ parcel: Parcel, _ connection: Connection) throws {
        try ParcelStore.noteResult(connection, parcel, answer, now: seconds)
        guard item.isInOtherEnvironment else { return }
        for member in outcome.members {
            guard let target = member.target else { continue }
            try wakeups.keys.keepEnvironment(of: target.id, target.secret, connection)
        }
    }

    /// A parcel that stays knows how many are left, and goes with the last.
    private func keepRest(_ parcel: Parcel, _ connection: Connection) throws {
        let left = try ParcelStore.count(connection, parcel)
        if left == 0 {
            try ParcelStore.remove(connection, parcel.id)
        } else if left != parcel.count {
            try ParcelStore.setCount(connection, parcel.id, left)
        }
    }

    private func insertLater(
        _ row: ParcelRow, _ work: inout Work, _ connection: Connection
    ) throws {
        // Those of one minute go together.
        for members in Dictionary(grouping: work.later, by: { $0.due / 60_000 }).values {
            let content = ParcelStore.Content(
                task: row.parcel.task, circuit: row.circuit, provider: row.provider, app: row.app,
                // Who had another token has it no more.
                hasNext: false, due: members.map(\.due).max() ?? now.wall, expires: row.expires,
                tries: item.tries + 1,
                members: members.map { ($0.target, $0.badge) }.sorted { $0.0 < $1.0 })
            try PushQueueStore.count(connection, item.booked, retried: members.count)
            if let parcel = try ParcelStore.insert(connection, content, added: row.added) {
                work.written.postponed.append(parcel)
            }
        }
    }

    private func insertPassed(
        _ row: ParcelRow, _ work: inout Work, _ connection: Connection
    ) throws {
        for (way, members) in work.passed {
            var counts = PushTaskCounts()
            counts.requested = members.count
            try PushTaskStore.count(connection, row.parcel.task, way.provider, counts)
            let size = max(1, batchSize(way.provider, way.app))
            let sorted = members.sorted { $0.target < $1.target }
            for start in stride(from: 0, to: sorted.count, by: size) {
                let content = ParcelStore.Content(
                    task: row.parcel.task, circuit: way.circuit, provider: way.provider,
                    app: way.app, hasNext: way.hasNext, due: now.wall, expires: row.expires,
                    members: Array(sorted[start..<min(start + size, sorted.count)]))
                if let parcel = try ParcelStore.insert(connection, content, added: row.added) {
                    work.written.parcels.append(parcel)
                }
            }
        }
    }
}
