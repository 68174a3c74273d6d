// What is remembered of a job's schedule over restarts.

/// The part of the state file that belongs to one job's schedule. Times are seconds since 1970.
struct JobMemory: Codable, Sendable, Equatable {
    /// Why a run is owed.
    enum Cause: String, Codable, Sendable, CaseIterable {
        /// Its time has come.
        case slot
        /// Its time went by while the program did not run.
        case catchUp
        /// The last run failed for a reason that may be gone.
        case retry
        /// The target was not there.
        case absent
        /// The last run was cut off.
        case interrupted
        /// The program has started (@reboot).
        case start
    }

    /// The schedule that this is about, as it was written; another one begins anew.
    var schedule = ""
    /// When a run was begun last.
    var lastAttempt: Int64?
    /// When a run ended well last.
    var lastSuccess: Int64?
    /// The schedule's next time; nil for never, and before the first look at the clock.
    var nextDue: Int64?
    /// Retries of the run that is due, so far.
    var retries = 0
    /// Times that went by without a run of their own, in all.
    var missed = 0
    /// How often a run that was due found the target absent, in all.
    var skipped = 0
    /// How often it had to wait for the clock, in all.
    var clockWaits = 0
    /// Times up to this one need no run any more: they had one, or were counted.
    var settled: Int64?
    /// Why a run is owed; nil when none is.
    var owed: Cause?
    /// A run was begun and has not ended.
    var isRunning = false

    /// What was read from disk, without what cannot be.
    var sanitised: JobMemory {
        func time(_ time: Int64?) -> Int64? {
            time.flatMap { JobSchedule.times.contains($0) ? $0 : nil }
        }
        func count(_ count: Int) -> Int { min(max(count, 0), JobSchedule.largestCount) }
        var memory = self
        memory.lastAttempt = time(lastAttempt)
        memory.lastSuccess = time(lastSuccess)
        memory.nextDue = time(nextDue)
        memory.settled = time(settled)
        memory.retries = min(max(retries, 0), JobSchedule.retryDelays.count)
        memory.missed = count(missed)
        memory.skipped = count(skipped)
        memory.clockWaits = count(clockWaits)
        return memory
    }
}
