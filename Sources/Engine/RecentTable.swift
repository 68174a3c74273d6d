// A table with a limit that forgets what was not asked for lately.

/// Keeps the entries that were used last, between half of the limit and all of it: a full half is
/// kept while the other fills, and then makes place. Owner: whoever has it.
struct RecentTable<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    private let half: Int
    private var young: [Key: Value] = [:]
    private var old: [Key: Value] = [:]

    /// - Parameter limit: entries at most, 2 at least.
    init(limit: Int) {
        half = max(1, limit / 2)
    }

    /// How many there are at most, for tests.
    var count: Int { young.count + old.count }

    /// An entry, which is used by that.
    subscript(key: Key) -> Value? {
        mutating get {
            if let value = young[key] { return value }
            guard let value = old.removeValue(forKey: key) else { return nil }
            insert(value, key)
            return value
        }
        set {
            old[key] = nil
            if let newValue { insert(newValue, key) } else { young[key] = nil }
        }
    }

    /// Takes out entries, each of which is looked at.
    mutating func removeAll(where isGone: (Value) -> Bool) {
        young = young.filter { !isGone($0.value) }
        old = old.filter { !isGone($0.value) }
    }

    private mutating func insert(_ value: Value, _ key: Key) {
        if young.count >= half, young[key] == nil {
            old = young
            young = [:]
        }
        young[key] = value
    }
}
