// Everything of the engine that grows has a limit here, with a default that suits a Pi.

public import Options
internal import XML

/// The engine's limits, read where they apply, so that a reload takes effect at once.
public struct Limits: Sendable {
    /// Largest stanza of an authenticated client.
    public let stanza: Setting<Int>
    /// Largest first-level element before authentication.
    public let stanzaUnauthenticated: Setting<Int>
    /// Deepest nesting of elements in a stanza.
    public let depth: Setting<Int>
    /// Time to log in and bind a resource, and to finish a stanza that was begun.
    public let negotiation: Setting<Duration>
    /// All client connections together.
    public let connections: Setting<Int>
    /// Connections from one address, loopback excepted.
    public let connectionsPerAddress: Setting<Int>
    /// Connections that have not logged in.
    public let unauthenticated: Setting<Int>
    /// Connections of other servers from one address, loopback excepted.
    public let serverConnectionsPerAddress: Setting<Int>
    /// Connections of other servers that have not proved who they are.
    public let unauthenticatedServers: Setting<Int>
    /// Failed logins on one connection before it is closed.
    public let loginAttempts: Setting<Int>
    /// Longest wait that failed logins earn their address.
    public let loginDelay: Setting<Duration>
    /// Resources of one account online at a time.
    public let resources: Setting<Int>
    /// Bytes that may wait for a client that does not read.
    public let outgoingQueue: Setting<Int>
    /// Stanzas per second of one session.
    public let stanzaRate: Setting<Int>
    /// Bytes per second of one session.
    public let byteRate: Setting<Int>
    /// Stanzas per second of one stream of another server or a component.
    public let serverStanzaRate: Setting<Int>
    /// Bytes per second of one stream of another server or a component.
    public let serverByteRate: Setting<Int>
    /// Stanzas of one session that may wait for the disk.
    public let unstored: Setting<Int>
    /// Stanzas of one session that its client has not acknowledged (XEP-0198).
    public let unacknowledged: Setting<Int>
    /// How long a client may take to acknowledge.
    public let acknowledgement: Setting<Duration>
    /// How long a session waits for its client to come back.
    public let hibernation: Setting<Duration>
    /// Bytes of sessions that are kept while the server restarts.
    public let suspendedSessions: Setting<Int>
    /// Memory of the whole program; 0 is half of the machine's.
    public let memory: Setting<Int>

    init(_ options: OptionSet) {
        options.section("limits", help: "What one client, one address and all together may use.")
        stanza = options.size(
            "limits.stanza", default: 262_144, in: 10_000...16_777_216, reloadable: true,
            help: "Largest stanza. RFC 6120 asks for 10,000 bytes at least.")
        stanzaUnauthenticated = options.size(
            "limits.stanza_unauthenticated", default: 16_384, in: 10_000...262_144,
            reloadable: true, help: "Largest element before a client has logged in.")
        depth = options.integer(
            "limits.depth", default: 64, in: 8...256, reloadable: true,
            help: "Deepest nesting of elements within a stanza.")
        negotiation = options.duration(
            "limits.negotiation", default: .seconds(30), in: .seconds(1)...(.seconds(600)),
            reloadable: true,
            help: "Time a client has to log in, and to finish a stanza that it began.")
        connections = options.integer(
            "limits.connections", default: 20_000, in: 1...1_000_000, reloadable: true,
            help: "Client connections in all.")
        connectionsPerAddress = options.integer(
            "limits.connections_per_address", default: 500, in: 1...1_000_000, reloadable: true,
            help: "Client connections from one address; loopback is not limited.")
        unauthenticated = options.integer(
            "limits.unauthenticated", default: 1000, in: 1...100_000, reloadable: true,
            help: "Client connections that have not logged in.")
        serverConnectionsPerAddress = options.integer(
            "limits.server_connections_per_address", default: 20, in: 1...100_000,
            reloadable: true,
            help: "Connections of other servers from one address; loopback is not limited.")
        unauthenticatedServers = options.integer(
            "limits.unauthenticated_servers", default: 100, in: 1...100_000, reloadable: true,
            help: "Connections of other servers that have not proved who they are.")
        loginAttempts = options.integer(
            "limits.login_attempts", default: 5, in: 1...100, reloadable: true,
            help: "Failed logins on one connection before it is closed.")
        loginDelay = options.duration(
            "limits.login_delay", default: .seconds(20), in: .seconds(0)...(.seconds(300)),
            reloadable: true,
            help: "Longest delay that repeated failed logins earn an address or an account.")
        resources = options.integer(
            "limits.resources", default: 20, in: 1...1000, reloadable: true,
            help: "Resources (devices) of one account online at a time.")
        outgoingQueue = options.size(
            "limits.outgoing_queue", default: 4_194_304, in: 65_536...1_073_741_824,
            reloadable: true,
            help: "Bytes that may wait for a client that does not read; then it is closed.")
        stanzaRate = options.integer(
            "limits.stanza_rate", default: 5000, in: 1...1_000_000, reloadable: true,
            help: "Stanzas per second that one client may send, four times as many at once. A "
                + "faster one is read more slowly.")
        byteRate = options.size(
            "limits.byte_rate", default: 4_194_304, in: 1024...1_073_741_824, reloadable: true,
            help: "Bytes per second that one client may send, four times as many at once.")
        serverStanzaRate = options.integer(
            "limits.server_stanza_rate", default: 50_000, in: 1...1_000_000, reloadable: true,
            help: "Stanzas per second that one component, or one stream of another server with "
                + "all its users, may send, four times as many at once.")
        serverByteRate = options.size(
            "limits.server_byte_rate", default: 33_554_432, in: 1024...1_073_741_824,
            reloadable: true,
            help: "Bytes per second that one component or stream of another server may send, four "
                + "times as many at once.")
        unstored = options.integer(
            "limits.unstored", default: 256, in: 2...100_000, reloadable: true,
            help: "Stanzas of one client that may wait for the disk; then no more is read from it "
                + "until half of them are stored.")
        unacknowledged = options.integer(
            "limits.unacknowledged", default: 2000, in: 100...1_000_000, reloadable: true,
            help: "Stanzas that one client was sent and has not acknowledged, connected or not; "
                + "with more its session ends, and messages go to the offline store.")
        acknowledgement = options.duration(
            "limits.acknowledgement", default: .seconds(60), in: .seconds(5)...(.seconds(3600)),
            reloadable: true,
            help: "Time a client has to acknowledge what it was sent; then its connection is "
                + "taken for dead.")
        hibernation = options.duration(
            "limits.hibernation", default: .seconds(600), in: .seconds(0)...(.seconds(604_800)),
            reloadable: true,
            help: "Time a session waits for its client after the connection broke; 0 for not at "
                + "all.")
        suspendedSessions = options.size(
            "limits.suspended_sessions", default: 16_777_216, in: 0...1_073_741_824,
            reloadable: true,
            help: "Bytes of sessions, with what their clients have not acknowledged, that are "
                + "written when the server stops, so that clients resume them after the restart; "
                + "those that take most end instead.")
        memory = options.size(
            "limits.memory", default: 0, in: 0...1_099_511_627_776, reloadable: true,
            help: "Memory in use above which no new connection is taken. 0 is half of the "
                + "machine's.")
    }

    var unauthenticatedReader: ReaderLimits {
        var limits = ReaderLimits.unauthenticated
        limits.elementBytes = stanzaUnauthenticated.value
        return limits
    }

    var authenticatedReader: ReaderLimits {
        ReaderLimits(elementBytes: stanza.value, depth: depth.value)
    }
}
