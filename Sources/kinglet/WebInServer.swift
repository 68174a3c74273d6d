// The public HTTPS listener as a part of the running server.

internal import Logging
internal import MetricsEndpoint
internal import NIOPosix
internal import Options
internal import PushRelay
internal import TLS
internal import Web

extension Server {
    /// Opens it with everything that hangs in it; nil when it is not enabled.
    static func openWeb(
        _ program: ProgramOptions, _ tls: TLSServerContext, _ endpoint: MetricsServer,
        _ group: MultiThreadedEventLoopGroup, _ log: Logger
    ) async throws -> WebServer? {
        let metrics = WebMetrics(in: program.registry)
        guard program.web.isEnabled.value else { return nil }
        let page = WebRoute.metrics(
            program.metricsAccess, registry: program.registry, scrapes: endpoint.metrics,
            metrics: metrics)
        return try await WebServer.open(
            program.web, tls: tls, metrics: metrics, routes: [page].compactMap { $0 },
            group: group, log: log)
    }
}
