// Domains that have shown a valid certificate since the start: they are not believed without one.

/// Remembers them, within a bound. Anybody who has one certificate for `*.example.org` can show a
/// valid one for any number of names, so those to which people here write are kept apart from what
/// comes along. Owner: whoever has it.
struct CertifiedDomains: Sendable {
    private static let limit = 4096

    private var seen = RecentTable<String, Bool>(limit: limit)
    /// Domains to which somebody writes, and whether they have shown one.
    private var written = RecentTable<String, Bool>(limit: limit)

    /// Somebody here writes to a domain.
    mutating func noteMessage(to domain: String) {
        if written[domain] == nil { written[domain] = seen[domain] ?? false }
    }

    /// A domain has shown one.
    mutating func insert(_ domain: String) {
        if written[domain] == nil { seen[domain] = true } else { written[domain] = true }
    }

    mutating func contains(_ domain: String) -> Bool {
        written[domain] ?? false || seen[domain] ?? false
    }
}
