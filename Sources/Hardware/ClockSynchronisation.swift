// Whether somebody keeps the clock right (chrony, systemd-timesyncd), by what the kernel knows of it,
// and how often it was set by more than a second while the server ran. A Pi without a clock battery
// starts with the time of its last stop, and is set when it first reaches a time server.
//
// A service whose clock systemd protects may not even ask the kernel; systemd is asked then, which
// only knows yes or no.

import Prometheus
import Synchronization

/// `kinglet_machine_clock_…`.
final class ClockSynchronisation: Reading {
    static let name = "clock"
    let period = Duration.seconds(30)

    static let families = [
        FamilyDescription(
            name: "kinglet_machine_clock_synchronised", kind: .gauge,
            help: "Whether the clock is kept right by a time server."),
        FamilyDescription(
            name: "kinglet_machine_clock_offset_seconds", kind: .gauge,
            help: "What the kernel still has to correct the clock by."),
        FamilyDescription(
            name: "kinglet_machine_clock_max_error_seconds", kind: .gauge,
            help: "By how much the clock may be wrong."),
        FamilyDescription(
            name: "kinglet_machine_clock_jumps_total", kind: .counter,
            help: "Steps of the clock by more than a second since the server started."),
    ]

    /// How far the clock may go apart from the one that nobody sets, in seconds. Correcting the
    /// clock's speed changes both alike, so that only a step moves them apart.
    private static let tolerance = 1.0

    private struct Jumps {
        /// By how much the wall clock was ahead of the boot-time clock at the last read.
        var lead: Double
        var count: UInt64 = 0
    }

    private struct Answer {
        var isSynchronised: Bool?
        var at: ContinuousClock.Instant
    }

    /// To ask systemd starts two programs.
    private static let askingPeriod = Duration.seconds(300)

    private let jumps = Mutex<Jumps?>(nil)
    private let lastAnswer = Mutex<Answer?>(nil)

    func read(_ machine: Machine, into samples: inout [Sample]) throws(ReadingError) {
        var parts = IndependentParts()
        parts.attempt { () throws(ReadingError) in
            for (family, value) in zip(Self.families, try state(machine.calls)) {
                samples.append(Sample(family.name, value: value))
            }
        }
        parts.attempt { () throws(ReadingError) in
            guard let count = count(try machine.calls.times()) else { return }
            samples.append(Sample("kinglet_machine_clock_jumps_total", value: Double(count)))
        }
        try parts.finish()
    }

    /// The values of the first families, as many as are known.
    private func state(_ calls: any MachineCalls) throws(ReadingError) -> [Double] {
        let refusal: ReadingError
        do throws(ReadingError) {
            guard let clock = try calls.clock() else { return [] }
            return [clock.isSynchronised ? 1 : 0, clock.offset, clock.maximumError]
        } catch {
            guard error.code == .permission else { throw error }
            refusal = error
        }
        guard let isSynchronised = try askSystemd(calls) else { throw refusal }
        return [isSynchronised ? 1 : 0]
    }

    private func askSystemd(_ calls: any MachineCalls) throws(ReadingError) -> Bool? {
        let now = ContinuousClock.now
        if let last = lastAnswer.withLock({ $0 }), now < last.at + Self.askingPeriod {
            return last.isSynchronised
        }
        let answer = Answer(isSynchronised: try calls.timeServiceIsSynchronised(), at: now)
        lastAnswer.withLock { $0 = answer }
        return answer.isSynchronised
    }

    /// How many steps there were until these times; nil as long as no time was told.
    private func count(_ times: ClockTimes?) -> UInt64? {
        jumps.withLock { jumps in
            guard let times else { return jumps?.count }
            let lead = times.wall - times.sinceBoot
            var next = jumps ?? Jumps(lead: lead)
            if abs(lead - next.lead) > Self.tolerance { next.count &+= 1 }
            next.lead = lead
            jumps = next
            return next.count
        }
    }
}
