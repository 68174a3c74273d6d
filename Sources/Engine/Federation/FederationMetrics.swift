// What federation counts. Labels come from enums: no domain ever becomes one.

public import Prometheus
internal import Synchronization
public import TLS
internal import XMPP

/// How far a stream between servers is.
public enum ServerStreamState: String, MetricLabel {
    /// No bytes of XMPP have passed, or the other side has not proved who it is.
    case negotiating
    /// Stanzas may pass.
    case open
    /// The label's name.
    public static var labelName: String { "state" }
}

extension CertificateVerdict: MetricLabel {
    /// The label's name.
    public static var labelName: String { "verdict" }
}

/// Why another server's stream to us failed, in so few words that an owner knows whose it is to
/// mend; the log has the whole of it.
enum RefusedStreamReason: String, MetricLabel {
    /// TLS did not come about.
    case tls
    /// The certificate proves nothing; the counter of certificates says why.
    case certificate
    /// The other server claimed another name than it has proved, or none.
    case authentication
    /// The domain's own server does not know the key.
    case dialback
    /// This server's rules forbid the domain.
    case policy
    case timeout
    /// What came is no XMPP, too much, or broken off.
    case protocolError = "protocol_error"
    static var labelName: String { "reason" }

    init(_ reason: FederationFailureReason) {
        self =
            switch reason {
            case .noTLS, .tls: .tls
            case .certificateAbsent, .certificateExpired, .certificateNotYetValid,
                .certificateSelfSigned, .certificateUntrusted, .certificateWrongName,
                .certificateRevoked, .certificateInvalid:
                .certificate
            case .noAuthentication, .authenticationRefused: .authentication
            case .dialback: .dialback
            case .policy: .policy
            case .timeout: .timeout
            default: .protocolError
            }
    }
}

/// How the other side proved its name, or we ours.
public enum ServerMechanism: String, MetricLabel {
    case external = "EXTERNAL"
    case dialback
    /// The label's name.
    public static var labelName: String { "mechanism" }
}

/// The metrics of federation.
public struct FederationMetrics: Sendable {
    let streams: LabelledGauge2<FederationDirection, ServerStreamState>
    let failures: LabelledCounter<FederationFailureReason>
    let refusedStreams: LabelledCounter<RefusedStreamReason>
    let certificates: LabelledCounter<CertificateVerdict>
    let authentications: LabelledCounter2<FederationDirection, ServerMechanism>
    let stanzas: LabelledCounter2<StanzaKindLabel, Direction>
    let connectTime: Histogram
    let queued: Gauge
    let queuedBytes: Gauge
    let refusedFull: Counter
    let bounced: Counter
    let refusedStrangers: Counter
    let unreachablePushDomains: Gauge
    let oldest = OldestStanza()

    init(_ registry: Registry) {
        streams = registry.gauge(
            "kinglet_server_streams", by: FederationDirection.self, ServerStreamState.self,
            help: "Streams with other servers.")
        failures = registry.counter(
            "kinglet_server_stream_failures_total", by: FederationFailureReason.self,
            help: "Attempts to reach another server that failed, and streams lost.")
        refusedStreams = registry.counter(
            "kinglet_server_refused_streams_total", by: RefusedStreamReason.self,
            help: "Streams of other servers that were refused or failed.")
        certificates = registry.counter(
            "kinglet_server_certificates_total", by: CertificateVerdict.self,
            help: "What the certificates of other servers proved.")
        authentications = registry.counter(
            "kinglet_server_authentications_total", by: FederationDirection.self,
            ServerMechanism.self, help: "Streams between servers that were authenticated.")
        stanzas = registry.counter(
            "kinglet_server_stanzas_total", by: StanzaKindLabel.self, Direction.self,
            help: "Stanzas from and to other servers.")
        connectTime = registry.histogram(
            "kinglet_server_connect_seconds",
            help: "Time from the question to DNS to an authenticated stream.",
            buckets: [0.1, 0.5, 1, 3, 10])
        queued = registry.gauge(
            "kinglet_server_queue_stanzas", help: "Stanzas that wait for other servers.")
        queuedBytes = registry.gauge(
            "kinglet_server_queue_bytes", help: "Bytes that wait for other servers.")
        let oldest = oldest
        registry.gauge(
            "kinglet_server_queue_oldest_seconds",
            help: "Age of the oldest stanza that waits for another server.",
            read: { oldest.age(now: Clock.millisecondsSince1970()) })
        refusedFull = registry.counter(
            "kinglet_server_queue_refusals_total",
            help: "Stanzas that were refused because too much waited.")
        bounced = registry.counter(
            "kinglet_server_bounced_stanzas_total",
            help: "Stanzas that went back because their domain was out of reach.")
        refusedStrangers = registry.counter(
            "kinglet_server_refused_strangers_total",
            help: "Stanzas of strangers that were refused for their number.")
        unreachablePushDomains = registry.gauge(
            "kinglet_push_domains_unreachable",
            help: "App servers, which wake phones, that the last attempt did not reach.")
    }
}

/// When the oldest stanza came that waits. Safe on any thread.
final class OldestStanza: Sendable {
    private let time = Mutex<Int64?>(nil)

    /// Milliseconds since 1970; nil when nothing waits.
    func set(_ time: Int64?) { self.time.withLock { $0 = time } }

    /// In seconds; nil when nothing waits.
    func age(now: Int64) -> Double? {
        time.withLock { $0 }.map { Double(max(0, now - $0)) / 1000 }
    }
}
