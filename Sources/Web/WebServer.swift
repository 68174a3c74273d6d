// The public HTTPS listener: binds, accepts within the limits, and closes in order.

internal import Glibc
internal import HummingbirdCore
public import Logging
public import NIOCore
internal import NIOPosix
internal import Options
public import TLS

/// Serves routes over HTTPS. Safe on any thread.
public final class WebServer: Sendable {
    private typealias Child = GuardedChannel<HTTP1Channel>

    /// For requests that are under way when the server closes.
    private static let closingTime = Duration.seconds(5)
    private static let backlog: Int32 = 256

    /// What is bound: the addresses, and the ports also when any free ones were asked for.
    public let bound: [(address: String, port: Int)]

    private let listeners: [any Channel]
    private let admission: WebAdmission

    private init(listeners: [(address: String, channel: any Channel)], admission: WebAdmission) {
        bound = listeners.map { ($0.address, $0.channel.localAddress?.port ?? 0) }
        self.listeners = listeners.map(\.channel)
        self.admission = admission
    }

    /// Binds every address, or none, and serves.
    ///
    /// - Parameters:
    ///   - tls: the context of the clients' listeners, whose certificates are shown here too.
    ///   - routes: what there is besides a page at `/`.
    ///   - group: whose loops serve the connections.
    public static func open(
        _ options: WebOptions, tls: TLSServerContext, metrics: WebMetrics, routes: [WebRoute],
        group: any EventLoopGroup, log: Logger
    ) async throws -> WebServer {
        try await open(
            options, tls: tls, metrics: metrics, routes: routes, group: group, log: log,
            admission: WebAdmission(options, metrics: metrics))
    }

    static func open(
        _ options: WebOptions, tls: TLSServerContext, metrics: WebMetrics, routes: [WebRoute],
        group: any EventLoopGroup, log: Logger, admission: WebAdmission
    ) async throws -> WebServer {
        let routes = WebRoutes([.welcome] + routes)
        // Hummingbird's own messages are about clients that went away.
        var quiet = log
        quiet.logLevel = .error
        let responder = WebResponder(
            routes: routes, admission: admission, metrics: metrics, log: log)
        let tls = TLSServerContext.forWeb(of: tls)
        let makeChild: @Sendable () -> Child = {
            let limits = options.limits
            return Child(
                base: HTTP1Channel(
                    responder: { request, writer, channel in
                        try await responder.respond(request, writer, channel)
                    },
                    configuration: HTTP1Channel.Configuration(
                        httpDecoderConfiguration: .init(
                            maxHeaderFieldSize: limits.headerBytes,
                            maxHeaderListSize: limits.headerBytes,
                            maxHeaderFieldCount: WebLimits.headers))),
                tls: tls,
                makeGuard: {
                    RequestGuard(limits, metrics: metrics) {
                        routes.takesBody(method: $0, path: $1, length: $2)
                    }
                })
        }
        var listeners: [(address: String, channel: any Channel)] = []
        do {
            for address in options.addresses.value {
                let bootstrap = bootstrap(group, admission, quiet, makeChild)
                listeners.append(try await bind(bootstrap, address, options.port.value))
            }
        } catch {
            for listener in listeners { try? await listener.channel.close() }
            throw error
        }
        return WebServer(listeners: listeners, admission: admission)
    }

    /// Takes no more connections, answers what is under way, for some seconds at most, and closes
    /// the rest.
    public func close() async {
        for listener in listeners { try? await listener.close() }
        for channel in admission.channels {
            channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
        }
        await waitForConnections(Self.closingTime)
        for channel in admission.channels { channel.close(promise: nil) }
        // Those that linger for their last answer.
        await waitForConnections(WebLimits.lingering + .seconds(1))
    }

    private func waitForConnections(_ time: Duration) async {
        let deadline = ContinuousClock.now + time
        while !admission.channels.isEmpty, ContinuousClock.now < deadline {
            try? await Task.sleep(for: .milliseconds(20))
        }
    }

    // MARK: Sockets

    private static func bind(
        _ bootstrap: ServerBootstrap, _ address: String, _ port: Int
    ) async throws -> (String, any Channel) {
        do {
            // Addresses with a colon are IPv6, and :: is IPv4 too.
            let bootstrap =
                address.contains(":")
                ? bootstrap.serverChannelOption(
                    .socket(SocketOptionLevel(IPPROTO_IPV6), SocketOptionName(IPV6_V6ONLY)),
                    value: 0)
                : bootstrap
            return (address, try await bootstrap.bind(host: address, port: port).get())
        } catch let error where address == "::" && isWithoutIPv6(error) {
            return try await bind(bootstrap, "0.0.0.0", port)
        } catch {
            throw WebListenError(error, subject: "\(address) port \(port)")
        }
    }

    private static func isWithoutIPv6(_ error: any Error) -> Bool {
        let code = (error as? IOError)?.errnoCode
        return code == EAFNOSUPPORT || code == EADDRNOTAVAIL
    }

    private static func bootstrap(
        _ group: any EventLoopGroup, _ admission: WebAdmission, _ log: Logger,
        _ makeChild: @escaping @Sendable () -> Child
    ) -> ServerBootstrap {
        ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: backlog)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelOption(.socketOption(.so_keepalive), value: 1)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            // Adaptive buffers keep the size of the largest message for ever.
            .childChannelOption(
                .recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 4096)
            )
            .childChannelInitializer { channel in
                let peer = WebPeer(channel.remoteAddress)
                guard admission.enter(channel, peer) else {
                    // Before any handler: nothing is spent on it.
                    channel.close(promise: nil)
                    return channel.eventLoop.makeSucceededVoidFuture()
                }
                let child = makeChild()
                let setup = child.setup(channel: channel, logger: log)
                setup.whenFailure { _ in admission.leave(channel, peer) }
                return setup.map { value in
                    // It counts until its last handler has returned.
                    let task = Task {
                        await child.handle(value: value, logger: log)
                        admission.leave(channel, peer)
                    }
                    channel.closeFuture.whenComplete { _ in task.cancel() }
                }
            }
    }
}

extension WebRoute {
    /// The page of a server without a site.
    static let welcome = WebRoute(.get, .exact("/")) { _ in
        .text(200, "This is a chat server; there is nothing to see for browsers.")
    }
}
