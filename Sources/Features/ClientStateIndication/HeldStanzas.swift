// What is kept back for an inactive client (XEP-0352).

internal import Addresses
internal import Engine
internal import Options
internal import Prometheus
internal import XMPP

/// Stanzas in the order in which they are to go out. One that has a key takes the place of the one
/// before it with the same key.
struct HeldStanzas: StanzaHolder {
    struct Limits: Sendable {
        let stanzas: Setting<Int>
        let bytes: Setting<Int>
    }

    struct Metrics: Sendable {
        let inactive: Gauge
        let held: LabelledCounter<HeldKind>
        let superseded: LabelledCounter<HeldKind>
        let flushed: LabelledCounter<HolderRelease>

        init(_ registry: Registry) {
            inactive = registry.gauge(
                "kinglet_sessions_inactive", help: "Sessions whose client says that it is inactive."
            )
            held = registry.counter(
                "kinglet_csi_held_total", by: HeldKind.self,
                help: "Stanzas that were kept back for inactive clients.")
            superseded = registry.counter(
                "kinglet_csi_superseded_total", by: HeldKind.self,
                help: "Stanzas of these that were never sent, because a later one replaced them.")
            flushed = registry.counter(
                "kinglet_csi_flushed_total", by: HolderRelease.self,
                help: "Stanzas of these that were sent, by what made it necessary.")
        }
    }

    private struct Entry {
        let stanza: OutboundStanza
        let key: [String]?
    }

    private let client: JID
    private let limits: Limits
    private let metrics: Metrics
    /// Nil where one was replaced.
    private var entries: [Entry?] = []
    private var places: [[String]: Int] = [:]
    private(set) var count = 0
    private(set) var bytes = 0

    /// Counts the client as inactive, until it is active or its stream ends.
    init(for client: JID, _ limits: Limits, _ metrics: Metrics) {
        self.client = client
        self.limits = limits
        self.metrics = metrics
        metrics.inactive.add(1)
    }

    var isFull: Bool { count >= limits.stanzas.value || bytes >= limits.bytes.value }

    mutating func hold(_ stanza: OutboundStanza) -> Bool {
        switch Urgency(of: stanza, for: client) {
        case .now:
            return false
        case .later(let kind):
            append(stanza, kind, key: nil)
        case .latest(let kind, let key):
            if let place = places[key], let old = entries[place] {
                entries[place] = nil
                count -= 1
                bytes -= old.stanza.bytes.count
                metrics.superseded[kind].add()
            }
            append(stanza, kind, key: key)
        }
        return true
    }

    private mutating func append(_ stanza: OutboundStanza, _ kind: HeldKind, key: [String]?) {
        // Its client is to know that it is not from this moment.
        let stanza = stanza.delayed(by: client.domain)
        if entries.count >= 2 * count + 16 { closeGaps() }
        if let key { places[key] = entries.count }
        entries.append(Entry(stanza: stanza, key: key))
        count += 1
        bytes += stanza.bytes.count
        metrics.held[kind].add()
    }

    private mutating func closeGaps() {
        entries = entries.filter { $0 != nil }
        for (place, entry) in entries.enumerated() {
            if let key = entry?.key { places[key] = place }
        }
    }

    mutating func release(_ reason: HolderRelease) -> [OutboundStanza] {
        switch reason {
        case .active, .streamEnd: metrics.inactive.add(-1)
        case .overtaken, .full: break
        }
        guard count > 0 else { return [] }
        metrics.flushed[reason].add(count)
        let stanzas = entries.compactMap { $0?.stanza }
        entries = []
        places = [:]
        count = 0
        bytes = 0
        return stanzas
    }
}
