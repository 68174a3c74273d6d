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
        var deadline: ContinuousClock.Instant?
    }
    private let state = Mutex(State())

    /// - Parameter timeLimit: a run that takes longer is ended; nil for none.
    public init(timeLimit: Duration? = nil) {
        state.withLock { $0.deadline = timeLimit.map { ContinuousClock.now + $0 } }
    }

    /// Asks for the end.
    public func cancel(_ reason: String) {
        state.withLock { if $0.reason == nil { $0.reason = reason } }
    }

    /// Why it is to end; nil when it goes on.
    public var reason: String? {
        state.withLock { state in
            if let reason = state.reason { return reason }
            guard let deadline = state.deadline, ContinuousClock.now >= deadline else { return nil }
            return "it took longer than it may"
        }
    }

    /// Throws when it is to end.
    public func check() throws(BackupError) {
        if let reason { throw BackupError(.cancelled, subject: "backup", reason) }
    }
}
