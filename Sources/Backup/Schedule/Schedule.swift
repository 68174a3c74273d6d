// When a job is due. Written as cron or as systemd's OnCalendar; which of the two is told by form.

/// A schedule. The times are local ones. When clocks are set forward, what is skipped is due at the
/// jump, once however much it is; when they are set back, what comes twice is due the first time
/// only, so that an hourly schedule then has a gap of two hours.
struct Schedule: Sendable, Equatable {
    /// Bytes at most.
    static let longest = 256

    private enum Form: Sendable, Equatable {
        case calendar(CalendarPattern)
        /// After each start.
        case start
    }

    /// As it was written.
    let text: String
    /// The time zone that the expression itself names.
    let zoneName: String?
    private let form: Form

    /// Reads a schedule: `30 3 * * *`, `@daily`, `Mon..Fri *-*-* 03:30 Europe/Berlin`, `daily`.
    init(_ text: String) throws(BackupError) {
        do throws(CalendarField.Fault) {
            guard text.utf8.count <= Self.longest else {
                throw CalendarField.Fault(
                    message: "it is longer than \(Self.longest) bytes",
                    advice: "write ranges and steps instead of long lists")
            }
            let words = text.split { $0 == " " || $0 == "\t" }
            (form, zoneName) = try Self.read(words)
            self.text = words.joined(separator: " ")
        } catch {
            throw BackupError(
                .permanent, subject: "the schedule \"\(Excerpt.of(text))\"", error.message,
                advice: error.advice)
        }
    }

    private static func read(_ words: [Substring]) throws(CalendarField.Fault) -> (
        Form, String?
    ) {
        guard let first = words.first else {
            throw CalendarField.Fault(
                message: "it is empty",
                advice: "write five fields as cron has them (\"30 3 * * *\"), or \"*-*-* 03:30\" "
                    + "as systemd does, or daily")
        }
        if first.hasPrefix("@") {
            let name = first.lowercased()
            if words.count == 1, name == CronExpression.reboot { return (.start, nil) }
            guard words.count == 1, let meant = CronExpression.names[name] else {
                throw CalendarField.Fault(
                    message: words.count == 1
                        ? "\"\(Excerpt.of(first))\" is no name that cron has"
                        : "\"\(Excerpt.of(words[1]))\" comes after a name that stands alone",
                    advice: "names are @hourly, @daily, @weekly, @monthly, @yearly and @reboot")
            }
            return (.calendar(try CronExpression.pattern(meant.split(separator: " "))), nil)
        }
        if words.count >= 5 || (words.count > 1 && words.allSatisfy(isCronField)) {
            return (.calendar(try CronExpression.pattern(words)), nil)
        }
        let (pattern, zone) = try CalendarExpression.pattern(words)
        return (.calendar(pattern), zone)
    }

    /// Whether a word can be of cron only: numbers and stars without the `:` of a time, the `..` of
    /// a range or the two `-` of a date.
    private static func isCronField(_ word: Substring) -> Bool {
        word.allSatisfy { "0123456789*,/-".contains($0) } && !word.contains("*-")
            && !word.contains("-*") && word.count(where: { $0 == "-" }) < 2
    }

    /// Whether it means a run after each start and no time.
    var isAtStart: Bool { form == .start }

    /// The zone that it counts in: the expression's own, else one that is given by name, else the
    /// machine's.
    ///
    /// - Parameters:
    ///   - name: the job's `time_zone`.
    ///   - machine: what the machine's clocks show.
    func zone(_ name: String?, machine: TimeZoneRules) throws(BackupError) -> TimeZoneRules {
        guard let name = zoneName ?? name, !name.isEmpty else { return machine }
        return try TimeZoneRules.named(name)
    }

    /// The first time after another, both in seconds since 1970.
    ///
    /// - Parameter zone: what `zone(_:machine:)` gave.
    /// - Returns: nil when there is none up to the year 2199, and for @reboot.
    func next(after time: Int64, in zone: TimeZoneRules) -> Int64? {
        guard case .calendar(let pattern) = form else { return nil }
        var local = zone.local(time)
        // Only what comes twice can be no later than `time`, and then the second coming is what
        // goes on: the search continues where the clocks were set back. Twice is enough; the bound
        // is for zones whose files are nonsense.
        for _ in 0..<50 {
            guard let next = pattern.next(after: local) else { return nil }
            let moment = zone.utc(next)
            if moment > time { return moment }
            let stretch = zone.stretch(at: time)
            guard stretch.begin > .min, stretch.begin < .max - 100_000 else { return nil }
            let before = zone.stretch(at: stretch.begin - 1).offset
            local = max(next, stretch.begin + Int64(before) - 1)
        }
        return nil
    }

    /// The next times.
    ///
    /// - Parameter count: at most 1,000.
    func next(_ count: Int, after time: Int64, in zone: TimeZoneRules) -> [Int64] {
        var times: [Int64] = []
        var last = time
        while times.count < min(count, 1_000), let next = next(after: last, in: zone) {
            times.append(next)
            last = next
        }
        return times
    }

    /// How many of its times lie in `range`, counted up to a limit, and the last of those.
    func times(
        after: Int64, through: Int64, in zone: TimeZoneRules, limit: Int = 1_000
    ) -> (count: Int, newest: Int64?) {
        guard after < through else { return (0, nil) }
        var count = 0
        var newest: Int64?
        var last = after
        while let next = next(after: last, in: zone), next <= through {
            (count, newest, last) = (count + 1, next, next)
            guard count >= limit else { continue }
            // Too many to count one by one: the newest is looked for from the other end.
            var width: Int64 = 60
            while width < through - last {
                if let found = self.next(after: through - width, in: zone), found <= through {
                    newest = self.newest(after: through - width, through: through, in: zone)
                    break
                }
                width *= 2
            }
            break
        }
        return (count, newest)
    }

    private func newest(after: Int64, through: Int64, in zone: TimeZoneRules) -> Int64? {
        var newest: Int64?
        var last = after
        for _ in 0..<1_000 {
            guard let next = next(after: last, in: zone), next <= through else { return newest }
            (newest, last) = (next, next)
        }
        return newest
    }

    /// The longest time between two runs that follow each other, in seconds, by the clocks that
    /// people see: where it lies now, the next fifty, and all within eight days. One that runs on
    /// working days, or by day only, is not late in between. Nil when there is at most one more.
    func period(after time: Int64, in zone: TimeZoneRules) -> Int64? {
        guard case .calendar(let pattern) = form else { return nil }
        let start = zone.local(time)
        guard let first = pattern.next(after: start), var last = pattern.next(after: first) else {
            return nil
        }
        var longest = last - first
        for _ in 0..<50 {
            guard let next = pattern.next(after: last) else { break }
            longest = max(longest, next - last)
            last = next
        }
        // Fifty may be over in a minute. No longer gap hides between two looks that are as far from
        // each other as the longest that is known.
        var look = start
        while look < start + 8 * 86_400, let next = pattern.next(after: look) {
            let known = max(longest, 900)
            if let gap = Self.gap(before: next, of: pattern, longerThan: known) { longest = gap }
            look = max(look + known, next)
        }
        return longest
    }

    /// How long before a time the one before it lies; nil when that is not longer than what is
    /// known, or longer than a year.
    private static func gap(
        before time: Int64, of pattern: CalendarPattern, longerThan known: Int64
    ) -> Int64? {
        func isShorter(_ gap: Int64) -> Bool {
            pattern.next(after: time - gap - 1).map { $0 < time } ?? false
        }
        guard !isShorter(known) else { return nil }
        var (low, high) = (known, known)
        while !isShorter(high) {
            (low, high) = (high, 2 * high)
            guard high < 2 * 367 * 86_400 else { return nil }
        }
        while low + 1 < high {
            let middle = (low + high) / 2
            if isShorter(middle) { high = middle } else { low = middle }
        }
        return high
    }
}
