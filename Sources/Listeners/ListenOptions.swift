// Where clients, other servers and components connect.

public import Options

/// Who may log in without TLS.
public enum PlaintextPolicy: String, CaseIterable, Sendable {
    /// Nobody.
    case none
    /// Clients on 127.0.0.0/8 and ::1: benchmarks and local bridges.
    case loopback
}

/// The options of the listeners.
public struct ListenOptions: Sendable {
    /// Addresses to bind; `::` takes IPv4 too.
    public let addresses: Setting<[String]>
    /// STARTTLS, 5222.
    public let clientPort: Setting<Int>
    /// TLS from the first byte, 5223 (XEP-0368).
    public let clientTLSPort: Setting<Int>
    /// STARTTLS for other servers, 5269.
    public let serverPort: Setting<Int>
    /// TLS from the first byte for other servers (XEP-0368); nil for none.
    public let serverTLSPort: Setting<Int?>
    /// Components, 5347 (XEP-0114).
    public let componentPort: Setting<Int>
    /// Addresses to bind for components.
    public let componentAddresses: Setting<[String]>
    /// Who may log in without TLS.
    public let plaintext: Setting<PlaintextPolicy>
    /// Where clients are sent instead (see-other-host).
    public let redirection: Setting<String?>
    /// Event loops; 0 is one per core.
    public let loops: Setting<Int>

    /// Declares the options.
    public init(_ options: OptionSet) {
        options.section("listen", help: "Where clients, other servers and components connect.")
        addresses = options.list(
            "listen.addresses", default: ["::"], maximumCount: 16,
            help: "IP addresses to listen on. \"::\" is every address, IPv4 included.")
        clientPort = options.integer(
            "listen.client_port", default: 5222, in: 0...65_535,
            help: "Port for clients, STARTTLS required. 0 takes any free port.")
        clientTLSPort = options.integer(
            "listen.client_tls_port", default: 5223, in: 0...65_535,
            help: "Port for clients that speak TLS at once (XEP-0368). 0 takes any free port.")
        serverPort = options.integer(
            "listen.server_port", default: 5269, in: 0...65_535,
            help: "Port for other servers, open unless federation.policy is off. 0 takes any free "
                + "port.")
        serverTLSPort = options.optionalInteger(
            "listen.server_tls_port", in: 0...65_535,
            help: "Port for other servers that speak TLS at once (XEP-0368), which an SRV record "
                + "_xmpps-server._tcp has to name. None given: no such port. 0 takes any free "
                + "port.")
        componentPort = options.integer(
            "listen.component_port", default: 5347, in: 0...65_535,
            help: "Port for components (XEP-0114), open when there are any. 0 takes any free port.")
        componentAddresses = options.list(
            "listen.component_addresses", default: ["127.0.0.1"], maximumCount: 16,
            help: "IP addresses to listen on for components. They have no TLS: beyond loopback "
                + "everything they send and get goes over the network in clear.")
        plaintext = options.choice(
            "listen.plaintext", default: .none,
            help: "loopback: clients on this very machine may log in without TLS. none: nobody.")
        redirection = options.optionalText(
            "listen.see_other_host", maximumLength: 261, check: Self.redirectionProblem,
            reloadable: true,
            help: "Sends every client to this host, or host:port, instead of serving it: for a "
                + "move to another machine.")
        loops = options.integer(
            "listen.event_loops", default: 0, in: 0...64,
            help: "Threads that serve connections. 0 is one per core.")
    }

    private static func redirectionProblem(_ text: String) -> String? {
        // An address of IPv6 stands in brackets (RFC 6120 section 4.9.3.19).
        var host = text[...]
        if let colon = text.lastIndex(of: ":"), !text.hasSuffix("]") {
            guard let port = UInt16(text[text.index(after: colon)...]), port > 0 else {
                return "expected a port after the colon"
            }
            host = text[..<colon]
        }
        let isLiteral = host.hasPrefix("[") && host.hasSuffix("]")
        let name = isLiteral ? host.dropFirst().dropLast() : host
        let isGood =
            !name.isEmpty
            && name.allSatisfy {
                $0.isLetter || $0.isNumber || $0 == "." || $0 == "-" || (isLiteral && $0 == ":")
            }
        return isGood ? nil : "expected a host, or host:port"
    }
}
