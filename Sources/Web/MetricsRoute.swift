// The metrics over HTTPS, for scrapers that are not on this machine.

public import MetricsEndpoint
public import Prometheus

extension WebRoute {
    /// `/metrics`; nil without a bearer token, so that there is no such page then.
    ///
    /// - Parameters:
    ///   - access: whose token and networks count; a password does not.
    ///   - scrapes: those of the other listeners on this registry.
    public static func metrics(
        _ access: MetricsServer.Access, registry: Registry, scrapes: ScrapeMetrics,
        metrics: WebMetrics
    ) -> WebRoute? {
        guard access.bearerToken?.isEmpty == false else { return nil }
        return WebRoute(.get, .exact("/metrics")) { request in
            guard access.allows(address: request.remoteAddress) else {
                scrapes.refusedAddress()
                return .text(403, "this address may not read metrics")
            }
            guard access.acceptsToken(authorization: request.header("authorization")) else {
                scrapes.refusedToken()
                metrics.refused(.token)
                return .text(
                    401, "authentication needed",
                    headers: [("WWW-Authenticate", "Bearer realm=\"kinglet\"")])
            }
            let page = MetricsPage(
                registry: registry, accept: request.header("accept"), metrics: scrapes)
            return WebResponse(
                200, headers: [("Content-Type", page.contentType), ("Vary", "Accept")],
                body: page.body)
        }
    }
}
