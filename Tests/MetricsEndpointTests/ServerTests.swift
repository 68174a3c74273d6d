// The server as a whole: start, stop, and clients that misbehave.

import Glibc
import Prometheus
import Synchronization
import Testing

@testable import MetricsEndpoint

@Suite("Server")
struct ServerTests {
    @Test("A port in use is a clear error, and the registry is free for another try")
    func portTaken() throws {
        let first = try TestServer()
        let registry = Registry()
        func start(_ port: Int) throws(MetricsEndpointError) -> MetricsServer {
            try MetricsServer(
                address: "127.0.0.1", port: port, access: MetricsServer.Access(),
                registry: registry, alive: { Verdict(ok: true, detail: "") },
                ready: { Verdict(ok: true, detail: "") })
        }
        let error = #expect(throws: MetricsEndpointError.self) { _ = try start(first.port) }
        #expect(error?.code == .portTaken)
        #expect(
            error?.description
                == "cannot listen on 127.0.0.1:\(first.port): address already in use; "
                + "stop the other program or set metrics.port")
        #expect(try start(0).port > 0)
    }

    @Test(
        "An address or port that cannot be is a clear error",
        arguments: [
            ("localhost", 0, .badAddress), ("", 0, .badAddress), ("127.0.0.1", 65536, .badAddress),
            ("127.0.0.1", -1, .badAddress), ("192.0.2.1", 0, .cannotListen),
        ] as [(String, Int, MetricsEndpointError.Code)])
    func badAddress(address: String, port: Int, code: MetricsEndpointError.Code) {
        let error = #expect(throws: MetricsEndpointError.self) {
            _ = try MetricsServer(
                address: address, port: port, access: MetricsServer.Access(bearerToken: "t"),
                registry: Registry(), alive: { Verdict(ok: true, detail: "") },
                ready: { Verdict(ok: true, detail: "") })
        }
        #expect(error?.code == code)
        #expect(error?.advice.isEmpty == false)
    }

    @Test("Two servers share a registry when the second takes the first one's metrics")
    func twoListeners() throws {
        let first = try TestServer()
        let second = try MetricsServer(
            address: "::1", port: 0, access: MetricsServer.Access(), registry: first.registry,
            metrics: first.server.metrics, alive: { Verdict(ok: true, detail: "") },
            ready: { Verdict(ok: true, detail: "") })
        _ = try first.get("/metrics")
        let connection = try HTTPConnection(port: second.port, ipv6: true)
        connection.send(TestServer.request("/metrics"))
        let body = try connection.readAnswer().body
        #expect(body.contains("kinglet_scrapes_total{format=\"text\"} 2\n"))
    }

    @Test("After stop nothing listens, open connections are closed, and stop may be called again")
    func stop() throws {
        let server = try TestServer()
        let connection = try HTTPConnection(port: server.port)
        connection.send(TestServer.request("/healthz"))
        _ = try connection.readAnswer()
        server.server.stop()
        server.server.stop()
        #expect(try connection.readToEnd() == "")
        #expect(throws: HTTPConnection.Failure.self) { _ = try HTTPConnection(port: server.port) }
    }

    @Test("Stopping lets go of what the answers need")
    func release() throws {
        final class Held: Sendable {
            let released: @Sendable () -> Void
            init(_ released: @escaping @Sendable () -> Void) { self.released = released }
            deinit { released() }
        }
        let done = Gauge.make()
        let server: MetricsServer
        do {
            let held = Held { done.set(1) }
            server = try MetricsServer(
                address: "127.0.0.1", port: 0, access: MetricsServer.Access(),
                registry: Registry(),
                alive: { withExtendedLifetime(held) { Verdict(ok: true, detail: "") } },
                ready: { Verdict(ok: true, detail: "") })
        }
        #expect(done.value == 0)
        server.stop()
        #expect(done.value == 1)
    }

    @Test("A client that sends slowly does not hold up another")
    func slowClient() throws {
        let server = try TestServer()
        let slow = try (0..<20).map { _ in try HTTPConnection(port: server.port) }
        for connection in slow { connection.send("GET /metrics HTTP/1.1\r\nHo") }
        #expect(try server.get("/metrics").status == 200)
        for connection in slow {
            connection.send("st: localhost\r\n\r\n")
            #expect(try connection.readAnswer().status == 200)
        }
    }

    @Test("A client that does not read its answers does not hold up another")
    func notReading() throws {
        let server = try TestServer()
        let deaf = try HTTPConnection(port: server.port)
        deaf.send(String(repeating: TestServer.request("/metrics"), count: 3_000))
        #expect(try server.get("/healthz").status == 200)
    }

    @Test("Several requests may come in one piece and one request in many")
    func pipelining() throws {
        let server = try TestServer()
        let connection = try HTTPConnection(port: server.port)
        for byte in TestServer.request("/healthz").unicodeScalars { connection.send("\(byte)") }
        #expect(try connection.readAnswer().body == "all loops turn\n")
        connection.send(
            TestServer.request("/healthz")
                + TestServer.request("/readyz", headers: ["Connection: close"]))
        let rest = try connection.readToEnd()
        #expect(rest.contains("all loops turn\n") && rest.hasSuffix("logins work\n"))
    }

    @Test("Headers that are too large are refused (RFC 6585 section 5) and do no harm")
    func oversized() throws {
        let server = try TestServer()
        let connection = try HTTPConnection(port: server.port)
        connection.send(
            TestServer.request(
                "/metrics", headers: ["X: \(String(repeating: "x", count: 100_000))"]))
        let answer = try connection.readToEnd()
        #expect(answer.isEmpty || answer.hasPrefix("HTTP/1.1 4"))
        let long = try HTTPConnection(port: server.port)
        long.send(TestServer.request("/" + String(repeating: "x", count: 100_000)))
        let refused = try long.readToEnd()
        #expect(refused.isEmpty || refused.hasPrefix("HTTP/1.1 4"))
        #expect(try server.get("/metrics").status == 200)
    }

    @Test("A body beyond 64 KiB closes the connection")
    func endlessBody() throws {
        let server = try TestServer()
        let connection = try HTTPConnection(port: server.port)
        connection.send(
            TestServer.request("/metrics", method: "POST", headers: ["Content-Length: 1000000000"]))
        let piece = String(repeating: "x", count: 65_536)
        // The kernel's buffers take a few MiB; a server that swallowed all would take these too.
        var sent = 0
        while sent < 1_000 && connection.send(piece) { sent += 1 }
        #expect(sent < 1_000)
        #expect(try server.get("/metrics").status == 200)
    }

    @Test(
        "Garbage is refused or closed, and does no harm",
        arguments: [
            "GET\r\n\r\n", "\u{0}\u{1}\u{2}\r\n\r\n", "GET / HTTP/9.9\r\n\r\n",
            "GET /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
            "GET /metrics HTTP/1.1\r\nHost: a\r\nAuthorization: \u{7F}ÿ\r\nAccept: ;;;,,,\r\n\r\n",
        ])
    func garbage(text: String) throws {
        let server = try TestServer(limits: MetricsServer.Limits(timeout: 3))
        let connection = try HTTPConnection(port: server.port)
        connection.send(text)
        _ = try connection.readToEnd()
        #expect(try server.get("/metrics").status == 200)
    }

    @Test(
        "A client that never finishes its request is closed after the timeout",
        arguments: [
            "", "\r\n\r\n", "GET /metrics HTTP/1.1\r\nHo", "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}",
        ])
    func timeout(text: String) throws {
        let server = try TestServer(limits: MetricsServer.Limits(timeout: 1))
        let connection = try HTTPConnection(port: server.port)
        connection.send(text)
        #expect(try connection.readToEnd() == "")
    }

    @Test("Many clients at once each get a whole page")
    func parallel() async throws {
        let server = try TestServer()
        try await withThrowingTaskGroup { group in
            for _ in 0..<16 {
                group.addTask {
                    for _ in 0..<20 {
                        let answer = try server.get("/metrics")
                        #expect(answer.body.contains("kinglet_tested_total 42\n"))
                    }
                }
            }
            try await group.waitForAll()
        }
        let last = try server.get("/metrics").body
        #expect(last.contains("kinglet_scrapes_total{format=\"text\"} 321\n"))
    }
}

extension Gauge {
    /// A gauge by itself, as a flag that any thread may set.
    fileprivate static func make() -> Gauge { Registry().gauge("kinglet_flag", help: "A flag.") }
}
