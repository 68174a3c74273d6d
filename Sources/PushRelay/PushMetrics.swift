// What the push relay counts. Labels come from enums: never an address, a token or an endpoint.

public import Prometheus
internal import Synchronization

/// What became of a push, for a metric's label.
public enum PushOutcomeLabel: String, MetricLabel {
    case accepted
    case invalidToken = "invalid_token"
    case retry
    case authorizationExpired = "authorization_expired"
    case rejected
    case quota
    /// The label's name.
    public static var labelName: String { "outcome" }

    init(_ outcome: PushOutcome) {
        self =
            switch outcome {
            case .accepted: .accepted
            case .invalidToken: .invalidToken
            case .retry: .retry
            case .authorizationExpired: .authorizationExpired
            case .rejected: .rejected
            case .quotaOfDay: .quota
            }
    }
}

/// Why a push was not needed any more.
enum SuppressionReason: String, MetricLabel {
    /// The device is in use.
    case active
    /// It was read on another device.
    case read
    static var labelName: String { "reason" }
}

/// Why something about pushes was refused.
enum PushRefusal: String, MetricLabel {
    /// The account has as many targets as it may.
    case targets
    /// A publish by somebody who does not own the node.
    case publisher
    /// The wrong secret.
    case secret
    case unknownNode = "unknown_node"
    case rate
    case malformed
    /// An endpoint on this network.
    case privateTarget = "private_target"
    static var labelName: String { "reason" }
}

extension CircuitState: MetricLabel {
    /// The label's name.
    static var labelName: String { "state" }
}

/// The providers that an app or a target needs or needed since the start. Safe on any thread.
final class ProvidersInUse: Sendable {
    private let kinds = Mutex<Set<ProviderKind>>([])

    var isEmpty: Bool { kinds.withLock { $0.isEmpty } }

    func contains(_ kind: ProviderKind) -> Bool { kinds.withLock { $0.contains(kind) } }

    func insert(_ kind: ProviderKind) {
        kinds.withLock { _ = $0.insert(kind) }
    }
}

/// The metrics of the push relay.
struct PushMetrics: Sendable {
    /// The others are left out of the page.
    let used = ProvidersInUse()
    let requests: LabelledCounter2<ProviderKind, PushOutcomeLabel>
    let failures: LabelledCounter<PushReason>
    let duration: LabelledHistogram<ProviderKind>
    let dispatch: Histogram
    let delay: Histogram
    let noted: LabelledCounter<ProviderKind>
    let retries: LabelledCounter<ProviderKind>
    let collapsed: LabelledCounter<ProviderKind>
    let passedOn: LabelledCounter<ProviderKind>
    let suppressed: LabelledCounter<SuppressionReason>
    let dead: LabelledCounter<PushReason>
    let invalidated: LabelledCounter<ProviderKind>
    let refusals: LabelledCounter<PushRefusal>
    let published: Counter

    init(_ registry: Registry) {
        let used = used
        let isUsed = { @Sendable (kind: ProviderKind) in used.contains(kind) }
        requests = registry.counter(
            "kinglet_push_requests_total", by: ProviderKind.self, PushOutcomeLabel.self,
            where: isUsed,
            help: "Pushes that providers answered, by what the answer means.")
        failures = registry.counter(
            "kinglet_push_failures_total", by: PushReason.self, where: { _ in !used.isEmpty },
            help: "Pushes that did not arrive with one try, by the reason.")
        duration = registry.histogram(
            "kinglet_push_request_duration_seconds", by: ProviderKind.self, where: isUsed,
            help: "Time from a request to its answer.",
            buckets: [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30])
        dispatch = registry.histogram(
            "kinglet_push_dispatch_seconds",
            help: "Time from the commit of what a push is about to the request on its way.",
            buckets: [0.0025, 0.005, 0.01, 0.025, 0.1, 1])
        delay = registry.histogram(
            "kinglet_push_end_to_end_delay_seconds",
            help: "Time from the commit of what a push is about to the provider's acceptance.",
            buckets: [0.1, 0.5, 2.5, 10, 60, 600, 3600])
        noted = registry.counter(
            "kinglet_push_noted_total", by: ProviderKind.self, where: isUsed,
            help: "Pushes that were asked for and written into the queue.")
        retries = registry.counter(
            "kinglet_push_retries_total", by: ProviderKind.self, where: isUsed,
            help: "Pushes that are tried again later.")
        collapsed = registry.counter(
            "kinglet_push_collapsed_total", by: ProviderKind.self, where: isUsed,
            help: "Pushes whose place a later one took before they were sent.")
        passedOn = registry.counter(
            "kinglet_push_passed_on_total", by: ProviderKind.self, where: isUsed,
            help: "Pushes that a device's next token was tried for instead.")
        suppressed = registry.counter(
            "kinglet_push_suppressed_total", by: SuppressionReason.self,
            where: { _ in !used.isEmpty },
            help: "Times that a device came into use, or was read for, before it was woken.")
        dead = registry.counter(
            "kinglet_push_deadletter_total", by: PushReason.self, where: { _ in !used.isEmpty },
            help: "Pushes that were given up; kinglet push dead lists the last of them.")
        invalidated = registry.counter(
            "kinglet_push_tokens_invalidated_total", by: ProviderKind.self, where: isUsed,
            help: "Targets that were disabled because the provider or app server knows them no "
                + "more.")
        refusals = registry.counter(
            "kinglet_push_refusals_total", by: PushRefusal.self, where: { _ in !used.isEmpty },
            help: "Registrations and publications that were refused.")
        published = registry.counter(
            "kinglet_push_published_total",
            help: "Notifications that other servers published to our app server.")
    }
}
