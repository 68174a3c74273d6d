// The document of /sd, and the addresses in it.

import Foundation
import Testing

@testable import MetricsEndpoint

@Suite("Service discovery")
struct ServiceDiscoveryTests {
    private struct Group: Decodable, Equatable {
        var targets: [String]
        var labels: [String: String]
    }

    private static func groups(_ text: String) throws -> [Group] {
        try JSONDecoder().decode([Group].self, from: Data(text.utf8))
    }

    private static let discovery = ServiceDiscovery(version: "1.2.3", domain: "example.test")

    private static func target(
        _ discovery: ServiceDiscovery = discovery, bound: String = "::", host: String? = nil,
        reached: String? = nil
    ) throws -> String? {
        let document = discovery.document(
            bound: IPAddress(bound), port: 9622, host: host,
            reached: reached.flatMap { IPAddress($0) })
        return try groups(document).first?.targets.first
    }

    @Test("/sd is one group with one target and its labels, as JSON")
    func page() throws {
        let server = try TestServer(discovery: Self.discovery)
        let answer = try server.get("/sd")
        #expect(answer.status == 200)
        #expect(answer.header("content-type") == "application/json")
        #expect(
            try Self.groups(answer.body) == [
                Group(
                    targets: ["127.0.0.1:\(server.port)"],
                    labels: [
                        "__meta_kinglet_version": "1.2.3",
                        "__meta_kinglet_domain": "example.test", "__metrics_path__": "/metrics",
                        "__scheme__": "http",
                    ])
            ])
    }

    @Test("/sd is behind the rules of /metrics")
    func access() throws {
        let server = try TestServer(access: MetricsServer.Access(bearerToken: "t"))
        #expect(try server.get("/sd").status == 401)
        #expect(try server.get("/sd", headers: ["Authorization: Bearer t"]).status == 200)
        #expect(try server.get("/sd", method: "POST").status == 401)
    }

    @Test("On all addresses, the target is what the scraper called the server")
    func host() throws {
        #expect(try Self.target(host: "pi.local:9622") == "pi.local:9622")
        #expect(try Self.target(bound: "0.0.0.0", host: "[fd00::5]:99") == "[fd00::5]:99")
        // RFC 9110 section 4.2.1: no port means 80, as behind a proxy.
        #expect(try Self.target(host: "metrics.example") == "metrics.example:80")
    }

    @Test("On one address, that is the target, whatever the scraper says")
    func bound() throws {
        #expect(try Self.target(bound: "192.168.1.5", host: "other:1") == "192.168.1.5:9622")
        #expect(try Self.target(bound: "fd00::5", host: "other:1") == "[fd00::5]:9622")
    }

    @Test("An advertised address goes before all others")
    func advertised() throws {
        let name = ServiceDiscovery(advertised: "pi.local")
        #expect(try Self.target(name, host: "other:1") == "pi.local:9622")
        let both = ServiceDiscovery(advertised: "[fd00::5]:80")
        #expect(try Self.target(both, bound: "127.0.0.1") == "[fd00::5]:80")
    }

    @Test(
        "A Host header that is none is not repeated; the address that was reached is the target",
        arguments: [
            nil, "", " ", "a b", "a\"b", "a\\b", "a/b", "a@b", "a?b", "é", "a:0", "a:65536", "a:",
            "a:+1", "a:1:2", "::1", "[::1", "[::1]x", "[1.2.3.4]", "[x]:1", "[fe80::1%lo]:1",
            "a:123456", String(repeating: "a", count: 254), ":9622", "a\u{0}b",
        ])
    func badHost(host: String?) throws {
        #expect(try Self.target(host: host, reached: "::ffff:10.0.0.5") == "10.0.0.5:9622")
        #expect(host.map { ServiceDiscovery.problem(advertised: $0) } != .some(nil))
    }

    @Test("Over a socket on all addresses, with and without a Host that can be used")
    func reached() throws {
        let access = MetricsServer.Access(bearerToken: "t")
        let server = try TestServer(address: "::", access: access)
        for (host, target) in [
            ("Host: pi_5.local:\(server.port)", "pi_5.local:\(server.port)"),
            ("Host: \"]}", "127.0.0.1:\(server.port)"),
        ] {
            let connection = try HTTPConnection(port: server.port)
            connection.send("GET /sd HTTP/1.1\r\n\(host)\r\nAuthorization: Bearer t\r\n\r\n")
            let answer = try connection.readAnswer()
            #expect(try Self.groups(answer.body).first?.targets == [target])
        }
    }

    @Test("Labels are escaped as JSON (RFC 8259 section 7)")
    func escaping() throws {
        let odd = "a\"b\\c\u{0}\n\u{1F}\u{7F}ü\u{2028}"
        let document = ServiceDiscovery(version: odd).document(
            bound: IPAddress("127.0.0.1"), port: 1, host: nil, reached: nil)
        #expect(try Self.groups(document).first?.labels["__meta_kinglet_version"] == odd)
    }

    @Test("A file has the same document, but no address that is right only here")
    func file() throws {
        let document = try #require(Self.discovery.document(address: "fd00::5", port: 9622))
        #expect(try Self.groups(document).first?.targets == ["[fd00::5]:9622"])
        for address in ["::", "0.0.0.0", "::ffff:0.0.0.0", "0"] {
            #expect(Self.discovery.document(address: address, port: 9622) == nil)
        }
        let named = ServiceDiscovery(advertised: "pi.local")
        let text = try #require(named.document(address: "::", port: 9622))
        #expect(try Self.groups(text).first?.targets == ["pi.local:9622"])
    }
}
