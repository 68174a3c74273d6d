// How it is with other servers, as values that go through the control socket as JSON.

public import Engine

/// Federation as `kinglet federation list` shows it.
public struct FederationDescription: Codable, Sendable, Equatable {
    /// `off`, `allowlist` or `open`.
    public var policy: String
    /// Whether a server runs: otherwise only what waits is known.
    public var running: Bool
    /// The rules, those given by command first.
    public var rules: [FederationRuleDescription]
    /// Domains that are connected, that something waits for, or that were not reached lately.
    public var domains: [PeerDescription]
    /// Domains that are left out, for there are too many.
    public var omitted: Int
}

/// Another domain.
public struct PeerDescription: Codable, Sendable, Equatable {
    /// The domain.
    public var domain: String
    /// Whether it is an app server that wakes phones.
    public var push: Bool
    /// The ways to it, one for each of our domains.
    public var routes: [PeerRoute]
    /// The streams that stand.
    public var streams: [PeerConnection]
}

/// The way from one of our domains to another one.
public struct PeerRoute: Codable, Sendable, Equatable {
    /// Our domain.
    public var local: String
    /// What it is doing.
    public var state: RouteDescription.State
    /// What waits.
    public var queuedStanzas, queuedBytes: Int
    /// When the oldest of that came, as XEP-0082 writes it.
    public var oldest: String?
    /// When the next attempt is.
    public var nextAttempt: String?
    /// When the last attempt failed; nil when it did not.
    public var failedAt: String?
    /// Why: one of the reasons that the metrics have.
    public var reason: String?
    /// Why, in words.
    public var failure: String?
}

/// A stream to or from another server.
public struct PeerConnection: Codable, Sendable, Equatable {
    /// Who opened it.
    public var direction: FederationDirection
    /// Our domain.
    public var local: String
    /// Since when, as XEP-0082 writes it.
    public var since: String
    /// Where the other side is.
    public var address: String?
    /// The version of TLS.
    public var tls: String?
    /// How the one that opened it proved its name.
    public var mechanism: String?
    /// Stanzas go both ways on it.
    public var bidirectional: Bool
}

/// Federation as `kinglet status` shows it.
public struct FederationSummary: Codable, Sendable, Equatable {
    /// `off`, `allowlist` or `open`.
    public var policy: String
    /// Streams that this server opened, and that others did; nil when no server runs.
    public var outgoing, incoming: Int?
    /// What waits for other domains.
    public var queuedStanzas, queuedBytes: Int
    /// Domains that the last attempt did not reach.
    public var unreachable: Int
    /// Those of them that wake phones.
    public var unreachablePushDomains: [String]
}

/// What a change of the rules did.
public struct FederationChangeResult: Codable, Sendable, Equatable {
    /// The domain as it is kept.
    public var domain: String
    /// The policy, for with `off` a rule has no effect.
    public var policy: String
    /// Streams that were ended.
    public var endedStreams: Int
    /// Stanzas that went back to their senders.
    public var returnedStanzas: Int
    /// Whether stanzas may go there and come from there now; nil for `*.` and a domain.
    public var outgoing, incoming: Bool?
}

/// How far a test is.
public struct FederationTestProgress: Codable, Sendable, Equatable {
    /// The other domain and ours.
    public var domain, local: String
    /// The steps that were not known before.
    public var steps: [FederationTestStep]
    /// The one of all steps that says why it does not work, once the test has ended.
    public var failure: FederationTestStep?
    /// Whether that was all.
    public var hasEnded: Bool
    /// Whether everything works.
    public var isGood: Bool
    /// From the beginning to the end, or until now.
    public var milliseconds: Int
}

/// A step of a test.
public struct FederationTestStep: Codable, Sendable, Equatable {
    /// The steps there are.
    public enum Name: String, Codable, Sendable {
        case policy, dns, addresses, connection, tls, certificate, authentication, stream, ping
    }

    /// What was done.
    public var step: Name
    /// Whether it went well.
    public var ok: Bool
    /// How long it took.
    public var milliseconds: Int
    /// What was found, by step: records, a host, a version, a certificate's subject, a mechanism.
    public var value: String?
    /// Addresses; or one, of a connection.
    public var addresses: [String]?
    /// The port of a connection.
    public var port: Int?
    /// TLS: the cipher.
    public var cipher: String?
    /// A certificate: what it proves, who vouches for it, until when.
    public var verdict, issuer, notAfter: String?
    /// Policy: whether stanzas may come from there.
    public var incoming: Bool?
    /// A failure: one of the reasons that the metrics have, and its words.
    public var reason, text: String?

    init(_ step: Name, ok: Bool, milliseconds: Int) {
        self.step = step
        self.ok = ok
        self.milliseconds = milliseconds
    }
}
