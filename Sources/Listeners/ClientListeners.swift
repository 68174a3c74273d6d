// The sockets that clients connect to: bind, accept, and put TLS and stream together.

public import Engine
internal import Glibc
internal import NIOCore
internal import NIOPosix
internal import Options
public import TLS

/// A socket that listens.
public struct BoundListener: Sendable {
    /// What speaks there, for a person: `client` or `client_tls`.
    public let name: String
    /// The address that is bound.
    public let address: String
    /// The port that is bound, also when any free one was asked for.
    public let port: Int

    /// One per event loop.
    let channels: [any Channel]
}

/// The client listeners of a server. Safe on any thread.
public final class ClientListeners: Sendable {
    /// What is bound.
    public let bound: [BoundListener]

    private init(bound: [BoundListener]) {
        self.bound = bound
    }

    /// Binds every address on both ports, or none.
    public static func open(
        _ options: ListenOptions, host: Host, tls: TLSServerContext
    ) async throws -> ClientListeners {
        let kinds: [(String, ConnectionType, Int, String)] = [
            ("client", .starttls, options.clientPort.value, "listen.client_port"),
            ("client_tls", .directTLS, options.clientTLSPort.value, "listen.client_tls_port"),
        ]
        let filling = LoopFilling(host.loops)
        var bound: [BoundListener] = []
        do {
            for (name, type, port, key) in kinds {
                for address in options.addresses.value {
                    let channels = try await bind(
                        type, address, port, key, options, host, tls, filling)
                    bound.append(
                        BoundListener(
                            name: name, address: address,
                            port: channels.first?.localAddress?.port ?? port,
                            channels: channels))
                }
            }
        } catch {
            for listener in bound { await close(listener.channels) }
            throw error
        }
        filling.start(bound.map(\.channels))
        return ClientListeners(bound: bound)
    }

    /// Takes no more connections.
    public func close() async {
        for listener in bound { await Self.close(listener.channels) }
    }

    private static func close(_ channels: [any Channel]) async {
        for channel in channels { try? await channel.close() }
    }

    /// One socket, and a channel of it on each loop.
    private static func bind(
        _ type: ConnectionType, _ address: String, _ port: Int, _ key: String,
        _ options: ListenOptions, _ host: Host, _ tls: TLSServerContext, _ filling: LoopFilling
    ) async throws -> [any Channel] {
        var channels: [any Channel] = []
        do {
            let socket = try ListeningSocket(address, port: port)
            defer { socket.close() }
            for loop in host.loops {
                let descriptor = try socket.duplicate()
                channels.append(
                    try await bootstrap(type, loop, options, host, tls, filling)
                        .serverChannelOption(.autoRead, value: false)
                        .withBoundSocket(descriptor).get())
            }
            return channels
        } catch let error where address == "::" && isWithoutIPv6(error) {
            return try await bind(type, "0.0.0.0", port, key, options, host, tls, filling)
        } catch {
            await close(channels)
            throw ListenError(error, subject: "\(address) port \(port)", key: key)
        }
    }

    private static func bootstrap(
        _ type: ConnectionType, _ loop: Loop, _ options: ListenOptions, _ host: Host,
        _ tls: TLSServerContext, _ filling: LoopFilling
    ) -> ServerBootstrap {
        let plaintext = options.plaintext.value
        let redirection = options.redirection
        return ServerBootstrap(group: loop.eventLoop)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelOption(.socketOption(.so_keepalive), value: 1)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            // Above the mark stanzas wait with the stream, which can send them elsewhere.
            .childChannelOption(
                .writeBufferWaterMark, value: .init(low: 16_384, high: 65_536)
            )
            // Adaptive buffers keep the size of the largest message for ever.
            .childChannelOption(
                .recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 1024)
            )
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try accept(channel, type, plaintext, redirection.value, host, loop, tls)
                    filling.accepted()
                }
            }
    }

    private static func isWithoutIPv6(_ error: any Error) -> Bool {
        let code = (error as? IOError)?.errnoCode
        return code == EAFNOSUPPORT || code == EADDRNOTAVAIL
    }

    private static func accept(
        _ channel: any Channel, _ type: ConnectionType, _ plaintext: PlaintextPolicy,
        _ redirection: String?, _ host: Host, _ loop: Loop, _ tls: TLSServerContext
    ) throws {
        let peer = PeerAddress(channel.remoteAddress)
        guard host.admission.enter(address: peer.network, isLoopback: peer.isLoopback) == nil
        else {
            // Before any handler: nothing is spent on it.
            channel.close(promise: nil)
            return
        }
        let connection = ConnectionDescription(
            address: peer.text, network: peer.network, type: type, offersTLS: type == .starttls,
            allowsPlaintext: type == .starttls && plaintext == .loopback && peer.isLoopback,
            redirection: redirection)
        let handler = type == .directTLS ? tls.makeHandler() : nil
        let pipeline = channel.pipeline.syncOperations
        do {
            if let handler { try pipeline.addHandler(handler) }
            try pipeline.addHandler(
                ClientConnection(
                    host: host, loop: loop, connection: connection, tls: tls,
                    tlsHandler: handler))
        } catch {
            host.admission.leave(address: peer.network, wasAuthenticated: false)
            throw error
        }
    }
}

/// A peer's address without its port, IPv4 written as such also when it came through IPv6.
struct PeerAddress {
    let text: String
    /// The address, or the /64 that an IPv6 address is in.
    let network: String
    let isLoopback: Bool

    init(_ address: SocketAddress?) {
        var text = address?.ipAddress ?? ""
        if text.hasPrefix("::ffff:"), text.contains(".") { text = String(text.dropFirst(7)) }
        self.text = text
        isLoopback = text == "::1" || text.hasPrefix("127.")
        var bytes = [UInt8](repeating: 0, count: 16)
        if !isLoopback, inet_pton(AF_INET6, text, &bytes) == 1 {
            network = bytes.prefix(8).map { String($0, radix: 16) }.joined(separator: ".") + "/64"
        } else {
            network = text
        }
    }
}
