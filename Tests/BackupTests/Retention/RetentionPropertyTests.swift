import Foundation
import Testing

@testable import Backup

/// Retention's rules, held over ten thousand random histories. What is expected is said here once
/// more, slowly and in another way: with Foundation's calendar, by periods
/// instead of snapshots.
@Suite("Retention of random histories")
struct RetentionPropertyTests {
    private struct History {
        var snapshots: [RetentionSnapshot] = []
        var policy = RetentionPolicy.minimal
        var now: Int64 = 0
        var health = RetentionHealth()
        var zone = TimeZoneRules.utc

        func decide(
            _ snapshots: [RetentionSnapshot]? = nil, now: Int64? = nil, mustFree: Bool = false,
            most: Int = 100_000
        ) -> [RetentionDecision] {
            Retention.decide(
                snapshots ?? self.snapshots, policy: policy, now: now ?? self.now, zone: zone,
                health: health, mustFree: mustFree, most: most)
        }

        func left(_ decisions: [RetentionDecision]) -> [RetentionSnapshot] {
            let kept = Set(decisions.filter(\.keep).map(\.id))
            return snapshots.filter { kept.contains($0.id) }
        }
    }

    private static func history(
        _ random: inout SeededGenerator, _ zones: [TimeZoneRules], orderly: Bool = false
    ) throws -> History {
        var history = History()
        history.zone = zones.randomElement(using: &random) ?? .utc
        let spacings: [Int64] = [600, 3_600, 20_000, 86_400, 7 * 86_400, 40 * 86_400]
        let spacing = spacings.randomElement(using: &random) ?? 3_600
        var time = at(2024, 1, 1) + Int64.random(in: 0...80_000_000, using: &random)
        let verifiedOf = Int.random(in: 1...10, using: &random)
        for sequence in 1...Int.random(in: 1...60, using: &random) {
            switch Int.random(in: 0...19, using: &random) {
            case 0: time += spacing * Int64.random(in: 5...60, using: &random)
            // Equal times, and clocks that go back.
            case 1: break
            case 2 where !orderly:
                time -= spacing * Int64.random(in: 1...30, using: &random)
            default: time += spacing + Int64.random(in: -200...200, using: &random)
            }
            history.snapshots.append(
                try RetentionTests.snapshot(
                    sequence, time,
                    verified: Int.random(in: 0...verifiedOf, using: &random) == 0,
                    pinned: Int.random(in: 0...19, using: &random) == 0,
                    complete: Int.random(in: 0...19, using: &random) != 0))
        }
        // Before the end now and then: the rest is from the future.
        history.now = time + Int64.random(in: -10 * spacing...3 * spacing, using: &random)
        func count(_ most: Int) -> Int {
            Bool.random(using: &random) ? 0 : Int.random(in: 0...most, using: &random)
        }
        history.policy = RetentionPolicy(
            last: count(8), hourly: count(30), daily: count(10), weekly: count(6),
            monthly: count(8), yearly: count(4),
            within: Bool.random(using: &random)
                ? nil : Int64.random(in: 1...20 * spacing, using: &random))
        return history
    }

    private static func zones() throws -> [TimeZoneRules] {
        try ["Europe/Berlin", "America/St_Johns", "Pacific/Apia"].map {
            try TimeZoneRules.named($0)
        } + [.utc]
    }

    /// What Foundation's calendar says of days, each of which it is asked once.
    private struct Days {
        private var calendar = Calendar(identifier: .iso8601)
        private var known: [Int64: [Int64]] = [:]

        init() { calendar.timeZone = TimeZone(secondsFromGMT: 0) ?? .current }

        /// The day, week, month and year.
        mutating func periods(of day: Int64) -> [Int64] {
            if let known = known[day] { return known }
            let parts = calendar.dateComponents(
                [.year, .month, .day, .weekOfYear, .yearForWeekOfYear],
                from: Date(timeIntervalSince1970: Double(day) * 86_400))
            let (year, month) = (Int64(parts.year ?? 0), Int64(parts.month ?? 0))
            let periods = [
                (year * 100 + month) * 100 + Int64(parts.day ?? 0),
                Int64(parts.yearForWeekOfYear ?? 0) * 100 + Int64(parts.weekOfYear ?? 0),
                year * 100 + month, year,
            ]
            known[day] = periods
            return periods
        }

        /// The periods that a time after 1970 lies in: the hour, and those of its day.
        mutating func periods(_ time: Int64, _ zone: TimeZoneRules) -> [Int64] {
            let offset = Int64(zone.offset(at: time))
            let hours = (time + offset) / 3_600
            // Of an hour that comes twice, the coming is told by the offset's hours.
            return [hours * 100 + offset / 3_600] + periods(of: hours / 24)
        }
    }

    /// What a policy keeps: of each period the newest snapshot, of so many of the latest periods;
    /// and what stays whatever the policy says.
    private static func expected(_ history: History, _ days: inout Days) -> Set<Int> {
        let snapshots = history.snapshots
        let whole = snapshots.filter(\.isComplete)
        let counting = whole.filter { $0.id.time <= history.now }
        let policy = history.policy
        var kept = Set(
            snapshots.filter { $0.isPinned || $0.id.time > history.now }.map(\.id.sequence))
        if snapshots.count == 1 { kept.formUnion(snapshots.map(\.id.sequence)) }
        kept.formUnion(whole.map(\.id.sequence).sorted().suffix(2))
        kept.formUnion(whole.filter(\.isVerified).map(\.id.sequence).sorted().suffix(1))
        if let within = policy.within {
            kept.formUnion(
                snapshots.filter { $0.id.time > history.now - within }.map(\.id.sequence))
        }
        // A damaged one stays where it would if nobody had looked, beside the sound ones.
        for counting in [counting, snapshots.filter { $0.id.time <= history.now }] {
            kept.formUnion(counting.map(\.id.sequence).sorted().suffix(policy.last))
            let counts = [
                policy.hourly, policy.daily, policy.weekly, policy.monthly, policy.yearly,
            ]
            var newest = counts.map { _ in [Int64: Int]() }
            for snapshot in counting {
                for (index, period) in days.periods(snapshot.id.time, history.zone).enumerated() {
                    newest[index][period] = max(newest[index][period] ?? 0, snapshot.id.sequence)
                }
            }
            for (index, count) in counts.enumerated() {
                kept.formUnion(newest[index].values.sorted().suffix(count))
            }
        }
        return kept
    }

    @Test("Ten thousand histories are pruned as the rules say, and a second time changes nothing")
    func rules() throws {
        var random = SeededGenerator(seed: 1)
        let zones = try Self.zones()
        var calendar = Days()
        var deleted = 0
        for round in 0..<10_000 {
            let history = try Self.history(&random, zones)
            let decisions = history.decide()
            let left = history.left(decisions)
            deleted += history.snapshots.count - left.count
            let sequences = Set(left.map(\.id.sequence))
            let expected = Self.expected(history, &calendar)
            if sequences != expected {
                Issue.record(
                    "round \(round): \(sequences.symmetricDifference(expected)) \(history)")
                return
            }
            #expect(decisions.map(\.id) == history.snapshots.map(\.id).sorted())
            #expect(decisions.allSatisfy { !$0.reasons.isEmpty })
            let again = history.decide(left)
            #expect(again.allSatisfy { $0.keep }, "round \(round)")
            // Nothing depends on the order in which they are named.
            #expect(history.decide(history.snapshots.shuffled(using: &random)) == decisions)
            // Never less than the policy can have.
            let counting = history.snapshots.filter { $0.isComplete && $0.id.time <= history.now }
            #expect(left.count >= min(history.policy.last, counting.count))
            // All of these times are after 1970, so that whole days are counted right.
            func days(_ snapshots: [RetentionSnapshot]) -> Set<Int64> {
                Set(snapshots.map { history.zone.local($0.id.time) / 86_400 })
            }
            let leftDays = days(left.filter(\.isComplete))
            #expect(leftDays.count >= min(history.policy.daily, days(counting).count))
        }
        #expect(deleted > 50_000)
    }

    @Test("A failed run freezes everything, and a cap delays but does not change the end")
    func freezing() throws {
        var random = SeededGenerator(seed: 2)
        let zones = try Self.zones()
        for _ in 0..<500 {
            var history = try Self.history(&random, zones)
            let whole = history.left(history.decide())
            var rest = history.snapshots
            for _ in 0..<100 {
                let decisions = history.decide(rest, most: 3)
                let deletions = Set(Retention.deletions(decisions))
                #expect(deletions.count <= 3)
                if deletions.isEmpty { break }
                rest.removeAll { deletions.contains($0.id) }
            }
            #expect(rest == whole)
            history.health.lastRunFailed = true
            #expect(history.decide().allSatisfy { $0.keep })
        }
    }

    @Test("When space is needed, what may never go stays, and so do two verified ones")
    func pressure() throws {
        var random = SeededGenerator(seed: 3)
        let zones = try Self.zones()
        var calendar = Days()
        for _ in 0..<1_000 {
            var history = try Self.history(&random, zones)
            history.health.lastRunFailed = Bool.random(using: &random)
            let left = history.left(history.decide(mustFree: true))
            func verified(_ snapshots: [RetentionSnapshot]) -> [Int] {
                snapshots.filter { $0.isComplete && $0.isVerified }.map(\.id.sequence)
            }
            let before = verified(history.snapshots)
            #expect(verified(left).count >= min(2, before.count))
            #expect(verified(left).max() == before.max())
            var minimal = history
            minimal.policy = .minimal
            minimal.policy.within = history.policy.within
            minimal.health = RetentionHealth()
            let needed = Self.expected(minimal, &calendar).union(before.suffix(2))
            #expect(Set(left.map(\.id.sequence)) == needed)
        }
    }

    @Test("To prune after each run ends as to prune once at the end, also with clocks that go back")
    func stepwise() throws {
        var random = SeededGenerator(seed: 4)
        let zones = try Self.zones()
        for round in 0..<500 {
            let history = try Self.history(&random, zones)
            var rest: [RetentionSnapshot] = []
            var newest: Int64 = 0
            var gone: Set<SnapshotID> = []
            for snapshot in history.snapshots {
                rest.append(snapshot)
                newest = max(newest, snapshot.id.time)
                let decisions = history.decide(rest, now: newest)
                // What another snapshot has made superfluous is never wanted again.
                let all = history.snapshots.filter { $0.id.sequence <= snapshot.id.sequence }
                let wanted = Set(history.decide(all, now: newest).filter(\.keep).map(\.id))
                #expect(wanted.isDisjoint(with: gone))
                gone.formUnion(Retention.deletions(decisions))
                rest.removeAll { gone.contains($0.id) }
            }
            let once = history.decide(history.snapshots, now: newest).filter(\.keep).map(\.id)
            #expect(rest.map(\.id) == once, "round \(round)")
        }
    }
}
