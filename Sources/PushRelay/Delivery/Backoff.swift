// How long a push waits before it is tried again.

/// Exponential, with full jitter: the wait is drawn between nothing and a bound that doubles, so that
/// what failed together does not come back together.
enum Backoff {
    /// Milliseconds.
    static let first: Int64 = 2_000
    static let longest: Int64 = 600_000
    /// A push that failed so often by itself is given up.
    static let mostTries = 8

    /// Milliseconds until the next try.
    ///
    /// - Parameters:
    ///   - tries: how often it failed, from 1 on.
    ///   - wish: milliseconds that the provider asked for.
    ///   - random: 0 to 1.
    static func delay(tries: Int, wish: Int64?, random: Double) -> Int64 {
        let bound = min(longest, first << Int64(min(max(0, tries - 1), 20)))
        let drawn = first / 4 + Int64(Double(bound) * random)
        return max(drawn, min(wish ?? 0, CircuitBreaker.longestWish))
    }
}
