// Which seconds of which days a schedule means, whatever it was written in.

/// A set of local times.
struct CalendarPattern: Sendable, Equatable {
    /// The years that are looked at; systemd has the same.
    static let years = 1970...2199

    /// Numbers: one, or from one to another in steps.
    struct Span: Sendable, Equatable {
        var first: Int
        var last: Int
        var step = 1

        func contains(_ number: Int) -> Bool {
            first <= number && number <= last && (number - first) % step == 0
        }

        /// The numbers up to 63 as bits.
        var bits: UInt64 {
            var bits: UInt64 = 0
            for number in stride(from: first, through: min(last, 63), by: step) {
                bits |= 1 << UInt64(number)
            }
            return bits
        }
    }

    /// Nil for all.
    var years: [Span]?
    /// Bits 1 to 12.
    var months: UInt64
    /// Bits 1 to 31; counted from the month's end, 1 for its last day, with `countsFromEnd`.
    var days: [Span]
    var countsFromEnd = false
    /// Bits 0 (Sunday) to 6.
    var weekdays: UInt64
    /// A day fits when its number or its weekday does; else both have to.
    var eitherDay = false
    /// Bits 0 to 23.
    var hours: UInt64
    /// Bits 0 to 59.
    var minutes: UInt64
    /// Bits 0 to 59.
    var seconds: UInt64

    /// The first of its times after `local`, in seconds since 1970-01-01 00:00 of the same clocks;
    /// nil when there is none up to the year 2199. Looks at 2,760 months at most.
    func next(after local: Int64) -> Int64? {
        let lowest = Int64(CivilDay(year: Self.years.lowerBound, month: 1, day: 1).daysSince1970)
        let start = max(local, lowest * 86_400 - 1)
        guard start < 8_000_000_000 else { return nil }
        let (number, second) = (start + 1).quotientAndRemainder(dividingBy: 86_400)
        var first = CivilDay(daysSince1970: Int(number))
        // The rest of the day first.
        if let year = days(of: first.year, first.month), year & (1 << UInt64(first.day)) != 0,
            let time = timeOfDay(from: Int(second))
        {
            return number * 86_400 + Int64(time)
        }
        guard let time = timeOfDay(from: 0) else { return nil }
        first.day += 1
        while first.year <= Self.years.upperBound {
            if let days = days(of: first.year, first.month) {
                let rest = first.day > 31 ? 0 : days & (~0 << UInt64(first.day))
                if rest != 0 {
                    first.day = rest.trailingZeroBitCount
                    return Int64(first.daysSince1970) * 86_400 + Int64(time)
                }
            }
            let isLast = first.month == 12
            first = CivilDay(
                year: isLast ? first.year + 1 : first.year, month: isLast ? 1 : first.month + 1,
                day: 1)
        }
        return nil
    }

    /// The days of a month that fit, as bits 1 to 31; nil when the month does not.
    private func days(of year: Int, _ month: Int) -> UInt64? {
        guard months & (1 << UInt64(month)) != 0,
            years.map({ $0.contains { $0.contains(year) } }) ?? true
        else { return nil }
        let start = CivilDay(year: year, month: month, day: 1)
        let next = CivilDay(
            year: month == 12 ? year + 1 : year, month: month == 12 ? 1 : month + 1, day: 1)
        let length = next.daysSince1970 - start.daysSince1970
        let whole: UInt64 = (1 << UInt64(length + 1)) - 2
        var numbered: UInt64 = 0
        for span in days {
            guard countsFromEnd else {
                numbered |= span.bits
                continue
            }
            // From the earlier day to the later one, which has the smaller number.
            let early = max(1, length + 1 - span.last)
            let late = min(length, length + 1 - span.first)
            if early <= late {
                numbered |= Span(first: early, last: late, step: span.step).bits
            }
        }
        var named: UInt64 = 0
        for day in 1...length where weekdays & (1 << UInt64((start.weekday + day - 1) % 7)) != 0 {
            named |= 1 << UInt64(day)
        }
        return whole & (eitherDay ? numbered | named : numbered & named)
    }

    /// The first time of a day from `second` on; nil when there is none.
    private func timeOfDay(from second: Int) -> Int? {
        func first(_ bits: UInt64, from low: Int) -> Int? {
            let rest = low > 63 ? 0 : bits & (~0 << UInt64(low))
            return rest == 0 ? nil : rest.trailingZeroBitCount
        }
        var (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60)
        // At most: this minute is over, then this hour is, then it is a whole new hour.
        for _ in 0..<3 {
            guard let nextHour = first(hours, from: hour) else { return nil }
            if nextHour > hour { (hour, minute, second) = (nextHour, 0, 0) }
            guard let nextMinute = first(minutes, from: minute) else {
                (hour, minute, second) = (hour + 1, 0, 0)
                continue
            }
            if nextMinute > minute { (minute, second) = (nextMinute, 0) }
            if let nextSecond = first(seconds, from: second) {
                return hour * 3600 + minute * 60 + nextSecond
            }
            (minute, second) = (minute + 1, 0)
        }
        return nil
    }
}
