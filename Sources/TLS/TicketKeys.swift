// The keys under which stateless session tickets are sealed (RFC 5077, RFC 8446 section 4.6.1).

import Synchronization

/// Keys for session tickets: one seals, the one before it still opens.
///
/// Forward secrecy of resumed TLS 1.2 sessions ends where a ticket key leaks, so keys live in
/// memory only and are replaced after `lifetime`; the previous key is accepted for that time again.
/// So a ticket is accepted for at least `lifetime` and at most twice that.
///
/// Owned by a server context, used by every event loop.
final class TicketKeys: Sendable {
    struct Key: Sendable {
        static let nameLength = 16

        /// Sent in the clear in front of each ticket.
        let name = SecureRandom.bytes(nameLength)
        /// For AES-256-CBC.
        let cipherKey = SecureRandom.bytes(32)
        /// For HMAC-SHA-256.
        let authenticationKey = SecureRandom.bytes(32)
    }

    private struct State {
        var current = Key()
        var previous: Key?
        /// When `current` began to seal.
        var since: ContinuousClock.Instant
    }

    private let lifetime: Duration
    private let now: @Sendable () -> ContinuousClock.Instant
    private let state: Mutex<State>

    /// `now` is a clock that does not jump: the wall clock of a machine without a battery does.
    init(lifetime: Duration, now: @escaping @Sendable () -> ContinuousClock.Instant) {
        self.lifetime = lifetime
        self.now = now
        state = Mutex(State(since: now()))
    }

    /// The key that seals new tickets.
    func sealing() -> Key {
        state.withLock { state in
            rotate(&state)
            return state.current
        }
    }

    /// The key called `name`, and whether a ticket under it should be replaced.
    func opening(_ name: UnsafeBufferPointer<UInt8>) -> (key: Key, isStale: Bool)? {
        state.withLock { state in
            rotate(&state)
            if state.current.name.elementsEqual(name) { return (state.current, false) }
            if let previous = state.previous, previous.name.elementsEqual(name) {
                return (previous, true)
            }
            return nil
        }
    }

    private func rotate(_ state: inout State) {
        let age = state.since.duration(to: now())
        if age >= lifetime * 2 {
            // Nothing was sealed or opened for long: both keys are past their time.
            state = State(since: now())
        } else if age >= lifetime {
            state = State(previous: state.current, since: state.since.advanced(by: lifetime))
        }
    }
}
