// What is said of domains and of all below others, found by a name without looking through all.

/// Values by pattern. The very domain comes before `*.` and one above it, the nearest of those first.
struct DomainTable<Value: Sendable>: Sendable {
    private var exact: [String: Value] = [:]
    private var below: [String: Value] = [:]

    subscript(pattern: DomainPattern) -> Value? {
        get { pattern.isBelow ? below[pattern.domain] : exact[pattern.domain] }
        set {
            if pattern.isBelow {
                below[pattern.domain] = newValue
            } else {
                exact[pattern.domain] = newValue
            }
        }
    }

    /// What is said of a prepared domain.
    func first(_ domain: String) -> Value? {
        if let value = exact[domain] { return value }
        guard !below.isEmpty else { return nil }
        var rest = Substring(domain)
        while let dot = rest.firstIndex(of: ".") {
            rest = rest[rest.index(after: dot)...]
            if let value = below[String(rest)] { return value }
        }
        return nil
    }
}

extension DomainTable<Bool> {
    /// A list of the configuration.
    init(_ patterns: [String]) {
        for pattern in patterns.compactMap(DomainPattern.init) { self[pattern] = true }
    }
}
