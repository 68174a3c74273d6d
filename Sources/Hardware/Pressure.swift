// Pressure stall information: for how long work waited for CPU, memory or disk. Raspberry Pi's kernels
// have it only with `psi=1` on their command line; without, the files are absent, or there and refuse
// every read with EOPNOTSUPP, which counts as absent too.

import Prometheus

/// `kinglet_machine_pressure_waiting_seconds_total` and `…_stalled_seconds_total`.
struct Pressure: Reading {
    static let name = "pressure"
    let period = Duration.seconds(15)

    private static let waiting = "kinglet_machine_pressure_waiting_seconds_total"
    private static let stalled = "kinglet_machine_pressure_stalled_seconds_total"

    static let families = [
        FamilyDescription(
            name: waiting, kind: .counter, help: "Time in which some work waited for the resource."),
        FamilyDescription(
            name: stalled, kind: .counter, help: "Time in which all work waited for the resource."),
    ]

    /// A file, and whether its line `full` means something: for the CPU it is always 0, since
    /// somebody has it.
    private static let resources = [
        (name: "cpu", hasFull: false), (name: "memory", hasFull: true), (name: "io", hasFull: true),
        (name: "irq", hasFull: true),
    ]

    func read(_ machine: Machine, into samples: inout [Sample]) throws(ReadingError) {
        var parts = IndependentParts()
        for resource in Self.resources {
            parts.attempt { () throws(ReadingError) in
                let path = "\(machine.roots.proc)/pressure/\(resource.name)"
                guard var table = try KernelTable(path) else { return }
                var isKnown = false
                while table.nextLine() {
                    let line = table.word()
                    let isSome = line.equals("some")
                    guard isSome || line.equals("full"), let seconds = total(&table) else {
                        throw table.malformed()
                    }
                    isKnown = true
                    guard isSome || resource.hasFull else { continue }
                    samples.append(
                        Sample(
                            isSome ? Self.waiting : Self.stalled,
                            labels: [("resource", resource.name)], value: seconds))
                }
                if !isKnown { throw table.malformed() }
            }
        }
        try parts.finish()
    }

    /// The line's `total`, which is in microseconds, in seconds; nil when it has none.
    private func total(_ table: inout KernelTable) -> Double? {
        while true {
            let word = table.word()
            if word.isEmpty { return nil }
            guard word.begins(with: "total=") else { continue }
            return KernelTable.number(word.dropFirst(6)).map { Double($0) / 1e6 }
        }
    }
}
