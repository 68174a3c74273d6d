import Testing

@testable import Backup

@Suite("Hours in which a run may begin")
struct RunWindowsTests {
    @Test("A window over midnight belongs to the day on which it begins")
    func overnight() throws {
        let windows = try RunWindows(["Fri 22:00-06:00"])
        // 2026-11-20 is a Friday.
        #expect(!windows.isOpen(at: at(2026, 11, 20, 21, 59, 59), in: .utc))
        #expect(windows.isOpen(at: at(2026, 11, 20, 22), in: .utc))
        #expect(windows.isOpen(at: at(2026, 11, 21, 5, 59, 59), in: .utc))
        #expect(!windows.isOpen(at: at(2026, 11, 21, 6), in: .utc))
        #expect(!windows.isOpen(at: at(2026, 11, 20, 3), in: .utc))
        #expect(windows.opening(from: at(2026, 11, 21, 6), in: .utc) == at(2026, 11, 27, 22))
        let saturday = try RunWindows(["Sat 22:00-06:00"])
        #expect(saturday.isOpen(at: at(2026, 11, 22, 3), in: .utc))
        #expect(!saturday.isOpen(at: at(2026, 11, 21, 3), in: .utc))
    }

    @Test("Black-outs cut holes, alone or into windows")
    func blackouts() throws {
        let holes = try RunWindows(["not 17:00-19:00", "not Sat,Sun 00:00-24:00"])
        #expect(holes.isOpen(at: at(2026, 11, 20, 16), in: .utc))
        #expect(!holes.isOpen(at: at(2026, 11, 20, 18), in: .utc))
        #expect(holes.opening(from: at(2026, 11, 20, 18), in: .utc) == at(2026, 11, 20, 19))
        #expect(holes.opening(from: at(2026, 11, 21, 1), in: .utc) == at(2026, 11, 23))
        #expect(RunWindows.always.isOpen(at: 0, in: .utc))
        #expect(RunWindows.always.opening(from: 7, in: .utc) == 7)
    }

    @Test("Local time counts, and the opening is the first open minute, looked at one by one")
    func bruteForce() throws {
        var random = SeededGenerator(seed: 21)
        let berlin = try TimeZoneRules.named("Europe/Berlin")
        for _ in 0..<80 {
            func text() -> String {
                func time() -> String {
                    let minute = Int.random(in: 0..<1_440, using: &random)
                    return "\(minute / 60):\(minute % 60 < 10 ? "0" : "")\(minute % 60)"
                }
                let days = ["", "Mon ", "Sat,Sun ", "Tue..Fri "].randomElement(using: &random)
                return (days ?? "") + time() + "-" + time()
            }
            let texts =
                (0..<Int.random(in: 1...3, using: &random)).map { _ in text() } + ["not " + text()]
            guard let windows = try? RunWindows(texts) else { continue }
            // A winter's week: when clocks are set back, an hour opens again without an edge.
            let start = at(2026, 1, 5) + Int64.random(in: 0..<600_000, using: &random)
            let found = windows.opening(from: start, in: berlin)
            var expected: Int64?
            if windows.isOpen(at: start, in: berlin) { expected = start }
            var minute = start - start % 60 + 60
            while expected == nil, minute < start + 9 * 86_400 {
                if windows.isOpen(at: minute, in: berlin) { expected = minute }
                minute += 60
            }
            #expect(found == expected, "\(texts) from \(start)")
        }
        let night = try RunWindows(["02:00-02:30"])
        #expect(night.opening(from: at(2026, 1, 1, 2), in: berlin) == at(2026, 1, 2, 1))
    }

    @Test(
        "What cannot be read is refused with an example",
        arguments: [
            "", "22", "22:00", "22:00-", "22:00-25:00", "22:60-23:00", "24:00-06:00", "22:00-22:00",
            "Foo 22:00-06:00", "Mon Tue 22:00-06:00", "not", "22-06", "-1:00-06:00",
            "22:00-06:00 x",
        ])
    func errors(text: String) {
        let error = #expect(throws: BackupError.self) { try RunWindows([text]) }
        #expect(error?.advice.isEmpty == false)
    }

    @Test("Windows that leave nothing are refused, and so are too many")
    func impossible() {
        #expect(throws: BackupError.self) {
            try RunWindows(["01:00-02:00", "not 00:00-24:00"])
        }
        #expect(throws: BackupError.self) {
            try RunWindows(Array(repeating: "01:00-02:00", count: 51))
        }
    }
}
