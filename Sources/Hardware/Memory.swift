// Memory and swap from `/proc/meminfo`, and what happens when they are short from `/proc/vmstat`:
// pages that had to be read from disk again, and processes that were killed.

import Prometheus

/// `kinglet_machine_memory_…_bytes` and its companions.
struct Memory: Reading {
    static let name = "memory"
    let period = Duration.seconds(15)

    /// A line of one of the two tables, and the family that it becomes.
    private struct Line {
        let key: StaticString
        let family: FamilyDescription
    }

    private static func size(_ key: StaticString, _ name: String, _ help: String) -> Line {
        Line(
            key: key,
            family: FamilyDescription(
                name: "kinglet_machine_\(name)_bytes", kind: .gauge, help: help))
    }

    private static func event(_ key: StaticString, _ name: String, _ help: String) -> Line {
        Line(
            key: key,
            family: FamilyDescription(
                name: "kinglet_machine_\(name)_total", kind: .counter, help: help))
    }

    private static let memory = [
        size("MemTotal", "memory_size", "Memory that the kernel can use."),
        size("MemAvailable", "memory_available", "Memory for new programs without swapping."),
        size("MemFree", "memory_free", "Memory that nothing uses."),
        size("Cached", "memory_cached", "Memory that holds contents of files."),
        size("Dirty", "memory_dirty", "Memory that waits to be written to disk."),
    ]
    private static let swap = [
        size("SwapTotal", "swap_size", "Size of all swap space."),
        size("SwapFree", "swap_free", "Swap space that is free."),
    ]
    private static let events = [
        event("oom_kill", "oom_kills", "Processes killed because memory ran out."),
        event("pgmajfault", "major_page_faults", "Page faults that had to wait for a disk."),
        event("pswpin", "swap_in_pages", "Pages read from swap."),
        event("pswpout", "swap_out_pages", "Pages written to swap."),
    ]

    static let families = (memory + swap + events).map(\.family)

    /// 1 PiB in KiB, which all sizes are in.
    private static let sizeLimit: UInt64 = 1 << 40

    func read(_ machine: Machine, into samples: inout [Sample]) throws(ReadingError) {
        var parts = IndependentParts()
        parts.attempt { () throws(ReadingError) in try sizes(machine.roots.proc, &samples) }
        parts.attempt { () throws(ReadingError) in try events(machine.roots.proc, &samples) }
        try parts.finish()
    }

    private func sizes(_ proc: String, _ samples: inout [Sample]) throws(ReadingError) {
        guard var table = try KernelTable("\(proc)/meminfo") else { return }
        var parts = IndependentParts()
        var swap: [Sample] = []
        var isKnown = false
        while table.nextLine() {
            guard let key = table.key() else { continue }
            parts.attempt { () throws(ReadingError) in
                if let line = Self.memory.first(where: { key.equals($0.key) }) {
                    isKnown = true
                    samples.append(try Self.bytes(line, &table))
                } else if let line = Self.swap.first(where: { key.equals($0.key) }) {
                    swap.append(try Self.bytes(line, &table))
                }
            }
        }
        // A machine without swap says that it has 0 of it.
        if swap.first?.value != 0 { samples += swap }
        try parts.finish()
        if !isKnown { throw table.malformed() }
    }

    private static func bytes(_ line: Line, _ table: inout KernelTable) throws(ReadingError)
        -> Sample
    {
        let kibibytes = try table.number(upTo: sizeLimit)
        return Sample(line.family.name, value: Double(kibibytes) * 1024)
    }

    private func events(_ proc: String, _ samples: inout [Sample]) throws(ReadingError) {
        guard var table = try KernelTable("\(proc)/vmstat") else { return }
        var parts = IndependentParts()
        while table.nextLine() {
            let key = table.word()
            guard let line = Self.events.first(where: { key.equals($0.key) }) else { continue }
            parts.attempt { () throws(ReadingError) in
                samples.append(Sample(line.family.name, value: Double(try table.number())))
            }
        }
        try parts.finish()
    }
}
