// What the web's listener says of itself. No addresses and no paths: endpoints are secrets.

public import Prometheus

/// The first digit of an answer's status.
enum StatusClass: String, MetricLabel {
    case success = "2xx"
    case redirection = "3xx"
    case clientError = "4xx"
    case serverError = "5xx"

    static let labelName = "code"

    init(_ status: Int) {
        switch status {
        case ..<300: self = .success
        case ..<400: self = .redirection
        case ..<500: self = .clientError
        default: self = .serverError
        }
    }
}

/// Why a connection or a request was not served.
enum WebRefusal: String, MetricLabel {
    /// There are too many connections.
    case connections
    /// There are too many of this address.
    case connectionsPerAddress = "connections_per_address"
    /// Too many requests from this address.
    case rate
    /// The TLS handshake failed: no TLS, or nothing in common.
    case tls
    /// The TLS handshake was not done in time.
    case handshakeTime = "handshake_time"
    /// The request, or the answer to it, was not whole in time.
    case requestTime = "request_time"
    /// The client did not read the answer in time.
    case slowReader = "slow_reader"
    /// Not HTTP/1.1, or not in a way that is safe.
    case malformed
    /// The target or the headers are too large, or there are too many.
    case headers
    /// The body is too large.
    case body
    /// A wrong or missing token for the metrics.
    case token

    static let labelName = "reason"
}

/// The metrics of the web's listener.
public final class WebMetrics: Sendable {
    let connections: Gauge
    let requests: LabelledCounter<StatusClass>
    let refusals: LabelledCounter<WebRefusal>
    let time: Histogram

    /// Registers them.
    public init(in registry: Registry) {
        connections = registry.gauge(
            "kinglet_web_connections", help: "HTTPS connections that are open.")
        requests = registry.counter(
            "kinglet_web_requests_total", by: StatusClass.self,
            help: "HTTPS requests that were answered, by class of the status.")
        refusals = registry.counter(
            "kinglet_web_refusals_total", by: WebRefusal.self,
            help: "HTTPS connections and requests that were refused.")
        time = registry.histogram(
            "kinglet_web_request_seconds",
            help: "Time from a request's first byte until its answer was sent.",
            buckets: [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10, 30])
    }

    func refused(_ reason: WebRefusal) { refusals[reason].add() }

    func answered(_ status: Int, seconds: Double) {
        requests[StatusClass(status)].add()
        time.observe(seconds)
    }
}
