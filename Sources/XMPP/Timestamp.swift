// Dates and times on the wire (XEP-0082 section 3.2), to the millisecond. The calendar is reckoned
// here: the C library's would read a time zone, and a full date library weighs more than this file.

/// Converts between `2026-11-21T07:00:00.123Z` and milliseconds since 1970.
public enum Timestamp {
    /// From the first to the last moment of the years 0001 to 9999, in UTC.
    public static let range: ClosedRange<Int64> = -62_135_596_800_000...253_402_300_799_999

    private static let millisecondsPerDay: Int64 = 86_400_000
    /// Days from 1 March of the year 0, where a cycle of 400 years begins, to 1 January 0001.
    private static let daysBeforeRange: Int64 = 306

    /// Milliseconds since 1970; nil for anything but a DateTime within ``range``.
    ///
    /// A time zone is required. Digits beyond the millisecond are dropped. Leap seconds and
    /// `24:00:00` are refused.
    public static func parse(_ text: String) -> Int64? {
        var rest = Scanner(text)
        guard let year = rest.number(digits: 4, in: 1...9999), rest.take("-"),
            let month = rest.number(digits: 2, in: 1...12), rest.take("-"),
            let day = rest.number(digits: 2, in: 1...31), rest.take("T"),
            let hour = rest.number(digits: 2, in: 0...23), rest.take(":"),
            let minute = rest.number(digits: 2, in: 0...59), rest.take(":"),
            let second = rest.number(digits: 2, in: 0...59),
            let fraction = rest.fraction(), let offset = rest.offset(), rest.isAtEnd
        else { return nil }
        let days = days(year: year, month: month, day: day)
        // A day that the month does not have comes back as one of the next month.
        guard date(days) == (year, month, day) else { return nil }
        let minutes = (days * 24 + hour) * 60 + minute - offset
        let time = (minutes * 60 + second) * 1000 + fraction + range.lowerBound
        return range.contains(time) ? time : nil
    }

    /// The time as UTC, with three digits of a fraction unless they are zeros. What lies outside
    /// ``range`` is given as its nearer end.
    public static func text(_ milliseconds: Int64) -> String {
        String(decoding: utf8(milliseconds), as: UTF8.self)
    }

    /// ``text(_:)`` as bytes.
    public static func utf8(_ milliseconds: Int64) -> [UInt8] {
        let clamped = min(max(milliseconds, range.lowerBound), range.upperBound)
        let time = clamped - range.lowerBound
        let (year, month, day) = date(time / millisecondsPerDay)
        let millisecond = time % 1000
        let second = time / 1000 % 86_400
        var bytes: [UInt8] = []
        bytes.reserveCapacity(24)
        func append(_ value: Int64, digits: Int, then mark: Unicode.Scalar) {
            var divisor: Int64 = 1
            for _ in 1..<digits { divisor *= 10 }
            while divisor > 0 {
                bytes.append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: value / divisor % 10))
                divisor /= 10
            }
            bytes.append(UInt8(ascii: mark))
        }
        append(year, digits: 4, then: "-")
        append(month, digits: 2, then: "-")
        append(day, digits: 2, then: "T")
        append(second / 3600, digits: 2, then: ":")
        append(second / 60 % 60, digits: 2, then: ":")
        append(second % 60, digits: 2, then: millisecond == 0 ? "Z" : ".")
        if millisecond != 0 { append(millisecond, digits: 3, then: "Z") }
        return bytes
    }

    // MARK: The Gregorian calendar
    // Years begin in March here, so that the leap day is the last of its year; the months from
    // there on have 153 days in every five. Days count from 1 January 0001.

    private static func days(year: Int64, month: Int64, day: Int64) -> Int64 {
        let year = month > 2 ? year : year - 1
        let monthOfYear = month > 2 ? month - 3 : month + 9
        let leapDays = year / 4 - year / 100 + year / 400
        return year * 365 + leapDays + (153 * monthOfYear + 2) / 5 + day - 1 - daysBeforeRange
    }

    private static func date(_ days: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let day = days + daysBeforeRange
        let cycle = day / 146_097
        let dayOfCycle = day % 146_097
        let yearOfCycle =
            (dayOfCycle - dayOfCycle / 1460 + dayOfCycle / 36_524 - dayOfCycle / 146_096) / 365
        let dayOfYear =
            dayOfCycle - (365 * yearOfCycle + yearOfCycle / 4 - yearOfCycle / 100)
        let monthOfYear = (5 * dayOfYear + 2) / 153
        let month = monthOfYear < 10 ? monthOfYear + 3 : monthOfYear - 9
        let year = cycle * 400 + yearOfCycle + (month > 2 ? 0 : 1)
        return (year, month, dayOfYear - (153 * monthOfYear + 2) / 5 + 1)
    }

    // MARK: Reading

    private struct Scanner {
        private var rest: Substring.UTF8View

        init(_ text: String) { rest = text[...].utf8 }

        var isAtEnd: Bool { rest.isEmpty }

        mutating func take(_ mark: Unicode.Scalar) -> Bool {
            guard rest.first == UInt8(ascii: mark) else { return false }
            rest = rest.dropFirst()
            return true
        }

        private mutating func digit() -> Int64? {
            guard let byte = rest.first, case UInt8(ascii: "0")...UInt8(ascii: "9") = byte else {
                return nil
            }
            rest = rest.dropFirst()
            return Int64(byte - UInt8(ascii: "0"))
        }

        mutating func number(digits: Int, in range: ClosedRange<Int64>) -> Int64? {
            var value: Int64 = 0
            for _ in 0..<digits {
                guard let digit = digit() else { return nil }
                value = value * 10 + digit
            }
            return range.contains(value) ? value : nil
        }

        /// Milliseconds; 0 when there is no fraction, nil for a dot without digits.
        mutating func fraction() -> Int64? {
            guard take(".") else { return 0 }
            guard let first = digit() else { return nil }
            var value = first * 100
            var unit: Int64 = 10
            while let digit = digit() {
                value += digit * unit
                unit /= 10
            }
            return value
        }

        /// Minutes east of UTC, at most 14 hours (XML Schema part 2, section 3.2.7.3).
        mutating func offset() -> Int64? {
            if take("Z") { return 0 }
            let isEast = take("+")
            guard isEast || take("-"), let hours = number(digits: 2, in: 0...14), take(":"),
                let minutes = number(digits: 2, in: 0...59), hours * 60 + minutes <= 14 * 60
            else { return nil }
            return isEast ? hours * 60 + minutes : -(hours * 60 + minutes)
        }
    }
}
