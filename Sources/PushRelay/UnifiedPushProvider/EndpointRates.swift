// How much may be posted to one endpoint, and wait for one device.

internal import Synchronization

/// A token bucket for each name. Safe on any thread.
final class EndpointRates: Sendable {
    /// Names that are remembered.
    private static let most = 4096

    private struct Bucket {
        var tokens: Double
        var filledAt: Int64

        mutating func fill(_ now: Int64, perMinute: Double, burst: Double) {
            tokens = min(tokens + Double(max(0, now - filledAt)) * perMinute / 60_000, burst)
            filledAt = now
        }
    }

    private let buckets = Mutex<[[UInt8]: Bucket]>([:])

    /// Whether one more is allowed; where too many names are busy, none is.
    ///
    /// - Parameter now: milliseconds of a clock that goes forward.
    func allow(_ name: [UInt8], perMinute: Double, burst: Double, now: Int64) -> Bool {
        buckets.withLock { buckets in
            if buckets[name] == nil, buckets.count >= Self.most {
                buckets = buckets.compactMapValues { bucket in
                    var bucket = bucket
                    bucket.fill(now, perMinute: perMinute, burst: burst)
                    return bucket.tokens < burst ? bucket : nil
                }
                guard buckets.count < Self.most else { return false }
            }
            var bucket = buckets[name] ?? Bucket(tokens: burst, filledAt: now)
            bucket.fill(now, perMinute: perMinute, burst: burst)
            defer { buckets[name] = bucket }
            guard bucket.tokens >= 1 else { return false }
            bucket.tokens -= 1
            return true
        }
    }
}
