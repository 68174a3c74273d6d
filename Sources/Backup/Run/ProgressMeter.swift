// Between those who report every file and those who look a few times a second.

internal import Synchronization

/// Holds the latest progress, with a rate and the time left where whoever reports it gives none.
/// Safe on any thread.
public final class ProgressMeter: Sendable {
    private struct State {
        var progress: Progress?
        var phaseBegan = ContinuousClock.now
        var bytesAtStart: Int64 = 0
    }
    private let state = Mutex(State())

    /// Nothing is known yet.
    public init() {}

    /// Takes a report.
    public func report(_ new: Progress) {
        state.withLock { state in
            var progress = new
            let now = ContinuousClock.now
            if state.progress?.phase != new.phase || new.bytes < state.bytesAtStart {
                state.phaseBegan = now
                state.bytesAtStart = new.bytes
            }
            let seconds = state.phaseBegan.duration(to: now).inSeconds
            if progress.rate == nil, seconds >= 1, new.bytes > state.bytesAtStart {
                progress.rate = Double(new.bytes - state.bytesAtStart) / seconds
            }
            if progress.secondsLeft == nil, let rate = progress.rate, rate > 0,
                let total = new.totalBytes
            {
                progress.secondsLeft = Double(max(0, total - new.bytes)) / rate
            }
            state.progress = progress
        }
    }

    /// The latest; nil before there is any.
    public var latest: Progress? { state.withLock { $0.progress } }
}
