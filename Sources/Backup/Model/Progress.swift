// How far a run is, and the way to end it.

internal import Synchronization

/// How far a run, a check or a restore is.
public struct Progress: Codable, Sendable, Equatable {
    /// What is being done.
    public enum Phase: String, Codable, Sendable, CaseIterable {
        case waiting, database, files, transfer, verification, publication, pruning
        case download, restore, test
    }
    /// What is being done.
    public var phase: Phase
    /// Bytes of this phase that are done.
    public var bytes: Int64
    /// Bytes of this phase; nil while unknown.
    public var totalBytes: Int64?
    /// Bytes a second, lately; nil while unknown.
    public var rate: Double?
    /// Seconds left of this phase; nil while unknown.
    public var secondsLeft: Double?

    /// Creates a state.
    public init(
        _ phase: Phase, bytes: Int64 = 0, totalBytes: Int64? = nil, rate: Double? = nil,
        secondsLeft: Double? = nil
    ) {
        self.phase = phase
        self.bytes = bytes
        self.totalBytes = totalBytes
        self.rate = rate
        self.secondsLeft = secondsLeft
    }

    /// 0 to 1; nil while unknown.
    public var ratio: Double? {
        totalBytes.map { $0 > 0 ? min(1, Double(bytes) / Double($0)) : 1 }
    }
}

/// Ends a run from another thread. Safe on any thread.
public final class Cancellation: Sendable {
    private struct State {
        var reason: String?
        /// When `reason` was given.
        var since: ContinuousClock.Instant?
        var deadline: ContinuousClock.Instant?
    }
    private let state = Mutex(State())
    private let began = ContinuousClock.now
    private let other: (cancellation: Cancellation, delay: Duration)?
    /// The run's, where others are not to be disturbed by it.
    let pace: Pace?

    /// - Parameter timeLimit: a run that takes longer is ended; nil for none.
    public convenience init(timeLimit: Duration? = nil) {
        self.init(timeLimit: timeLimit, pace: nil)
    }

    /// The same, for a run that works beside a server.
    init(timeLimit: Duration?, pace: Pace?) {
        other = nil
        self.pace = pace
        state.withLock { $0.deadline = timeLimit.map { ContinuousClock.now + $0 } }
    }

    /// Of what still has to be done after a run that is ended: it ends so much later, by either.
    init(timeLimit: Duration, _ delay: Duration, after other: Cancellation) {
        self.other = (other, delay)
        pace = nil
        state.withLock { $0.deadline = ContinuousClock.now + timeLimit }
    }

    /// Asks for the end.
    public func cancel(_ reason: String) {
        state.withLock { state in
            guard state.reason == nil else { return }
            state.reason = reason
            state.since = .now
        }
    }

    /// Why it is to end; nil when it goes on.
    public var reason: String? {
        if let other, let (reason, since) = other.cancellation.asked,
            ContinuousClock.now >= max(since, began) + other.delay
        {
            return reason
        }
        return state.withLock { state in
            if let reason = state.reason { return reason }
            guard let deadline = state.deadline, ContinuousClock.now >= deadline else { return nil }
            return "it took longer than it may"
        }
    }

    /// Who asked for the end, and when; nil when nobody did.
    private var asked: (reason: String, since: ContinuousClock.Instant)? {
        let own = state.withLock { state -> (String, ContinuousClock.Instant)? in
            guard let reason = state.reason, let since = state.since else { return nil }
            return (reason, since)
        }
        guard own == nil, let other, let (reason, since) = other.cancellation.asked else {
            return own
        }
        return (reason, max(since, began) + other.delay)
    }

    /// Throws when it is to end. Asked between any two pieces of work, it also waits where the run
    /// has taken more than it may.
    public func check() throws(BackupError) {
        pace?.rest { reason == nil }
        if let reason { throw BackupError(.cancelled, subject: "backup", reason) }
    }
}
