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
        let endpoints = program.push.endpoints
        let web = try await WebServer.open(
            program.web, tls: tls, metrics: metrics,
            routes: [page].compactMap { $0 } + WebRoute.endpoints(endpoints), group: group, log: log
        )
        endpoints.setPublicPort(web.bound.first?.port)
        return web
    }
}

extension WebRoute {
    /// Where messages for other apps are posted (UnifiedPush).
    static func endpoints(_ provider: UnifiedPushProvider) -> [WebRoute] {
        guard provider.isOffered else { return [] }
        let path = Path.parameter(after: EndpointAnswer.path)
        return [
            WebRoute(.post, path, bodyLimit: EndpointAnswer.longestMessage) { request in
                WebResponse(await provider.post(request.parameter, request.body))
            },
            WebRoute(.get, path) { _ in WebResponse(.discovery) },
        ]
    }
}

extension WebResponse {
    fileprivate init(_ answer: EndpointAnswer) {
        self.init(answer.status, headers: answer.headers, body: answer.body)
    }
}
