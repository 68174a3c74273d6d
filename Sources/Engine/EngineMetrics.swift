// What the engine counts. Labels come from enums: no address and no name ever becomes one.

public import Prometheus
internal import XMPP

/// Which way a stanza goes, seen from the server.
public enum Direction: String, MetricLabel {
    case received = "in"
    case sent = "out"
    /// The label's name.
    public static var labelName: String { "direction" }
}

/// Message, presence or IQ.
public enum StanzaKindLabel: String, MetricLabel {
    case message, presence, iq
    /// The label's name.
    public static var labelName: String { "kind" }

    init(_ kind: Stanza.Kind) {
        switch kind {
        case .message: self = .message
        case .presence: self = .presence
        case .iq: self = .iq
        }
    }
}

/// How a client is connected.
public enum ConnectionType: String, MetricLabel {
    /// Port 5222, STARTTLS.
    case starttls = "c2s"
    /// Port 5223, TLS from the first byte (XEP-0368).
    case directTLS = "c2s_direct_tls"
    /// The label's name.
    public static var labelName: String { "type" }
}

/// The TLS version of a connection.
public enum TLSLabel: String, MetricLabel {
    case none
    case tls12 = "TLSv1.2"
    case tls13 = "TLSv1.3"
    /// The label's name.
    public static var labelName: String { "tls" }
}

/// The SASL mechanism of a login.
public enum MechanismLabel: String, MetricLabel {
    case scramSHA512Plus = "SCRAM-SHA-512-PLUS"
    case scramSHA256Plus = "SCRAM-SHA-256-PLUS"
    case scramSHA1Plus = "SCRAM-SHA-1-PLUS"
    case scramSHA512 = "SCRAM-SHA-512"
    case scramSHA256 = "SCRAM-SHA-256"
    case scramSHA1 = "SCRAM-SHA-1"
    case plain = "PLAIN"
    case unknown
    /// The label's name.
    public static var labelName: String { "mechanism" }
}

/// How a login ended.
public enum LoginResult: String, MetricLabel {
    case success
    /// Wrong password or unknown user; nobody can tell which.
    case notAuthorized = "not_authorized"
    case accountDisabled = "account_disabled"
    /// The client broke off or broke the protocol.
    case broken
    /// Refused unseen, because too many failed before.
    case throttled
    case serverError = "server_error"
    /// The label's name.
    public static var labelName: String { "result" }
}

/// Why something was refused.
public enum RefusalReason: String, MetricLabel {
    case connections
    case connectionsPerAddress = "connections_per_address"
    case unauthenticatedConnections = "unauthenticated_connections"
    case negotiationTimeout = "negotiation_timeout"
    case stanzaTimeout = "stanza_timeout"
    case tlsFailure = "tls_failure"
    case malformedXML = "malformed_xml"
    case restrictedXML = "restricted_xml"
    case xmlLimit = "xml_limit"
    case beforeAuthentication = "before_authentication"
    case streamError = "stream_error"
    case loginAttempts = "login_attempts"
    case loginThrottled = "login_throttled"
    case resources
    case stanzaRate = "stanza_rate"
    case byteRate = "byte_rate"
    case unstored
    /// What waits for the domain that it sends to is much.
    case remoteQueue = "remote_queue"
    case memory
    case slowReader = "slow_reader"
    case unacknowledged
    case acknowledgementTimeout = "acknowledgement_timeout"
    /// Acknowledged more than was sent.
    case acknowledgement
    case heldMessages = "held_messages"
    /// Not kept for the next start of the server.
    case suspendedSessions = "suspended_sessions"
    case rosterItems = "roster_items"
    case offlineMessages = "offline_messages"
    /// A stanza between two of whom one has blocked the other.
    case blocked
    case blockedAddresses = "blocked_addresses"
    /// Too many ad-hoc commands are under way.
    case commands
    case registrationClosed = "registration_closed"
    case registrationRate = "registration_rate"
    case storage
    /// The label's name.
    public static var labelName: String { "reason" }
}

/// What became of a session whose connection broke.
public enum ResumptionLabel: String, MetricLabel {
    case resumed
    /// There was nothing to resume.
    case failed
    /// The client did not come back in time.
    case expired
    /// The label's name.
    public static var labelName: String { "result" }
}

/// What became of a session that could be resumed when the server stopped.
public enum SuspensionLabel: String, MetricLabel {
    /// Written down at the stop.
    case suspended
    /// Hibernating again since the start.
    case restored
    /// Ended at the start: the server crashed since the session was restored, or has no place.
    case dropped
    /// The label's name.
    public static var labelName: String { "result" }
}

/// The engine's own metrics; a feature's stand in the feature.
public struct EngineMetrics: Sendable {
    let connections: LabelledGauge2<ConnectionType, TLSLabel>
    let sessions: Gauge
    let hibernating: Gauge
    let hibernations: Counter
    let unacknowledged: SummedGauge
    let resumptions: LabelledCounter<ResumptionLabel>
    let suspensions: LabelledCounter<SuspensionLabel>
    let logins: LabelledCounter2<MechanismLabel, LoginResult>
    let stanzas: LabelledCounter2<StanzaKindLabel, Direction>
    let deliveryTime: Histogram
    let resentMessages: Counter
    let loopLag: Histogram
    /// Everything that was refused, by reason.
    public let refusals: LabelledCounter<RefusalReason>

    /// Stanzas that clients have sent, and that were sent to clients, so far.
    public var handledStanzas: Int {
        var sum = 0
        for kind in StanzaKindLabel.allCases {
            for direction in Direction.allCases { sum += stanzas[kind, direction].value }
        }
        return sum
    }

    init(_ registry: Registry) {
        connections = registry.gauge(
            "kinglet_connections", by: ConnectionType.self, TLSLabel.self,
            help: "Open client connections.")
        sessions = registry.gauge(
            "kinglet_sessions", help: "Clients that are logged in and have bound a resource.")
        hibernating = registry.gauge(
            "kinglet_sessions_hibernating",
            help: "Sessions whose connection broke and that wait for their client.")
        hibernations = registry.counter(
            "kinglet_hibernations_total",
            help: "Times that a session began to wait for its client, at the start of the server "
                + "included.")
        unacknowledged = registry.summedGauge(
            "kinglet_unacknowledged_stanzas",
            help: "Stanzas that wait for the acknowledgement of clients that give one, sent or "
                + "not.")
        resumptions = registry.counter(
            "kinglet_resumptions_total", by: ResumptionLabel.self,
            help: "Sessions that clients resumed or tried to, and that expired.")
        suspensions = registry.counter(
            "kinglet_suspensions_total", by: SuspensionLabel.self,
            help: "Sessions that were kept while the server restarted, or not.")
        logins = registry.counter(
            "kinglet_logins_total", by: MechanismLabel.self, LoginResult.self,
            help: "Logins by SASL mechanism and result.")
        stanzas = registry.counter(
            "kinglet_stanzas_total", by: StanzaKindLabel.self, Direction.self,
            help: "Stanzas received from and sent to clients.")
        deliveryTime = registry.histogram(
            "kinglet_message_delivery_seconds",
            help: "Time from a message's arrival to its hand-over to the receiver's socket.",
            buckets: [
                0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5,
            ])
        resentMessages = registry.counter(
            "kinglet_resent_messages_total",
            help: "Messages that a client sent again and that were stored before.")
        loopLag = registry.histogram(
            "kinglet_event_loop_lag_seconds",
            help: "How late each event loop ran a task that was due, once a second.",
            buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5])
        refusals = registry.counter(
            "kinglet_refusals_total", by: RefusalReason.self,
            help: "Connections, streams and requests that were refused, by reason.")
    }
}
