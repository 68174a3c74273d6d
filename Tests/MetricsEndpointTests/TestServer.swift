// A metrics server on a free port, gone with the value.

import Prometheus

@testable import MetricsEndpoint

struct TestServer {
    let server: MetricsServer
    let registry = Registry()

    var port: Int { server.port }

    init(
        address: String = "127.0.0.1", access: MetricsServer.Access = MetricsServer.Access(),
        discovery: ServiceDiscovery = ServiceDiscovery(),
        limits: MetricsServer.Limits = MetricsServer.Limits(),
        alive: Bool = true, ready: Bool = true
    ) throws {
        registry.counter("kinglet_tested_total", help: "Tested.").add(42)
        server = try MetricsServer(
            address: address, port: 0, access: access, registry: registry, metrics: nil,
            discovery: discovery, limits: limits,
            alive: { Verdict(ok: alive, detail: alive ? "all loops turn" : "loop 1 is stuck") },
            ready: { Verdict(ok: ready, detail: ready ? "logins work" : "the writer is stuck") })
    }

    /// Asks once, on a connection of its own.
    func get(
        _ path: String, method: String = "GET", headers: [String] = []
    ) throws -> HTTPConnection.Answer {
        let connection = try HTTPConnection(port: port)
        connection.send(Self.request(path, method: method, headers: headers))
        return try connection.readAnswer(hasBody: method != "HEAD")
    }

    static func request(_ path: String, method: String = "GET", headers: [String] = []) -> String {
        let lines = ["\(method) \(path) HTTP/1.1", "Host: localhost"] + headers
        return lines.joined(separator: "\r\n") + "\r\n\r\n"
    }
}
