// The hours in which a job may begin: `22:00-06:00`, `Sat,Sun 08:00-20:00`, `not 17:00-19:00`.

/// Hours of the week that are allowed. Without any window everything is, but for black-outs.
struct RunWindows: Sendable, Equatable {
    /// Windows and black-outs at most.
    static let most = 50
    private static let week = 7 * 1_440

    /// A stretch of the week, in minutes from Sunday 00:00; may reach beyond its end.
    private struct Stretch: Sendable, Equatable {
        let begin: Int
        let end: Int

        func contains(_ minute: Int) -> Bool {
            (begin..<end).contains(minute) || (begin..<end).contains(minute + RunWindows.week)
        }
    }

    private let windows: [Stretch]
    private let blackouts: [Stretch]

    /// No restriction.
    static let always = RunWindows(windows: [], blackouts: [])

    private init(windows: [Stretch], blackouts: [Stretch]) {
        self.windows = windows
        self.blackouts = blackouts
    }

    /// Reads windows. One over midnight belongs to the day on which it begins; `not` makes a
    /// black-out of it.
    init(_ texts: [String]) throws(BackupError) {
        guard texts.count <= Self.most else {
            throw BackupError(
                .permanent, subject: "windows", "there are more than \(Self.most)",
                advice: "join some of them; days can be written as Mon..Fri")
        }
        var windows: [Stretch] = []
        var blackouts: [Stretch] = []
        for text in texts {
            let (stretches, isBlackout) = try Self.read(text)
            if isBlackout { blackouts += stretches } else { windows += stretches }
        }
        self.init(windows: windows, blackouts: blackouts)
        guard (0..<Self.week).contains(where: { isOpen(minute: $0) }) else {
            throw BackupError(
                .permanent, subject: "windows",
                "no minute of the week is left in which a run may begin",
                advice: "let a window be longer than the black-outs in it")
        }
    }

    private static func read(_ text: String) throws(BackupError) -> ([Stretch], Bool) {
        var words = text.prefix(200).split(separator: " ")[...]
        let isBlackout = words.first?.lowercased() == "not"
        if isBlackout { words.removeFirst() }
        var days: UInt64 = 0x7F
        if words.count == 2, let first = words.first {
            do throws(CalendarField.Fault) {
                days = try CalendarExpression.days(first)
            } catch {
                throw BackupError(
                    .permanent, subject: "the window \"\(Excerpt.of(text))\"", error.message,
                    advice: "write days as Mon..Fri or Sat,Sun, before the hours")
            }
            words.removeFirst()
        }
        let ends = (words.first ?? "").split(separator: "-", omittingEmptySubsequences: false)
        guard words.count == 1, ends.count == 2, let begin = minute(ends[0]),
            let end = minute(ends[1]), begin != end, begin < 1_440
        else {
            throw BackupError(
                .permanent, subject: "the window \"\(Excerpt.of(text))\"",
                "\"\(Excerpt.of(words.joined(separator: " ")))\" is no stretch of hours",
                advice: "write 22:00-06:00, Sat,Sun 00:00-24:00, or not 17:00-19:00")
        }
        let length = end > begin ? end - begin : end + 1_440 - begin
        let stretches = (0..<7).filter { days & (1 << UInt64($0)) != 0 }.map { day in
            Stretch(begin: day * 1_440 + begin, end: day * 1_440 + begin + length)
        }
        return (stretches, isBlackout)
    }

    /// `HH:MM` to 24:00.
    private static func minute(_ text: Substring) -> Int? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, (1...2).contains(parts[0].utf8.count), parts[1].utf8.count == 2,
            parts.allSatisfy({ $0.utf8.allSatisfy { (0x30...0x39).contains($0) } }),
            let hour = Int(parts[0]), let minute = Int(parts[1]), minute < 60,
            hour * 60 + minute <= 1_440
        else { return nil }
        return hour * 60 + minute
    }

    private func isOpen(minute: Int) -> Bool {
        (windows.isEmpty || windows.contains { $0.contains(minute) })
            && !blackouts.contains { $0.contains(minute) }
    }

    /// Whether a run may begin at a time, in seconds since 1970.
    func isOpen(at time: Int64, in zone: TimeZoneRules) -> Bool {
        isOpen(minute: Self.minute(zone.local(time)))
    }

    /// When a run may begin next, at `time` or later; nil when that is more than nine days away.
    func opening(from time: Int64, in zone: TimeZoneRules) -> Int64? {
        if isOpen(at: time, in: zone) { return time }
        let local = zone.local(time)
        let start = local - Int64(Self.minute(local)) * 60 - ((local % 60) + 60) % 60
        // It opens where a window begins or a black-out ends.
        let edges = windows.map(\.begin) + blackouts.map(\.end)
        var earliest: Int64?
        for edge in edges {
            for week in -1...2 {
                let moment = zone.utc(start + Int64(edge + week * Self.week) * 60)
                guard moment > time, moment < earliest ?? .max, isOpen(at: moment, in: zone)
                else { continue }
                earliest = moment
            }
        }
        return earliest
    }

    /// The longest stretch in which no run may begin, in seconds.
    var longestPause: Int64 {
        var longest = 0
        var pause = 0
        // Twice, for one may go over the end of the week.
        for minute in 0..<2 * Self.week {
            pause = isOpen(minute: minute % Self.week) ? 0 : pause + 1
            longest = max(longest, pause)
        }
        return Int64(longest) * 60
    }

    /// The minute of the week.
    private static func minute(_ local: Int64) -> Int {
        let week = Int64(Self.week) * 60
        // 1970-01-01 was a Thursday.
        return Int(((local + 4 * 86_400) % week + week) % week) / 60
    }
}
