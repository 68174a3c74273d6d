// XEP-0114: programs on this machine or next to it that have a domain of their own, such as
// bridges and app servers. They are trusted with every address at their domain and no other. Only
// `jabber:component:accept` is spoken: components come to the server.

internal import Addresses
internal import Options
internal import XMPP

/// The components that may attach. Safe on any thread.
public final class Components: Sendable {
    static let specifications = [
        Specification("XEP-0114", version: "1.6", "Jabber Component Protocol")
    ]

    let metrics: ComponentMetrics
    private let byDomain: [String: Component]

    /// - Parameters:
    ///   - limits: a component's queue is bounded as a client's is.
    ///   - services: what this program answers for itself, which goes before a component.
    ///   - loop: where services are asked; nil where nothing runs.
    init(
        _ options: ComponentOptions, _ metrics: ComponentMetrics, _ limits: Limits,
        services: [any LocalService] = [], on loop: Loop? = nil
    ) {
        self.metrics = metrics
        var byDomain: [String: Component] = [:]
        for record in options.records.value {
            guard let domain = record.string("domain").flatMap({ try? Preparation.domain($0) })
            else { continue }
            // Without its secret, which only a server needs and looks for before, nobody attaches.
            let secret = (try? ComponentOptions.secret(of: record)) ?? []
            byDomain[domain] = Component(domain, secret, metrics, limits)
        }
        for service in services {
            byDomain[service.domain] =
                loop.map { Component(service, on: $0, metrics, limits) }
                ?? Component(service.domain, [], metrics, limits)
        }
        self.byDomain = byDomain
    }

    /// The prepared domains, in alphabetical order: of components and of services of this program.
    public var domains: [String] { byDomain.keys.sorted() }

    /// Whether any program may attach.
    public var hasAttachable: Bool { byDomain.values.contains(where: \.isAttachable) }

    /// The component that has a domain.
    subscript(domain: String) -> Component? { byDomain[domain] }

    /// The server stops: ends all streams.
    func stop() {
        for component in byDomain.values { component.end(StreamError(.systemShutdown)) }
    }
}
