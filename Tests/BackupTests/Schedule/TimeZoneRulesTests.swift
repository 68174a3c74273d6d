import Foundation
import Programs
import Testing

@testable import Backup

@Suite("Time zones")
struct TimeZoneRulesTests {
    /// What another implementation of the same files says, asked at the time of the test: the
    /// machine's files change, and recorded offsets of the future would not.
    private static let question = """
        import os, random, sys, zoneinfo
        from datetime import datetime, timezone, timedelta
        random.seed(20261121)
        epoch = datetime(1970, 1, 1, tzinfo=timezone.utc)
        wall = datetime(1970, 1, 1)
        zoneinfo.reset_tzpath(['/usr/share/zoneinfo'])
        names = sorted(n for n in zoneinfo.available_timezones()
                       if os.path.isfile('/usr/share/zoneinfo/' + n))
        for name in names:
            zone = zoneinfo.ZoneInfo(name)
            def offset(t):
                return (epoch + timedelta(seconds=t)).astimezone(zone).utcoffset()
            changes = []
            for t in range(1_577_836_800, 1_830_297_600, 43_200 * 3):
                if offset(t) != offset(t + 43_200 * 3): changes.append(t)
            times = [random.randrange(-5_000_000_000, 7_000_000_000) for _ in range(40)]
            for change in changes[:8]:
                low, high = change, change + 43_200 * 3
                while high - low > 1:
                    middle = (low + high) // 2
                    if offset(middle) == offset(low): low = middle
                    else: high = middle
                times += [high - 1, high, high + 1, high - 1800, high + 1800]
            for t in times:
                print('o', name, t, int(offset(t).total_seconds()))
            # A time that the clocks show, its first coming; skipped ones are another test's.
            for t in times:
                local = t + int(offset(t).total_seconds())
                there = (wall + timedelta(seconds=local)).replace(tzinfo=zone, fold=0)
                back = int((there.astimezone(timezone.utc) - epoch).total_seconds())
                print('l', name, local, back)
        """

    @Test("Every zone has the offsets that Python finds, and its local times the first moment")
    func comparison() throws {
        let python = try #require(Program.find("python3"), "the Debian package python3 is missing")
        var data: [UInt8] = []
        let end = try Program(python, ["-c", Self.question]).run(output: { data += $0 })
        #expect(end == .exited(0))
        var zones: [Substring: TimeZoneRules] = [:]
        var checked = 0
        for line in String(decoding: data, as: UTF8.self).split(separator: "\n") {
            let words = line.split(separator: " ")
            guard words.count == 4, let value = Int64(words[2]), let expected = Int64(words[3])
            else {
                Issue.record("a line that is not understood: \(line)")
                return
            }
            let zone = try zones[words[1]] ?? TimeZoneRules.named(String(words[1]))
            zones[words[1]] = zone
            let found = words[0] == "o" ? Int64(zone.offset(at: value)) : zone.utc(value)
            if found != expected { Issue.record("\(line): \(found)") }
            checked += 1
        }
        #expect(zones.count > 400)
        #expect(checked > 30_000)
    }

    @Test("A skipped time is the moment after the jump, one that comes twice its first coming")
    func changes() throws {
        let berlin = try TimeZoneRules.named("Europe/Berlin")
        // 2026-03-29 02:00 does not exist; 03:00 does, at 01:00 UTC.
        let jump = at(2026, 3, 29, 1)
        #expect(berlin.utc(at(2026, 3, 29, 1, 59, 59)) == jump - 1)
        for minute in [0, 1, 30, 59] {
            #expect(berlin.utc(at(2026, 3, 29, 2, minute)) == jump)
        }
        #expect(berlin.utc(at(2026, 3, 29, 3)) == jump)
        #expect(berlin.utc(at(2026, 3, 29, 3, 0, 1)) == jump + 1)
        // 2026-10-25 02:30 comes at 00:30 and at 01:30 UTC.
        #expect(berlin.utc(at(2026, 10, 25, 2, 30)) == at(2026, 10, 25, 0, 30))
        #expect(berlin.utc(at(2026, 10, 25, 3)) == at(2026, 10, 25, 2))
        // A day that does not exist: Samoa had no 2011-12-30.
        let apia = try TimeZoneRules.named("Pacific/Apia")
        #expect(apia.utc(at(2011, 12, 30, 12)) == at(2011, 12, 30, 10))
        #expect(apia.utc(at(2011, 12, 31)) == at(2011, 12, 30, 10))
    }

    @Test("For every zone, local time and back is the first moment that shows as much")
    func roundTrip() throws {
        for name in ["Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Gaza"] {
            let zone = try TimeZoneRules.named(name)
            var random = SeededGenerator(seed: 7)
            for _ in 0..<3_000 {
                let local = Int64.random(in: 0...4_000_000_000, using: &random)
                let time = zone.utc(local)
                #expect(zone.local(time) >= local)
                #expect(zone.local(time - 1) < local)
            }
        }
    }

    @Test(
        "Rules are read as POSIX writes them",
        arguments: [
            ("UTC0", 0), ("<+0545>-5:45", 20_700), ("EST5EDT", -18_000), ("XXX-24", 86_400),
            ("EST5EDT,0/0,J365/25", -14_400), ("IST-1GMT0,M10.5.0,M3.5.0/1", 0),
            ("CET-1CEST,M3.5.0,M10.5.0/3", 3_600),
        ])
    func posix(text: String, winter: Int) throws {
        let zone = TimeZoneRules(name: "x", try #require(POSIXTimeZone(text)))
        #expect(zone.offset(at: at(2026, 1, 20)) == winter)
    }

    @Test(
        "What is not written so is refused",
        arguments: [
            "", "UT0", "UTC", "UTC25", "UTC0:60", "<UTC0", "CET-1CEST,M3.5.0",
            "CET-1CEST,M13.5.0,M1.1.1",
            "CET-1CEST,M3.6.0,M10.5.0", "CET-1CEST,M3.5.7,M10.5.0", "CET-1CEST,J0,J1",
            "CET-1CEST,366,1", "CET-1CEST,M3.5.0/168,M10.5.0", "CET-1CEST,M3.5.0,M10.5.0,",
            "CET-99999999999999999999", "CET--1", "UTC0\u{0}",
        ])
    func notPOSIX(text: String) {
        #expect(POSIXTimeZone(text) == nil)
    }

    @Test(
        "A name that is none, or leads elsewhere, is an error that says what to write",
        arguments: [
            "", "../etc/passwd", "Europe/../../../etc/passwd", "/etc/localtime", "Europe/",
            "Europe",
            "Europe//Berlin", "Mars/Olympus", ".", "a\u{0}b", "tzdata.zi", "right/Europe/Berlin",
        ])
    func badNames(name: String) {
        let error = #expect(throws: BackupError.self) { try TimeZoneRules.named(name) }
        #expect(error?.advice.contains("Europe/Berlin") == true)
        #expect(error?.code == .permanent)
    }

    @Test("A damaged file is refused or read, and never more")
    func damaged() throws {
        let path = "/usr/share/zoneinfo/Europe/Berlin"
        let whole = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
        #expect(throws: Never.self) { try TimeZoneFile(whole) }
        for length in 0..<whole.count {
            #expect(throws: TimeZoneFile.Fault.self) { try TimeZoneFile(Array(whole[..<length])) }
        }
        var random = SeededGenerator(seed: 11)
        var read = 0
        for _ in 0..<5_000 {
            var bytes = whole
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = .random(
                    in: 0...255, using: &random)
            }
            guard let file = try? TimeZoneFile(bytes) else { continue }
            read += 1
            let zone = TimeZoneRules(name: "x", file)
            for time in [Int64.min, -5_000_000_000, 0, 1_800_000_000, 5_000_000_000, .max] {
                #expect(TimeZoneFile.offsets.contains(zone.offset(at: time)))
                _ = zone.utc(time)
            }
        }
        #expect(read > 100)
    }

    @Test("The machine's zone is TZ's, else the link's, else the name's, else UTC")
    func machine() throws {
        let root = FileManager.default.temporaryDirectory.path + "/zones-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: root) }
        for folder in ["/etc", "/usr/share/zoneinfo/Europe", "/usr/share/zoneinfo/Asia"] {
            try FileManager.default.createDirectory(
                atPath: root + folder, withIntermediateDirectories: true)
        }
        for name in ["Europe/Berlin", "Asia/Tokyo"] {
            let place = "/usr/share/zoneinfo/" + name
            try FileManager.default.copyItem(atPath: place, toPath: root + place)
        }
        #expect(TimeZoneRules.ofMachine(variable: nil, root: root) == .utc)
        try Data("Asia/Tokyo\n".utf8).write(to: URL(fileURLWithPath: root + "/etc/timezone"))
        #expect(TimeZoneRules.ofMachine(variable: nil, root: root).name == "Asia/Tokyo")
        try FileManager.default.createSymbolicLink(
            atPath: root + "/etc/localtime",
            withDestinationPath: "../usr/share/zoneinfo/Europe/Berlin")
        #expect(TimeZoneRules.ofMachine(variable: nil, root: root).name == "Europe/Berlin")
        #expect(TimeZoneRules.ofMachine(variable: ":Asia/Tokyo", root: root).name == "Asia/Tokyo")
        #expect(TimeZoneRules.ofMachine(variable: "JST-9", root: root).offset(at: 0) == 32_400)
        #expect(TimeZoneRules.ofMachine(variable: "No/Such", root: root) == .utc)
        #expect(
            TimeZoneRules.ofMachine(variable: "/usr/share/zoneinfo/Asia/Tokyo", root: root).name
                == "local")
    }
}
