// The times in a job of the configuration: judged before they are used, and used.

internal import Glibc
internal import Options

/// Schedules, time zones and windows of a record.
enum ScheduleTexts {
    /// What is wrong with them.
    static func problems(_ record: ConfigurationRecord) -> [(text: String, advice: String)] {
        var problems: [(text: String, advice: String)] = []
        func judge(_ key: String, _ body: () throws(BackupError) -> Void) {
            do throws(BackupError) {
                try body()
            } catch {
                problems.append(("\(key): \(error.subject): \(error.message)", error.advice))
            }
        }
        if let text = record.string("schedule") {
            judge("schedule") { () throws(BackupError) in _ = try Schedule(text) }
        }
        if let name = record.string("time_zone") {
            judge("time_zone") { () throws(BackupError) in _ = try TimeZoneRules.named(name) }
        }
        if let text = record.string("test_restore"), text != "never",
            record.duration("test_restore") == nil
        {
            judge("test_restore") { () throws(BackupError) in _ = try Schedule(text) }
        }
        let windows = record.strings("windows")
        if !windows.isEmpty {
            judge("windows") { () throws(BackupError) in _ = try RunWindows(windows) }
        }
        return problems
    }

    /// What the machine's clocks show.
    static var machineZone: TimeZoneRules {
        TimeZoneRules.ofMachine(variable: getenv("TZ").map { String(cString: $0) })
    }

    /// The zone that a job counts in.
    static func zone(of job: JobSettings) throws(BackupError) -> TimeZoneRules {
        if let text = job.schedule {
            return try Schedule(text).zone(job.timeZone, machine: machineZone)
        }
        guard let name = job.timeZone else { return machineZone }
        return try TimeZoneRules.named(name)
    }

    /// So much later than its schedule says does a job begin, in seconds.
    static func delay(of job: JobSettings) -> Int64 {
        StableJitter.seconds(
            machine: StableJitter.machine, job: job.name, jitter: job.jitter.components.seconds)
    }

    /// When a job begins next; none when it has no schedule that can be used.
    static func next(_ count: Int, of job: JobSettings, after now: Int64) -> [Int64] {
        guard let text = job.schedule, let schedule = try? Schedule(text),
            let zone = try? zone(of: job)
        else { return [] }
        let delay = delay(of: job)
        return schedule.next(count, after: now - delay, in: zone).map { $0 + delay }
    }

    /// The longest time between two runs by the job's schedule and windows, in seconds; nil when it
    /// runs by hand only.
    static func period(of job: JobSettings, at now: Int64) -> Int64? {
        guard let text = job.schedule, let schedule = try? Schedule(text),
            let zone = try? zone(of: job)
        else { return nil }
        let pause = (try? RunWindows(job.windows))?.longestPause ?? 0
        return schedule.period(after: now, in: zone).map { max($0, pause) }
    }

    /// The longest time between two tests of a restore, in seconds; nil when none are made. They are
    /// made after runs, so not more often than these.
    static func testPeriod(of job: JobSettings, at now: Int64) -> Int64? {
        guard job.schedule != nil else { return nil }
        let runs = period(of: job, at: now) ?? 0
        switch job.testRestore {
        case .never: return nil
        case .every(let period): return max(period.components.seconds, runs)
        case .schedule(let text):
            guard let schedule = try? Schedule(text), let zone = try? zone(of: job) else {
                return nil
            }
            return schedule.period(after: now, in: zone).map { max($0, runs) }
        }
    }

    /// Whether a restore is to be tested.
    ///
    /// - Parameter last: when one was last tried; nil for never.
    static func isTestDue(_ job: JobSettings, last: Int64?, now: Int64) -> Bool {
        // By hand is by hand: the first run ends soon, and is not the time for it.
        guard let last else { return job.schedule != nil && job.testRestore != .never }
        if last > now { return true }
        switch job.testRestore {
        case .never: return false
        case .every(let period): return now - last >= period.components.seconds
        case .schedule(let text):
            guard let schedule = try? Schedule(text), let zone = try? zone(of: job),
                let next = schedule.next(after: last, in: zone)
            else { return false }
            return next <= now
        }
    }
}
