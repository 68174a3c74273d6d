// XEP-0030: Service Discovery. The server and each account say what they are and can; an account
// only to those who may see its presence (section 8). There are no items.

internal import Addresses
internal import Engine
internal import XML
internal import XMPP

struct ServiceDiscovery: Feature {
    static let specifications = [
        Specification("XEP-0030", version: "2.5.0", "Service Discovery"),
        Specification("XEP-0128", version: "1.0.1", "Service Discovery Extensions"),
    ]
    static let items = "http://jabber.org/protocol/disco#items"

    init(in host: HostBuilder) {
        host.advertise(.init(category: "server", type: "im", name: Software.name), for: [.server])
        host.advertise(.init(category: "account", type: "registered"), for: [.ownAccount])
        host.advertise(DiscoveryInfo.namespace, for: [.server, .ownAccount])
        host.advertise(Self.items, for: [.server, .ownAccount])
        host.answer("query", DiscoveryInfo.namespace, for: [.server, .ownAccount, .account]) {
            request, target, session, host throws(StanzaError) in
            try Self.check(request, target, session, host)
            let node = request.payload["node"]
            guard let info = Self.info(target, node: node, host) else {
                throw StanzaError(.itemNotFound)
            }
            return .result(info.element(node: node))
        }
        host.answer("query", Self.items, for: [.server, .ownAccount, .account]) {
            request, target, session, host throws(StanzaError) in
            try Self.check(request, target, session, host)
            guard request.payload["node"] == nil else { throw StanzaError(.itemNotFound) }
            return .result(Element("query", Self.items))
        }
    }

    private static func info(
        _ target: IQTarget, node: String?, _ host: Host
    ) -> DiscoveryInfo? {
        guard let node else { return target == .server ? host.serverInfo : host.accountInfo }
        guard target == .server else { return nil }
        return host.hooks.serverNodes.lazy.compactMap { $0(node, host) }.first
    }

    private static func check(
        _ request: IQRequest, _ target: IQTarget, _ session: Session, _ host: Host
    ) throws(StanzaError) {
        guard !request.isSet else { throw notChangeable }
        if target == .account, let account = request.stanza.to?.bare {
            let maySee = host.hooks.maySeePresence?(session.jid.bare, account) ?? false
            // The same answer as for an account that does not exist.
            guard maySee else { throw StanzaError(.serviceUnavailable) }
        }
    }
}
