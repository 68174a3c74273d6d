import Foundation
import Testing

@testable import Backup

@Suite("When a job runs")
struct JobScheduleTests {
    /// A machine with a clock that may be wrong, on which a job's schedule is kept.
    private struct World {
        var job: JobSchedule
        var settings: JobSchedule.Settings
        var now: JobSchedule.Moment
        var conditions = RunConditions(clockIsRight: true)
        /// What became of the runs, one after the other; success when it is used up.
        var outcomes: [JobSchedule.Outcome] = []
        var runTime: Int64 = 120
        /// When runs began, and why.
        var runs: [(moment: JobSchedule.Moment, cause: JobMemory.Cause)] = []

        init(
            _ schedule: String, at wall: Int64, uptime: Int64 = 10_000,
            memory: JobMemory = JobMemory(),
            _ change: (inout JobSchedule.Settings) -> Void = { _ in }
        ) throws {
            settings = JobSchedule.Settings(schedule: try Schedule(schedule), zone: .utc)
            change(&settings)
            now = JobSchedule.Moment(wall: wall, uptime: uptime)
            job = JobSchedule(settings, memory: memory, at: now)
        }

        /// Lets so much time go by.
        mutating func pass(_ seconds: Int64) {
            let end = now.uptime + seconds
            while now.uptime < end {
                switch job.tick(now, conditions) {
                case .wait(let seconds): advance(min(seconds, end - now.uptime))
                case .run(let cause):
                    runs.append((now, cause))
                    job.began(at: now)
                    advance(runTime)
                    let outcome = outcomes.isEmpty ? .success : outcomes.removeFirst()
                    job.ended(outcome, at: now)
                }
            }
        }

        mutating func advance(_ seconds: Int64) {
            now.wall += seconds
            now.uptime += seconds
        }

        /// The program ends and starts again after a while.
        mutating func restart(after seconds: Int64, boots: Bool = false) throws {
            // As it would be read from disk.
            let data = try JSONEncoder().encode(job.memory)
            advance(seconds)
            if boots { now.uptime = 20 }
            job = JobSchedule(
                settings, memory: try JSONDecoder().decode(JobMemory.self, from: data), at: now)
        }

        var times: [Int64] { runs.map(\.moment.wall) }
        var causes: [JobMemory.Cause] { runs.map(\.cause) }
        var memory: JobMemory { job.memory }
    }

    private static let hour: Int64 = 3_600
    private static let day: Int64 = 86_400
    private static let year: Int64 = 365 * 86_400

    @Test("A job runs at its times, and waits from its first start on")
    func regular() throws {
        var world = try World("0 3 * * *", at: at(2026, 11, 21, 12))
        world.pass(3 * Self.day)
        #expect(world.times == [at(2026, 11, 22, 3), at(2026, 11, 23, 3), at(2026, 11, 24, 3)])
        #expect(world.causes == [.slot, .slot, .slot])
        #expect(world.memory.missed == 0 && world.memory.retries == 0)
        #expect(world.memory.lastSuccess == at(2026, 11, 24, 3, 2))
        #expect(world.memory.nextDue == at(2026, 11, 25, 3))
        #expect(world.job.nextRun == at(2026, 11, 25, 3))
    }

    @Test("Jitter delays every run by the same")
    func jitter() throws {
        var world = try World("0 * * * *", at: at(2026, 11, 21, 12)) { $0.delay = 1_000 }
        world.pass(3 * Self.hour)
        #expect(world.times == [12, 13, 14].map { at(2026, 11, 21, $0, 16, 40) })
    }

    @Test("@reboot is the start of the server, not a change of the configuration")
    func reloaded() throws {
        var world = try World("@reboot", at: at(2026, 11, 21, 12))
        world.pass(Self.hour)
        #expect(world.causes == [.start])
        world.job = JobSchedule(
            world.settings, memory: world.memory, at: world.now, isStart: false)
        world.pass(Self.hour)
        #expect(world.causes == [.start])
    }

    @Test("Ten missed runs are one that is caught up, after three minutes and the jitter")
    func missed() throws {
        var world = try World("0 3 * * *", at: at(2026, 11, 1, 12)) { $0.delay = 600 }
        world.pass(Self.day)
        #expect(world.runs.count == 1)
        try world.restart(after: 10 * Self.day, boots: true)
        world.now.uptime = 5_000
        world.job = JobSchedule(world.settings, memory: world.memory, at: world.now)
        let start = world.now
        world.pass(60)
        #expect(world.job.blocker == .grace)
        #expect(world.job.nextRun == start.wall + 780)
        world.pass(11 * Self.hour)
        #expect(world.causes == [.slot, .catchUp])
        #expect(world.runs[1].moment.uptime == start.uptime + 780)
        #expect(world.memory.missed == 10)
        world.pass(Self.day)
        #expect(world.runs.count == 3)
        #expect(world.memory.missed == 10)
    }

    @Test("Restarts again and again while a run is owed neither lose it nor repeat it")
    func restarts() throws {
        var world = try World("0 3 * * *", at: at(2026, 11, 1, 12))
        world.pass(Self.day)
        try world.restart(after: 2 * Self.day)
        for _ in 0..<5 {
            world.pass(100)
            try world.restart(after: 5)
        }
        #expect(world.runs.count == 1)
        #expect(world.memory.missed == 2)
        world.pass(300)
        #expect(world.causes == [.slot, .catchUp])
        try world.restart(after: 60)
        world.pass(Self.hour)
        #expect(world.runs.count == 2)
    }

    @Test("Nothing begins before the clock is right, and what went by meanwhile is caught up once")
    func wrongClock() throws {
        var memory = JobMemory()
        memory.schedule = "0 3 * * *"
        memory.settled = at(2026, 11, 18, 3)
        memory.lastAttempt = at(2026, 11, 18, 3)
        // No clock of its own: it boots in 1970.
        var world = try World("0 3 * * *", at: 100, uptime: 20, memory: memory)
        world.conditions.clockIsRight = false
        world.pass(2 * Self.hour)
        #expect(world.runs.isEmpty)
        #expect(world.job.blocker == .clock && world.memory.clockWaits == 1)
        #expect(world.job.nextRun == nil)
        world.now.wall = at(2026, 11, 21, 12)
        world.conditions.clockIsRight = true
        world.pass(Self.hour)
        #expect(world.causes == [.catchUp])
        #expect(world.memory.missed == 3)
        // The time server goes: the clock stays right.
        world.conditions.clockIsRight = false
        world.pass(Self.day)
        #expect(world.causes == [.catchUp, .slot])
        #expect(world.memory.clockWaits == 1)
    }

    @Test("A clock of which nothing is known counts after ten minutes, if it can be right")
    func unknownClock() throws {
        var memory = JobMemory()
        memory.schedule = "0 3 * * *"
        memory.settled = at(2026, 11, 18, 3)
        memory.lastSuccess = at(2026, 11, 18, 3)
        var world = try World("0 3 * * *", at: at(2026, 11, 20), uptime: 20, memory: memory)
        world.conditions = RunConditions()
        world.pass(570)
        #expect(world.runs.isEmpty && world.job.blocker == .clock)
        world.pass(60)
        #expect(world.causes == [.catchUp])
        // Behind what was stored last, by a month: not for a day.
        world = try World("0 3 * * *", at: at(2026, 10, 18), uptime: 20, memory: memory)
        world.conditions = RunConditions()
        world.pass(23 * Self.hour)
        #expect(world.runs.isEmpty && world.job.blocker == .implausibleClock)
        world.pass(5 * Self.hour)
        #expect(world.times == [at(2026, 10, 19, 3)])
        // The newest snapshot is known as well.
        world = try World("0 3 * * *", at: at(2026, 11, 20), uptime: 2_000, memory: memory)
        world.conditions = RunConditions()
        #expect(
            world.job.tick(world.now, RunConditions(), newestSnapshot: at(2026, 11, 21))
                == .wait(seconds: 10))
        #expect(world.job.blocker == .implausibleClock)
    }

    @Test(
        "It yields for four hours and then runs; on battery it never does",
        arguments: [
            (RunConditions(clockIsRight: true, isThrottled: true), RunBlocker.throttled),
            (RunConditions(clockIsRight: true, temperature: 80), .heat),
            (RunConditions(clockIsRight: true, isUnderLoad: true), .load),
            (RunConditions(clockIsRight: true, isOnBattery: true), .battery),
        ])
    func yields(conditions: RunConditions, blocker: RunBlocker) throws {
        var world = try World("0 3 * * *", at: at(2026, 11, 21, 2))
        world.conditions = conditions
        world.pass(Self.hour + 100)
        #expect(world.job.blocker == blocker && !blocker.sentence.isEmpty)
        world.pass(4 * Self.hour - 200)
        #expect(world.runs.isEmpty)
        world.pass(200)
        if blocker == .battery {
            world.pass(10 * Self.hour)
            #expect(world.runs.isEmpty)
            world.conditions.isOnBattery = false
            world.pass(60)
        }
        #expect(world.causes == [.slot])
        // The next one has its own four hours.
        world.pass(at(2026, 11, 22, 2) - world.now.wall)
        world.conditions = conditions
        world.pass(2 * Self.hour)
        #expect(world.runs.count == 1)
        world.conditions = RunConditions(clockIsRight: true, temperature: 79.9)
        world.pass(60)
        #expect(world.runs.count == 2)
    }

    @Test("A run that still waits when the next is due counts as missed, and is not made up for")
    func givenUp() throws {
        var world = try World("0 * * * *", at: at(2026, 11, 21, 2, 30))
        world.conditions.isOnBattery = true
        world.pass(3 * Self.hour)
        #expect(world.runs.isEmpty && world.memory.missed == 2)
        world.conditions.isOnBattery = false
        world.pass(20 * 60)
        #expect(world.causes == [.slot])
    }

    @Test("Hourly runs do not renew the patience of the one that waits")
    func patience() throws {
        var world = try World("0 * * * *", at: at(2026, 11, 21, 2, 30))
        world.conditions.isUnderLoad = true
        world.pass(5 * Self.hour)
        #expect(world.runs.count == 1)
    }

    @Test("Windows hold however long it has waited, and a run begins when they open")
    func windows() throws {
        let windows = try RunWindows(["22:00-06:00", "not 23:00-24:00"])
        var world = try World("0 12 * * *", at: at(2026, 11, 21, 11)) { $0.windows = windows }
        world.pass(2 * Self.hour)
        #expect(world.job.blocker == .window)
        #expect(world.job.nextRun == at(2026, 11, 21, 22))
        world.conditions.isUnderLoad = true
        world.pass(10 * Self.hour)
        #expect(world.runs.isEmpty)
        // Busy until the black-out begins.
        world.conditions.isUnderLoad = false
        world.pass(Self.hour + 60)
        #expect(world.times == [at(2026, 11, 22)])
    }

    @Test("What may be gone soon is retried after 5, 20 and 60 minutes, then at the next time")
    func retries() throws {
        var world = try World("0 3 * * *", at: at(2026, 11, 21, 2))
        world.outcomes = Array(repeating: .failed(.temporary), count: 5)
        world.pass(Self.day)
        #expect(world.causes == [.slot, .retry, .retry, .retry])
        let gaps = zip(world.times.dropFirst(), world.times).map { $0 - $1 - world.runTime }
        #expect(gaps == [300, 1_200, 3_600])
        #expect(world.memory.missed == 0 && world.memory.lastSuccess == nil)
        world.pass(Self.day)
        #expect(world.causes == [.slot, .retry, .retry, .retry, .slot, .retry])
        #expect(world.memory.retries == 0 && world.memory.lastSuccess != nil)
    }

    @Test("A new time ends the retries of the one before")
    func retriesEnd() throws {
        var world = try World("*:0/10", at: at(2026, 11, 21, 2, 5))
        world.outcomes = Array(repeating: .failed(.temporary), count: 4)
        world.pass(30 * 60)
        // 2:10 fails, 2:17 fails, 2:20 fails, 2:27 fails, 2:30 succeeds.
        #expect(world.causes == [.slot, .retry, .slot, .retry, .slot])
    }

    @Test(
        "What somebody has to mend is not retried before the next time",
        arguments: [
            BackupError.Code.permanent, .full, .fullSource, .foreign, .damaged, .suspicious,
            .cancelled, .key,
        ])
    func permanent(code: BackupError.Code) throws {
        var world = try World("0 3 * * *", at: at(2026, 11, 21, 2))
        world.outcomes = [.failed(code)]
        world.pass(24 * Self.hour)
        #expect(world.runs.count == 1)
        world.pass(2 * Self.hour)
        #expect(world.causes == [.slot, .slot])
    }

    @Test("An absent target is looked for every quarter of an hour, and the last success stays old")
    func absent() throws {
        var world = try World("0 3 * * *", at: at(2026, 11, 21, 2))
        world.outcomes = Array(repeating: .failed(.absent), count: 1_000)
        world.pass(4 * Self.hour)
        #expect(world.runs.count == 11)
        #expect(world.causes.dropFirst().allSatisfy { $0 == .absent })
        #expect(world.memory.lastSuccess == nil && world.memory.skipped == 11)
        world.outcomes = []
        world.pass(20 * 60)
        #expect(world.memory.lastSuccess != nil && world.runs.count == 12)
        world.pass(19 * Self.hour)
        #expect(world.runs.count == 12)
    }

    @Test("A run that is longer than the period is followed by the next time, not by all missed")
    func longRun() throws {
        var world = try World("0 * * * *", at: at(2026, 11, 21, 2, 30))
        world.runTime = 3 * Self.hour + 600
        world.pass(5 * Self.hour)
        #expect(world.times == [at(2026, 11, 21, 3), at(2026, 11, 21, 7)])
        // 4, 5 and 6 o'clock, and then 8, 9 and 10.
        #expect(world.memory.missed == 6)
    }

    @Test("A run that was cut off is made up for after the start, but not for ever")
    func cutOff() throws {
        var world = try World("0 3 * * *", at: at(2026, 11, 21, 2))
        world.pass(Self.hour - 60)
        // The machine dies in every run.
        for round in 0..<6 {
            var isBegun = false
            while !isBegun, world.now.wall < at(2026, 11, 21, 12) {
                switch world.job.tick(world.now, world.conditions) {
                case .wait(let seconds): world.advance(seconds)
                case .run(let cause):
                    #expect(cause == (round == 0 ? .slot : .interrupted))
                    world.job.began(at: world.now)
                    isBegun = true
                }
            }
            #expect(isBegun == (round < 4))
            if isBegun { try world.restart(after: 30, boots: true) }
        }
        // A planned stop is no failure of the run.
        world.outcomes = [.interrupted]
        world.pass(at(2026, 11, 22, 3, 5) - world.now.wall)
        try world.restart(after: 30)
        #expect(world.memory.owed != nil)
        world.pass(600)
        #expect(world.memory.lastSuccess != nil && world.memory.owed == nil)
    }

    @Test("@reboot is a run after each start, and no other")
    func reboot() throws {
        var world = try World("@reboot", at: at(2026, 11, 21, 2))
        world.pass(5 * Self.day)
        #expect(world.causes == [.start])
        #expect(world.times == [at(2026, 11, 21, 2, 3)])
        #expect(world.job.nextRun == nil)
        try world.restart(after: 10)
        world.pass(600)
        #expect(world.causes == [.start, .start])
    }

    @Test("A schedule that never comes again waits, and asks to be asked again")
    func never() throws {
        var world = try World("0 0 30 2 *", at: at(2026, 11, 21, 2))
        world.pass(2 * Self.day)
        #expect(world.runs.isEmpty && world.memory.nextDue == nil)
        #expect(world.job.tick(world.now, world.conditions) == .wait(seconds: 60))
    }

    @Test("Another schedule begins anew: its earlier times were not missed")
    func changed() throws {
        var world = try World("0 3 * * *", at: at(2026, 11, 1, 2))
        world.pass(Self.day)
        let memory = world.memory
        world = try World("0 * * * *", at: at(2026, 11, 21, 2, 30), memory: memory)
        world.pass(Self.hour)
        #expect(world.causes == [.slot] && world.memory.missed == 0)
    }

    @Test(
        "A clock that jumps by a year, and back, neither runs twice nor starves",
        arguments: [true, nil as Bool?], [365 * 86_400, -365 * 86_400])
    func yearJumps(isRight: Bool?, jump: Int) throws {
        let jump = Int64(jump)
        var world = try World("0 3 * * *", at: at(2026, 11, 21, 2))
        world.conditions.clockIsRight = isRight
        world.pass(12 * Self.hour)
        #expect(world.runs.count == 1)
        world.now.wall += jump
        world.pass(6 * Self.hour)
        #expect(world.runs.count == 1)
        world.pass(2 * Self.day)
        let away = world.runs.count
        // With an unknown clock that is behind, after a day of doubt.
        #expect(away == (isRight == nil && jump < 0 ? 2 : 3))
        world.now.wall -= jump
        world.pass(3 * Self.hour)
        #expect(world.runs.count <= away + 1)
        world.pass(3 * Self.day)
        #expect(world.runs.count >= away + (isRight == nil && jump > 0 ? 2 : 3))
        let gaps = zip(world.runs.dropFirst(), world.runs).map {
            $0.moment.uptime - $1.moment.uptime
        }
        #expect(gaps.allSatisfy { $0 >= 12 * Self.hour }, "\(gaps)")
        #expect(world.memory.missed <= 1)
    }

    @Test("However the clock jumps, runs of a day are half a day apart, and four days at most")
    func randomJumps() throws {
        var random = SeededGenerator(seed: 12)
        for round in 0..<3 {
            var world = try World("0 3 * * *", at: at(2026, 11, 21, 2))
            world.runTime = 600
            for _ in 0..<40 {
                world.pass(Int64.random(in: 600...40 * Self.hour, using: &random))
                let far = Bool.random(using: &random) ? Self.year : 30 * Self.hour
                let jump = Int64.random(in: -far...far, using: &random)
                guard abs(jump) > 1_000, world.now.wall + jump > at(2000, 1, 1) else { continue }
                world.now.wall += jump
            }
            let gaps = zip(world.runs.dropFirst(), world.runs).map {
                $0.moment.uptime - $1.moment.uptime
            }
            #expect(world.runs.count > 10)
            #expect(gaps.allSatisfy { $0 >= 11 * Self.hour }, "round \(round): \(gaps)")
            #expect(gaps.allSatisfy { $0 <= 100 * Self.hour }, "round \(round): \(gaps)")
        }
    }

    @Test("What was read from disk may be anything, and nothing traps")
    func nonsense() throws {
        var random = SeededGenerator(seed: 13)
        let values: [Int64] = [.min, -1, 0, 1, at(2026, 11, 21), 1 << 40, .max]
        for _ in 0..<2_000 {
            var memory = JobMemory()
            memory.schedule = Bool.random(using: &random) ? "* * * * *" : "x"
            memory.lastAttempt = values.randomElement(using: &random)
            memory.lastSuccess = values.randomElement(using: &random)
            memory.settled = values.randomElement(using: &random)
            memory.nextDue = values.randomElement(using: &random)
            memory.retries = Int(values.randomElement(using: &random) ?? 0)
            memory.missed = Int(values.randomElement(using: &random) ?? 0)
            memory.isRunning = Bool.random(using: &random)
            memory.owed = JobMemory.Cause.allCases.randomElement(using: &random)
            let moments = (0..<5).map { _ in
                JobSchedule.Moment(
                    wall: values.randomElement(using: &random) ?? 0,
                    uptime: values.randomElement(using: &random) ?? 0)
            }
            var job = JobSchedule(
                JobSchedule.Settings(schedule: try Schedule("* * * * *"), zone: .utc),
                memory: memory, at: moments[0])
            for moment in moments {
                let action = job.tick(
                    moment, RunConditions(clockIsRight: true),
                    newestSnapshot: values.randomElement(using: &random))
                if case .wait(let seconds) = action { #expect((1...60).contains(seconds)) }
                job.began(at: moment)
                job.ended(.failed(.temporary), at: moment)
                #expect((0...3).contains(job.memory.retries) && job.memory.missed >= 0)
            }
        }
    }

    @Test("What has to be saved changes a few times for each run, not with every look")
    func saving() throws {
        var world = try World("0 3 * * *", at: at(2026, 11, 21, 2))
        world.conditions.isUnderLoad = true
        var saves = 0
        var saved = world.memory
        for _ in 0..<20 * 60 {
            world.pass(60)
            if world.memory != saved { (saves, saved) = (saves + 1, world.memory) }
        }
        #expect(world.runs.count == 1)
        #expect(saves <= 4)
    }
}
