// Each path over a real socket, and what is wrong to ask.

import Prometheus
import Testing

@testable import MetricsEndpoint

@Suite("Paths")
struct PathTests {
    @Test("/metrics is the registry in text format 0.0.4, with the headers of a live page")
    func metrics() throws {
        let answer = try TestServer().get("/metrics")
        #expect(answer.status == 200)
        #expect(answer.header("content-type") == "text/plain; version=0.0.4; charset=utf-8")
        #expect(answer.header("vary") == "Accept")
        #expect(answer.header("cache-control") == "no-store")
        #expect(answer.header("x-content-type-options") == "nosniff")
        #expect(answer.body.contains("\nkinglet_tested_total 42\n"))
        #expect(!answer.body.contains("# EOF"))
    }

    @Test("/metrics is OpenMetrics when that is asked for")
    func openMetrics() throws {
        let answer = try TestServer().get(
            "/metrics", headers: ["Accept: application/openmetrics-text; version=1.0.0"])
        #expect(
            answer.header("content-type")
                == "application/openmetrics-text; version=1.0.0; charset=utf-8")
        #expect(answer.body.hasSuffix("\n# EOF\n"))
    }

    @Test("A query does not change the page")
    func query() throws {
        #expect(try TestServer().get("/metrics?name=up").status == 200)
    }

    @Test("A scrape counts itself by format; its duration shows in the next one")
    func ownMetrics() throws {
        let server = try TestServer()
        let first = try server.get("/metrics").body
        #expect(first.contains("kinglet_scrapes_total{format=\"text\"} 1\n"))
        #expect(first.contains("kinglet_scrape_duration_seconds_count 0\n"))
        let second = try server.get(
            "/metrics", headers: ["Accept: application/openmetrics-text"]
        ).body
        #expect(second.contains("kinglet_scrapes_total{format=\"openmetrics\"} 1\n"))
        #expect(second.contains("kinglet_scrape_duration_seconds_count 1\n"))
    }

    @Test("/healthz and /readyz are 200 or 503 with the verdict as text")
    func health() throws {
        let good = try TestServer()
        #expect(try good.get("/healthz").status == 200)
        #expect(try good.get("/healthz").body == "all loops turn\n")
        #expect(try good.get("/readyz").body == "logins work\n")
        let bad = try TestServer(alive: false, ready: false)
        #expect(try bad.get("/healthz").status == 503)
        #expect(try bad.get("/readyz").status == 503)
        let answer = try bad.get("/readyz")
        #expect(answer.body == "the writer is stuck\n")
        #expect(answer.header("content-type") == "text/plain; charset=utf-8")
    }

    @Test("/ names the other pages")
    func index() throws {
        let answer = try TestServer().get("/")
        #expect(answer.status == 200)
        for path in ["/metrics", "/sd", "/healthz", "/readyz"] {
            #expect(answer.body.contains(path))
        }
    }

    @Test("HEAD has the headers of GET and no body (RFC 9110 section 9.3.2)")
    func head() throws {
        let server = try TestServer()
        let connection = try HTTPConnection(port: server.port)
        connection.send(TestServer.request("/healthz", method: "HEAD"))
        let head = try connection.readAnswer(hasBody: false)
        #expect(head.status == 200)
        #expect(head.header("content-length") == "15")
        // What follows is the next answer, so no body was sent.
        connection.send(TestServer.request("/readyz"))
        #expect(try connection.readAnswer().body == "logins work\n")
    }

    @Test(
        "Any other path is 404",
        arguments: ["/metrics/", "/Metrics", "//metrics", "/metrics/../x", "/%2Fmetrics", "/x"])
    func notFound(path: String) throws {
        #expect(try TestServer().get(path).status == 404)
    }

    @Test(
        "Any other method is 405 and says which are allowed (RFC 9110 section 15.5.6)",
        arguments: ["POST", "PUT", "DELETE", "OPTIONS", "BREW"])
    func method(method: String) throws {
        let server = try TestServer()
        let answer = try server.get("/metrics", method: method, headers: ["Content-Length: 0"])
        #expect(answer.status == 405)
        #expect(answer.header("allow") == "GET, HEAD")
    }

    @Test("A body is read and ignored, and the connection goes on")
    func body() throws {
        let server = try TestServer()
        let connection = try HTTPConnection(port: server.port)
        let body = String(repeating: "x", count: 40_000)
        connection.send(
            TestServer.request("/metrics", method: "POST", headers: ["Content-Length: 40000"])
                + body)
        #expect(try connection.readAnswer().status == 405)
        connection.send(TestServer.request("/healthz"))
        #expect(try connection.readAnswer().status == 200)
    }
}
