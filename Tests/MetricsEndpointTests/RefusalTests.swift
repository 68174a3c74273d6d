// What a scraper can do to the endpoint, over sockets, and how it shows.

import Prometheus
import Testing

@testable import MetricsEndpoint

@Suite("Refusals")
struct RefusalTests {
    /// Waits until so many refusals for a reason are counted.
    private static func await(
        _ count: Int, _ reason: ScrapeRefusal, at server: TestServer
    ) async throws {
        for _ in 0..<12_000 where server.server.metrics.refusals[reason].value < count {
            try await Task.sleep(for: .milliseconds(10))
        }
        #expect(server.server.metrics.refusals[reason].value == count)
    }

    private static func limits(_ change: (inout ConnectionTable.Limits) -> Void)
        -> MetricsServer.Limits
    {
        var limits = MetricsServer.Limits()
        change(&limits.connections)
        return limits
    }

    /// With so much time for a request that a busy machine makes none overdue.
    private static func patient(_ change: (inout ConnectionTable.Limits) -> Void)
        -> MetricsServer.Limits
    {
        limits {
            $0.requestTime = .seconds(600)
            change(&$0)
        }
    }

    @Test("500 connections of one client: the oldest are closed, a request on the last is answered")
    func manyConnections() async throws {
        let server = try TestServer(limits: Self.patient { $0.perAddress = 32 })
        let connections = try (0..<500).map { _ in try HTTPConnection(port: server.port) }
        let last = try #require(connections.last)
        last.send(TestServer.request("/metrics"))
        #expect(try last.readAnswer().status == 200)
        try await Self.await(468, .connections, at: server)
        #expect(try connections[0].readToEnd() == "")
        #expect(try server.get("/metrics").status == 200)
    }

    @Test(
        "Half a request is closed in time, one that comes byte by byte too",
        arguments: [
            "GET /metrics HTTP/1.1\r\nHo", "",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx",
        ])
    func half(text: String) async throws {
        let server = try TestServer(limits: Self.limits { $0.requestTime = .milliseconds(500) })
        let connection = try HTTPConnection(port: server.port)
        connection.send(text)
        #expect(try connection.readToEnd() == "")
        try await Self.await(1, .incomplete, at: server)
    }

    @Test("Half a request after a whole one is closed in time")
    func secondHalf() async throws {
        let server = try TestServer(limits: Self.limits { $0.requestTime = .seconds(2) })
        let connection = try HTTPConnection(port: server.port)
        connection.send(TestServer.request("/healthz"))
        #expect(try connection.readAnswer().status == 200)
        connection.send("GET /metrics HTTP/1.1\r\nHo")
        #expect(try connection.readToEnd() == "")
        try await Self.await(1, .incomplete, at: server)
    }

    @Test("Headers above the limit are 431 or closed, and counted, whoever notices (RFC 6585)")
    func headers() async throws {
        let server = try TestServer()
        let connection = try HTTPConnection(port: server.port)
        connection.send(
            TestServer.request("/metrics", headers: ["X: \(String(repeating: "x", count: 8_192))"]))
        #expect(try connection.readAnswer().status == 431)
        try await Self.await(1, .tooLarge, at: server)
        let large = try HTTPConnection(port: server.port)
        let line = "X: \(String(repeating: "x", count: 998))\r\n"
        large.send("GET /metrics HTTP/1.1\r\nHost: a\r\n")
        for _ in 0..<1000 where large.send(line) {}
        try await Self.await(2, .tooLarge, at: server)
        let long = try HTTPConnection(port: server.port)
        long.send(TestServer.request("/" + String(repeating: "x", count: 100_000)))
        try await Self.await(3, .tooLarge, at: server)
        #expect(try server.get("/metrics").status == 200)
    }

    @Test("Just below the limit, headers are taken")
    func headersBelow() throws {
        let answer = try TestServer().get(
            "/metrics", headers: ["X: \(String(repeating: "x", count: 8_000))"])
        #expect(answer.status == 200)
    }

    @Test("A body above the limit counts once")
    func body() async throws {
        let server = try TestServer()
        let connection = try HTTPConnection(port: server.port)
        connection.send(
            TestServer.request("/metrics", method: "POST", headers: ["Content-Length: 1000000"]))
        for _ in 0..<1000 where connection.send(String(repeating: "x", count: 1000)) {}
        try await Self.await(1, .tooLarge, at: server)
    }

    @Test("Wrong credentials and strangers are counted, each by its own reason")
    func access() async throws {
        let token = try TestServer(access: MetricsServer.Access(bearerToken: "t"))
        _ = try token.get("/metrics")
        _ = try token.get("/sd", headers: ["Authorization: Bearer x"])
        #expect(token.server.metrics.refusals[.authentication].value == 2)
        let networks = ["192.0.2.0/24"].compactMap(CIDR.init)
        let closed = try TestServer(
            access: MetricsServer.Access(allowedNetworks: networks))
        #expect(try closed.get("/metrics").status == 403)
        #expect(closed.server.metrics.refusals[.address].value == 1)
    }

    @Test("Strangers have few places together, and the oldest gives its own up")
    func strangers() async throws {
        let networks = ["192.0.2.0/24"].compactMap(CIDR.init)
        let server = try TestServer(
            access: MetricsServer.Access(allowedNetworks: networks),
            limits: Self.patient { $0.strangers = 2 })
        let many = try (0..<10).map { _ in try HTTPConnection(port: server.port) }
        try await Self.await(8, .address, at: server)
        #expect(try many[0].readToEnd() == "")
    }

    @Test("A client that comes, says nothing and goes is no refusal")
    func passerBy() async throws {
        let server = try TestServer()
        for _ in 0..<20 { _ = try HTTPConnection(port: server.port) }
        #expect(try server.get("/metrics").body.contains("{reason=\"incomplete\"} 0\n"))
        for reason in ScrapeRefusal.allCases {
            #expect(server.server.metrics.refusals[reason].value == 0)
        }
    }
}
