// The attribute logs of smartd (option `-A`, Debian's default): one line for each time that it looked
// at an ATA disk, `2026-11-21 10:30:25;<tab>5;100;0;<tab>9;95;21312;` in UTC: number, normalised
// value and raw value of each attribute.

/// One line of an attribute log, without knowledge of the disk's maker.
enum SmartdLog {
    static let prefix = "attrlog."
    static let suffix = ".ata.csv"
    /// A line has up to 30 attributes of at most 30 characters.
    static let tail = 4096

    /// The model in a log's name. What is no letter or digit has become `_` there, so the only
    /// hyphen stands before the serial number, which nobody needs to see.
    static func model(_ file: String) -> String? {
        guard file.hasPrefix(prefix), file.hasSuffix(suffix) else { return nil }
        let name = file.dropFirst(prefix.count).dropLast(suffix.count)
        guard let hyphen = name.firstIndex(of: "-"), hyphen > name.startIndex else { return nil }
        return String(name[..<hyphen]).printable(64)
    }

    /// What the last whole line tells; nil when it is no such line.
    static func facts(_ tail: [UInt8]) -> [SMARTFact: Double]? {
        guard let end = tail.lastIndex(of: 0x0A) else { return nil }
        let start = tail[..<end].lastIndex(of: 0x0A).map { $0 + 1 } ?? 0
        let fields = String(decoding: tail[start..<end], as: UTF8.self).split(separator: "\t")
        guard let date = fields.first, let time = time(date.dropLast()) else { return nil }
        var facts: [SMARTFact: Double] = [.time: time]
        for field in fields.dropFirst() {
            let numbers = field.split(separator: ";").map { UInt64($0) }
            guard numbers.count == 3, let id = numbers[0], let raw = numbers[2] else { return nil }
            switch id {
            // The upper bytes are other counts, or lowest and highest temperature.
            case 5: facts[.reallocatedSectors] = Double(raw & 0xFFFF)
            case 9: facts[.powerOnSeconds] = Double(raw & 0xFF_FFFF) * 3600
            case 174: facts[.unsafeShutdowns] = Double(raw)
            case 187: facts[.mediaErrors] = Double(raw)
            case 190: facts[.temperature] = facts[.temperature] ?? Double(raw & 0xFF)
            case 194: facts[.temperature] = Double(raw & 0xFF)
            case 197: facts[.pendingSectors] = Double(raw)
            default: break
            }
        }
        return facts
    }

    /// Seconds since 1970 of `2026-11-21 10:30:25`.
    private static func time(_ text: Substring) -> Double? {
        let numbers = text.split { $0 == "-" || $0 == " " || $0 == ":" }.map { Int($0) }
        guard numbers.count == 6, let year = numbers[0], let month = numbers[1],
            let day = numbers[2], let hour = numbers[3], let minute = numbers[4],
            let second = numbers[5]
        else { return nil }
        return CivilDate.seconds(year, month, day, hour: hour, minute: minute, second: second)
    }
}
