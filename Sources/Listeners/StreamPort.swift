// What is put on the connections of a port: a client's stream, another server's
// or a component's.

internal import Engine
internal import Options
internal import TLS

/// A port, its bounds, and the streams of its connections.
struct StreamPort: Sendable {
    /// What speaks there, for a person.
    var name: String
    /// 0 for any free one.
    var number: Int
    /// The option that says so.
    var key: String
    var addresses: [String]
    var admission: Admission
    var tls: TLSServerContext?
    /// TLS from the first byte (XEP-0368).
    var isDirectTLS: Bool
    /// Other servers connect here.
    var isForServers = false
    /// Called on the connection's loop.
    var makeStream: @Sendable (PeerAddress, Loop, any StreamTransport) -> XMLStream
}

extension StreamPort {
    /// The two ports of clients.
    static func clients(
        _ options: ListenOptions, _ host: Host, _ tls: TLSServerContext
    ) -> [StreamPort] {
        let allowsLoopback = options.plaintext.value == .loopback
        let redirection = options.redirection
        func port(_ name: String, _ type: ConnectionType, _ number: Int, _ key: String)
            -> StreamPort
        {
            let isDirect = type == .directTLS
            return StreamPort(
                name: name, number: number, key: key, addresses: options.addresses.value,
                admission: host.admission, tls: tls, isDirectTLS: isDirect
            ) { peer, loop, transport in
                ClientStream(
                    host: host, loop: loop, transport: transport,
                    description: ConnectionDescription(
                        address: peer.text, network: peer.network, type: type,
                        offersTLS: !isDirect,
                        allowsPlaintext: !isDirect && allowsLoopback && peer.isLoopback,
                        redirection: redirection.value))
            }
        }
        return [
            port("client", .starttls, options.clientPort.value, "listen.client_port"),
            port(
                "client_tls", .directTLS, options.clientTLSPort.value, "listen.client_tls_port"),
        ]
    }

    /// The ports of other servers; none when there is no federation.
    static func servers(
        _ options: ListenOptions, _ host: Host, _ tls: TLSServerContext
    ) -> [StreamPort] {
        guard host.federation.options.policy.value != .off else { return [] }
        func port(_ name: String, _ isDirect: Bool, _ number: Int, _ key: String) -> StreamPort {
            StreamPort(
                name: name, number: number, key: key, addresses: options.addresses.value,
                admission: host.serverAdmission, tls: tls, isDirectTLS: isDirect,
                isForServers: true
            ) { peer, loop, transport in
                IncomingServerStream(
                    host: host, loop: loop, transport: transport, address: peer.text,
                    network: peer.network)
            }
        }
        var ports = [port("server", false, options.serverPort.value, "listen.server_port")]
        if let number = options.serverTLSPort.value {
            ports.append(port("server_tls", true, number, "listen.server_tls_port"))
        }
        return ports
    }

    /// The port of components; none when there are none.
    static func components(_ options: ListenOptions, _ host: Host) -> [StreamPort] {
        guard host.components.hasAttachable else { return [] }
        return [
            StreamPort(
                name: "component", number: options.componentPort.value,
                key: "listen.component_port", addresses: options.componentAddresses.value,
                admission: host.admission, tls: nil, isDirectTLS: false
            ) { peer, loop, transport in
                ComponentStream(
                    host: host, loop: loop, transport: transport, address: peer.text,
                    network: peer.network)
            }
        ]
    }
}
