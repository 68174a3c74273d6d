// The metrics endpoint: an HTTP server of its own on a thread of its own, so that it answers when
// nothing else does.

import CMicroHTTPD
import Glibc
public import Prometheus
import Synchronization

/// Serves `/metrics`, `/sd`, `/healthz` and `/readyz` over HTTP/1.1 until it is stopped.
///
/// One thread answers one request after the other, whatever the clients' speed. What it calls
/// (`alive`, `ready` and the registry's readings) runs on that thread and must not wait for the parts
/// of the program that it reports on.
public final class MetricsServer: Sendable {
    /// What one client, or many, can take of the server.
    struct Limits {
        /// Connections, and the time and bytes of a request.
        var connections = ConnectionTable.Limits()
        /// Connections that are about to be closed, and still count for libmicrohttpd. It accepts
        /// some at a time, and none more until those in excess are gone.
        var closing = 64
        /// Bytes of one connection's buffers.
        var memory = 16 * 1024
        /// Seconds without progress before a connection is closed.
        var timeout: UInt32 = 10
    }

    private struct Daemon {
        let handle: OpaquePointer
        let service: Unmanaged<RequestService>
    }

    private let daemon: Mutex<Daemon?>

    /// The port that it listens on: the one the system chose when 0 was asked.
    public let port: Int
    /// Its own metrics, to give to a second server on the same registry.
    public let metrics: ScrapeMetrics

    /// Says what a start with these settings would refuse, without listening.
    public static func check(
        address: String, port: Int, access: Access
    ) throws(MetricsEndpointError) {
        if let problem = access.problem { throw problem }
        try ListeningSocket.check(address: address, port: port, loopbackOnly: access.isOpen)
    }

    /// Listens and serves.
    /// - Parameters:
    ///   - address: a numeric IPv4 or IPv6 address; `::` stands for all of both.
    ///   - port: 0 for any free one.
    ///   - access: needed on an address that other machines can reach.
    ///   - registry: what `/metrics` shows.
    ///   - metrics: those of the first server on this registry; nil for the first.
    ///   - discovery: what `/sd` tells of this server.
    ///   - alive: the answer of `/healthz`: does the process work?
    ///   - ready: the answer of `/readyz`: can users log in?
    public convenience init(
        address: String, port: Int, access: Access, registry: Registry,
        metrics: ScrapeMetrics? = nil, discovery: ServiceDiscovery = ServiceDiscovery(),
        alive: @escaping @Sendable () -> Verdict, ready: @escaping @Sendable () -> Verdict
    ) throws(MetricsEndpointError) {
        try self.init(
            address: address, port: port, access: access, registry: registry, metrics: metrics,
            discovery: discovery, limits: Limits(), alive: alive, ready: ready)
    }

    init(
        address: String, port: Int, access: Access, registry: Registry, metrics: ScrapeMetrics?,
        discovery: ServiceDiscovery, limits: Limits,
        alive: @escaping @Sendable () -> Verdict, ready: @escaping @Sendable () -> Verdict
    ) throws(MetricsEndpointError) {
        if let problem = access.problem { throw problem }
        let socket = try ListeningSocket.open(
            address: address, port: port, loopbackOnly: access.isOpen)
        // Registered only now: whoever tries again on another port needs the names free.
        let metrics = metrics ?? ScrapeMetrics(in: registry)
        let service = Unmanaged.passRetained(
            RequestService(
                responder: Responder(
                    access: access, registry: registry, metrics: metrics,
                    target: Responder.Target(
                        discovery: discovery, address: socket.address, port: socket.port),
                    headerLimit: limits.connections.headers, alive: alive, ready: ready),
                connections: ConnectionGuard(
                    access: access, metrics: metrics, limits: limits.connections)))
        guard
            let handle = kinglet_mhd_start(
                socket.descriptor, answerConnection, requestCompleted, connectionChanged,
                service.toOpaque(), UInt32(clamping: limits.connections.total + limits.closing),
                limits.memory, limits.timeout)
        else {
            // The descriptor is not closed here, since libmicrohttpd may have done so.
            service.release()
            throw MetricsEndpointError(
                .noResources, subject: address, message: "cannot start the metrics thread",
                advice: "free some memory or raise TasksMax of the service")
        }
        self.port = socket.port
        self.metrics = metrics
        daemon = Mutex(Daemon(handle: handle, service: service))
    }

    /// Closes the socket and all connections and waits for the thread to end. May be called again;
    /// not from `alive`, `ready` or a reading, which run on that thread.
    public func stop() {
        daemon.withLock { daemon in
            guard let running = daemon else { return }
            daemon = nil
            MHD_stop_daemon(running.handle)
            running.service.release()
        }
    }

    deinit { stop() }
}
