// Time zones written as POSIX has it (`CET-1CEST,M3.5.0,M10.5.0/3`): the last line of a zone's file,
// which says how it goes on after the file's table, and what TZ may hold (RFC 9636 section 3.3).

/// A standard time and, where there is one, a daylight saving time with the days that it is between.
struct POSIXTimeZone: Sendable, Equatable {
    /// A day of each year.
    enum Day: Sendable, Equatable {
        /// 1 to 365; February 29 is not counted.
        case julian(Int)
        /// 0 to 365; February 29 is counted.
        case ofYear(Int)
        /// The `week`th (5: the last) `weekday` (0: Sunday) of a month.
        case weekday(month: Int, week: Int, weekday: Int)

        /// Days since 1970.
        func number(in year: Int) -> Int {
            let first = CivilDay(year: year, month: 1, day: 1).daysSince1970
            switch self {
            case .julian(let day):
                let march = CivilDay(year: year, month: 3, day: 1).daysSince1970
                return first + day - 1 + (day >= 60 && march - first == 60 ? 1 : 0)
            case .ofYear(let day): return first + day
            case .weekday(let month, let week, let weekday):
                let start = CivilDay(year: year, month: month, day: 1)
                let number = start.daysSince1970
                let next = CivilDay(
                    year: month == 12 ? year + 1 : year, month: month == 12 ? 1 : month + 1, day: 1)
                var day = number + (weekday - start.weekday + 7) % 7 + (week - 1) * 7
                while day >= next.daysSince1970 { day -= 7 }
                return day
            }
        }
    }

    /// When the clocks are changed, in the local time before the change.
    struct Change: Sendable, Equatable {
        var day: Day
        /// Seconds after midnight; may be negative or longer than a day.
        var time: Int
    }

    /// Seconds east of Greenwich.
    var standard: Int
    /// Seconds east of Greenwich in daylight saving time, and when that begins and ends.
    var daylight: (offset: Int, begin: Change, end: Change)?

    static func == (left: POSIXTimeZone, right: POSIXTimeZone) -> Bool {
        left.standard == right.standard && left.daylight?.offset == right.daylight?.offset
            && left.daylight?.begin == right.daylight?.begin
            && left.daylight?.end == right.daylight?.end
    }

    /// The stretch of constant offset that a time lies in.
    func stretch(at time: Int64) -> TimeZoneRules.Stretch {
        guard let daylight else {
            return TimeZoneRules.Stretch(begin: .min, end: .max, offset: standard)
        }
        let local = time + Int64(standard)
        let days = local >= 0 ? local / 86_400 : (local - 86_399) / 86_400
        let year = CivilDay(daysSince1970: Int(days)).year
        var begin = Int64.min
        var end = Int64.max
        var offset = standard
        // The times of day may reach a week into another year, so two years on both sides.
        for year in (year - 2)...(year + 2) {
            let changes = [
                // The end first: where both fall together, it is daylight saving time for ever.
                (instant(daylight.end, year, before: daylight.offset), standard),
                (instant(daylight.begin, year, before: standard), daylight.offset),
            ]
            for (instant, next) in changes {
                if instant <= time, instant >= begin {
                    begin = instant
                    offset = next
                } else if instant > time {
                    end = min(end, instant)
                }
            }
        }
        return TimeZoneRules.Stretch(begin: begin, end: end, offset: offset)
    }

    private func instant(_ change: Change, _ year: Int, before offset: Int) -> Int64 {
        Int64(change.day.number(in: year)) * 86_400 + Int64(change.time - offset)
    }
}

extension POSIXTimeZone {
    /// Nil when it is not of that form.
    init?(_ text: some StringProtocol) {
        guard text.utf8.count <= 200 else { return nil }
        var reader = Reader(rest: Array(text.utf8)[...])
        guard reader.name(), let west = reader.time(largest: 24) else { return nil }
        standard = -west
        daylight = nil
        if reader.rest.isEmpty { return }
        guard reader.name() else { return nil }
        var offset = standard + 3600
        if let next = reader.rest.first, next != UInt8(ascii: ",") {
            guard let west = reader.time(largest: 24) else { return nil }
            offset = -west
        }
        // Without days, those of the United States are meant.
        if reader.rest.isEmpty { reader.rest = Array(",M3.2.0,M11.1.0".utf8)[...] }
        guard let begin = reader.change(), let end = reader.change(), reader.rest.isEmpty
        else { return nil }
        daylight = (offset, begin, end)
    }

    private struct Reader {
        var rest: ArraySlice<UInt8>

        mutating func take(_ character: Unicode.Scalar) -> Bool {
            guard rest.first == UInt8(ascii: character) else { return false }
            rest.removeFirst()
            return true
        }

        /// Three letters or more, or anything that is sensible in angle brackets.
        mutating func name() -> Bool {
            let isQuoted = take("<")
            let name = rest.prefix { byte in
                let isLetter = (0x41...0x5A).contains(byte & 0xDF)
                let isOther =
                    (0x30...0x39).contains(byte) || byte == UInt8(ascii: "+")
                    || byte == UInt8(ascii: "-")
                return isLetter || (isQuoted && isOther)
            }
            rest = rest[name.endIndex...]
            return name.count >= 3 && (!isQuoted || take(">"))
        }

        mutating func number(_ range: ClosedRange<Int>) -> Int? {
            let digits = rest.prefix { (0x30...0x39).contains($0) }
            guard !digits.isEmpty, digits.count <= 3 else { return nil }
            rest = rest[digits.endIndex...]
            let value = digits.reduce(0) { $0 * 10 + Int($1 - 0x30) }
            return range.contains(value) ? value : nil
        }

        /// `[+-]hh[:mm[:ss]]` in seconds.
        mutating func time(largest: Int) -> Int? {
            let isNegative = take("-")
            if !isNegative { _ = take("+") }
            guard var seconds = number(0...largest).map({ $0 * 3600 }) else { return nil }
            for factor in [60, 1] where take(":") {
                guard let part = number(0...59) else { return nil }
                seconds += part * factor
            }
            return isNegative ? -seconds : seconds
        }

        /// `,day[/time]`.
        mutating func change() -> Change? {
            guard take(","), let day = day() else { return nil }
            guard take("/") else { return Change(day: day, time: 7200) }
            return time(largest: 167).map { Change(day: day, time: $0) }
        }

        private mutating func day() -> Day? {
            if take("J") { return number(1...365).map { .julian($0) } }
            guard take("M") else { return number(0...365).map { .ofYear($0) } }
            guard let month = number(1...12), take("."), let week = number(1...5), take("."),
                let weekday = number(0...6)
            else { return nil }
            return .weekday(month: month, week: week, weekday: weekday)
        }
    }
}
