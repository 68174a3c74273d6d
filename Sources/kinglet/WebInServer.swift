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
            routes: [page].compactMap { $0 } + WebRoute.endpoints(endpoints)
                + WebRoute.interface(program.push.api), group: group, log: log)
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

extension WebRoute {
    /// What programs and apps ask for, and what makers of telephones say.
    static func interface(_ api: PushAPI) -> [WebRoute] {
        (api.routes + [api.receiptRoute]).compactMap { route in
            guard let method = WebMethod(rawValue: route.method.rawValue) else { return nil }
            let path: Path =
                switch route.rest {
                case nil: .exact(route.path)
                case ""?: .parameter(after: route.path)
                case let rest?: .inner(after: route.path, before: rest)
                }
            return WebRoute(method, path, bodyLimit: route.bodyLimit) { request in
                let answer = await route.handle(
                    APIRequest(
                        parameter: request.parameter, query: request.query,
                        authorization: request.header("authorization"),
                        contentType: request.header("content-type"), body: request.body,
                        network: request.remoteNetwork))
                return WebResponse(answer.status, headers: answer.headers, body: answer.body)
            }
        }
    }
}

extension WebResponse {
    fileprivate init(_ answer: EndpointAnswer) {
        self.init(answer.status, headers: answer.headers, body: answer.body)
    }
}
