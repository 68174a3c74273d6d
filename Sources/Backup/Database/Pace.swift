// How fast a run may work: fast where nobody is disturbed, and at a share of what the server itself
// needs while it is busy.

internal import Glibc

/// The rule, without a clock of its own.
struct PaceRule {
    /// The share of one core that is taken while the server has next to nothing to do.
    static let idleShare = 0.5
    /// Below this share of one core, it has.
    static let idleLoad = 0.005
    /// While it is busy: so much of what it takes itself, but no less and no more than this. A
    /// message at 500 a second costs 35 ms of each second, of which a third may be added.
    static let busyShare = (ofLoad: 0.3, least: 0.011, most: 0.05)

    /// CPU time of all others in this process, as a share of one core, lately. Until it was
    /// measured, busy.
    private(set) var load = 0.03
    /// CPU time that was taken and not yet made up for, in seconds.
    private var debt = 0.0
    private var last: Sample?
    private var lastLoad: Sample?

    private struct Sample {
        var own: Double
        var process: Double
        var clock: Double
    }

    /// The share of one core that may be taken.
    var share: Double {
        guard load >= Self.idleLoad else { return Self.idleShare }
        return min(max(load * Self.busyShare.ofLoad, Self.busyShare.least), Self.busyShare.most)
    }

    /// Seconds to wait before more is done; asked again after the wait.
    ///
    /// - Parameters:
    ///   - own: CPU time of the run so far.
    ///   - process: CPU time of the process, the run's included.
    ///   - clock: the time.
    mutating func pause(own: Double, process: Double, clock: Double) -> Double {
        let sample = Sample(own: own, process: process, clock: clock)
        guard let before = last, let beforeLoad = lastLoad else {
            (last, lastLoad) = (sample, sample)
            return 0
        }
        let time = clock - beforeLoad.clock
        if time >= 0.05 {
            let others = (process - beforeLoad.process) - (own - beforeLoad.own)
            let weight = min(1, time / 0.3)
            load += weight * (max(0, others / time) - load)
            lastLoad = sample
        }
        // What was not used is not saved up for long.
        debt = max(-0.002, debt + (own - before.own) - max(0, clock - before.clock) * share)
        last = sample
        return debt > 0 ? min(0.1, debt / share) : 0
    }
}

/// Keeps a run at its pace. Belongs to the run's thread.
final class Pace {
    private var rule = PaceRule()
    private let began = Pace.seconds(CLOCK_THREAD_CPUTIME_ID)
    private var elsewhere = 0.0

    /// CPU time that other threads spent for the run.
    func add(_ duration: Duration) {
        let parts = duration.components
        elsewhere += Double(parts.seconds) + Double(parts.attoseconds) * 1e-18
    }

    /// CPU time of the run so far, in seconds.
    var spent: Double { Self.seconds(CLOCK_THREAD_CPUTIME_ID) - began + elsewhere }

    /// Waits as long as it has to; ends early when `isWanted` says so.
    func rest(isWanted: () -> Bool = { true }) {
        while isWanted() {
            let pause = rule.pause(
                own: spent, process: Self.seconds(CLOCK_PROCESS_CPUTIME_ID),
                clock: Self.seconds(CLOCK_MONOTONIC))
            // To sleep costs some 50 µs, too.
            guard pause > 0.0005 else { return }
            usleep(UInt32(pause * 1_000_000))
        }
    }

    private static func seconds(_ clock: clockid_t) -> Double {
        var time = timespec()
        guard clock_gettime(clock, &time) == 0 else { return 0 }
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }
}
