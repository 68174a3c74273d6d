import Foundation
import Testing

@testable import Backup

@Suite("Schedules")
struct ScheduleTests {
    /// A recorded answer of another program.
    struct Answer {
        let after: Int64
        let text: String
        let times: [Int64]
        let isValid: Bool
    }

    /// What this thread has used of the CPU.
    static func processorTime() -> Duration {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return Duration.seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
    }

    static func answers(_ name: String) throws -> [Answer] {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("Fixtures/schedule/" + name)
        return try String(contentsOf: file, encoding: .utf8).split(separator: "\n").map { line in
            let fields = line.split(separator: "\t")
            try #require(fields.count == 3)
            return Answer(
                after: try #require(Int64(fields[0])), text: String(fields[1]),
                times: fields[2].split(separator: " ").compactMap { Int64($0) },
                isValid: fields[2] != "invalid")
        }
    }

    @Test(
        "Cron's schedules are due when croniter says, and OnCalendar's when systemd does",
        arguments: [("cron.txt", 250), ("calendar.txt", 270)])
    func recorded(name: String, count: Int) throws {
        let answers = try Self.answers(name)
        #expect(answers.count >= count)
        for answer in answers {
            guard let schedule = try? Schedule(answer.text),
                let zone = try? schedule.zone(nil, machine: .utc)
            else {
                #expect(!answer.isValid, "\(answer.text) is refused")
                continue
            }
            #expect(answer.isValid, "\(answer.text) is taken")
            let times = schedule.next(5, after: answer.after, in: zone)
            #expect(times == answer.times, "\(answer.text) after \(answer.after)")
        }
    }

    static let periods: [(String, Int64)] = [
        ("Mon..Fri 03:30", 259_200), ("0 9-17 * * *", 57_600), ("30 3 * * *", 86_400),
        ("*-*-* *:*:*", 1), ("* 9-17 * * 1-5", 226_860), ("@weekly", 604_800),
        ("0 3 1 * *", 2_678_400), ("*/15 * * * *", 900), ("0 3 1,2 * *", 2_592_000),
        ("@hourly", 3_600),
    ]

    @Test("The period is the longest time between two runs, whenever one asks", arguments: periods)
    func period(text: String, seconds: Int64) throws {
        let schedule = try Schedule(text)
        let berlin = try TimeZoneRules.named("Europe/Berlin")
        // On each day of three weeks, among them the one on which clocks are set back.
        for hour in stride(from: 0, to: 24 * 21, by: 7) {
            let now = at(2026, 10, 15) + Int64(hour) * 3600
            #expect(schedule.period(after: now, in: berlin) == seconds, "\(text) at \(now)")
        }
    }

    @Test("Runs that come close together count the time in which none comes")
    func sparsePeriod() throws {
        let schedule = try Schedule("* * 1 * *")
        let gap = Int64(29 * 86_400 + 60)
        #expect(schedule.period(after: at(2026, 11, 20), in: .utc) == gap)
        #expect(schedule.period(after: at(2026, 11, 1, 12), in: .utc) == gap)
        #expect(try Schedule("2027-01-01 12:00").period(after: at(2026, 1, 1), in: .utc) == nil)
        #expect(try Schedule("@reboot").period(after: at(2026, 1, 1), in: .utc) == nil)
        // Windows may leave longer pauses than the schedule.
        var job = JobSettings(name: "a")
        job.schedule = "@hourly"
        job.windows = ["01:00-06:00", "Sat 10:00-12:00"]
        #expect(ScheduleTexts.period(of: job, at: at(2026, 11, 20)) == Int64(68_400))
        job.windows = ["Sat 10:00-12:00"]
        #expect(ScheduleTexts.period(of: job, at: at(2026, 11, 20)) == Int64(597_600))
    }

    @Test("Restores are tested by their own period, but not more often than there are runs")
    func testPeriod() {
        let now = at(2026, 11, 20)
        func seconds(_ schedule: String?, _ test: TestRestoreTime) -> Int64? {
            var job = JobSettings(name: "a")
            job.schedule = schedule
            job.testRestore = test
            return ScheduleTexts.testPeriod(of: job, at: now)
        }
        let week = TestRestoreTime.every(.seconds(604_800))
        #expect(seconds("@daily", week) == Int64(604_800))
        #expect(seconds("@monthly", week) == Int64(2_678_400))
        #expect(seconds("@daily", .schedule("0 5 1 */3 *")) == Int64(7_948_800))
        #expect(seconds("@daily", .never) == nil)
        #expect(seconds(nil, week) == nil)
    }

    @Test("The next runs of a job are those of its schedule, later by its jitter")
    func nextRuns() throws {
        var job = JobSettings(name: "a")
        job.schedule = "0 3 * * *"
        job.timeZone = "UTC"
        job.jitter = .seconds(86_400)
        let delay = ScheduleTexts.delay(of: job)
        try #require(delay > 0)
        let first = at(2026, 11, 20, 3) + delay
        #expect(ScheduleTexts.next(2, of: job, after: first - 1) == [first, first + 86_400])
        #expect(ScheduleTexts.next(1, of: job, after: first) == [first + 86_400])
    }

    @Test("The next time is the first minute that fits, looked at one by one")
    func bruteForce() throws {
        var random = SeededGenerator(seed: 3)
        let berlin = try TimeZoneRules.named("Europe/Berlin")
        for _ in 0..<60 {
            // Minutes, hours, weekdays as sets, once for the text and once for the search.
            let minutes = Set((0..<3).map { _ in Int.random(in: 0...59, using: &random) })
            let hours = Set((0..<4).map { _ in Int.random(in: 0...23, using: &random) })
            let days = Set((0..<4).map { _ in Int.random(in: 0...6, using: &random) })
            func list(_ numbers: Set<Int>) -> String {
                numbers.sorted().map(String.init).joined(separator: ",")
            }
            let schedule = try Schedule("\(list(minutes)) \(list(hours)) * * \(list(days))")
            // From before to after the clocks are set forward or back, one minute at a time.
            let start = Bool.random(using: &random) ? at(2026, 3, 27) : at(2026, 10, 23)
            var expected: [Int64] = []
            var shown = berlin.local(start)
            for time in stride(from: start + 60, through: start + 5 * 86_400, by: 60) {
                // The minutes that this one is the first to show, or to have gone by.
                let local = berlin.local(time)
                guard local > shown else { continue }
                let isDue = stride(from: shown + 60, through: local, by: 60).contains { minute in
                    let day = Int((minute / 86_400 + 4) % 7)
                    return minutes.contains(Int(minute / 60 % 60))
                        && hours.contains(Int(minute / 3600 % 24)) && days.contains(day)
                }
                shown = local
                if isDue { expected.append(time) }
            }
            var found = schedule.next(1_000, after: start, in: berlin)
            found.removeAll { $0 > start + 5 * 86_400 }
            #expect(found == expected, "\(schedule.text)")
        }
    }

    @Test("What clocks skip is due at the jump, once; what comes twice is due the first time")
    func clockChanges() throws {
        let berlin = try TimeZoneRules.named("Europe/Berlin")
        let night = try Schedule("30 2 * * *")
        #expect(
            night.next(3, after: at(2026, 3, 28), in: berlin)
                == [at(2026, 3, 28, 1, 30), at(2026, 3, 29, 1), at(2026, 3, 30, 0, 30)])
        #expect(
            night.next(3, after: at(2026, 10, 24), in: berlin)
                == [at(2026, 10, 24, 0, 30), at(2026, 10, 25, 0, 30), at(2026, 10, 26, 1, 30)])
        // Asked within the hour that comes again, and at its borders.
        for time in stride(from: at(2026, 10, 25, 0, 30), to: at(2026, 10, 26, 1, 30), by: 60) {
            #expect(night.next(after: time, in: berlin) == at(2026, 10, 26, 1, 30))
        }
        let often = try Schedule("*-*-* *:00/15")
        #expect(
            often.next(3, after: at(2026, 3, 29, 0, 45), in: berlin)
                == [at(2026, 3, 29, 1), at(2026, 3, 29, 1, 15), at(2026, 3, 29, 1, 30)])
        #expect(
            often.next(2, after: at(2026, 10, 25, 0, 30), in: berlin)
                == [at(2026, 10, 25, 0, 45), at(2026, 10, 25, 2)])
        let apia = try TimeZoneRules.named("Pacific/Apia")
        #expect(
            try Schedule("2011-12-30 12:00").next(after: 0, in: apia) == at(2011, 12, 30, 10))
    }

    @Test("Every answer is later than the question and nothing is left out, in zones of all kinds")
    func ascending() throws {
        var random = SeededGenerator(seed: 5)
        let texts = [
            "*/20 * * * *", "daily", "Sun *-*-* 02:30", "15 0,1,2,3 * * *", "*-*~1 23:59:59",
            "*:*:30",
        ]
        for name in ["Europe/Dublin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Gaza"] {
            let zone = try TimeZoneRules.named(name)
            for text in texts {
                let schedule = try Schedule(text)
                for _ in 0..<60 {
                    let time = Int64.random(in: 1_500_000_000...2_500_000_000, using: &random)
                    let next = try #require(schedule.next(after: time, in: zone))
                    #expect(next > time)
                    let between = Int64.random(in: time..<next, using: &random)
                    #expect(schedule.next(after: between, in: zone) == next)
                }
            }
        }
    }

    @Test(
        "What never comes again is found out in no time",
        arguments: [
            "0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "*-2-30", "2020-01-01", "Mon 2024-02-29",
            "70-1-1", "@reboot", "0 0 31 4 *",
        ])
    func never(text: String) throws {
        let schedule = try Schedule(text)
        let began = Self.processorTime()
        for time in [at(2026, 1, 1), at(2199, 12, 31, 23, 59, 59), Int64.max] {
            #expect(schedule.next(after: time, in: .utc) == nil)
        }
        #expect(Self.processorTime() - began < .seconds(1))
    }

    @Test("The calendar ends with the year 2199, and no time is too large or too small to ask for")
    func ends() throws {
        let schedule = try Schedule("* * * * *")
        #expect(
            schedule.next(after: at(2199, 12, 31, 23, 58, 59), in: .utc)
                == at(2199, 12, 31, 23, 59))
        for time in [at(2199, 12, 31, 23, 59), Int64.max, Int64.max - 1] {
            #expect(schedule.next(after: time, in: .utc) == nil)
        }
        #expect(schedule.next(after: Int64.min, in: .utc) == at(1970, 1, 1))
    }

    @Test("Rare days are found however far they are")
    func rare() throws {
        #expect(try Schedule("Mon *-2-29").next(after: at(2026, 1, 1), in: .utc) == at(2044, 2, 29))
        // 2100 has no February 29.
        #expect(try Schedule("0 0 29 2 *").next(after: at(2097, 1, 1), in: .utc) == at(2104, 2, 29))
        #expect(try Schedule("2199-12-31").next(after: 0, in: .utc) == at(2199, 12, 31))
    }

    @Test("A restricted day of the month and of the week are alternatives in cron, not in systemd")
    func days() throws {
        // 2026-11-13 is a Friday.
        let cron = try Schedule("0 0 13 * fri")
        #expect(
            cron.next(3, after: at(2026, 11, 1), in: .utc)
                == [at(2026, 11, 6), at(2026, 11, 13), at(2026, 11, 20)])
        #expect(
            try Schedule("Fri *-*-13").next(after: at(2026, 11, 1), in: .utc)
                == at(2026, 11, 13))
        // As in Debian's cron, what begins with * does not restrict.
        #expect(
            try Schedule("0 0 */2 * sun").next(2, after: at(2026, 11, 1), in: .utc)
                == [at(2026, 11, 15), at(2026, 11, 29)])
    }

    @Test(
        "An error names the part that is wrong and what is expected there",
        arguments: [
            ("0 25 * * *", "\"25\" is no hour", "0 to 23"),
            ("60 3 * * *", "\"60\" is no minute", "0 to 59"),
            ("0 3 0 * *", "\"0\" is no day of the month", "1 to 31"),
            ("0 3 * foo *", "\"foo\" is no month", "jan to dec"),
            ("0 3 * * mon,8", "\"8\" (in \"mon,8\") is no day of the week", "sun to sat"),
            ("0 22-6 * * *", "\"22-6\" goes backwards", "22-23,0-6"),
            ("*/0 * * * *", "\"0\" in \"*/0\" is no step", "from 1"),
            ("0 3 * *", "five fields, and here are 4", "30 3 * * *"),
            ("0 0 3 * * *", "five fields, and here are 6", "30 3 * * *"),
            ("0 3 L * *", "\"L\" in \"L\" is an extension", "*-*~01"),
            ("0 3,,4 * * *", "an hour is missing", "take out the comma"),
            ("@dayly", "\"@dayly\" is no name", "@daily"),
            ("@daily UTC", "\"UTC\" comes after", "@daily"),
            ("", "is empty", "30 3 * * *"),
            ("dayly", "\"dayly\" in \"dayly\" is neither", "hourly, daily"),
            ("Mon 25:00", "\"25\" is no hour", "0 to 23"),
            ("*-13-01", "\"13\" is no month", "1 to 12"),
            ("Sun..Tue 10:00", "\"Sun..Tue\" goes backwards", "Sat..Sun"),
            ("*-*-* */2:00", "\"*/2\" is not how OnCalendar", "0/2"),
            ("*-*-* 10:00 11:00", "\"11:00\" comes after the time", "time zone"),
            ("10:00:00.5", "fraction", "whole seconds"),
            ("2/3", "is no date", "*-*-*"),
            ("*-*~0", "\"0\" is no day before the month's end", "1 to 28"),
            (String(repeating: "1,", count: 200), "longer than 256", "ranges and steps"),
            ("99999999999999999999 * * * *", "is no minute", "0 to 59"),
        ])
    func errors(text: String, message: String, advice: String) throws {
        let error = try #require(
            #expect(throws: BackupError.self) { try Schedule(text) })
        #expect(error.message.contains(message), "\(error)")
        #expect(error.advice.contains(advice), "\(error)")
        #expect(error.code == .permanent)
    }

    @Test("Random text is refused or read, and a text that is read has times in order")
    func randomText() {
        var random = SeededGenerator(seed: 9)
        let pieces = [
            "*", "/", ",", "-", "..", "~", ":", " ", "0", "1", "5", "31", "99", "Mon", "jan", "@",
            "daily", "UTC", "\u{0}", "é", "2026", ".5", "Europe/Berlin",
        ]
        var read = 0
        for _ in 0..<60_000 {
            let count = Int.random(in: 1...11, using: &random)
            let text = (0..<count).map { _ in pieces.randomElement(using: &random) ?? "" }.joined()
            guard let schedule = try? Schedule(text) else { continue }
            read += 1
            let times = schedule.next(3, after: 1_800_000_000, in: .utc)
            #expect(times == times.sorted() && Set(times).count == times.count)
        }
        #expect(read > 100)
    }

    @Test("The zone is the expression's, else the job's, else the machine's")
    func zones() throws {
        let berlin = try TimeZoneRules.named("Europe/Berlin")
        let own = try Schedule("daily Asia/Tokyo")
        #expect(try own.zone("Europe/Paris", machine: berlin).name == "Asia/Tokyo")
        let plain = try Schedule("daily")
        #expect(try plain.zone("Europe/Paris", machine: berlin).name == "Europe/Paris")
        #expect(try plain.zone(nil, machine: berlin).name == "Europe/Berlin")
        #expect(throws: BackupError.self) {
            try Schedule("daily Mars/Olympus").zone(nil, machine: berlin)
        }
    }

    @Test("Times in a span are counted up to a limit, and the newest is found nevertheless")
    func counting() throws {
        let minutely = try Schedule("* * * * *")
        let found = minutely.times(
            after: at(2025, 1, 1), through: at(2026, 1, 1, 0, 0, 30), in: .utc)
        #expect(found.count == 1_000)
        #expect(found.newest == at(2026, 1, 1))
        let daily = try Schedule("0 3 * * *")
        let ten = daily.times(after: at(2026, 1, 1, 4), through: at(2026, 1, 11, 5), in: .utc)
        #expect(ten.count == 10)
        #expect(ten.newest == at(2026, 1, 11, 3))
        #expect(daily.times(after: 5, through: 5, in: .utc).count == 0)
        #expect(daily.times(after: at(2026, 1, 1), through: at(2026, 1, 1, 2), in: .utc).count == 0)
        let old = daily.times(after: 0, through: at(2026, 1, 1, 2), in: .utc)
        #expect(old.newest == at(2025, 12, 31, 3))
    }

    @Test("Jitter is stable, below its limit, and spread evenly over machines and jobs")
    func jitter() {
        #expect(StableJitter.seconds(machine: "a", job: "b", jitter: 0) == 0)
        #expect(StableJitter.seconds(machine: "a", job: "b", jitter: -5) == 0)
        #expect(StableJitter.seconds(machine: "a", job: "b", jitter: 1) == 0)
        // It must never change, not even with a new version.
        #expect(StableJitter.seconds(machine: "0123", job: "nightly", jitter: 3600) == 1_765)
        var counts = [Int](repeating: 0, count: 10)
        for machine in 0..<1_000 {
            for job in ["default", "nightly", "offsite"] {
                let seconds = StableJitter.seconds(
                    machine: "machine-\(machine)", job: job, jitter: 600)
                counts[Int(seconds / 60)] += 1
            }
        }
        // 300 each expected, sigma 16.4.
        #expect(counts.allSatisfy { (230...370).contains($0) }, "\(counts)")
        #expect(
            StableJitter.seconds(machine: "m", job: "j", jitter: .max)
                == StableJitter.seconds(machine: "m", job: "j", jitter: .max))
    }
}
