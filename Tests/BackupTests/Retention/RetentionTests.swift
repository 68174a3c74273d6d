import Foundation
import Testing

@testable import Backup

@Suite("Retention")
struct RetentionTests {
    static let healthy = RetentionHealth()

    static func snapshot(
        _ sequence: Int, _ time: Int64, verified: Bool = false, pinned: Bool = false,
        complete: Bool = true
    ) throws -> RetentionSnapshot {
        RetentionSnapshot(
            id: try #require(SnapshotID(time: time, sequence: sequence)), isVerified: verified,
            isPinned: pinned, isComplete: complete)
    }

    /// One each night at 03:00 UTC, the last at `end`.
    static func nights(_ count: Int, end: Int64, verified: Set<Int> = []) throws
        -> [RetentionSnapshot]
    {
        try (1...count).map {
            try snapshot($0, end - Int64(count - $0) * 86_400, verified: verified.contains($0))
        }
    }

    private func kept(_ decisions: [RetentionDecision]) -> [Int] {
        decisions.filter(\.keep).map(\.id.sequence)
    }

    @Test("Without rules in the configuration: three last, seven days, four weeks, six months")
    func standard() throws {
        let now = at(2026, 11, 21, 12)
        // 400 nights; number 400 is Saturday 2026-11-21.
        let nights = try Self.nights(400, end: at(2026, 11, 21, 3))
        let decisions = Retention.decide(
            nights, policy: RetentionPolicy(), now: now, zone: .utc, health: Self.healthy,
            most: 1_000)
        // The week of the 16th; Sundays the 15th, 8th and 1st; the ends of October to June.
        #expect(
            kept(decisions)
                == [
                    // June 30, July 31, August 31, September 30, October 31
                    400 - 144, 400 - 113, 400 - 82, 400 - 52, 400 - 21,
                    // November 1 and 8, then the days from the 15th
                    380, 387, 394, 395, 396, 397, 398, 399, 400,
                ])
        #expect(decisions.last?.reasons == [.newestTwo, .last, .daily, .weekly, .monthly])
        #expect(decisions.first?.sentence == "no rule needs it")
    }

    @Test("Days begin where the zone has them begin, weeks on Monday")
    func zones() throws {
        let berlin = try TimeZoneRules.named("Europe/Berlin")
        // 2026-11-15 is a Sunday; 23:30 UTC is Monday in Berlin.
        let snapshots = try [
            Self.snapshot(1, at(2026, 11, 15, 22, 30)), Self.snapshot(2, at(2026, 11, 15, 23, 30)),
            Self.snapshot(3, at(2026, 11, 16, 12)), Self.snapshot(4, at(2026, 11, 23, 12)),
            Self.snapshot(5, at(2026, 11, 24, 12)), Self.snapshot(6, at(2026, 11, 25, 12)),
        ]
        var policy = RetentionPolicy.minimal
        policy.weekly = 3
        func kept(_ zone: TimeZoneRules) -> [Int] {
            self.kept(
                Retention.decide(
                    snapshots, policy: policy, now: at(2026, 11, 26), zone: zone,
                    health: Self.healthy))
        }
        #expect(kept(.utc) == [2, 3, 5, 6])
        #expect(kept(berlin) == [1, 3, 5, 6])
    }

    @Test("The hour that comes twice is two hours")
    func doubleHour() throws {
        let berlin = try TimeZoneRules.named("Europe/Berlin")
        let snapshots = try (1...6).map {
            try Self.snapshot($0, at(2026, 10, 24, 22, 10) + Int64($0) * 3_600)
        }
        var policy = RetentionPolicy.minimal
        policy.hourly = 6
        let decisions = Retention.decide(
            snapshots, policy: policy, now: at(2026, 10, 25, 12), zone: berlin,
            health: Self.healthy)
        #expect(kept(decisions) == [1, 2, 3, 4, 5, 6])
    }

    @Test("Damaged snapshots take no sound one's place, and go no sooner than if nobody had looked")
    func damaged() throws {
        var nights = try Self.nights(10, end: at(2026, 11, 21))
        for index in [6, 8, 9] { nights[index].isComplete = false }
        var policy = RetentionPolicy.minimal
        policy.last = 3
        policy.daily = 4
        func kept(mustFree: Bool = false, most: Int = 50) -> [Int] {
            self.kept(
                Retention.decide(
                    nights, policy: policy, now: at(2026, 11, 22), zone: .utc,
                    health: Self.healthy, mustFree: mustFree, most: most))
        }
        #expect(kept() == [4, 5, 6, 7, 8, 9, 10])
        for index in nights.indices { nights[index].isComplete = false }
        #expect(kept() == [7, 8, 9, 10], "all of them are damaged, and still history")
        for index in 0..<9 { nights[index].isComplete = true }
        nights = Array(nights.suffix(5))
        nights[1].isComplete = false
        #expect(kept(mustFree: true, most: 1) == [6, 8, 9, 10], "the damaged one goes first")
    }

    @Test("No rules at all still leave the newest verified one, the two newest, and what is pinned")
    func minimum() throws {
        var nights = try Self.nights(30, end: at(2026, 11, 21), verified: [3, 12])
        nights[4].isPinned = true
        nights[29].isComplete = false
        let decisions = Retention.decide(
            nights, policy: .minimal, now: at(2026, 11, 22), zone: .utc, health: Self.healthy)
        #expect(kept(decisions) == [5, 12, 28, 29])
        let one = try [Self.snapshot(1, at(2020, 1, 1), complete: false)]
        #expect(
            Retention.decide(
                one, policy: .minimal, now: at(2026, 1, 1), zone: .utc, health: Self.healthy
            ).map(\.reasons) == [[.only]])
        #expect(
            Retention.decide(
                [], policy: .minimal, now: 0, zone: .utc, health: Self.healthy
            ).isEmpty)
    }

    @Test(
        "Nothing is deleted after a run that failed, or when the newest one is old; it is said why")
    func frozen() throws {
        let nights = try Self.nights(30, end: at(2026, 11, 21))
        func reasons(_ now: Int64, _ health: RetentionHealth, mustFree: Bool = false)
            -> [RetentionDecision]
        {
            Retention.decide(
                nights, policy: .minimal, now: now, zone: .utc, health: health, mustFree: mustFree)
        }
        let failed = reasons(at(2026, 11, 21, 1), RetentionHealth(lastRunFailed: true))
        #expect(failed.allSatisfy { $0.keep })
        #expect(failed.first?.reasons == [.frozenByFailure])
        let health = RetentionHealth(period: 86_400)
        #expect(!reasons(at(2026, 11, 24), health).allSatisfy { $0.keep })
        let old = reasons(at(2026, 11, 24, 0, 0, 1), health)
        #expect(old.allSatisfy { $0.keep })
        #expect(old.first?.reasons == [.frozenByAge])
        // Lack of space may be why runs fail.
        let freed = reasons(
            at(2026, 11, 30), RetentionHealth(lastRunFailed: true, period: 86_400), mustFree: true)
        #expect(kept(freed) == [29, 30])
        #expect(
            reasons(.max, RetentionHealth(period: .max, patience: .max)).allSatisfy { $0.keep })
    }

    @Test("At most so many are deleted at a time, the oldest first")
    func cap() throws {
        let nights = try Self.nights(100, end: at(2026, 11, 21))
        let decisions = Retention.decide(
            nights, policy: .minimal, now: at(2026, 11, 21), zone: .utc, health: Self.healthy)
        #expect(Retention.deletions(decisions).map(\.sequence) == Array(1...50))
        #expect(decisions[50].reasons == [.later])
    }

    @Test("When space is needed, what no rule needs goes first, and two verified ones stay")
    func pressure() throws {
        let nights = try Self.nights(40, end: at(2026, 11, 21), verified: [2, 5, 9])
        let decisions = Retention.decide(
            nights, policy: RetentionPolicy(), now: at(2026, 11, 21), zone: .utc,
            health: Self.healthy,
            mustFree: true)
        #expect(kept(decisions) == [5, 9, 39, 40])
        let order = Retention.deletions(decisions).map(\.sequence)
        #expect(order.count == 36)
        // What a rule asks for comes last: the ends of weeks and months, then days.
        #expect(order.suffix(8) == [19, 20, 27, 34, 35, 36, 37, 38])
        #expect(order.first == 1)
        #expect(decisions[37].reasons == [.noSpace])
    }
}
