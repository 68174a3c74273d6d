// What the endpoint says of itself.

public import Prometheus

/// The format of a scrape, for counting.
enum ScrapeFormat: String, MetricLabel {
    case text
    case openMetrics = "openmetrics"

    static let labelName = "format"
}

/// Why a client of the endpoint did not get what it wanted.
enum ScrapeRefusal: String, MetricLabel {
    /// It is not in the allow-list.
    case address
    /// The token or password is wrong or missing.
    case authentication
    /// There were too many connections; the one that was closed counts.
    case connections
    /// The request did not become whole in time.
    case incomplete
    /// The request's headers or body are too large.
    case tooLarge = "too_large"

    static let labelName = "reason"
}

/// The endpoint's own metrics. A second listener on the same registry takes the first one's.
public final class ScrapeMetrics: Sendable {
    let scrapes: LabelledCounter<ScrapeFormat>
    let refusals: LabelledCounter<ScrapeRefusal>
    let duration: Histogram

    /// Counts a request without the right token.
    public func refusedToken() { refusals[.authentication].add() }

    /// Counts a request from an address that is not allowed.
    public func refusedAddress() { refusals[.address].add() }

    /// Registers them.
    public init(in registry: Registry) {
        scrapes = registry.counter(
            "kinglet_scrapes_total", by: ScrapeFormat.self,
            help: "Scrapes of the metrics endpoint, by format.")
        refusals = registry.counter(
            "kinglet_scrape_refusals_total", by: ScrapeRefusal.self,
            help: "Requests and connections that the metrics endpoint refused.")
        duration = registry.histogram(
            "kinglet_scrape_duration_seconds",
            help: "Time to read and write all metrics for a scrape.",
            buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10])
    }
}
