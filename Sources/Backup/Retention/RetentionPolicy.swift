// How many snapshots are kept, and how that is written in the configuration.

/// How many snapshots a job keeps on each target.
struct RetentionPolicy: Sendable, Equatable, Codable {
    /// The largest of the counts.
    static let largest = 10_000

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

    /// What is kept when nothing is configured.
    static let standard = RetentionPolicy()
    /// Keeps only what is never deleted.
    static let minimal = RetentionPolicy(
        last: 0, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0)

    /// Reads the configuration's keys (`keep_daily: 7`, `keep_within: 30d`); what is not there
    /// stays as it is in `standard`.
    static func parse(_ fields: [String: String]) throws(BackupError) -> RetentionPolicy {
        var policy = RetentionPolicy()
        for (key, text) in fields.sorted(by: { $0.key < $1.key }) {
            switch key {
            case "keep_last": policy.last = try count(text, key)
            case "keep_hourly": policy.hourly = try count(text, key)
            case "keep_daily": policy.daily = try count(text, key)
            case "keep_weekly": policy.weekly = try count(text, key)
            case "keep_monthly": policy.monthly = try count(text, key)
            case "keep_yearly": policy.yearly = try count(text, key)
            case "keep_within": policy.within = try span(text, key)
            default:
                throw BackupError(
                    .permanent, subject: Excerpt.of(key), "there is no such rule",
                    advice: "rules are keep_last, keep_hourly, keep_daily, keep_weekly, "
                        + "keep_monthly, keep_yearly and keep_within")
            }
        }
        return policy
    }

    private static func number(_ text: some StringProtocol) -> Int? {
        guard (1...6).contains(text.utf8.count),
            text.utf8.allSatisfy({ (0x30...0x39).contains($0) })
        else { return nil }
        return Int(text)
    }

    private static func count(_ text: String, _ key: String) throws(BackupError) -> Int {
        guard let count = number(text), count <= largest else {
            throw BackupError(
                .permanent, subject: key, "\"\(Excerpt.of(text))\" is no number of snapshots",
                advice: "write a whole number from 0 to \(largest)")
        }
        return count
    }

    private static let units: [Character: Int64] = [
        "h": 3_600, "d": 86_400, "w": 7 * 86_400, "y": 366 * 86_400,
    ]

    private static func span(_ text: String, _ key: String) throws(BackupError) -> Int64? {
        if number(text) == 0 { return nil }
        guard let unit = text.last.flatMap({ units[$0] }), let count = number(text.dropLast()),
            Int64(count) <= 100 * 366 * 86_400 / unit
        else {
            throw BackupError(
                .permanent, subject: key, "\"\(Excerpt.of(text))\" is no length of time",
                advice: "write a whole number and h, d, w or y directly behind it, at most 100y, "
                    + "such as 30d")
        }
        return count == 0 ? nil : Int64(count) * unit
    }
}
