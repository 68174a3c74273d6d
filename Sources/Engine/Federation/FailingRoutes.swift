// How many domains cannot be reached: all of them together are tried again so often.

internal import Synchronization

/// Counts the routes whose last attempt failed. Safe on any thread.
final class FailingRoutes: Sendable {
    /// So many of them are tried again in a second.
    private static let rate = 20.0
    /// Their back-off is enough for as many.
    private static let few = 50

    private let count = Atomic(0)

    func add(_ change: Int) { count.add(change, ordering: .relaxed) }

    /// How long each has to wait for all others to have their turn, not all alike; seconds.
    var seconds: Double {
        let count = count.load(ordering: .relaxed)
        guard count > Self.few else { return 0 }
        return Double(count) / Self.rate * Double.random(in: 0.5...1.5)
    }
}
