// What is answered to which request. No sockets and no C here: a request in, a response out.

import Prometheus

/// An answer to a health question.
public struct Verdict: Sendable, Hashable {
    /// 200 or 503.
    public var ok: Bool
    /// The body: for a person who looks.
    public var detail: String

    /// Makes a verdict.
    public init(ok: Bool, detail: String) {
        self.ok = ok
        self.detail = detail
    }
}

struct Request: Sendable {
    var method: String
    /// Decoded, without the query.
    var path: String
    var client: IPAddress?
    var accept: String?
    var authorization: String?
}

struct Response: Sendable {
    var status: UInt32
    var headers: [(String, String)] = []
    var contentType = "text/plain; charset=utf-8"
    var body: [UInt8]

    init(_ status: UInt32, _ text: String, headers: [(String, String)] = []) {
        self.status = status
        self.headers = headers
        body = Array("\(text)\n".utf8)
    }

    init(metrics body: [UInt8], contentType: String) {
        status = 200
        self.contentType = contentType
        self.body = body
    }

    /// All headers but those that describe the transfer.
    var allHeaders: [(String, String)] {
        headers + [
            ("Content-Type", contentType), ("Vary", "Accept"), ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
        ]
    }
}

/// Answers requests. Runs on the server's only thread.
final class Responder: Sendable {
    private let access: MetricsServer.Access
    private let registry: Registry
    private let metrics: ScrapeMetrics
    private let alive: @Sendable () -> Verdict
    private let ready: @Sendable () -> Verdict

    init(
        access: MetricsServer.Access, registry: Registry, metrics: ScrapeMetrics,
        alive: @escaping @Sendable () -> Verdict, ready: @escaping @Sendable () -> Verdict
    ) {
        self.access = access
        self.registry = registry
        self.metrics = metrics
        self.alive = alive
        self.ready = ready
    }

    func respond(to request: Request) -> Response {
        guard access.allows(request.client) else {
            return Response(403, "this address may not read metrics")
        }
        guard access.accepts(authorization: request.authorization) else {
            return Response(
                401, "authentication needed",
                headers: access.challenges.map { ("WWW-Authenticate", $0) })
        }
        let page: () -> Response
        switch request.path {
        case "/": page = { Response(200, Self.index) }
        case "/metrics": page = { self.scrape(accept: request.accept) }
        case "/healthz": page = { Self.health(self.alive()) }
        case "/readyz": page = { Self.health(self.ready()) }
        default: return Response(404, "not found; see /")
        }
        guard request.method == "GET" || request.method == "HEAD" else {
            return Response(405, "only GET and HEAD", headers: [("Allow", "GET, HEAD")])
        }
        return page()
    }

    private func scrape(accept: String?) -> Response {
        let negotiation = Negotiation(accept: accept)
        let clock = ContinuousClock()
        let start = clock.now
        // Counted first, so that a scrape shows itself.
        metrics.scrapes[negotiation.format == .text004 ? .text : .openMetrics].add()
        let body = registry.render(negotiation.format)
        metrics.duration.observe((clock.now - start) / .seconds(1))
        return Response(metrics: body, contentType: negotiation.contentType)
    }

    private static func health(_ verdict: Verdict) -> Response {
        Response(verdict.ok ? 200 : 503, verdict.detail)
    }

    private static let index = """
        kinglet
        /metrics  metrics for Prometheus, text format or OpenMetrics
        /healthz  200 while the process works, else 503
        /readyz   200 while users can log in, else 503
        """
}
