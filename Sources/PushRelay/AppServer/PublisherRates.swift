// How many publications the servers of others may make.

internal import Synchronization

/// A token bucket for each domain. Safe on any thread.
final class PublisherRates: Sendable {
    /// Of one domain, per second, and four times as many at once.
    private static let rate = 100.0
    private static let burst = 400.0
    /// Domains that are remembered.
    private static let most = 4096

    private struct Bucket {
        var tokens = PublisherRates.burst
        var filledAt: Int64

        mutating func fill(_ now: Int64) {
            let earned = Double(max(0, now - filledAt)) * PublisherRates.rate / 1000
            tokens = min(tokens + earned, PublisherRates.burst)
            filledAt = now
        }
    }

    private let buckets = Mutex<[String: Bucket]>([:])

    /// Whether a domain may publish one more.
    ///
    /// - Parameter now: milliseconds.
    func allow(_ domain: String, now: Int64) -> Bool {
        buckets.withLock { buckets in
            if buckets[domain] == nil, buckets.count >= Self.most {
                buckets = buckets.compactMapValues { bucket in
                    var bucket = bucket
                    bucket.fill(now)
                    return bucket.tokens < Self.burst ? bucket : nil
                }
                guard buckets.count < Self.most else { return false }
            }
            var bucket = buckets[domain] ?? Bucket(filledAt: now)
            bucket.fill(now)
            defer { buckets[domain] = bucket }
            guard bucket.tokens >= 1 else { return false }
            bucket.tokens -= 1
            return true
        }
    }
}
