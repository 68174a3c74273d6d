// One part of a schedule, such as its hours: lists, ranges and steps of numbers or names.

/// What a part of a schedule may hold.
struct CalendarField: Sendable {
    /// How ranges are written.
    enum Style: Sendable {
        /// `1-5`, `*/2`.
        case cron
        /// `1..5`; `*` stands alone.
        case calendar
    }

    /// For the messages: "hour".
    let name: String
    let range: ClosedRange<Int>
    /// Three letters each, for the numbers from the first of the range on.
    var names: [String] = []

    static let second = CalendarField(name: "second", range: 0...59)
    static let minute = CalendarField(name: "minute", range: 0...59)
    static let hour = CalendarField(name: "hour", range: 0...23)
    static let day = CalendarField(name: "day of the month", range: 1...31)
    /// The days that every month has.
    static let lastDay = CalendarField(name: "day before the month's end", range: 1...28)
    static let month = CalendarField(
        name: "month", range: 1...12,
        names: [
            "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
        ])
    static let year = CalendarField(name: "year", range: CalendarPattern.years)
    static let cronWeekday = CalendarField(
        name: "day of the week", range: 0...7,
        names: ["sun", "mon", "tue", "wed", "thu", "fri", "sat"])

    /// What is wrong with a part, for `Schedule` to put into an error.
    struct Fault: Error {
        let message: String
        var advice = ""
    }

    /// Reads a list; nil for `*` alone.
    func spans(_ text: Substring, _ style: Style) throws(Fault) -> [CalendarPattern.Span]? {
        guard !text.isEmpty else { throw Fault(message: "the \(name) is missing") }
        if text == "*" { return nil }
        let items = text.split(separator: ",", omittingEmptySubsequences: false)
        guard items.count <= 60 else {
            throw Fault(message: "the list of \(name)s has more than 60 parts")
        }
        var spans: [CalendarPattern.Span] = []
        for item in items { spans.append(try span(item, in: text, style)) }
        return spans
    }

    private func span(_ item: Substring, in text: Substring, _ style: Style) throws(Fault)
        -> CalendarPattern.Span
    {
        let place = item == text ? "" : " (in \"\(Excerpt.of(text))\")"
        guard !item.isEmpty else {
            throw Fault(
                message: "\(name == "hour" ? "an" : "a") \(name) is missing at a comma of "
                    + "\"\(Excerpt.of(text))\"",
                advice: "take out the comma, or write what is missing")
        }
        let parts = item.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        var step = 1
        if parts.count == 2 {
            guard let value = digits(parts[1]), value > 0 else {
                throw Fault(
                    message: "\"\(Excerpt.of(parts[1]))\" in \"\(Excerpt.of(item))\" is no step",
                    advice: "after / write a whole number from 1 on")
            }
            step = min(value, 1_000)
        }
        if parts[0] == "*" {
            guard style == .cron else {
                throw Fault(
                    message: "\"\(Excerpt.of(item))\" is not how OnCalendar writes it",
                    advice: "write \(range.lowerBound)\(parts.count == 2 ? "/\(step)" : "") here")
            }
            return CalendarPattern.Span(
                first: range.lowerBound, last: range.upperBound, step: step)
        }
        let ends = self.ends(parts[0], style)
        let first = try number(ends[0], place)
        guard ends.count == 2 else {
            // A step alone goes on to the end.
            return CalendarPattern.Span(
                first: first, last: parts.count == 2 ? range.upperBound : first, step: step)
        }
        let last = try number(ends[1], place)
        guard first <= last else {
            let turned = style == .cron ? "-" : ".."
            throw Fault(
                message: "the range \"\(Excerpt.of(parts[0]))\"\(place) goes backwards",
                advice: "write two: \(first)\(turned)\(range.upperBound),"
                    + "\(range.lowerBound)\(turned)\(last)")
        }
        return CalendarPattern.Span(first: first, last: last, step: step)
    }

    private func ends(_ text: Substring, _ style: Style) -> [Substring] {
        switch style {
        case .cron: return text.split(separator: "-", omittingEmptySubsequences: false)
        case .calendar:
            guard let dots = text.firstRange(of: "..") else { return [text] }
            return [text[..<dots.lowerBound], text[dots.upperBound...]]
        }
    }

    private func number(_ text: Substring, _ place: String) throws(Fault) -> Int {
        if let index = names.firstIndex(of: text.lowercased()) { return range.lowerBound + index }
        let advice =
            names.isEmpty
            ? "" : ", or \(names.first ?? "") to \(names.last ?? "")"
        guard let value = digits(text), range.contains(value) else {
            throw Fault(
                message: "\"\(Excerpt.of(text))\"\(place) is no \(name)",
                advice: "\(name)s are \(range.lowerBound) to \(range.upperBound)\(advice)")
        }
        return value
    }

    /// A whole number of at most four digits.
    private func digits(_ text: Substring) -> Int? {
        guard (1...4).contains(text.utf8.count),
            text.utf8.allSatisfy({ (0x30...0x39).contains($0) })
        else { return nil }
        return Int(text)
    }
}

extension [CalendarPattern.Span] {
    /// The numbers up to 63 as bits.
    var bits: UInt64 { reduce(0) { $0 | $1.bits } }
}
