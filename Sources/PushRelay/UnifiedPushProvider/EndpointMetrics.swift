// What is counted of endpoints: never which one, nor whose.

internal import Prometheus

/// What became of a message that was posted to an endpoint.
enum EndpointOutcome: String, MetricLabel {
    /// The client said that the app has it.
    case delivered
    /// It waits for a client that comes back (XEP-0198).
    case queued
    /// The client is not there.
    case offline
    /// No endpoint of ours, or none any more.
    case unknown
    /// Its time is over.
    case expired
    /// The app or the account is gone.
    case gone
    /// There is nothing in it.
    case empty
    case tooLarge = "too_large"
    /// More than one endpoint may get.
    case rate
    /// Too much is under way, or waits for the client.
    case busy
    /// The client could not hand it over.
    case failed
    static var labelName: String { "outcome" }
}

/// What became of a request for an endpoint.
enum EndpointRegistrationResult: String, MetricLabel {
    case registered
    /// One of those who may have none.
    case forbidden
    case malformed
    /// This server cannot give any at the moment.
    case unavailable
    static var labelName: String { "result" }
}

/// The metrics of endpoints.
struct EndpointMetrics: Sendable {
    let requests: LabelledCounter<EndpointOutcome>
    let registrations: LabelledCounter<EndpointRegistrationResult>

    init(_ registry: Registry) {
        let registrations = registry.counter(
            "kinglet_push_endpoint_registrations_total", by: EndpointRegistrationResult.self,
            help: "Requests for endpoints of this server (UnifiedPush); each is renewed in time.")
        requests = registry.counter(
            "kinglet_push_endpoint_requests_total", by: EndpointOutcome.self,
            where: { _ in registrations[.registered].value > 0 },
            help: "Messages that were posted to endpoints of this server (UnifiedPush).")
        self.registrations = registrations
    }
}
