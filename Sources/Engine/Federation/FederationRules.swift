// Rules that an administrator gives by command, and what follows from them at once.

internal import Addresses
internal import Options
public import Storage
internal import XMPP

/// A rule as an administrator sees it.
public struct FederationRuleDescription: Sendable, Equatable, Codable {
    /// Where a rule comes from.
    public enum Source: String, Sendable, Codable { case command, configuration }

    /// The domain, or `*.` and the domain above all that are meant.
    public var domain: String
    /// Which way stanzas go.
    public var direction: FederationDirection
    /// Whether they may.
    public var isAllowed: Bool
    /// Where it comes from.
    public var source: Source

    private enum CodingKeys: String, CodingKey {
        case domain, direction, source
        case isAllowed = "allowed"
    }
}

/// What an administrator says of a domain.
public enum FederationRuleChange: String, Sendable, Codable { case allow, deny, forget }

/// What a change of the rules did at once.
public struct FederationEnforcement: Sendable, Equatable {
    /// Streams that are ended.
    public var endedStreams = 0
    /// Stanzas that went back to their senders.
    public var returnedStanzas = 0

    /// Creates one.
    public init(endedStreams: Int = 0, returnedStanzas: Int = 0) {
        self.endedStreams = endedStreams
        self.returnedStanzas = returnedStanzas
    }
}

/// Why a rule was not taken.
public enum FederationRuleError: Error, Sendable, CustomStringConvertible {
    /// It names no domain.
    case malformed(String)
    /// It names a domain of this server, or of a component.
    case ownDomain(String)
    /// There are too many.
    case tooMany(Int)
    /// It could not be stored.
    case storage(StorageError)

    /// A sentence for a person.
    public var description: String {
        switch self {
        case .malformed(let text):
            "'\(text)' is no domain; write example.org, or *.example.org for all below it"
        case .ownDomain(let domain):
            "\(domain) is served here; rules are for the domains of other servers"
        case .tooMany(let limit):
            "there are \(limit) rules already; remove some with kinglet federation forget"
        case .storage(let error): "\(error)"
        }
    }
}

extension Host {
    /// Whether a domain is this server's, or a component's.
    public func serves(_ domain: String) -> Bool {
        isLocal(domain) || components[domain] != nil
    }
}

extension Federation {
    /// More rules than this are not kept.
    private static let mostRules = 10_000

    /// All rules: those given by command, which go first, then the configuration's.
    public var rules: [FederationRuleDescription] {
        func described(_ patterns: [String], _ isAllowed: Bool) -> [FederationRuleDescription] {
            patterns.compactMap { DomainPattern($0)?.description }.flatMap { domain in
                [FederationDirection.outgoing, .incoming].map {
                    FederationRuleDescription(
                        domain: domain, direction: $0, isAllowed: isAllowed,
                        source: .configuration)
                }
            }
        }
        let commands = policy.allRules.map {
            FederationRuleDescription(
                domain: $0.pattern.description, direction: $0.direction, isAllowed: $0.isAllowed,
                source: .command)
        }
        return commands + described(options.deny.value, false)
            + described(options.allow.value, true)
    }

    /// The streams that stand.
    public var streams: [ServerStreamDescription] { openStreams.descriptions }

    /// Stores what an administrator says of a domain; it holds once `then` is called, on any
    /// thread, with the domain as it is kept. `enforce` does what follows from it.
    public func change(
        _ text: String, _ change: FederationRuleChange, _ directions: [FederationDirection],
        _ host: Host, then: @escaping @Sendable (Result<String, FederationRuleError>) -> Void
    ) {
        guard let pattern = DomainPattern(text) else { return then(.failure(.malformed(text))) }
        guard pattern.isBelow || !host.serves(pattern.domain) else {
            return then(.failure(.ownDomain(pattern.domain)))
        }
        guard change == .forget || policy.allRules.count + directions.count <= Self.mostRules
        else { return then(.failure(.tooMany(Self.mostRules))) }
        host.database.writer.submit { connection in
            for direction in directions {
                switch change {
                case .allow, .deny:
                    try FederationRuleStore.set(
                        connection,
                        FederationRule(
                            pattern: pattern, direction: direction, isAllowed: change == .allow))
                case .forget:
                    try FederationRuleStore.remove(connection, pattern, direction)
                }
            }
            return try FederationRuleStore.all(connection)
        } then: { result in
            switch result {
            case .success(let rules):
                self.policy.replace(rules)
                then(.success(pattern.description))
            case .failure(let error): then(.failure(.storage(error)))
            }
        }
    }

    /// Lets what exists follow the rules: what waits for a domain that they forbid goes back to its
    /// senders, and streams with it end; domains that `pattern` names and that may be reached are
    /// tried at once. Not on an event loop.
    @discardableResult
    public func enforce(_ host: Host, trying pattern: String? = nil) -> FederationEnforcement {
        let tried = pattern.flatMap { DomainPattern($0) }
        var done = FederationEnforcement()
        var streams: [Int64: PeerOrigin] = [:]
        for route in routes {
            let remote = route.key.remote
            guard policy.allows(remote, .outgoing) else {
                let (returned, open) = route.forbid()
                done.returnedStanzas += returned
                if let open { streams[open.number] = open }
                continue
            }
            if tried?.matches(remote) ?? false { route.hurry() }
        }
        for origin in openStreams.forbidden(by: policy) { streams[origin.number] = origin }
        for origin in streams.values {
            origin.run {
                origin.streamHere?.end(StreamError(.policyViolation, "not allowed any more"))
            }
        }
        done.endedStreams = streams.count
        return done
    }
}
