// Schedules as cron has them: five fields, or a name such as @daily.

/// Reads cron's five fields.
enum CronExpression {
    /// The names that stand for five fields.
    static let names = [
        "@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *",
        "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *",
        "@annually": "0 0 1 1 *",
    ]
    /// A run after each start of the program.
    static let reboot = "@reboot"

    /// Minute, hour, day of the month, month, day of the week. As in Debian's cron, a day has to
    /// fit one of the two kinds of day when neither begins with `*`, else both of them; and a
    /// number with a step goes on to the end (`5/15` is `5-59/15`).
    static func pattern(_ words: [Substring]) throws(CalendarField.Fault) -> CalendarPattern {
        guard words.count == 5 else {
            throw CalendarField.Fault(
                message: "cron has five fields, and here are \(words.count)",
                advice: "write minute, hour, day of the month, month and day of the week, as in "
                    + "\"30 3 * * *\"")
        }
        for word in words {
            if let letter = word.first(where: { "LW#?H%".contains($0) }), !isNames(word) {
                throw CalendarField.Fault(
                    message: "\"\(letter)\" in \"\(Excerpt.of(word))\" is an extension that is "
                        + "not known here",
                    advice: "OnCalendar has more: \"*-*~01 03:00\" is the last day of each month")
            }
        }
        let minutes = try CalendarField.minute.spans(words[0], .cron)
        let hours = try CalendarField.hour.spans(words[1], .cron)
        let days = try CalendarField.day.spans(words[2], .cron)
        let months = try CalendarField.month.spans(words[3], .cron)
        let weekdays = try CalendarField.cronWeekday.spans(words[4], .cron)
        // Both 0 and 7 are Sunday.
        let named = weekdays?.bits ?? 0x7F
        return CalendarPattern(
            years: nil, months: months?.bits ?? CalendarField.month.all,
            days: days ?? [CalendarField.day.whole],
            weekdays: (named | named >> 7) & 0x7F,
            eitherDay: !words[2].hasPrefix("*") && !words[4].hasPrefix("*"),
            hours: hours?.bits ?? CalendarField.hour.all,
            minutes: minutes?.bits ?? CalendarField.minute.all, seconds: 1)
    }

    /// Names of months and days have such letters too.
    private static func isNames(_ word: Substring) -> Bool {
        word.contains { $0.isLetter }
            && word.split { ",-/*0123456789".contains($0) }.allSatisfy { $0.count == 3 }
    }
}

extension CalendarField {
    /// All its numbers.
    var whole: CalendarPattern.Span {
        CalendarPattern.Span(first: range.lowerBound, last: range.upperBound)
    }
    /// The same as bits.
    var all: UInt64 { whole.bits }
}
