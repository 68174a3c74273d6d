// Memory, swap, and what happens when they are short.

import Testing

@testable import Hardware

@Suite("Memory")
struct MemoryTests {
    private let tree = ScratchTree()

    @Test("Sizes are in KiB; lines that sound alike are others")
    func sizes() {
        tree.write(
            "proc/meminfo",
            "MemTotal:        1000 kB\nMemFree:10 kB\nMemAvailable:  20 kB\nCached: 30 kB\n"
                + "SwapCached: 40 kB\nSwapTotal: 50 kB\nSwapFree: 0 kB\nDirty: 0 kB\n")
        let result = tree.read(once: Memory())
        #expect(
            result.lines == [
                "memory_size_bytes 1024000.0", "memory_free_bytes 10240.0",
                "memory_available_bytes 20480.0", "memory_cached_bytes 30720.0",
                "memory_dirty_bytes 0.0", "swap_size_bytes 51200.0", "swap_free_bytes 0.0",
            ])
        #expect(result.failure == nil)
    }

    @Test("A machine without swap has no swap of size 0")
    func noSwap() {
        tree.write("proc/meminfo", "MemTotal: 1 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n")
        #expect(tree.read(once: Memory()).lines == ["memory_size_bytes 1024.0"])
    }

    @Test(
        "A size that is no size is a failure that leaves the others",
        arguments: ["", "kB", "-1 kB", "1099511627777 kB", "99999999999999999999 kB", "\u{0}"])
    func brokenSize(_ value: String) {
        tree.write("proc/meminfo", "MemTotal: \(value)\nMemFree: 1 kB\n")
        tree.write("proc/vmstat", "oom_kill 3\n")
        let result = tree.read(once: Memory())
        #expect(result.lines == ["memory_free_bytes 1024.0", "oom_kills_total 3.0"])
        #expect(result.failure?.code == .malformed)
    }

    @Test("A table without any known line is malformed", arguments: ["", "garbage\n", "A: 1 kB\n"])
    func unknownTable(_ content: String) {
        tree.write("proc/meminfo", content)
        #expect(tree.read(once: Memory()).failure?.code == .malformed)
    }

    @Test("Of the events, those that this kernel counts are shown, whatever their size")
    func events() {
        tree.write(
            "proc/vmstat",
            "pgfault 9\npswpin 1\npswpout 18446744073709551615\npgmajfault x\npswpin_other 7\n")
        let result = tree.read(once: Memory())
        #expect(
            result.lines == [
                "swap_in_pages_total 1.0", "swap_out_pages_total 1.8446744073709552e+19",
            ])
        #expect(result.failure?.code == .malformed)
    }

    @Test("Without the tables nothing is shown; what cannot be read is a failure")
    func sources() {
        #expect(tree.read(once: Memory()).lines.isEmpty)
        #expect(tree.read(once: Memory()).failure == nil)
        tree.write("proc/meminfo/folder", "")
        tree.write("proc/vmstat", "oom_kill 0\n")
        let result = tree.read(once: Memory())
        #expect(result.lines == ["oom_kills_total 0.0"])
        #expect(result.failure?.code == .inputOutput)
    }
}

@Suite("Compressed swap")
struct CompressedSwapTests {
    private let tree = ScratchTree()

    private func write(_ device: String, size: String, statistics: String? = nil) {
        tree.write("sys/block/\(device)/disksize", size)
        if let statistics { tree.write("sys/block/\(device)/mm_stat", statistics) }
    }

    @Test("Devices are in the order of their numbers; unused ones and others are left out")
    func devices() {
        write("zram10", size: "4096\n")
        write("zram2", size: "8192\n", statistics: "  100 20 30 0 40 0 0 0 0\n")
        write("zram0", size: "0\n", statistics: "0 0 0 0 0 0 0 0 0\n")
        write("zram-control", size: "1\n")
        write("sda", size: "1\n")
        let result = tree.read(once: CompressedSwap())
        #expect(
            result.lines == [
                "zram_size_bytes zram2 8192.0", "zram_original_bytes zram2 100.0",
                "zram_compressed_bytes zram2 20.0", "zram_used_bytes zram2 30.0",
                "zram_size_bytes zram10 4096.0",
            ])
        #expect(result.failure == nil)
    }

    @Test("At most 16 devices are shown")
    func limit() {
        for device in 0..<20 { write("zram\(device)", size: "4096\n") }
        #expect(tree.read(once: CompressedSwap()).lines.count == 16)
    }

    @Test(
        "A device that tells nonsense is a failure that leaves the others",
        arguments: [
            ("-1", "1 2 3"), ("much", "1 2 3"), ("1125899906842625", "1 2 3"),
            ("99999999999999999999", "1 2 3"),
        ])
    func brokenSize(_ size: String, _ statistics: String) {
        write("zram0", size: size, statistics: statistics)
        write("zram1", size: "4096\n")
        let result = tree.read(once: CompressedSwap())
        #expect(result.lines == ["zram_size_bytes zram1 4096.0"])
        #expect(result.failure?.code == .malformed)
    }

    @Test(
        "Of a line that breaks off, or has a number too large, what came before is shown",
        arguments: ["7", "7 -1 3", "7 x 3", "7 1125899906842625 3"])
    func brokenStatistics(_ statistics: String) {
        write("zram0", size: "4096\n", statistics: statistics)
        let result = tree.read(once: CompressedSwap())
        #expect(result.lines == ["zram_size_bytes zram0 4096.0", "zram_original_bytes zram0 7.0"])
        #expect(result.failure?.code == .malformed)
    }

    @Test("A device that vanished since it was listed is absent")
    func vanished() {
        tree.write("sys/block/zram0/other", "")
        let result = tree.read(once: CompressedSwap())
        #expect(result.lines.isEmpty)
        #expect(result.failure == nil)
    }
}
