// When what is remembered is saved. Each save wears the card, so they are few: hourly, and soon
// after an event, as long as events are rare. One that failed wore nothing, and is tried again soon.

/// Decides when to save. No clock in here.
struct SavingRhythm {
    static let period = Duration.seconds(3600)
    /// Saves for events that may follow each other; one more is earned each `earning`.
    static let urgentSaves = 4.0
    static let earning = Duration.seconds(2 * 3600)
    /// After a save that failed, because the disk was full for example.
    static let retryPeriod = Duration.seconds(60)

    private var last: ContinuousClock.Instant
    private var retry: ContinuousClock.Instant?
    private var earned: (saves: Double, at: ContinuousClock.Instant)

    init(start: ContinuousClock.Instant) {
        last = start
        earned = (Self.urgentSaves, start)
    }

    /// Whether to save now, which then counts as done.
    mutating func isDue(at now: ContinuousClock.Instant, isUrgent: Bool) -> Bool {
        if let retry {
            guard now >= retry else { return false }
            self.retry = nil
            last = now
            return true
        }
        if isUrgent {
            let saves = earned.saves + (now - earned.at) / Self.earning
            earned = (min(saves, Self.urgentSaves), now)
        }
        let isPaid = isUrgent && earned.saves >= 1
        guard isPaid || now - last >= Self.period else { return false }
        // An hourly save carries the events too, and then costs nothing more.
        if now - last < Self.period { earned.saves -= 1 }
        last = now
        return true
    }

    /// The last save failed.
    mutating func failed(at now: ContinuousClock.Instant) {
        retry = now + Self.retryPeriod
    }
}
