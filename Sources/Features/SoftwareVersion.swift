// XEP-0092: Software Version. Tells name and version; not the operating system, which is nobody's
// business.

internal import Engine
internal import XML
internal import XMPP

struct SoftwareVersion: Feature {
    static let specifications = [Specification("XEP-0092", version: "1.1", "Software Version")]
    static let namespace = "jabber:iq:version"

    init(in host: HostBuilder) {
        host.advertise(Self.namespace)
        host.answerAnybody("query", Self.namespace, for: [.server]) {
            request, _, _ throws(StanzaError) in
            guard !request.isSet else { throw notChangeable }
            return .result(
                Element(
                    "query", Self.namespace, [],
                    [
                        Element("name", Self.namespace, text: Software.name),
                        Element("version", Self.namespace, text: Software.version),
                    ]))
        }
    }
}
