// How many snapshots are kept.

/// How many snapshots a job keeps on each target.
struct RetentionPolicy: Sendable, Equatable {
    /// The newest ones, whenever they were made.
    var last = 3
    /// Hours, days, weeks (from Monday), months and years of which the newest one is kept. Only
    /// those count in which there is one, so that a pause does not cost history.
    var hourly = 0
    var daily = 7
    var weekly = 4
    var monthly = 6
    var yearly = 0
    /// Everything that is younger, in seconds; nil for no such rule.
    var within: Int64?

    /// Keeps only what is never deleted.
    static let minimal = RetentionPolicy(
        last: 0, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0)
}
