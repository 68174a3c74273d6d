// XEP-0030: Service Discovery. The server and each account say what they are and can; an account
// only to those who may see its presence (section 8). The server's items are the components
// (XEP-0114) and what else this program answers for.

internal import Addresses
internal import Engine
internal import XML
internal import XMPP

struct ServiceDiscovery: Feature {
    static let specifications = [
        Specification("XEP-0030", version: "2.5.0", "Service Discovery"),
        Specification("XEP-0128", version: "1.0.1", "Service Discovery Extensions"),
    ]
    static let items = DiscoveryItems.namespace

    init(in host: HostBuilder) {
        host.advertise(.init(category: "server", type: "im", name: Software.name), for: [.server])
        host.advertise(.init(category: "account", type: "registered"), for: [.ownAccount])
        host.advertise(DiscoveryInfo.namespace, for: [.server, .ownAccount])
        host.advertise(Self.items, for: [.server, .ownAccount])
        host.answerAnybody(
            "query", DiscoveryInfo.namespace, for: [.server, .ownAccount, .account]
        ) { request, target, host throws(StanzaError) in
            try Self.answer(request, target, host) { () throws(StanzaError) in
                let node = request.payload["node"]
                guard let info = Self.info(target, node: node, host) else {
                    throw StanzaError(.itemNotFound)
                }
                return info.element(node: node)
            }
        }
        host.answerAnybody("query", Self.items, for: [.server, .ownAccount, .account]) {
            request, target, host throws(StanzaError) in
            try Self.answer(request, target, host) { () throws(StanzaError) in
                guard request.payload["node"] == nil else { throw StanzaError(.itemNotFound) }
                return Self.items(of: target, host)
            }
        }
    }

    private static func items(of target: IQTarget, _ host: Host) -> Element {
        let domains = target == .server ? host.components.domains : []
        return DiscoveryItems(domains.map { .init(jid: $0) }).element()
    }

    private static func info(
        _ target: IQTarget, node: String?, _ host: Host
    ) -> DiscoveryInfo? {
        guard let node else { return target == .server ? host.serverInfo : host.accountInfo }
        guard target == .server else { return nil }
        return host.hooks.serverNodes.lazy.compactMap { $0(node, host) }.first
    }

    private static func answer(
        _ request: IQRequest, _ target: IQTarget, _ host: Host,
        _ payload: @escaping @Sendable () throws(StanzaError) -> Element
    ) throws(StanzaError) -> OpenIQAnswer {
        guard !request.isSet else { throw notChangeable }
        guard target == .account, let account = request.stanza.to?.bare else {
            if request.payload["node"] != nil,
                let answer = host.hooks.discoveryNodes.lazy.compactMap({ $0(request, host) }).first
            {
                return answer
            }
            return .result(try payload())
        }
        // The same answer as for an account that does not exist.
        return try host.answer(request, about: account, else: StanzaError(.serviceUnavailable)) {
            done in
            do throws(StanzaError) {
                done(.success(try payload()))
            } catch {
                done(.failure(error))
            }
        }
    }
}
