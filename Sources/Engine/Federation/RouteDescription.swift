// What an administrator sees of the way to another domain.

internal import Synchronization

/// A route as an administrator sees it.
public struct RouteDescription: Sendable {
    /// What the route is doing.
    public enum State: String, Sendable, Codable { case idle, connecting, pausing, open }

    /// Our domain and the other one.
    public let local, remote: String
    /// What it is doing.
    public let state: State
    /// What waits.
    public let queuedStanzas, queuedBytes: Int
    /// When the oldest of that came, milliseconds since 1970.
    public let oldest: Int64?
    /// Why the last attempt failed; nil when it did not.
    public let failure: FederationFailure?
    /// When it failed; since when the stream stands; when the next attempt is. Milliseconds since
    /// 1970.
    public let failedAt, openSince, nextAttempt: Int64?
}

extension ServerRoute {
    /// What an administrator sees of it.
    var description: RouteDescription {
        state.withLock { state in
            let phase: RouteDescription.State =
                switch state.phase {
                case .idle: .idle
                case .connecting: .connecting
                case .pausing: .pausing
                case .open: .open
                }
            return RouteDescription(
                local: key.local, remote: key.remote, state: phase,
                queuedStanzas: state.queue.count, queuedBytes: state.queue.bytes,
                oldest: state.queue.oldest, failure: state.lastFailure,
                failedAt: state.lastFailure == nil ? nil : state.failedAt,
                openSince: phase == .open ? state.openSince : nil,
                nextAttempt: phase == .pausing ? state.nextAttempt : nil)
        }
    }
}
