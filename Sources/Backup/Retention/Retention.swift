// Which snapshots go. Nothing is deleted in here, and nothing is asked: the same question has the
// same answer.

/// What retention has to know of one snapshot.
struct RetentionSnapshot: Sendable, Equatable {
    /// Its name. The sequence decides the order; the time, which may be wrong, only the period.
    var id: SnapshotID
    /// Whether it has been read back, wholly or in part, without a fault.
    var isVerified = false
    /// Whether somebody said that it stays.
    var isPinned = false
    /// False when a check found that it is damaged: then it takes no other one's place and counts as
    /// nothing that is safe, but stays as long as if it were sound: most of it is.
    var isComplete = true
}

/// How the job does.
struct RetentionHealth: Sendable, Equatable {
    /// While runs fail, what there is may be all there will be: nothing is deleted.
    var lastRunFailed = false
    /// Seconds between two runs; nil when that is not known.
    var period: Int64?
    /// Nothing is deleted either when the newest is older than so many periods.
    var patience: Int64 = 3
}

/// What becomes of one snapshot.
struct RetentionDecision: Sendable, Equatable {
    /// Why one is kept or not, for people.
    enum Reason: Sendable, Equatable {
        case last, hourly, daily, weekly, monthly, yearly, within
        case pinned, newestVerified, verifiedUnderPressure, newestTwo, only, inFuture
        /// Nothing is deleted now: runs fail, or there are none.
        case frozenByFailure, frozenByAge
        /// Enough is deleted for this time.
        case later
        /// No rule asks for it.
        case notNeeded
        /// A rule asks for it, but there is no space.
        case noSpace
    }

    let id: SnapshotID
    let keep: Bool
    let reasons: [Reason]

    /// The reasons in words.
    var sentence: String { reasons.map(\.words).joined(separator: ", ") }
}

extension RetentionDecision.Reason {
    /// For `prune --dry-run`.
    var words: String {
        switch self {
        case .last: "one of the last"
        case .hourly: "newest of its hour"
        case .daily: "newest of its day"
        case .weekly: "newest of its week"
        case .monthly: "newest of its month"
        case .yearly: "newest of its year"
        case .within: "young enough"
        case .pinned: "pinned"
        case .newestVerified: "the newest that is verified"
        case .verifiedUnderPressure: "one of the two newest that are verified"
        case .newestTwo: "one of the two newest"
        case .only: "the only one"
        case .inFuture: "its time is in the future: a clock was wrong"
        case .frozenByFailure: "nothing is deleted after a run that failed"
        case .frozenByAge: "nothing is deleted while there are no new snapshots"
        case .later: "enough is deleted for this time"
        case .notNeeded: "no rule needs it"
        case .noSpace: "there is no space for it"
        }
    }
}

/// Grandfather, father, son.
enum Retention {
    /// Deletions of one run at most: they are slow, and each could be a mistake.
    static let mostDeletions = 50

    /// Decides. Never deleted are: the newest verified snapshot, the newest two that are complete,
    /// pinned ones, those that are young enough, those from the future, and the only one.
    ///
    /// - Parameters:
    ///   - now: seconds since 1970.
    ///   - zone: what decides where days begin.
    ///   - mustFree: there is no space for the next snapshot. Then the rules for periods protect
    ///     nothing, but two verified snapshots stay; failed runs do not hinder, for the lack of
    ///     space may be why they fail.
    ///   - most: deletions at most, oldest first.
    /// - Returns: a decision for each snapshot, oldest first.
    static func decide(
        _ snapshots: [RetentionSnapshot], policy: RetentionPolicy, now: Int64,
        zone: TimeZoneRules, health: RetentionHealth, mustFree: Bool = false,
        most: Int = mostDeletions
    ) -> [RetentionDecision] {
        let newestFirst = snapshots.sorted { $1.id < $0.id }
        let inner = protections(newestFirst, policy, now, mustFree)
        let rules = periods(newestFirst.filter(\.isComplete), policy, now, zone)
            .merging(periods(newestFirst, policy, now, zone)) { sound, _ in sound }
        let frozen = mustFree ? nil : freeze(newestFirst, now, health)

        var deletions: Set<SnapshotID> = []
        if frozen == nil {
            let oldestFirst = newestFirst.reversed().filter { inner[$0.id] == nil }
            let unneeded = oldestFirst.filter { rules[$0.id] == nil }
            let needed = mustFree ? oldestFirst.filter { rules[$0.id] != nil } : []
            let damaged = needed.filter { !$0.isComplete }
            deletions = Set(
                (unneeded + damaged + needed.filter(\.isComplete)).prefix(max(0, most)).map(\.id))
        }
        return newestFirst.reversed().map { snapshot in
            let id = snapshot.id
            let asks = (inner[id] ?? []) + (rules[id] ?? [])
            if deletions.contains(id) {
                let reason: RetentionDecision.Reason = asks.isEmpty ? .notNeeded : .noSpace
                return RetentionDecision(id: id, keep: false, reasons: [reason])
            }
            if !asks.isEmpty { return RetentionDecision(id: id, keep: true, reasons: asks) }
            return RetentionDecision(id: id, keep: true, reasons: [frozen ?? .later])
        }
    }

    /// What to delete, in the order in which to do it: first what no rule needs, the oldest first.
    /// Who only wants space can stop when there is enough.
    static func deletions(_ decisions: [RetentionDecision]) -> [SnapshotID] {
        let deletions = decisions.filter { !$0.keep }
        return
            (deletions.filter { $0.reasons == [.notNeeded] }
            + deletions.filter { $0.reasons != [.notNeeded] }).map(\.id)
    }

    private typealias Reasons = [SnapshotID: [RetentionDecision.Reason]]

    /// What no rule and no lack of space touches.
    private static func protections(
        _ newestFirst: [RetentionSnapshot], _ policy: RetentionPolicy, _ now: Int64,
        _ mustFree: Bool
    ) -> Reasons {
        var reasons: Reasons = [:]
        func note(_ reason: RetentionDecision.Reason, _ snapshots: some Sequence<RetentionSnapshot>)
        {
            for snapshot in snapshots { reasons[snapshot.id, default: []].append(reason) }
        }
        let complete = newestFirst.filter(\.isComplete)
        let verified = complete.filter(\.isVerified)
        note(.pinned, newestFirst.filter(\.isPinned))
        note(.newestVerified, verified.prefix(1))
        if mustFree { note(.verifiedUnderPressure, verified.prefix(2)) }
        note(.newestTwo, complete.prefix(2))
        if let within = policy.within {
            note(.within, newestFirst.filter { $0.id.time <= now && now - $0.id.time < within })
        }
        note(.inFuture, newestFirst.filter { $0.id.time > now })
        if newestFirst.count == 1 { note(.only, newestFirst) }
        return reasons
    }

    /// What stands for its period. Snapshots from the future take no other's place.
    private static func periods(
        _ newestFirst: [RetentionSnapshot], _ policy: RetentionPolicy, _ now: Int64,
        _ zone: TimeZoneRules
    ) -> Reasons {
        var reasons: Reasons = [:]
        let candidates = newestFirst.filter { $0.id.time <= now }
        for snapshot in candidates.prefix(max(0, policy.last)) {
            reasons[snapshot.id, default: []].append(.last)
        }
        let classes: [(RetentionDecision.Reason, count: Int, period: (Int64) -> Int64)] = [
            (
                .hourly, policy.hourly,
                { time in
                    // By the clocks' minutes, but not by their hours, of which one comes twice.
                    floor(time + Int64(zone.offset(at: time) % 3_600), 3_600)
                }
            ),
            (.daily, policy.daily, { floor(zone.local($0), 86_400) }),
            // 1970-01-01 was a Thursday.
            (.weekly, policy.weekly, { floor(floor(zone.local($0), 86_400) + 3, 7) }),
            (
                .monthly, policy.monthly,
                { time in
                    let day = CivilDay(daysSince1970: Int(floor(zone.local(time), 86_400)))
                    return Int64(day.year * 12 + day.month)
                }
            ),
            (
                .yearly, policy.yearly,
                { Int64(CivilDay(daysSince1970: Int(floor(zone.local($0), 86_400))).year) }
            ),
        ]
        for (reason, count, period) in classes where count > 0 {
            var seen: Set<Int64> = []
            for snapshot in candidates where seen.insert(period(snapshot.id.time)).inserted {
                reasons[snapshot.id, default: []].append(reason)
                if seen.count >= count { break }
            }
        }
        return reasons
    }

    /// Why nothing may be deleted now.
    private static func freeze(
        _ newestFirst: [RetentionSnapshot], _ now: Int64, _ health: RetentionHealth
    ) -> RetentionDecision.Reason? {
        if health.lastRunFailed { return .frozenByFailure }
        guard let period = health.period, period > 0 else { return nil }
        // A century is enough for every period, and does not overflow.
        let patience = min(period, 3_200_000_000) * min(max(health.patience, 1), 1_000)
        let newest = newestFirst.first { $0.isComplete && $0.id.time <= now }
        guard let newest else { return .frozenByAge }
        return now - newest.id.time > patience ? .frozenByAge : nil
    }

    private static func floor(_ value: Int64, _ divisor: Int64) -> Int64 {
        let (quotient, remainder) = value.quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? quotient - 1 : quotient
    }
}
