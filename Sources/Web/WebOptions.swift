// Where browsers and push servers connect, and what they may use.

public import Options

/// The options of the web's listener.
public struct WebOptions: Sendable {
    /// Whether there is one.
    public let isEnabled: Setting<Bool>
    /// Addresses to bind, the same as for XMPP; `::` takes IPv4 too.
    public let addresses: Setting<[String]>
    /// HTTPS, 5443.
    public let port: Setting<Int>

    let connections: Setting<Int>
    let connectionsPerAddress: Setting<Int>
    let requestRate: Setting<Int>
    let headerBytes: Setting<Int>
    let requestTime: Setting<Duration>
    let handshakeTime: Setting<Duration>
    let idleTime: Setting<Duration>
    let requestsPerConnection: Setting<Int>

    /// Declares the options.
    ///
    /// - Parameter addresses: those of `listen.addresses`.
    public init(_ options: OptionSet, addresses: Setting<[String]>) {
        self.addresses = addresses
        options.section("web", help: "HTTPS: endpoints for push, and with a token the metrics.")
        isEnabled = options.boolean(
            "web.enabled", default: true,
            help: "Whether to listen for HTTPS. Without it there are no endpoints for UnifiedPush.")
        port = options.integer(
            "listen.web_port", default: 5443, in: 0...65_535,
            help: "Port for HTTPS, on the addresses of listen.addresses. 0 takes any free port.")
        connections = options.integer(
            "limits.web_connections", default: 200, in: 1...100_000, reloadable: true,
            help: "HTTPS connections at one time. When there are so many, those without a request "
                + "for a twelfth of limits.web_idle_time are closed.")
        connectionsPerAddress = options.integer(
            "limits.web_connections_per_address", default: 20, in: 1...100_000, reloadable: true,
            help: "HTTPS connections from one IPv4 address or IPv6 /64. Loopback has no limit.")
        requestRate = options.integer(
            "limits.web_request_rate", default: 20, in: 1...100_000, reloadable: true,
            help: "HTTPS requests per second from one IPv4 address or IPv6 /64, and four seconds' "
                + "worth at once. Loopback has no limit.")
        headerBytes = options.size(
            "limits.web_header", default: 16_384, in: 4096...65_536, reloadable: true,
            help: "Bytes of an HTTPS request's first line and headers.")
        requestTime = options.duration(
            "limits.web_request_time", default: .seconds(30), in: .seconds(1)...(.seconds(600)),
            reloadable: true,
            help: "Time for a whole HTTPS request: its first byte to the last of the answer.")
        handshakeTime = options.duration(
            "limits.web_handshake_time", default: .seconds(10), in: .seconds(1)...(.seconds(60)),
            reloadable: true, help: "Time for the TLS handshake of an HTTPS connection.")
        idleTime = options.duration(
            "limits.web_idle_time", default: .seconds(60), in: .seconds(1)...(.seconds(3600)),
            reloadable: true, help: "Time that an HTTPS connection stays open without a request.")
        requestsPerConnection = options.integer(
            "limits.web_requests_per_connection", default: 1000, in: 1...1_000_000,
            reloadable: true, help: "Requests after which an HTTPS connection is closed.")
    }

    var limits: WebLimits {
        WebLimits(
            headerBytes: headerBytes.value, requestTime: requestTime.value,
            handshakeTime: handshakeTime.value, idleTime: idleTime.value,
            requestsPerConnection: requestsPerConnection.value)
    }
}

/// What one connection may use, fixed when it comes in.
struct WebLimits: Sendable {
    /// Requests that a client may send ahead of the answers.
    static let pipelined = 16
    /// Bytes of a target; headers may then use the rest.
    static let target = 8192
    /// Headers of a request, trailers included.
    static let headers = 100
    /// For a client to read the last answer, before the connection is gone.
    static let lingering = Duration.seconds(2)
    /// What it may send meanwhile.
    static let lingeringBytes = 262_144

    var headerBytes: Int
    var requestTime: Duration
    var handshakeTime: Duration
    var idleTime: Duration
    var requestsPerConnection: Int

    /// The part of the idle time for which a place is kept though others want it.
    var secureIdleTime: Duration { idleTime / 12 }
}
