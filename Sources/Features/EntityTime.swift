// XEP-0202: Entity Time. The server's time and its offset from UTC.

internal import Engine
internal import Glibc
internal import XML
internal import XMPP

struct EntityTime: Feature {
    static let specifications = [Specification("XEP-0202", version: "2.0", "Entity Time")]
    static let namespace = "urn:xmpp:time"

    init(in host: HostBuilder) {
        host.advertise(Self.namespace)
        host.answerAnybody("time", Self.namespace, for: [.server]) {
            request, _, _ throws(StanzaError) in
            guard !request.isSet else { throw notChangeable }
            let now = Clock.secondsSince1970()
            return .result(
                Element(
                    "time", Self.namespace, [],
                    [
                        Element("tzo", Self.namespace, text: Self.offset(at: now)),
                        Element("utc", Self.namespace, text: Clock.timestamp(now)),
                    ]))
        }
    }

    /// The offset of local time from UTC at a moment, as XEP-0082 section 3.2 writes it: `-06:00`.
    private static func offset(at seconds: Int64) -> String {
        var time = time_t(seconds)
        var parts = tm()
        localtime_r(&time, &parts)
        let minutes = abs(parts.tm_gmtoff) / 60
        func two(_ value: Int) -> String { value < 10 ? "0\(value)" : "\(value)" }
        return "\(parts.tm_gmtoff < 0 ? "-" : "+")\(two(minutes / 60)):\(two(minutes % 60))"
    }
}
