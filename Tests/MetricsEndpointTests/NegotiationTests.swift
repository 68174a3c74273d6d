// Accept headers of scrapers and of people (RFC 9110 section 12.5.1).

import Prometheus
import Testing

@testable import MetricsEndpoint

@Suite("Negotiation")
struct NegotiationTests {
    private static let openMetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8"
    private static let text = "text/plain; version=0.0.4; charset=utf-8"

    @Test(
        "The best format that is known is given",
        arguments: [
            // Nothing asked, or nothing that we have: what every scraper reads.
            (nil, text),
            ("", text),
            ("image/png", text),
            (",;,=;q", text),
            // Prometheus 2.
            (
                "application/openmetrics-text;version=1.0.0,"
                    + "application/openmetrics-text;version=0.0.1;q=0.75,"
                    + "text/plain;version=0.0.4;q=0.5,*/*;q=0.1", openMetrics
            ),
            // Prometheus 3.
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
                    + "application/openmetrics-text;version=0.0.1;q=0.5,"
                    + "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
                    + "text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                "\(openMetrics); escaping=allow-utf-8"
            ),
            // Prometheus 3 with native histograms: protobuf first.
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;"
                    + "encoding=delimited;q=0.6,application/openmetrics-text;version=1.0.0;"
                    + "escaping=underscores;q=0.5,text/plain;version=0.0.4;q=0.2",
                "\(openMetrics); escaping=underscores"
            ),
            // Text 1.0.0 is answered as 0.0.4.
            ("text/plain;version=1.0.0;escaping=allow-utf-8", text),
            ("text/plain;version=2.0.0, application/openmetrics-text;q=0.1", openMetrics),
            // Versions that are not ours.
            ("application/openmetrics-text;version=0.0.1", text),
            ("application/openmetrics-text;version=2.0.0,text/plain;q=0.1", text),
            // Weights.
            ("text/plain;q=0.4, application/openmetrics-text;q=0.5", openMetrics),
            ("text/plain;q=0.5, application/openmetrics-text;q=0.4", text),
            ("application/openmetrics-text;q=0, text/plain;q=0.001", text),
            ("application/openmetrics-text;q=0", text),
            ("application/openmetrics-text;q=2, text/plain;q=0.1", text),
            ("application/openmetrics-text;q=nan, text/plain;q=0.1", text),
            // Of equal weights the more specific, then the first.
            ("*/*, application/openmetrics-text", openMetrics),
            ("text/plain, application/openmetrics-text", text),
            ("application/openmetrics-text, text/plain", openMetrics),
            // People and their browsers.
            ("*/*", text),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", text),
            ("text/*", text),
            ("application/*", openMetrics),
            // Spelling.
            ("Application/OpenMetrics-Text ; Version=\"1.0.0\" ; Q=0.9", openMetrics),
            (
                "application/openmetrics-text;version=1.0.0;escaping=\"dots\"",
                "\(openMetrics); escaping=dots"
            ),
            ("application/openmetrics-text;version=1.0.0;escaping=x\u{7F}y", openMetrics),
        ] as [(String?, String)])
    func table(accept: String?, contentType: String) {
        #expect(Negotiation(accept: accept).contentType == contentType)
    }

    @Test("Only the first 32 elements are looked at")
    func bounded() {
        let accept = String(repeating: "image/png,", count: 32) + "application/openmetrics-text"
        #expect(Negotiation(accept: accept).format == .text004)
    }
}
