// When a job's next run begins. No clock, no thread and no file in here: an event and the time come
// in, and what to do comes out.
//
// A Pi has no clock of its own when it boots, so the time may be wrong for a while, and then jump by
// years. Two clocks are given: the wall clock, which schedules are about, and the uptime, which only
// grows. Times of the schedule are counted off one by one (`JobMemory.settled`), so that none is
// taken twice; where the wall clock jumps, the uptime says what is true.

/// The schedule of one job, as a state machine. Who uses it asks `tick` after every wait, saves
/// `memory` whenever it has changed (a few times for each run), and reports each run with `began` and `ended`.
struct JobSchedule: Sendable {
    /// What the configuration says.
    struct Settings: Sendable {
        /// When it is due.
        var schedule: Schedule
        /// What `Schedule.zone(_:machine:)` gave.
        var zone: TimeZoneRules
        /// What `StableJitter` gave, in seconds: so much later is every run.
        var delay: Int64 = 0
        /// When it may begin; no patience goes beyond that.
        var windows = RunWindows.always
        /// So long it yields to heat, throttling and load, in seconds.
        var patience: Int64 = 4 * 3600
        /// So long after the start of the program nothing is caught up, in seconds.
        var grace: Int64 = 180
        /// From this temperature on it yields, in °C.
        var hottest = 80.0
    }

    /// A moment, by both clocks.
    struct Moment: Sendable, Equatable {
        /// Seconds since 1970, right or wrong.
        var wall: Int64
        /// Seconds since the machine was started, with the time in which it slept.
        var uptime: Int64
    }

    /// What to do.
    enum Action: Sendable, Equatable {
        /// Begin a run, and say so with `began`.
        case run(JobMemory.Cause)
        /// Ask again after so many seconds, at least 1 and at most 60: conditions change.
        case wait(seconds: Int64)
    }

    /// How a run ended.
    enum Outcome: Sendable, Equatable {
        /// There is a new snapshot, with or without warnings.
        case success
        case failed(BackupError.Code)
        /// The program is stopped; the run is made up for after the next start.
        case interrupted
        /// Somebody ended it, and wants no other before the next time.
        case ended
    }

    /// Years 1970 to 9999.
    static let times: ClosedRange<Int64> = 0...253_402_300_799
    static let largestCount = 1_000_000_000
    /// Seconds before each retry of what failed for a while only.
    static let retryDelays: [Int64] = [300, 1_200, 3_600]
    /// Seconds before the next look for a target that is absent, and for another run's end.
    static let absentDelay: Int64 = 900
    static let busyDelay: Int64 = 300
    /// A clock of which nothing is known is taken for right after so long an uptime.
    static let clockPatience: Int64 = 600
    /// One that is behind what was stored needs longer. Without an end, a single run with a clock
    /// that is years ahead would be the last.
    static let implausiblePatience: Int64 = 86_400
    /// The wall clock jumps when it differs from the uptime by more, in seconds.
    static let jump: Int64 = 900

    private let settings: Settings
    /// What has to be saved.
    private(set) var memory: JobMemory
    /// Why a run that is due does not begin; nil when none is due.
    private(set) var blocker: RunBlocker?
    /// When the next run begins if nothing hinders it, in seconds since 1970; nil for never and
    /// while the clock is not believed. `memory.nextDue` is the schedule's next time instead.
    private(set) var nextRun: Int64?

    private let start: Int64
    private var lastTick: Moment
    /// The last tick whose wall clock was believed.
    private var lastTrusted: Moment?
    /// The clock was right in this process, and has not jumped since.
    private var clockWasRight = false
    private var implausibleSince: Int64?
    private var isWaitingForClock = false
    /// When the run that is owed may begin, by uptime.
    private var notBefore: Int64
    /// Since when it yields, by uptime.
    private var yieldsSince: Int64?
    /// The last run of this process, when the next is due, and when it is overdue whatever the wall
    /// clock says; by uptime.
    private var attempt: Int64?
    private var due: Int64?
    private var overdue: Int64?

    /// The program has started, or, without `isStart`, the configuration has changed.
    init(_ settings: Settings, memory: JobMemory, at now: Moment, isStart: Bool = true) {
        self.settings = settings
        let now = Self.bounded(now)
        start = now.uptime
        lastTick = now
        notBefore = now.uptime + (isStart ? settings.grace + settings.delay : 0)
        self.memory = memory.sanitised
        if self.memory.schedule != settings.schedule.text {
            self.memory.schedule = settings.schedule.text
            self.memory.settled = nil
        }
        if self.memory.isRunning {
            // It ended with the machine or the program; not for ever, for it may be why.
            self.memory.isRunning = false
            let isRepeated = self.memory.retries >= Self.retryDelays.count
            self.memory.owed = isRepeated ? nil : .interrupted
            self.memory.retries = isRepeated ? 0 : self.memory.retries + 1
        }
        if self.memory.owed == .slot { self.memory.owed = .catchUp }
        if isStart, settings.schedule.isAtStart { self.memory.owed = .start }
    }

    private static func bounded(_ moment: Moment) -> Moment {
        Moment(
            wall: min(max(moment.wall, times.lowerBound), times.upperBound),
            uptime: min(max(moment.uptime, 0), times.upperBound))
    }

    /// A moment with clocks that can be, the uptime never going back.
    private func taken(_ moment: Moment) -> Moment {
        var moment = Self.bounded(moment)
        moment.uptime = max(moment.uptime, lastTick.uptime)
        return moment
    }

    private func shift(from earlier: Moment, to now: Moment) -> Int64 {
        (now.wall - earlier.wall) - (now.uptime - earlier.uptime)
    }

    // MARK: Time passes

    /// Says what to do now.
    ///
    /// - Parameter newestSnapshot: the time of the newest one that is known, in seconds since 1970.
    mutating func tick(
        _ now: Moment, _ conditions: RunConditions, newestSnapshot: Int64? = nil
    ) -> Action {
        let now = taken(now)
        if abs(shift(from: lastTick, to: now)) > Self.jump { clockWasRight = false }
        if conditions.clockIsRight == true { clockWasRight = true }
        lastTick = now
        blocker = nil
        nextRun = nil
        if memory.isRunning { return .wait(seconds: 60) }
        if let reason = clockBlocker(now, conditions, newestSnapshot) {
            if !isWaitingForClock { count(\.clockWaits, 1) }
            isWaitingForClock = true
            blocker = reason
            return .wait(seconds: 10)
        }
        isWaitingForClock = false
        settle(now)
        let next = plan(now)
        nextRun = next
        lastTrusted = now
        guard let cause = memory.owed else {
            return wait(next.map { $0 - now.wall } ?? 60)
        }
        guard now.uptime >= notBefore else {
            if notBefore == start + settings.grace + settings.delay { blocker = .grace }
            nextRun = now.wall + notBefore - now.uptime
            return wait(notBefore - now.uptime)
        }
        guard settings.windows.isOpen(at: now.wall, in: settings.zone) else {
            let opening = settings.windows.opening(from: now.wall, in: settings.zone)
            nextRun = opening
            blocker = .window
            yieldsSince = nil
            return wait(opening.map { $0 - now.wall } ?? 60)
        }
        nextRun = now.wall
        if let reason = yields(to: conditions) {
            let since = yieldsSince ?? now.uptime
            yieldsSince = since
            if reason == .battery || now.uptime - since < settings.patience {
                blocker = reason
                return .wait(seconds: 30)
            }
        }
        return .run(cause)
    }

    private func wait(_ seconds: Int64) -> Action { .wait(seconds: min(max(seconds, 1), 60)) }

    private mutating func count(_ counter: WritableKeyPath<JobMemory, Int>, _ more: Int) {
        memory[keyPath: counter] = min(memory[keyPath: counter] + more, Self.largestCount)
    }

    /// Why the wall clock is not believed.
    private mutating func clockBlocker(
        _ now: Moment, _ conditions: RunConditions, _ newestSnapshot: Int64?
    ) -> RunBlocker? {
        // A time server that has gone since does not make a clock wrong.
        if clockWasRight { return nil }
        if conditions.clockIsRight == false || now.uptime < Self.clockPatience { return .clock }
        let known = [memory.lastAttempt, memory.lastSuccess, newestSnapshot].compactMap { $0 }
        // Two minutes: a clock that is slewed back is not wrong.
        guard let newest = known.max(), Self.times.contains(newest), now.wall < newest - 120
        else {
            implausibleSince = nil
            return nil
        }
        let since = implausibleSince ?? now.uptime
        implausibleSince = since
        return now.uptime - since < Self.implausiblePatience ? .implausibleClock : nil
    }

    private func yields(to conditions: RunConditions) -> RunBlocker? {
        if conditions.isOnBattery == true { return .battery }
        if conditions.isThrottled == true { return .throttled }
        if let temperature = conditions.temperature, temperature >= settings.hottest {
            return .heat
        }
        return conditions.isUnderLoad == true ? .load : nil
    }

    /// Counts off the times that have come, so that a run is owed for all of them together.
    private mutating func settle(_ now: Moment) {
        let schedule = settings.schedule
        let wall = now.wall - settings.delay
        guard var settled = memory.settled else {
            // A new job, or a new schedule: nothing was missed.
            memory.settled = wall
            return
        }
        let shift = lastTrusted.map { self.shift(from: $0, to: now) } ?? 0
        if settled > wall {
            settled = afterJumpBack(settled, wall, now)
        } else if shift > Self.jump, attempt != nil, let due, now.uptime < due {
            // The clock was set forward, but so much time has not passed since the last run.
            settled = fresh(wall, now)
        }
        let passed = schedule.times(after: settled, through: wall, in: settings.zone)
        memory.settled = settled
        if let newest = passed.newest {
            memory.settled = newest
            let isLive =
                shift <= Self.jump
                && (lastTrusted.map { $0.wall - settings.delay <= newest } ?? false)
            // One that still waits is given up for the newer one; those caught up are counted.
            let givenUp = memory.owed == .slot ? 1 : 0
            count(\.missed, passed.count - (isLive ? 1 : 0) + givenUp)
            memory.owed = isLive ? .slot : .catchUp
            memory.retries = 0
            if isLive { notBefore = now.uptime }
        } else if memory.owed == nil, let overdue, now.uptime >= overdue {
            // A clock that jumps again and again would put it off for ever.
            memory.owed = .catchUp
            notBefore = now.uptime
            count(\.missed, 1)
            attempt = now.uptime
            memory.settled = fresh(wall, now)
        }
    }

    /// Times that were counted off lie in the future. One is kept, for its run was made just before
    /// the jump; if it were more, the clock was far ahead then.
    private func afterJumpBack(_ settled: Int64, _ wall: Int64, _ now: Moment) -> Int64 {
        let ahead = settings.schedule.times(
            after: wall, through: settled, in: settings.zone, limit: 2)
        guard ahead.count > 1 else { return settled }
        return fresh(wall, now)
    }

    /// Where to go on counting after a jump: at `wall`, or behind the next time, when the last run is
    /// younger than half a period even then.
    private func fresh(_ wall: Int64, _ now: Moment) -> Int64 {
        let next = settings.schedule.next(2, after: wall, in: settings.zone)
        guard let attempt, next.count == 2,
            now.uptime + (next[0] - wall) - attempt < (next[1] - next[0]) / 2
        else { return wall }
        return next[0]
    }

    /// When it is due next.
    private mutating func plan(_ now: Moment) -> Int64? {
        let settled = memory.settled ?? now.wall
        let next = settings.schedule.next(after: settled, in: settings.zone)
            .map { $0 + settings.delay }
        memory.nextDue = next
        due = next.map { now.uptime + max(0, $0 - now.wall) }
        if overdue == nil, let due {
            overdue = due + (due - now.uptime) + 3600
        }
        return next
    }

    // MARK: Runs

    /// A run was begun, by schedule or by command.
    mutating func began(at now: Moment) {
        let now = taken(now)
        memory.isRunning = true
        memory.lastAttempt = now.wall
        memory.owed = nil
        attempt = now.uptime
        yieldsSince = nil
        overdue = nil
        blocker = nil
    }

    /// A run has ended.
    mutating func ended(_ outcome: Outcome, at now: Moment) {
        let now = taken(now)
        memory.isRunning = false
        overdue = nil
        skipTimesOfRun(now)
        switch outcome {
        case .success:
            memory.lastSuccess = now.wall
            memory.retries = 0
            memory.owed = nil
        case .interrupted:
            memory.owed = .interrupted
            notBefore = now.uptime + settings.grace
        case .ended:
            memory.retries = 0
            memory.owed = nil
        case .failed(.absent):
            count(\.skipped, 1)
            memory.owed = .absent
            notBefore = now.uptime + Self.absentDelay
        case .failed(.busy):
            memory.owed = .retry
            notBefore = now.uptime + Self.busyDelay
        case .failed(.temporary) where memory.retries < Self.retryDelays.count:
            memory.owed = .retry
            notBefore = now.uptime + Self.retryDelays[memory.retries]
            memory.retries += 1
        case .failed:
            memory.retries = 0
            memory.owed = nil
        }
    }

    /// Times that came while it ran are missed: a run that takes longer than the period must not be
    /// followed by the next at once.
    private mutating func skipTimesOfRun(_ now: Moment) {
        guard let trusted = lastTrusted, let settled = memory.settled else { return }
        let wall = now.wall - settings.delay
        let shift = shift(from: trusted, to: now)
        guard abs(shift) <= Self.jump else {
            if shift > 0 {
                memory.settled = max(settled, fresh(wall, now))
                lastTrusted = now
            }
            return
        }
        let passed = settings.schedule.times(after: settled, through: wall, in: settings.zone)
        if let newest = passed.newest {
            count(\.missed, passed.count)
            memory.settled = newest
        }
        lastTrusted = now
    }
}
