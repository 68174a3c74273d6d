// How fast a run may work: fast where nobody is disturbed, and at a share of what the server itself
// needs while it is busy.

internal import Glibc
internal import Synchronization

/// The rule, without a clock of its own.
struct PaceRule {
    /// The share of one core that is taken while the server has next to nothing to do.
    var idleShare = 0.5
    /// Below this share of one core, it has.
    static let idleLoad = 0.005
    /// While it is busy: so much of what it takes itself, but no less and no more than this. A
    /// message at 500 a second costs 35 ms of each second, of which a third may be added; what a
    /// copy makes the writer do besides is in that third.
    static let busyShare = (ofLoad: 0.2, least: 0.009, most: 0.05)

    /// CPU time of all others in this process, as a share of one core, lately. Until it was
    /// measured, busy.
    private(set) var load = 0.03
    /// CPU time that was taken and not yet made up for, in seconds.
    private var debt = 0.0
    private var last: Sample?
    private var lastLoad: Sample?

    private struct Sample {
        var own: Double
        var programs: Double
        var process: Double
        var clock: Double
    }

    /// The share of one core that may be taken.
    var share: Double {
        guard load >= Self.idleLoad else { return idleShare }
        return min(max(load * Self.busyShare.ofLoad, Self.busyShare.least), Self.busyShare.most)
    }

    /// Seconds to wait before more is done; asked again after the wait.
    ///
    /// - Parameters:
    ///   - own: CPU time of the run in this process so far.
    ///   - programs: CPU time of the programs that it has started.
    ///   - process: CPU time of this process, the run's included.
    ///   - clock: the time.
    mutating func pause(
        own: Double, programs: Double = 0, process: Double, clock: Double
    ) -> Double {
        let sample = Sample(own: own, programs: programs, process: process, clock: clock)
        guard let before = last, let beforeLoad = lastLoad else {
            (last, lastLoad) = (sample, sample)
            return 0
        }
        let since = clock - beforeLoad.clock
        if since >= 0.05 {
            let others = (process - beforeLoad.process) - (own - beforeLoad.own)
            let weight = min(1, since / 0.3)
            load += weight * (max(0, others / since) - load)
            lastLoad = sample
        }
        // What was not used is not saved up for long.
        let taken = own - before.own + max(0, programs - before.programs)
        let time = max(0, clock - before.clock)
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

    /// - Parameter idleShare: of one core, while the server has next to nothing to do; 1 for no limit.
    init(idleShare: Double = 0.5) {
        state.withLock { $0.rule.idleShare = idleShare }
    }

    /// CPU time that other threads spent for the run.
    func add(_ duration: Duration) {
        let parts = duration.components
        let seconds = Double(parts.seconds) + Double(parts.attoseconds) * 1e-18
        state.withLock { $0.elsewhere += seconds }
    }

    /// CPU time of the run so far, in seconds, without its programs.
    var spent: Double {
        state.withLock { state in
            guard let own = Self.own(&state) else { return state.elsewhere }
            return own
        }
    }

    /// Waits as long as it has to; ends early when `isWanted` says so.
    func rest(isWanted: () -> Bool = { true }) {
        while isWanted() {
            let pause = pause()
            // To sleep costs some 50 µs, too.
            guard pause > 0.0005 else { return }
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
                own: own, programs: state.ended + state.running,
                process: Self.seconds(CLOCK_PROCESS_CPUTIME_ID),
                clock: Self.seconds(CLOCK_MONOTONIC))
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
