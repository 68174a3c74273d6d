// The sockets that clients and other servers connect to: bind, accept, and put TLS and stream
// together.

public import Engine
internal import Glibc
internal import NIOCore
internal import NIOPosix
internal import Options
public import TLS

/// A socket that listens.
public struct BoundListener: Sendable {
    /// What speaks there, for a person: `client`, `client_tls`, `server`, `server_tls` or
    /// `component`.
    public let name: String
    /// The address that is bound.
    public let address: String
    /// The port that is bound, also when any free one was asked for.
    public let port: Int

    /// One per event loop.
    let channels: [any Channel]
}

/// The listeners of a server. Safe on any thread.
public final class StreamListeners: Sendable {
    /// What is bound.
    public let bound: [BoundListener]

    private init(bound: [BoundListener]) {
        self.bound = bound
    }

    /// Binds every address on all ports, or none.
    ///
    /// - Parameter serverTLS: the certificates as other servers get to see them.
    public static func open(
        _ options: ListenOptions, host: Host, tls: TLSServerContext, serverTLS: TLSServerContext
    ) async throws -> StreamListeners {
        let ports =
            StreamPort.clients(options, host, tls) + StreamPort.servers(options, host, serverTLS)
            + StreamPort.components(options, host)
        let filling = LoopFilling(host.loops)
        var bound: [BoundListener] = []
        do {
            for port in ports {
                for address in port.addresses {
                    let channels = try await bind(port, address, host, filling)
                    bound.append(
                        BoundListener(
                            name: port.name, address: address,
                            port: channels.first?.localAddress?.port ?? port.number,
                            channels: channels))
                }
            }
        } catch {
            for listener in bound { await close(listener.channels) }
            throw error
        }
        filling.start(bound.map(\.channels))
        return StreamListeners(bound: bound)
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
        _ port: StreamPort, _ address: String, _ host: Host, _ filling: LoopFilling
    ) async throws -> [any Channel] {
        var channels: [any Channel] = []
        do {
            let socket = try ListeningSocket(address, port: port.number)
            defer { socket.close() }
            for loop in host.loops {
                let descriptor = try socket.duplicate()
                channels.append(
                    try await bootstrap(port, loop, filling)
                        .serverChannelOption(.autoRead, value: false)
                        .withBoundSocket(descriptor).get())
            }
            return channels
        } catch let error where address == "::" && isWithoutIPv6(error) {
            return try await bind(port, "0.0.0.0", host, filling)
        } catch {
            await close(channels)
            throw ListenError(error, subject: "\(address) port \(port.number)", key: port.key)
        }
    }

    private static func bootstrap(
        _ port: StreamPort, _ loop: Loop, _ filling: LoopFilling
    ) -> ServerBootstrap {
        let bootstrap = ServerBootstrap(group: loop.eventLoop)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelOption(.socketOption(.so_keepalive), value: 1)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelOption(.writeBufferWaterMark, value: StreamSocket.waterMark)
            .childChannelOption(.recvAllocator, value: StreamSocket.receiveBuffers)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try accept(channel, port, loop)
                    filling.accepted()
                }
            }
        guard port.isForServers else { return bootstrap }
        return bootstrap.childChannelOption(
            .tcpOption(StreamSocket.userTimeout), value: StreamSocket.serverTimeout)
    }

    private static func isWithoutIPv6(_ error: any Error) -> Bool {
        let code = (error as? IOError)?.errnoCode
        return code == EAFNOSUPPORT || code == EADDRNOTAVAIL
    }

    private static func accept(
        _ channel: any Channel, _ port: StreamPort, _ loop: Loop
    ) throws {
        let peer = PeerAddress(channel.remoteAddress)
        let admission = port.admission
        guard admission.enter(address: peer.network, isLoopback: peer.isLoopback) == nil else {
            // Before any handler: nothing is spent on it.
            channel.close(promise: nil)
            return
        }
        let handler = port.isDirectTLS ? port.tls?.makeHandler() : nil
        let makeStream = port.makeStream
        let pipeline = channel.pipeline.syncOperations
        do {
            if let handler { try pipeline.addHandler(handler) }
            try pipeline.addHandler(
                StreamConnection(
                    port.tls.map { .server($0) } ?? .plain,
                    place: StreamConnection.Place(admission: admission, address: peer.network),
                    tlsHandler: handler
                ) { transport in
                    makeStream(peer, loop, transport)
                })
        } catch {
            admission.leave(address: peer.network, wasAuthenticated: false)
            throw error
        }
    }
}

/// What all sockets of streams have in common.
enum StreamSocket {
    /// Above the mark stanzas wait with the stream, which can send them elsewhere.
    static let waterMark = ChannelOptions.Types.WriteBufferWaterMark(low: 16_384, high: 65_536)
    /// Says how long written bytes may stay unacknowledged before the connection is dead.
    static let userTimeout = NIOBSDSocket.Option(rawValue: TCP_USER_TIMEOUT)
    /// For connections between servers, in milliseconds: less than what a server gets that does
    /// not acknowledge stanzas, so that a stream that stands after that time has delivered them.
    static let serverTimeout: ChannelOptions.Types.SocketOption.Value = 30_000
    /// Adaptive buffers keep the size of the largest message for ever.
    static let receiveBuffers = FixedSizeRecvByteBufferAllocator(capacity: 1024)
}
