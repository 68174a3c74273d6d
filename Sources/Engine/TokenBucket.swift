// Fairness between clients: each may use so much per second, and as much again as four seconds'
// worth at once.

internal import NIOCore

/// A token bucket. It asks for the time only when it seems empty, so that a client within its
/// limit costs a subtraction.
struct TokenBucket {
    /// So many seconds' worth may be used at once.
    private static let burst = 4

    private var tokens: Int
    private var filledAt: NIODeadline

    /// A full bucket.
    init(rate: Int, now: NIODeadline) {
        tokens = rate * Self.burst
        filledAt = now
    }

    /// Takes tokens and gives the time to wait before the next are taken, if any.
    ///
    /// - Parameter rate: tokens per second that come in.
    mutating func take(
        _ count: Int, rate: Int, now: @autoclosure () -> NIODeadline
    ) -> TimeAmount? {
        // Its rate may have become less since it was filled.
        tokens = min(tokens, rate * Self.burst)
        guard tokens < count else {
            tokens -= count
            return nil
        }
        let now = now()
        let earned = max(0, (now - filledAt).seconds) * Double(rate)
        filledAt = now
        // In floating point: a client may have been silent for weeks.
        tokens = Int(min(Double(tokens) + earned, Double(rate * Self.burst))) - count
        guard tokens < 0 else { return nil }
        return .nanoseconds(Int64(Double(-tokens) / Double(rate) * 1e9))
    }
}
