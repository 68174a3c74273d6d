// Service discovery of Prometheus: the document that http_sd_configs fetch and file_sd_configs read,
// with this server as its only target.

/// This server as a target of Prometheus.
public struct ServiceDiscovery: Sendable {
    /// The port of a URL with none (RFC 9110 section 4.2.1).
    private static let webPort = 80

    private let labels: [(name: String, value: String)]
    private let advertised: TargetAddress?

    /// Describes the server.
    /// - Parameters:
    ///   - version: the program's.
    ///   - domain: the first domain that it serves.
    ///   - advertised: host, or host:port, by which scrapers are to reach it; nil for the address
    ///     that it listens on.
    public init(version: String = "", domain: String = "", advertised: String? = nil) {
        labels = [
            ("__meta_kinglet_version", version), ("__meta_kinglet_domain", domain),
            ("__metrics_path__", "/metrics"), ("__scheme__", "http"),
        ].filter { !$0.1.isEmpty }
        self.advertised = advertised.flatMap { TargetAddress($0) }
    }

    /// What is wrong with a text as `advertised`, or nil.
    public static func problem(advertised text: String) -> String? {
        TargetAddress(text) == nil
            ? "this is no host or host:port; write pi.local, 192.168.1.5:9622 or [fd00::5]:9622"
            : nil
    }

    /// The document for a file; nil when the server listens on every address, so that none is the
    /// right one everywhere, and none is advertised.
    public func document(address: String, port: Int) -> String? {
        if let advertised { return document(advertised.text(port: port)) }
        guard let address = IPAddress(address), !address.isEvery else { return nil }
        return document(TargetAddress(address, port: port).text(port: port))
    }

    /// The document for a scraper.
    /// - Parameters:
    ///   - bound: the address that the server listens on.
    ///   - host: the request's Host header.
    ///   - reached: the address of this machine that the request came to.
    func document(
        bound: IPAddress?, port: Int, host: String?, reached: IPAddress?
    ) -> String {
        if let advertised { return document(advertised.text(port: port)) }
        if let bound, !bound.isEvery {
            return document(TargetAddress(bound, port: port).text(port: port))
        }
        if let host = host.flatMap({ TargetAddress($0) }) {
            return document(host.text(port: Self.webPort))
        }
        // A scraper of HTTP/1.0, or one that sends nonsense: the list is still whole.
        return document((reached ?? bound).map { TargetAddress($0, port: port).text(port: port) })
    }

    private func document(_ target: String?) -> String {
        guard let target else { return "[]\n" }
        let labels = labels.map { "\(Self.quoted($0.name)): \(Self.quoted($0.value))" }
        return """
            [{"targets": [\(Self.quoted(target))], "labels": {\(labels.joined(separator: ", "))}}]

            """
    }

    /// A text as JSON has it (RFC 8259 section 7).
    static func quoted(_ text: String) -> String {
        var quoted = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": quoted += "\\\(scalar)"
            case "\u{0}"..."\u{1F}", "\u{7F}":
                let digits = String(scalar.value, radix: 16)
                quoted += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: quoted.unicodeScalars.append(scalar)
            }
        }
        return quoted + "\""
    }
}
