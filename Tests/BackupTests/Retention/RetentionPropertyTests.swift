import Foundation
import Testing

@testable import Backup

/// Retention's rules, held over ten thousand random histories. What is expected is said here once
/// more, slowly and in another way: with Foundation's calendar, by counting
/// instead of walking.
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

    /// The periods that a time lies in, in Foundation's calendar.
    private static func periods(_ time: Int64, _ zone: TimeZoneRules) -> [String] {
        var calendar = Calendar(identifier: .iso8601)
        let offset = zone.offset(at: time)
        calendar.timeZone = TimeZone(secondsFromGMT: 0) ?? .current
        let date = Date(timeIntervalSince1970: Double(time + Int64(offset)))
        let parts = calendar.dateComponents(
            [.year, .month, .day, .hour, .weekOfYear, .yearForWeekOfYear], from: date)
        let day = "\(parts.year ?? 0)-\(parts.month ?? 0)-\(parts.day ?? 0)"
        return [
            // Of an hour that comes twice, the coming is told by the offset's hours.
            "\(day) \(parts.hour ?? 0) \(offset / 3_600)", day,
            "\(parts.yearForWeekOfYear ?? 0) W\(parts.weekOfYear ?? 0)",
            "\(parts.year ?? 0)-\(parts.month ?? 0)", "\(parts.year ?? 0)",
        ]
    }

    /// Whether a rule keeps a snapshot: it is the newest of its period, and fewer than `count`
    /// periods have a newer one.
    private static func expected(_ history: History) -> Set<Int> {
        let counting = history.snapshots.filter { $0.isComplete && $0.id.time <= history.now }
        let names = Dictionary(
            uniqueKeysWithValues: counting.map {
                ($0.id.sequence, periods($0.id.time, history.zone))
            })
        var kept: Set<Int> = []
        let policy = history.policy
        let counts = [policy.hourly, policy.daily, policy.weekly, policy.monthly, policy.yearly]
        for snapshot in history.snapshots {
            let sequence = snapshot.id.sequence
            let time = snapshot.id.time
            let whole = history.snapshots.filter(\.isComplete).map(\.id.sequence)
            let newerWhole = whole.count { $0 > sequence }
            let verified = history.snapshots.filter { $0.isComplete && $0.isVerified }
            var stays = snapshot.isPinned || time > history.now || history.snapshots.count == 1
            stays = stays || (snapshot.isComplete && newerWhole < 2)
            stays = stays || verified.map(\.id.sequence).max() == sequence
            if let within = policy.within { stays = stays || time > history.now - within }
            if let own = names[sequence] {
                let newer = counting.map(\.id.sequence).filter { $0 > sequence }
                stays = stays || newer.count < policy.last
                for (index, count) in counts.enumerated() {
                    let newerPeriods = Set(newer.compactMap { names[$0]?[index] })
                    if !newerPeriods.contains(own[index]), newerPeriods.count < count {
                        stays = true
                    }
                }
            }
            if stays { kept.insert(sequence) }
        }
        return kept
    }

    @Test("Ten thousand histories are pruned as the rules say, and a second time changes nothing")
    func rules() throws {
        var random = SeededGenerator(seed: 1)
        let zones = try Self.zones()
        var deleted = 0
        for round in 0..<10_000 {
            let history = try Self.history(&random, zones)
            let decisions = history.decide()
            let left = history.left(decisions)
            deleted += history.snapshots.count - left.count
            let sequences = Set(left.map(\.id.sequence))
            let expected = Self.expected(history)
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
            let needed = Self.expected(minimal).union(before.suffix(2))
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
