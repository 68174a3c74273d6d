// XEP-0352: Client State Indication. While a client says that nobody looks at it, what can wait
// is kept back: of presence and chat states the last of each sender, of published items the last
// version, receipts, markers and copies of the account's own messages in order. All of it goes out
// before the first stanza that must not wait, so nothing overtakes anything, and when the client
// is active again, when too much is kept, and when its stream ends. Nobody is told of it.

internal import Addresses
internal import Engine
internal import Options
internal import Prometheus
internal import XML
internal import XMPP

struct ClientStateIndication: Feature {
    static let specifications = [
        Specification("XEP-0085", version: "2.1", "Chat State Notifications"),
        Specification("XEP-0184", version: "1.4.0", "Message Delivery Receipts"),
        Specification("XEP-0333", version: "1.0.0", "Displayed Markers"),
        Specification("XEP-0352", version: "1.0.0", "Client State Indication"),
        Specification("XEP-0353", version: "0.8.0", "Jingle Message Initiation"),
    ]
    static let namespace = "urn:xmpp:csi:0"

    init(in host: HostBuilder) {
        let isEnabled = host.options.boolean(
            "features.client_state_indication", default: true, reloadable: true,
            help: "Whether clients that nobody looks at get what can wait later, which spares a "
                + "phone's battery (XEP-0352).")
        let limits = HeldStanzas.Limits(
            stanzas: host.options.integer(
                "limits.held_stanzas", default: 500, in: 1...100_000, reloadable: true,
                help: "Stanzas that are kept back for one inactive client; then it gets them."),
            bytes: host.options.size(
                "limits.held_bytes", default: 262_144, in: 1024...67_108_864, reloadable: true,
                help: "Bytes that are kept back for one inactive client."))
        let metrics = HeldStanzas.Metrics(host.registry)
        host.hooks.streamFeatures.append { context, _ in
            guard context.account != nil, isEnabled.value else { return nil }
            return Element("csi", Self.namespace)
        }
        host.take(Self.namespace) { fragment, session in
            if fragment.isNamed("active", "urn:xmpp:csi:0") {
                session.setHolder(nil)
            } else if fragment.isNamed("inactive", "urn:xmpp:csi:0") {
                // It may have been offered before it was switched off.
                guard isEnabled.value, !session.hasHolder else { return true }
                session.setHolder(HeldStanzas(for: session.jid, limits, metrics))
            } else {
                return false
            }
            return true
        }
    }
}
