// XEP-0199: XMPP Ping. The server answers pings to itself and to accounts, to others' only for
// those who may see their presence: nobody learns who exists (RFC 6121 section 8.5.1). It sends
// clients none: dead connections are found by TCP keep-alive, which wakes no radio for nothing.

internal import Addresses
internal import Engine
internal import XMPP

struct Ping: Feature {
    static let specifications = [Specification("XEP-0199", version: "2.0.1", "XMPP Ping")]
    static let namespace = "urn:xmpp:ping"

    init(in host: HostBuilder) {
        host.advertise(Self.namespace, for: [.server, .ownAccount])
        host.answerAnybody("ping", Self.namespace, for: [.server, .ownAccount, .account]) {
            request, target, host throws(StanzaError) in
            guard target == .account, let account = request.stanza.to?.bare else {
                return .result(nil)
            }
            return try host.answer(
                request, about: account, else: StanzaError(.serviceUnavailable)
            ) { $0(.success(nil)) }
        }
    }
}
