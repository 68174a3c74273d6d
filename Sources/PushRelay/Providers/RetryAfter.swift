// How long a server asks us to wait (RFC 9110 section 10.2.3): seconds, or a date in one of the three
// forms that HTTP knows (section 5.6.7).

internal import HTTPClient

/// Reads `Retry-After`.
enum RetryAfter {
    /// Whoever asks for more gets this.
    static let longest: Duration = .seconds(86_400)

    /// The time to wait; nil when the server asked for none, or nobody can tell what it asked for.
    static func of(_ response: HTTPResponse, at time: PushTime) -> Duration? {
        guard let text = response.header("Retry-After").map(trimmed), text.utf8.count <= 64 else {
            return nil
        }
        if !text.isEmpty, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) {
            // More digits than fit are still a number.
            return min(.seconds(Int64(text) ?? .max), longest)
        }
        guard let date = date(text) else { return nil }
        // Compared with the server's own clock: ours may be wrong.
        let now = response.header("Date").map(trimmed).flatMap(self.date) ?? time.seconds
        return min(.seconds(max(0, date - now)), longest)
    }

    /// Seconds since 1970 of a date; nil when it is none.
    static func date(_ text: String) -> Int64? {
        guard text.utf8.count <= 64 else { return nil }
        let words = text.split { $0 == " " || $0 == "," || $0 == "-" }.map(String.init)
        // Sun, 06 Nov 1994 08:49:37 GMT; Sunday, 06-Nov-94 08:49:37 GMT
        if words.count == 6, words[5] == "GMT" {
            return seconds(year: words[3], month: words[2], day: words[1], clock: words[4])
        }
        // Sun Nov  6 08:49:37 1994
        if words.count == 5 {
            return seconds(year: words[4], month: words[1], day: words[2], clock: words[3])
        }
        return nil
    }

    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    private static func seconds(
        year: String, month: String, day: String, clock: String
    ) -> Int64? {
        let parts = clock.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 3, let month = months.firstIndex(of: month), var year = number(year),
            let day = number(day), (1...31).contains(day),
            let hour = number(parts[0]), hour < 24, let minute = number(parts[1]), minute < 60,
            let second = number(parts[2]), second <= 60
        else { return nil }
        // Two digits are this century's: a server has no reason to name a day of the last one.
        if year < 100 { year += 2000 }
        guard (1970...9999).contains(year) else { return nil }
        let days = daysSince1970(year: year, month: Int64(month) + 1, day: day)
        return days * 86_400 + hour * 3600 + minute * 60 + second
    }

    private static func number(_ text: String) -> Int64? {
        guard (1...4).contains(text.utf8.count),
            text.utf8.allSatisfy({ (0x30...0x39).contains($0) })
        else { return nil }
        return Int64(text)
    }

    /// In the Gregorian calendar, counted from March so that a leap day ends its year.
    private static func daysSince1970(year: Int64, month: Int64, day: Int64) -> Int64 {
        let shifted = month <= 2 ? year - 1 : year
        let era = shifted / 400
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }

    private static func trimmed(_ text: String) -> String {
        let isSpace: (Character) -> Bool = { $0 == " " || $0 == "\t" }
        let rest = text.drop(while: isSpace)
        return String(rest.reversed().drop(while: isSpace).reversed())
    }
}
