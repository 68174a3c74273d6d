// XEP-0030: Service Discovery. The server lists its features and those of accounts; an account
// answers only to those who may see its presence (section 8). There are no items and nodes yet.

internal import Addresses
internal import Engine
internal import XML
internal import XMPP

struct ServiceDiscovery: Feature {
    static let specifications = [Specification("XEP-0030", version: "2.5.0", "Service Discovery")]
    static let info = "http://jabber.org/protocol/disco#info"
    static let items = "http://jabber.org/protocol/disco#items"

    init(in host: HostBuilder) {
        host.advertise(Self.info, for: [.server, .ownAccount])
        host.advertise(Self.items, for: [.server, .ownAccount])
        host.answer("query", Self.info, for: [.server, .ownAccount, .account]) {
            request, target, session, host throws(StanzaError) in
            try Self.check(request, target, session, host)
            let isServer = target == .server
            let identity = Element(
                "identity", Self.info,
                isServer
                    ? [("category", "server"), ("type", "im"), ("name", Software.name)]
                    : [("category", "account"), ("type", "registered")])
            let namespaces = isServer ? host.serverNamespaces : host.accountNamespaces
            return .result(
                Element(
                    "query", Self.info, [],
                    [identity] + namespaces.map { Element("feature", Self.info, [("var", $0)]) }))
        }
        host.answer("query", Self.items, for: [.server, .ownAccount, .account]) {
            request, target, session, host throws(StanzaError) in
            try Self.check(request, target, session, host)
            return .result(Element("query", Self.items))
        }
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
        guard request.payload["node"] == nil else { throw StanzaError(.itemNotFound) }
    }
}
