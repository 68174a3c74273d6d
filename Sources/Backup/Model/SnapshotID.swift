// A snapshot's name: when it was begun, for people, and a number that only grows, for the order. A
// Pi has no clock of its own when it boots, so the time never decides anything.

/// The name of one snapshot, as in `20261121T030000Z-000017`.
public struct SnapshotID: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// The largest sequence number.
    public static let largestSequence = 999_999

    /// Seconds since 1970.
    public let time: Int64
    /// Counts the snapshots of one target from 1; gives the order.
    public let sequence: Int

    /// - Parameters:
    ///   - time: seconds since 1970; years 1970 to 9999.
    ///   - sequence: 1 to `largestSequence`.
    public init?(time: Int64, sequence: Int) {
        guard (0...253_402_300_799).contains(time), (1...Self.largestSequence).contains(sequence)
        else { return nil }
        self.time = time
        self.sequence = sequence
    }

    /// Reads the one form in which a name is written; nil for anything else.
    public init?(_ text: String) {
        let bytes = Array(text.utf8)
        guard bytes.count == 23, bytes[8] == UInt8(ascii: "T"), bytes[15] == UInt8(ascii: "Z"),
            bytes[16] == UInt8(ascii: "-")
        else { return nil }
        func number(_ range: Range<Int>) -> Int? {
            var value = 0
            for byte in bytes[range] {
                guard (0x30...0x39).contains(byte) else { return nil }
                value = value * 10 + Int(byte - 0x30)
            }
            return value
        }
        guard let year = number(0..<4), let month = number(4..<6), let day = number(6..<8),
            let hour = number(9..<11), let minute = number(11..<13), let second = number(13..<15),
            let sequence = number(17..<23)
        else { return nil }
        let days = CivilDay(year: year, month: month, day: day).daysSince1970
        let time = Int64(days) * 86_400 + Int64(hour * 3600 + minute * 60 + second)
        self.init(time: time, sequence: sequence)
        // A day or an hour that does not exist would be written in another way.
        guard description == text else { return nil }
    }

    /// The written form.
    public var description: String {
        let (days, seconds) = time.quotientAndRemainder(dividingBy: 86_400)
        let day = CivilDay(daysSince1970: Int(days))
        let clock = Int(seconds)
        func digits(_ value: Int, _ count: Int) -> String {
            let text = String(value)
            return String(repeating: "0", count: max(0, count - text.count)) + text
        }
        return digits(day.year, 4) + digits(day.month, 2) + digits(day.day, 2) + "T"
            + digits(clock / 3600, 2) + digits(clock / 60 % 60, 2) + digits(clock % 60, 2) + "Z-"
            + digits(sequence, 6)
    }

    /// By the sequence number.
    public static func < (left: SnapshotID, right: SnapshotID) -> Bool {
        (left.sequence, left.time) < (right.sequence, right.time)
    }
}

extension SnapshotID: Codable {
    /// From its written form.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let text = try container.decode(String.self)
        guard let id = SnapshotID(text) else {
            throw DecodingError.dataCorruptedError(
                in: container, debugDescription: "this is not the name of a snapshot")
        }
        self = id
    }

    /// As its written form.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}
