// What damaged tables and attributes can do to the readings: nothing but a failed read.

import Prometheus
import Testing

@testable import Hardware

/// SplitMix64: the same damage on every run.
private struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}

@Suite("Damaged files")
struct DamagedFilesTests {
    private static let files = [
        "etc/os-release", "proc/loadavg", "proc/meminfo", "proc/net/dev", "proc/net/wireless",
        "proc/pressure/cpu", "proc/pressure/io", "proc/pressure/memory", "proc/stat",
        "proc/sys/fs/file-nr", "proc/sys/kernel/arch", "proc/sys/kernel/osrelease", "proc/vmstat",
        "sys/block/zram0/disksize", "sys/block/zram0/mm_stat",
        "sys/class/net/eth0/carrier_changes", "sys/class/net/eth0/device/uevent",
        "sys/class/net/eth0/operstate", "sys/class/net/eth0/speed",
        "sys/class/net/wlan0/device/uevent", "sys/class/net/wlan0/operstate",
        "sys/class/watchdog/watchdog0/bootstatus", "sys/class/watchdog/watchdog0/identity",
        "sys/class/watchdog/watchdog0/state", "sys/class/watchdog/watchdog0/timeleft",
        "sys/class/watchdog/watchdog0/timeout",
    ]
    private static let insertions = [
        "-", "18446744073709551616", "99999999999999999999999999", "nan", "inf", "1e308", "\0",
        "\n", ":", " ", ".", "=", "\u{e9}", "",
    ]

    @Test("Whatever is cut, swapped or put in, every value is finite and every family declared")
    func damage() throws {
        var random = SeededGenerator(state: 5)
        let original = RecordedTree.pi5.roots.prefix
        let contents = try Self.files.map { file in
            try #require(try SystemFile.bytes("\(original)/\(file)"), "\(file)")
        }
        let tree = ScratchTree()
        tree.write("calls", "adjtimex synchronised 0 0.01 0.01\nclocks 1767225600 1000\n")
        let readings: [any Reading] = [
            OperatingSystem(), Processor(), Memory(), CompressedSwap(), Pressure(), Network(),
            ClockSynchronisation(), Watchdog(),
        ]
        let declared = Set(readings.flatMap { type(of: $0).families.map(\.name) })
        let machine = Machine(roots: tree.roots)
        var failures = 0
        for round in 0..<60 {
            for (file, content) in zip(Self.files, contents) {
                let damaged = round == 0 ? content : damage(content, &random)
                tree.write(file, String(decoding: damaged, as: UTF8.self))
            }
            for reading in readings {
                var samples: [Sample] = []
                do throws(ReadingError) {
                    try reading.read(machine, into: &samples)
                } catch {
                    failures += 1
                }
                #expect(samples.count < 100)
                #expect(samples.allSatisfy { declared.contains($0.name) && $0.value.isFinite })
            }
            if round == 0 { #expect(failures == 0) }
        }
        #expect(failures > 60)
    }

    /// One to three changes, each at a random place.
    private func damage(_ content: [UInt8], _ random: inout SeededGenerator) -> [UInt8] {
        var content = content
        for _ in 0..<Int.random(in: 1...3, using: &random) {
            let place = Int.random(in: 0...content.count, using: &random)
            switch Int.random(in: 0..<4, using: &random) {
            case 0: content.removeLast(content.count - place)
            case 1: content.removeFirst(place)
            case 2 where place < content.count:
                content[place] = UInt8.random(in: 0...255, using: &random)
            default:
                let text = Self.insertions.randomElement(using: &random) ?? ""
                content.insert(contentsOf: text.utf8, at: place)
            }
        }
        return content
    }
}
