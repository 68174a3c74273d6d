// The streams with other servers that stand, for an administrator and for rules that change.

internal import Synchronization

/// A stream between servers as an administrator sees it.
public struct ServerStreamDescription: Sendable, Equatable {
    /// Who opened it: `incoming` is the other server.
    public var direction: FederationDirection
    /// Our domain.
    public var local: String
    /// The other side's domains that are proved on it.
    public var remotes: [String]
    /// Since when, in seconds since 1970.
    public var since: Int64
    /// Where the other side is.
    public var address: String?
    /// The version of TLS, such as `TLSv1.3`.
    public var tls: String?
    /// How the one that opened it proved its name.
    public var mechanism: ServerMechanism?
    /// The other side's domain with which stanzas go both ways on it (XEP-0288).
    public var returning: String?

    /// Stanzas go both ways on it.
    public var isBidirectional: Bool { returning != nil }

    /// Whether stanzas pass on it that the rules forbid.
    func isForbidden(by policy: FederationPolicy) -> Bool {
        remotes.contains { !policy.allows($0, direction) }
            || returning.map { !policy.allows($0, direction.opposite) } ?? false
    }
}

extension FederationDirection {
    var opposite: FederationDirection { self == .incoming ? .outgoing : .incoming }
}

/// The streams that are authenticated. It holds no more than `federation.streams` and the routes
/// allow. Safe on any thread.
final class ServerStreamTable: Sendable {
    private struct Entry {
        let origin: PeerOrigin
        let description: ServerStreamDescription
    }

    /// So many domains of one stream are shown.
    private static let longestList = 100

    private let entries = Mutex<[Int64: Entry]>([:])

    /// A stream stands, or further domains are proved on it. Its end is noted by `PeerStream`.
    func note(_ origin: PeerOrigin, _ description: ServerStreamDescription) {
        entries.withLock { entries in
            var description = description
            let before = entries[origin.number]?.description
            if let before {
                description.since = before.since
                description.remotes =
                    before.remotes.filter { !description.remotes.contains($0) }
                    + description.remotes
            }
            description.remotes = Array(description.remotes.prefix(Self.longestList))
            entries[origin.number] = Entry(origin: origin, description: description)
        }
    }

    func forget(_ origin: PeerOrigin) {
        entries.withLock { _ = $0.removeValue(forKey: origin.number) }
    }

    var descriptions: [ServerStreamDescription] {
        entries.withLock { $0.values.map(\.description) }
    }

    /// Whose streams carry what the rules forbid.
    func forbidden(by policy: FederationPolicy) -> [PeerOrigin] {
        let all = entries.withLock { Array($0.values) }
        return all.filter { $0.description.isForbidden(by: policy) }.map(\.origin)
    }
}
