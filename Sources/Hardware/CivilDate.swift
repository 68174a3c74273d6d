// Times that files and devices give as a date, without a library of time zones.

/// Dates of the Gregorian calendar in universal time.
enum CivilDate {
    /// Seconds from 1970 to a time of a day; nil when there is no such time. Years before 1970 and
    /// after 9999 are no dates of anything that is read.
    static func seconds(
        _ year: Int, _ month: Int, _ day: Int, hour: Int = 0, minute: Int = 0, second: Int = 0
    ) -> Double? {
        guard (1970...9999).contains(year), (1...12).contains(month), (1...31).contains(day),
            (0...23).contains(hour), (0...59).contains(minute), (0...60).contains(second)
        else { return nil }
        let time = hour * 3600 + minute * 60 + second
        return Double(days(year, month, day) * 86_400 + time)
    }

    /// Days from 1970-01-01; the year begins in March here, so that a leap day is its last.
    private static func days(_ year: Int, _ month: Int, _ day: Int) -> Int {
        let years = month > 2 ? year : year - 1
        let dayOfYear = (153 * ((month + 9) % 12) + 2) / 5 + day - 1
        return 365 * years + years / 4 - years / 100 + years / 400 + dayOfYear - 719_468
    }
}
