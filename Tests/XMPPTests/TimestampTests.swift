// Dates and times as XEP-0082 writes them.

import Testing
import XMPP

@Suite struct TimestampTests {
    /// Times with what `date -u -d … +%s` says of them.
    private static let samples: [(String, Int64)] = [
        ("1970-01-01T00:00:00Z", 0),
        ("1969-12-31T23:59:59.999Z", -1),
        ("2026-11-21T07:00:00.123Z", 1_795_244_400_123),
        ("2000-02-29T12:30:45Z", 951_827_445_000),
        ("1900-03-01T00:00:00Z", -2_203_891_200_000),
        ("2100-02-28T23:59:59.001Z", 4_107_542_399_001),
        ("2038-01-19T03:14:08Z", 2_147_483_648_000),
        ("0001-01-01T00:00:00Z", Timestamp.range.lowerBound),
        ("9999-12-31T23:59:59.999Z", Timestamp.range.upperBound),
    ]

    @Test("Known times, printed and read (section 3.2)", arguments: samples)
    func known(text: String, time: Int64) {
        #expect(Timestamp.text(time) == text)
        #expect(Timestamp.utf8(time) == Array(text.utf8))
        #expect(Timestamp.parse(text) == time)
    }

    @Test("Every day from 1890 to 2110 has the next date")
    func days() throws {
        let lengths = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        var time = try #require(Timestamp.parse("1890-01-01T00:00:00Z"))
        for year in 1890...2110 {
            let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
            for (index, length) in lengths.enumerated() {
                for day in 1...(isLeap && index == 1 ? 29 : length) {
                    func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
                    let text = "\(year)-\(two(index + 1))-\(two(day))T00:00:00Z"
                    try #require(Timestamp.text(time) == text)
                    try #require(Timestamp.parse(text) == time)
                    time += 86_400_000
                }
            }
        }
    }

    @Test("A time reads back as it was written")
    func roundTrip() {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<20_000 {
            let time = Int64.random(in: Timestamp.range, using: &generator)
            #expect(Timestamp.parse(Timestamp.text(time)) == time)
        }
    }

    @Test(
        "An offset is taken off (section 3.2)",
        arguments: [
            ("2026-11-21T07:00:00+00:00", "2026-11-21T07:00:00Z"),
            ("2026-11-21T07:00:00-00:00", "2026-11-21T07:00:00Z"),
            ("2026-11-21T07:00:00+05:45", "2026-11-21T01:15:00Z"),
            ("2026-12-31T23:59:59.5-00:01", "2027-01-01T00:00:59.500Z"),
            ("2024-03-01T00:30:00+14:00", "2024-02-29T10:30:00Z"),
            ("2024-02-29T23:00:00-13:59", "2024-03-01T12:59:00Z"),
        ])
    func offsets(text: String, utc: String) throws {
        #expect(Timestamp.text(try #require(Timestamp.parse(text))) == utc)
    }

    @Test(
        "A fraction has any number of digits, of which three count",
        arguments: [
            ("5", 500), ("05", 50), ("005", 5), ("123", 123), ("1239", 123), ("0009", 0),
            ("999999999999999999999999999999999999", 999), ("100", 100), ("000", 0),
        ] as [(String, Int64)])
    func fractions(digits: String, milliseconds: Int64) {
        #expect(Timestamp.parse("1970-01-01T00:00:00.\(digits)Z") == milliseconds)
        #expect(Timestamp.parse("1970-01-01T00:00:00.\(digits)+00:00") == milliseconds)
    }

    @Test("What cannot be written with four digits of a year is written as the nearest that can")
    func clamps() {
        #expect(Timestamp.text(.min) == "0001-01-01T00:00:00Z")
        #expect(Timestamp.text(.max) == "9999-12-31T23:59:59.999Z")
    }

    @Test(
        "What is no time is none",
        arguments: [
            "", "Z", "2026", "2026-11-21", "07:00:00Z", "2026-11-21T07:00:00", "20261121T07:00:00",
            "2026-11-21T07:00Z", "2026-11-21 07:00:00Z", "2026-11-21t07:00:00Z",
            "2026-11-21T07:00:00z", " 2026-11-21T07:00:00Z", "2026-11-21T07:00:00Z ",
            "2026-11-21T07:00:00ZZ", "2026-11-21T07:00:00.Z", "2026-11-21T07:00:00,5Z",
            "2026-11-21T07:00:00.5", "2026-11-21T07:00:00.-5Z", "2026-1-21T07:00:00Z",
            "26-11-21T07:00:00Z", "02026-11-21T07:00:00Z", "-2026-11-21T07:00:00Z",
            "+026-11-21T07:00:00Z", "2026-11-21T7:00:00Z", "2026-11-21T07:00:00+1:00",
            "2026-11-21T07:00:00+0100", "2026-11-21T07:00:00+01", "2026-11-21T07:00:00Z+01:00",
            "２０２６-11-21T07:00:00Z", "2026\u{2010}11-21T07:00:00Z", "yesterday",
        ])
    func nonsense(text: String) {
        #expect(Timestamp.parse(text) == nil)
    }

    @Test(
        "A time that there is not is none",
        arguments: [
            "0000-01-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-13-01T00:00:00Z",
            "2026-11-00T00:00:00Z", "2026-11-31T00:00:00Z", "2026-02-29T00:00:00Z",
            "2024-02-30T00:00:00Z", "1900-02-29T00:00:00Z", "2026-12-32T00:00:00Z",
            "2026-11-21T24:00:00Z", "2026-11-21T07:60:00Z", "2026-11-21T23:59:60Z",
            "2026-11-21T07:00:00+14:01", "2026-11-21T07:00:00-15:00", "2026-11-21T07:00:00+01:60",
            "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01",
        ])
    func outOfRange(text: String) {
        #expect(Timestamp.parse(text) == nil)
    }
}
