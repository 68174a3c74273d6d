// How fast a run may work: as fast as it can where few people chat, and at a share of what the server
// itself needs while it is busy.

internal import Glibc
internal import Synchronization

/// The rule, without a clock of its own.
struct PaceRule {
    /// From so many stanzas a second on, in both directions, a server is busy. Below, nobody notices a run that takes a
    /// core, and everybody is glad when it is over.
    static let busyRate = 100.0
    /// Of what the server takes itself while it is busy, and never more than this share of one core.
    /// A message at 500 a second may cost a third more than without a run; what a copy makes the
    /// writer do besides is in that third.
    static let busyShare = (ofLoad: 0.12, most: 0.25)
    /// The share of one core that it may always take at 1,000 stanzas a second. At half of them it is
    /// four times as much, and so on: there is no step between busy and not.
    static let leastShare = 0.015

    /// CPU time of all others in this process, as a share of one core, lately.
    private(set) var load = 0.03
    /// Stanzas a second, lately. Until it was measured, busy.
    private(set) var rate = 2 * PaceRule.busyRate
    /// CPU time that was taken and not yet made up for, in seconds.
    private var debt = 0.0
    private var last: Sample?
    private var lastLoad: Sample?
    private var isMeasured = false

    /// What has been spent and done up to a time.
    struct Sample {
        /// CPU time of the run in this process, in seconds.
        var own: Double
        /// CPU time of the programs that it has started.
        var programs = 0.0
        /// CPU time of this process, the run's included.
        var process: Double
        /// Stanzas that clients have sent and were sent.
        var stanzas: Int
        /// The time, in seconds.
        var clock: Double
    }

    /// The share of one core that may be taken.
    var share: Double {
        guard rate >= Self.busyRate else { return 1 }
        let least = Self.leastShare * (1000 / rate) * (1000 / rate)
        return min(1, max(min(load * Self.busyShare.ofLoad, Self.busyShare.most), least))
    }

    /// Seconds to wait before more is done; asked again after the wait.
    mutating func pause(_ sample: Sample) -> Double {
        guard let before = last, let beforeLoad = lastLoad else {
            (last, lastLoad) = (sample, sample)
            return 0
        }
        let since = sample.clock - beforeLoad.clock
        if since >= 0.05 {
            let others = (sample.process - beforeLoad.process) - (sample.own - beforeLoad.own)
            let weight = isMeasured ? min(1, since / 0.3) : 1
            load += weight * (max(0, others / since) - load)
            rate += weight * (Double(sample.stanzas - beforeLoad.stanzas) / since - rate)
            lastLoad = sample
            isMeasured = true
        }
        // What was not used is not saved up for long.
        let taken = sample.own - before.own + max(0, sample.programs - before.programs)
        let time = max(0, sample.clock - before.clock)
        last = sample
        guard share < 1 else {
            debt = 0
            return 0
        }
        debt = max(-0.002, debt + taken - time * share)
        return debt > 0 ? min(0.1, debt / share) : 0
    }
}

/// Keeps a run at its pace, with the programs that it starts. Belongs to the run's thread, which is
/// the first that rests; on any other nothing is held up.
final class Pace: Sendable {
    private struct State {
        var rule = PaceRule()
        var thread: pthread_t?
        var began = 0.0
        var elsewhere = 0.0
        /// Of programs that have ended, and of the one that runs.
        var ended = 0.0
        var running = 0.0
    }
    private let state = Mutex(State())
    private let stanzas: @Sendable () -> Int

    /// - Parameter stanzas: that clients have sent and were sent so far.
    init(stanzas: @escaping @Sendable () -> Int) { self.stanzas = stanzas }

    /// CPU time that other threads spent for the run.
    func add(_ duration: Duration) {
        state.withLock { $0.elsewhere += duration.inSeconds }
    }

    /// Waits as long as it has to; ends early when `isWanted` says so.
    func rest(isWanted: () -> Bool) {
        while isWanted() {
            let pause = pause()
            // To sleep costs some 50 µs, too.
            guard pause > 0.0005 else { return }
            // A tenth of a second at most: then somebody may want the end.
            usleep(UInt32(pause * 1_000_000))
        }
    }

    /// Seconds for which a program that runs is to stand still.
    ///
    /// - Parameter cpu: what it has taken so far, in seconds.
    func pause(program cpu: Double) -> Double {
        state.withLock { $0.running = max($0.running, cpu) }
        return pause()
    }

    /// The program has ended.
    func endProgram() {
        state.withLock { state in
            state.ended += state.running
            state.running = 0
        }
    }

    private func pause() -> Double {
        state.withLock { state in
            guard let own = Self.own(&state) else { return 0 }
            return state.rule.pause(
                PaceRule.Sample(
                    own: own, programs: state.ended + state.running,
                    process: Self.seconds(CLOCK_PROCESS_CPUTIME_ID), stanzas: stanzas(),
                    clock: Self.seconds(CLOCK_MONOTONIC)))
        }
    }

    /// Nil on another thread than the run's.
    private static func own(_ state: inout State) -> Double? {
        let thread = pthread_self()
        if state.thread == nil {
            state.thread = thread
            state.began = seconds(CLOCK_THREAD_CPUTIME_ID)
        }
        guard state.thread == thread else { return nil }
        return seconds(CLOCK_THREAD_CPUTIME_ID) - state.began + state.elsewhere
    }

    private static func seconds(_ clock: clockid_t) -> Double {
        var time = timespec()
        guard clock_gettime(clock, &time) == 0 else { return 0 }
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }
}
