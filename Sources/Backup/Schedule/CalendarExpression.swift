// Schedules as systemd has them (systemd.time(7), "calendar events"):
// `DayOfWeek Year-Month-Day Hour:Minute:Second TimeZone`.

/// Reads OnCalendar expressions. Left out are fractions of seconds and `@` with a Unix time.
enum CalendarExpression {
    /// The names that stand for an expression.
    static let names = [
        "minutely": "*-*-* *:*:00", "hourly": "*-*-* *:00:00", "daily": "*-*-* 00:00:00",
        "weekly": "Mon *-*-* 00:00:00", "monthly": "*-*-01 00:00:00",
        "quarterly": "*-01,04,07,10-01 00:00:00", "semiannually": "*-01,07-01 00:00:00",
        "semi-annually": "*-01,07-01 00:00:00", "biannually": "*-01,07-01 00:00:00",
        "bi-annually": "*-01,07-01 00:00:00", "yearly": "*-01-01 00:00:00",
        "annually": "*-01-01 00:00:00",
    ]

    private static let weekdays = [
        "sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday",
    ]

    private static let example = "OnCalendar looks like \"Mon..Fri *-*-* 03:30\""

    /// - Returns: the pattern, and the name of a time zone where there is one.
    static func pattern(_ words: [Substring]) throws(CalendarField.Fault) -> (
        CalendarPattern, zone: String?
    ) {
        var words = words[...]
        var zone: String?
        if words.count > 1, let last = words.last, isZone(last) {
            zone = String(last)
            words.removeLast()
        }
        if words.count == 1, let word = words.first, let meant = names[word.lowercased()] {
            words = meant.split(separator: " ")[...]
        }
        var pattern = CalendarPattern(
            years: nil, months: CalendarField.month.all, days: [CalendarField.day.whole],
            weekdays: 0x7F, hours: 1, minutes: 1, seconds: 1)
        guard var word = words.first else {
            throw CalendarField.Fault(message: "the schedule is empty", advice: example)
        }
        var isDone = false
        if word.first?.isLetter == true {
            pattern.weekdays = try days(word)
            words.removeFirst()
            isDone = words.isEmpty
            word = words.first ?? ""
        }
        if !isDone, !word.contains(":") {
            try date(word, into: &pattern)
            words.removeFirst()
            isDone = words.isEmpty
            word = words.first ?? ""
        }
        if !isDone {
            try time(word, into: &pattern)
            words.removeFirst()
        }
        if let word = words.first {
            throw CalendarField.Fault(
                message: "\"\(Excerpt.of(word))\" comes after the time, where at most a time zone "
                    + "may be",
                advice: "the order is day of the week, date, time, time zone; " + example)
        }
        return (pattern, zone)
    }

    /// Time zones begin with a letter, as days of the week and the names do.
    private static func isZone(_ word: Substring) -> Bool {
        guard word.first?.isLetter == true, !word.contains(",") else { return false }
        guard names[word.lowercased()] == nil else { return false }
        return !word.contains("..") && weekday(word) == nil
    }

    private static func weekday(_ text: Substring) -> Int? {
        let name = text.lowercased()
        return weekdays.firstIndex { $0 == name || $0.prefix(3) == name }
    }

    /// `Mon`, `Mon,Wed`, `Mon..Fri`; the week begins on Monday.
    static func days(_ text: Substring) throws(CalendarField.Fault) -> UInt64 {
        var bits: UInt64 = 0
        for item in text.split(separator: ",", omittingEmptySubsequences: false) {
            var ends = [item]
            if let dots = item.firstRange(of: "..") {
                ends = [item[..<dots.lowerBound], item[dots.upperBound...]]
            } else if item.contains("-") {
                ends = item.split(separator: "-", omittingEmptySubsequences: false)
            }
            var numbers: [Int] = []
            for end in ends {
                guard let number = weekday(end) else {
                    throw CalendarField.Fault(
                        message: "\"\(Excerpt.of(end))\" in \"\(Excerpt.of(text))\" is neither a "
                            + "day of the week nor a name such as daily",
                        advice: "days are Mon to Sun; names are hourly, daily, weekly, monthly, "
                            + "quarterly, semiannually and yearly")
                }
                numbers.append((number + 6) % 7)
            }
            guard let first = numbers.first, let last = numbers.last, numbers.count <= 2,
                first <= last
            else {
                throw CalendarField.Fault(
                    message: "the range \"\(Excerpt.of(item))\" goes backwards: the week begins on "
                        + "Monday",
                    advice: "write two, such as Sat..Sun,Mon..Tue")
            }
            for number in first...last { bits |= 1 << UInt64((number + 1) % 7) }
        }
        return bits
    }

    /// `Year-Month-Day` or `Month-Day`; `~` before the day counts it from the month's end.
    private static func date(
        _ text: Substring, into pattern: inout CalendarPattern
    ) throws(CalendarField.Fault) {
        let parts = text.split(omittingEmptySubsequences: false) { $0 == "-" || $0 == "~" }
        let signs = text.filter { $0 == "-" || $0 == "~" }
        guard (2...3).contains(parts.count), !signs.dropLast().contains("~"),
            let month = parts.dropLast().last, let day = parts.last
        else {
            throw CalendarField.Fault(
                message: "\"\(Excerpt.of(text))\" is no date",
                advice: "a date is written as *-*-* (year-month-day) or *-*~01 (the month's last "
                    + "day), a time as 03:30; " + example)
        }
        pattern.countsFromEnd = signs.last == "~"
        if parts.count == 3 {
            pattern.years = try years(parts[0])
        }
        let months = CalendarField(name: "month", range: CalendarField.month.range)
        pattern.months = try months.spans(month, .calendar)?.bits ?? CalendarField.month.all
        let field = pattern.countsFromEnd ? CalendarField.lastDay : .day
        guard var spans = try field.spans(day, .calendar) else {
            pattern.countsFromEnd = false
            return
        }
        if pattern.countsFromEnd {
            // `~07/1`: from the seventh-last day on, which is counted downwards here.
            let items = day.split(separator: ",")
            for (index, item) in items.enumerated()
            where item.contains("/") && !item.contains("..") && index < spans.count {
                spans[index] = CalendarPattern.Span(
                    first: 1, last: spans[index].first, step: spans[index].step)
            }
        }
        pattern.days = spans
    }

    /// Two digits are a year from 1970 to 2069.
    private static func years(_ text: Substring) throws(CalendarField.Fault)
        -> [CalendarPattern.Span]?
    {
        let items = text.split(separator: ",", omittingEmptySubsequences: false)
        let whole = items.map { item -> String in
            let parts = item.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
            let numbers = String(parts[0]).split(separator: "..", omittingEmptySubsequences: false)
                .map { part -> String in
                    guard part.utf8.count <= 2, let year = Int(part), year >= 0 else {
                        return String(part)
                    }
                    return String(year < 70 ? 2000 + year : 1900 + year)
                }
            return numbers.joined(separator: "..") + (parts.count == 2 ? "/" + parts[1] : "")
        }
        return try CalendarField.year.spans(whole.joined(separator: ",")[...], .calendar)
    }

    /// `Hour:Minute` or `Hour:Minute:Second`.
    private static func time(
        _ text: Substring, into pattern: inout CalendarPattern
    ) throws(CalendarField.Fault) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard (2...3).contains(parts.count) else {
            throw CalendarField.Fault(
                message: "\"\(Excerpt.of(text))\" is no time",
                advice: "a time is written as 03:30 or 03:30:00; " + example)
        }
        let hours = try CalendarField.hour.spans(parts[0], .calendar)
        let minutes = try CalendarField.minute.spans(parts[1], .calendar)
        pattern.hours = hours?.bits ?? CalendarField.hour.all
        pattern.minutes = minutes?.bits ?? CalendarField.minute.all
        guard parts.count == 3 else { return }
        if let point = parts[2].firstIndex(of: "."), parts[2][point...] != "..",
            !parts[2][point...].hasPrefix("..")
        {
            throw CalendarField.Fault(
                message: "\"\(Excerpt.of(parts[2]))\" has a fraction of a second",
                advice: "write whole seconds")
        }
        let seconds = try CalendarField.second.spans(parts[2], .calendar)
        pattern.seconds = seconds?.bits ?? CalendarField.second.all
    }
}
