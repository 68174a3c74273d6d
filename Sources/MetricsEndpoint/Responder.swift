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
    /// Bytes of the request line and headers.
    var headerSize = 0
    var client: IPAddress?
    var accept: String?
    var authorization: String?
    var host: String?
    /// Finds the address of this machine that the request came to.
    var reached: @Sendable () -> IPAddress? = { nil }
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

    init(page body: [UInt8], contentType: String) {
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
    /// What `/sd` tells of, and where it listens.
    struct Target: Sendable {
        var discovery: ServiceDiscovery
        var address: IPAddress?
        var port: Int
    }

    private let access: MetricsServer.Access
    private let registry: Registry
    private let metrics: ScrapeMetrics
    private let target: Target
    private let headerLimit: Int
    private let alive: @Sendable () -> Verdict
    private let ready: @Sendable () -> Verdict

    init(
        access: MetricsServer.Access, registry: Registry, metrics: ScrapeMetrics, target: Target,
        headerLimit: Int,
        alive: @escaping @Sendable () -> Verdict, ready: @escaping @Sendable () -> Verdict
    ) {
        self.access = access
        self.registry = registry
        self.metrics = metrics
        self.target = target
        self.headerLimit = headerLimit
        self.alive = alive
        self.ready = ready
    }

    func respond(to request: Request) -> Response {
        guard request.headerSize <= headerLimit else {
            metrics.refusals[.tooLarge].add()
            return Response(431, "request line and headers are too large")
        }
        guard access.allows(request.client) else {
            metrics.refusals[.address].add()
            return Response(403, "this address may not read metrics")
        }
        guard access.accepts(authorization: request.authorization) else {
            metrics.refusals[.authentication].add()
            return Response(
                401, "authentication needed",
                headers: access.challenges.map { ("WWW-Authenticate", $0) })
        }
        let page: () -> Response
        switch request.path {
        case "/": page = { Response(200, Self.index) }
        case "/metrics": page = { self.scrape(accept: request.accept) }
        case "/sd": page = { self.discover(request) }
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
        let page = MetricsPage(registry: registry, accept: accept, metrics: metrics)
        return Response(page: page.body, contentType: page.contentType)
    }

    /// Always the whole list, which is this server alone; Prometheus keeps its old one when it gets
    /// anything but 200.
    private func discover(_ request: Request) -> Response {
        let document = target.discovery.document(
            bound: target.address, port: target.port, host: request.host,
            reached: request.reached())
        return Response(page: Array(document.utf8), contentType: "application/json")
    }

    private static func health(_ verdict: Verdict) -> Response {
        Response(verdict.ok ? 200 : 503, verdict.detail)
    }

    private static let index = """
        kinglet
        /metrics  metrics for Prometheus, text format or OpenMetrics
        /sd       this server as a target, for http_sd_configs of Prometheus
        /healthz  200 while the process works, else 503
        /readyz   200 while users can log in, else 503
        """
}
