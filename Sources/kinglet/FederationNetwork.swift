// What federation needs of the machine: whom to trust, whom to ask for names, and the sockets.

internal import DNS
internal import Engine
internal import Listeners
internal import Logging
internal import Options
internal import TLS

/// The network side of federation. Safe on any thread.
final class FederationNetwork: Sendable {
    /// The server's certificates, as other servers that connect get to see them.
    let serverTLS: TLSServerContext
    private let program: ProgramOptions
    private let host: Host
    private let trust: TLSTrust
    private let connector: NetworkConnector

    /// Reads what the options name; nothing goes out yet.
    init(_ program: ProgramOptions, _ host: Host, _ tls: TLSServerContext) throws {
        self.program = program
        self.host = host
        let options = host.federation.options
        trust = try TLSTrust(authorities: options.authorities.value.map(program.path))
        let resolver: Resolver
        do throws(DNSError) {
            resolver = try Resolver(servers: options.nameservers.value)
        } catch {
            throw Failure(
                "federation.nameservers: \(error.name) is no name server; write ADDRESS, "
                    + "ADDRESS:PORT or [ADDRESS]:PORT")
        }
        serverTLS = .forServers(of: tls, trust: trust)
        connector = NetworkConnector(resolver, TLSClientContext(tls, trust: trust), options)
    }

    /// What an operator should look at.
    var warnings: [String] {
        host.federation.options.policy.value == .off ? [] : trust.warnings
    }

    /// Begins to connect to others.
    func start() { host.federation.start(connector, host) }

    /// Reads the authorities again, or leaves all as it is if a file cannot be read.
    func reload() throws(TLSError) {
        try trust.reload(
            authorities: host.federation.options.authorities.value.map(program.path))
    }

    /// Whether the port for other servers should be open, and the server was started without.
    func lacksPort(_ listeners: StreamListeners) -> Bool {
        host.federation.options.policy.value != .off
            && !listeners.bound.contains { $0.name == "server" }
    }

    /// Ends what is being looked up and connected.
    func stop() { connector.stop() }
}
