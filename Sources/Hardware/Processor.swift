// What the CPUs did, how many processes want one, and how many files are open, from `/proc/stat`,
// `/proc/loadavg` and `/proc/sys/fs/file-nr`.

import Prometheus
import Synchronization

/// `kinglet_machine_cpu_seconds_total` and its companions.
///
/// Remembers the last times: the kernel's `idle` and `iowait` go back by moments now and then
/// (proc_stat(5)), and Prometheus would take that for a machine that began again.
final class Processor: Reading {
    static let name = "cpu"
    let period = Duration.seconds(15)

    /// In the order of the line `cpu`. Time of guests is in `user` and `nice` already.
    static let modes = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"]
    /// `USER_HZ`, in which the kernel tells times whatever its own rate is.
    private static let ticksPerSecond = 100.0
    /// A time that went back by more ticks than this began again: a machine that was restored.
    private static let restart: UInt64 = 60 * 100
    /// 31 December 9999: no clock of a machine is beyond.
    private static let lastSecond: UInt64 = 253_402_300_799

    static let families = [
        FamilyDescription(
            name: "kinglet_machine_cpu_seconds_total", kind: .counter,
            help: "Time that all CPUs together spent, by mode."),
        FamilyDescription(
            name: "kinglet_machine_cpus", kind: .gauge, help: "CPUs that are online."),
        FamilyDescription(
            name: "kinglet_machine_load_average", kind: .gauge,
            help: "Processes that run, or wait for CPU or disk."),
        FamilyDescription(
            name: "kinglet_machine_boot_timestamp_seconds", kind: .gauge,
            help: "When the machine was started, by its clock of today."),
        FamilyDescription(
            name: "kinglet_machine_open_files", kind: .gauge,
            help: "Files that all processes together hold open."),
        FamilyDescription(
            name: "kinglet_machine_max_open_files", kind: .gauge,
            help: "Files that all processes together may hold open."),
        FamilyDescription(
            name: "kinglet_machine_processes_blocked", kind: .gauge,
            help: "Processes that wait for a disk now."),
    ]

    private let last = Mutex<[UInt64]>([])

    func read(_ machine: Machine, into samples: inout [Sample]) throws(ReadingError) {
        let proc = machine.roots.proc
        var parts = IndependentParts()
        parts.attempt { () throws(ReadingError) in try statistics(proc, &samples) }
        parts.attempt { () throws(ReadingError) in try loadAverage(proc, &samples) }
        parts.attempt { () throws(ReadingError) in try openFiles(proc, &samples) }
        try parts.finish()
    }

    private func statistics(_ proc: String, _ samples: inout [Sample]) throws(ReadingError) {
        guard var table = try KernelTable("\(proc)/stat") else { return }
        var parts = IndependentParts()
        var cpus = 0
        while table.nextLine() {
            let word = table.word()
            if word.equals("cpu") {
                parts.attempt { () throws(ReadingError) in
                    var ticks: [UInt64] = []
                    for _ in Self.modes { ticks.append(try table.number()) }
                    for (mode, ticks) in zip(Self.modes, neverLess(ticks)) {
                        samples.append(
                            Sample(
                                "kinglet_machine_cpu_seconds_total", labels: [("mode", mode)],
                                value: Double(ticks) / Self.ticksPerSecond))
                    }
                }
            } else if word.begins(with: "cpu") {
                cpus += 1
            } else if word.equals("btime") {
                parts.attempt { () throws(ReadingError) in
                    let time = try table.number(upTo: Self.lastSecond)
                    samples.append(
                        Sample("kinglet_machine_boot_timestamp_seconds", value: Double(time)))
                }
            } else if word.equals("procs_blocked") {
                parts.attempt { () throws(ReadingError) in
                    let processes = try table.number(upTo: UInt64(UInt32.max))
                    samples.append(
                        Sample("kinglet_machine_processes_blocked", value: Double(processes)))
                }
            }
        }
        if cpus > 0 { samples.append(Sample("kinglet_machine_cpus", value: Double(cpus))) }
        try parts.finish()
    }

    private func loadAverage(_ proc: String, _ samples: inout [Sample]) throws(ReadingError) {
        guard var table = try KernelTable("\(proc)/loadavg"), table.nextLine() else { return }
        for window in ["1m", "5m", "15m"] {
            let load = try table.decimal()
            guard load <= 1e6 else { throw table.malformed() }
            samples.append(
                Sample("kinglet_machine_load_average", labels: [("window", window)], value: load))
        }
    }

    /// Open, always 0 since Linux 2.6, and the limit, which systemd raises to where it has no effect.
    private func openFiles(_ proc: String, _ samples: inout [Sample]) throws(ReadingError) {
        guard var table = try KernelTable("\(proc)/sys/fs/file-nr"), table.nextLine() else {
            return
        }
        let open = try table.number(upTo: UInt64(Int64.max))
        table.skip(1)
        let limit = try table.number()
        samples.append(Sample("kinglet_machine_open_files", value: Double(open)))
        samples.append(Sample("kinglet_machine_max_open_files", value: Double(limit)))
    }

    /// The times, or the last ones where they went back.
    private func neverLess(_ ticks: [UInt64]) -> [UInt64] {
        last.withLock { last in
            if last.count == ticks.count {
                for (index, before) in last.enumerated() {
                    let isBack = ticks[index] < before && before - ticks[index] <= Self.restart
                    last[index] = isBack ? before : ticks[index]
                }
            } else {
                last = ticks
            }
            return last
        }
    }
}
