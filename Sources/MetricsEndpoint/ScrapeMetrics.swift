// What the endpoint says of itself.

public import Prometheus

/// The format of a scrape, for counting.
enum ScrapeFormat: String, MetricLabel {
    case text
    case openMetrics = "openmetrics"

    static let labelName = "format"
}

/// The endpoint's own metrics. A second listener on the same registry takes the first one's.
public final class ScrapeMetrics: Sendable {
    let scrapes: LabelledCounter<ScrapeFormat>
    let duration: Histogram

    /// Registers them.
    public init(in registry: Registry) {
        scrapes = registry.counter(
            "kinglet_scrapes_total", by: ScrapeFormat.self,
            help: "Scrapes of the metrics endpoint, by format.")
        duration = registry.histogram(
            "kinglet_scrape_duration_seconds",
            help: "Time to read and write all metrics for a scrape.",
            buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10])
    }
}
