// XEP-0199: XMPP Ping. The server answers pings to itself and to accounts. It sends none: dead
// connections are found by TCP keep-alive, which wakes no radio for nothing.

internal import Engine

struct Ping: Feature {
    static let specifications = [Specification("XEP-0199", version: "2.0.1", "XMPP Ping")]
    static let namespace = "urn:xmpp:ping"

    init(in host: HostBuilder) {
        host.advertise(Self.namespace, for: [.server, .ownAccount])
        host.answer("ping", Self.namespace, for: [.server, .ownAccount, .account]) { _, _, _, _ in
            .result(nil)
        }
    }
}
