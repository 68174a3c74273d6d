// The metrics over HTTPS.

import MetricsEndpoint
import Options
import Prometheus
import Testing

@testable import Web

@Suite struct WebMetricsTests {
    @Test("Without a token there is no page")
    func noToken() {
        let registry = Registry()
        let scrapes = ScrapeMetrics(in: registry)
        let metrics = WebMetrics(in: registry)
        for access in [
            MetricsServer.Access(), MetricsServer.Access(basicUser: "a", basicPassword: "b"),
            MetricsServer.Access(bearerToken: ""),
        ] {
            let route = WebRoute.metrics(
                access, registry: registry, scrapes: scrapes, metrics: metrics)
            #expect(route == nil)
        }
    }

    private static func route(_ registry: Registry, networks: [CIDR] = []) throws -> WebRoute {
        try #require(
            WebRoute.metrics(
                MetricsServer.Access(
                    bearerToken: "secret", basicUser: "a", basicPassword: "b",
                    allowedNetworks: networks),
                registry: registry, scrapes: ScrapeMetrics(in: registry),
                metrics: WebMetrics(in: registry)))
    }

    @Test("The token opens it, in the format that the scraper likes, and nothing else does")
    func token() async throws {
        let route = try Self.route(Registry())
        func ask(_ headers: [(String, String)]) async -> WebResponse {
            await route.handle(WebRequest(method: .get, path: "/metrics", headers: headers))
        }
        for wrong in [nil, "Bearer", "Bearer wrong", "Basic YTpi", "Bearer secret2", "secret"] {
            let answer = await ask(wrong.map { [("Authorization", $0)] } ?? [])
            #expect(answer.status == 401)
            let challenge = answer.headers.first { $0.0 == "WWW-Authenticate" }
            #expect(challenge?.1 == "Bearer realm=\"kinglet\"")
        }
        let right = ("authorization", "Bearer secret")
        let plain = await ask([right])
        #expect(plain.status == 200)
        #expect(plain.headers.first?.1.hasPrefix("text/plain; version=0.0.4") == true)
        let text = String(decoding: plain.body, as: UTF8.self)
        #expect(text.contains("kinglet_web_refusals_total{reason=\"token\"} 6"))
        let open = await ask([right, ("Accept", "application/openmetrics-text;version=1.0.0")])
        #expect(open.headers.first?.1.hasPrefix("application/openmetrics-text") == true)
    }

    @Test("An address outside the allow-list gets 403, token or not")
    func networks() async throws {
        let network = try #require(CIDR("10.0.0.0/8"))
        let route = try Self.route(Registry(), networks: [network])
        func ask(_ address: String) async -> Int {
            await route.handle(
                WebRequest(
                    method: .get, path: "/metrics", headers: [("Authorization", "Bearer secret")],
                    remoteAddress: address)
            ).status
        }
        #expect(await ask("10.1.2.3") == 200)
        #expect(await ask("11.1.2.3") == 403)
        #expect(await ask("") == 403)
    }
}
