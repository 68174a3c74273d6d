// RFC 3921 section 3: session establishment, which RFC 6121 made a no-op. Old clients still ask
// for it when it is offered, and some fail when it is not.

internal import Engine
internal import XML
internal import XMPP

struct SessionEstablishment: Feature {
    static let specifications: [Specification] = []

    init(in host: HostBuilder) {
        host.hooks.streamFeatures.append { context, _ in
            guard context.account != nil else { return nil }
            return Element(
                "session", Namespaces.session, [], [Element("optional", Namespaces.session)])
        }
        host.answer("session", Namespaces.session, for: [.server, .ownAccount]) { _, _, _, _ in
            .result(nil)
        }
    }
}
