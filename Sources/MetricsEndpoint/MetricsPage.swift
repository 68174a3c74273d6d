// The page of metrics itself, for every listener that shows it.

public import Prometheus

/// What a scrape gets.
public struct MetricsPage: Sendable {
    /// The value of Content-Type.
    public let contentType: String
    /// The page.
    public let body: [UInt8]

    /// Reads all metrics and writes them down, which may take some milliseconds.
    ///
    /// - Parameters:
    ///   - registry: what to show.
    ///   - accept: the request's Accept header, which chooses the format.
    ///   - metrics: where the scrape is counted.
    public init(registry: Registry, accept: String?, metrics: ScrapeMetrics) {
        let negotiation = Negotiation(accept: accept)
        let clock = ContinuousClock()
        let start = clock.now
        // Counted first, so that a scrape shows itself.
        metrics.scrapes[negotiation.format == .text004 ? .text : .openMetrics].add()
        body = registry.render(negotiation.format)
        metrics.duration.observe((clock.now - start) / .seconds(1))
        contentType = negotiation.contentType
    }
}
