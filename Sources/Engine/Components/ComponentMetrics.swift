// What components are counted by. No domain ever becomes a label.

internal import Prometheus

/// Why a component, or a stanza from or to one, was refused.
enum ComponentRefusal: String, MetricLabel {
    case unknownDomain = "unknown_domain"
    case wrongSecret = "wrong_secret"
    /// Unseen, because too many failed before.
    case throttled
    /// A newer connection of the same component took its place.
    case replaced
    /// An address that is not the component's.
    case spoofedAddress = "spoofed_address"
    /// A stanza for a component that is not attached, or was no more.
    case notConnected = "not_connected"
    case queueFull = "queue_full"
    static var labelName: String { "reason" }
}

/// The metrics of components.
struct ComponentMetrics: Sendable {
    let connections: Gauge
    let stanzas: LabelledCounter2<StanzaKindLabel, Direction>
    let refusals: LabelledCounter<ComponentRefusal>
    let queued: Gauge

    init(_ registry: Registry) {
        connections = registry.gauge(
            "kinglet_component_connections", help: "Components that are attached.")
        stanzas = registry.counter(
            "kinglet_component_stanzas_total", by: StanzaKindLabel.self, Direction.self,
            help: "Stanzas received from and sent to components.")
        refusals = registry.counter(
            "kinglet_component_refusals_total", by: ComponentRefusal.self,
            help: "Connections and stanzas of components that were refused.")
        queued = registry.gauge(
            "kinglet_component_queue_stanzas", help: "Stanzas that wait for components.")
    }
}
