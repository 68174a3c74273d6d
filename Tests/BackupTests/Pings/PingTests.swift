import Foundation
import HTTPClient
import Testing

@testable import Backup

@Suite("A service is told how runs go, and no run fails by that")
struct PingTests {
    private let run = "6f1d3a0e-0c1f-4c55-9d1c-0123456789ab"

    private final class Warnings {
        var texts: [String] = []
    }

    private func pings(_ server: PingServer, _ path: String, _ warnings: Warnings) throws
        -> RunPings
    {
        let address = try PingAddress("http://user:s3cret@127.0.0.1:\(server.port)\(path)")
        return RunPings(address, run: run) { warnings.texts.append($0) }
    }

    private func line(_ request: String) -> String {
        String(request.prefix { $0 != "\r\n" })
    }

    @Test("Healthchecks hears start, success and failure of one run, with the log's end")
    func healthchecks() throws {
        let server = try PingServer { _ in "200 OK" }
        let warnings = Warnings()
        let pings = try pings(server, "/ping/s3cret/", warnings)
        pings.start()
        pings.succeed("stored 3 files", log: "one\ntwo", took: .seconds(5))
        let log = "begin" + String(repeating: "ü", count: 60_000) + "end"
        pings.fail("no space", log: log, took: .seconds(5))
        let requests = server.requests
        try #require(requests.count == 3)
        #expect(line(requests[0]) == "POST /ping/s3cret/start?rid=\(run) HTTP/1.1")
        #expect(requests[0].hasSuffix("\r\n\r\n"))
        #expect(line(requests[1]) == "POST /ping/s3cret?rid=\(run) HTTP/1.1")
        #expect(requests[1].hasSuffix("\r\n\r\nstored 3 files\n\none\ntwo"))
        #expect(line(requests[2]) == "POST /ping/s3cret/fail?rid=\(run) HTTP/1.1")
        let body = try #require(requests[2].range(of: "\r\n\r\n")).upperBound
        #expect((99_990...100_000).contains(requests[2][body...].utf8.count))
        #expect(requests[2][body...].hasPrefix("ü") && requests[2].hasSuffix("üend"))
        #expect(warnings.texts.isEmpty)
    }

    @Test("Uptime Kuma hears up and down; what was copied as an example is replaced")
    func uptimeKuma() throws {
        let server = try PingServer { _ in "200 OK" }
        let warnings = Warnings()
        let pings = try pings(server, "/api/push/s3cret?status=up&msg=OK&ping=", warnings)
        pings.start()
        pings.succeed("stored 3 files", log: "one", took: .milliseconds(12_345))
        pings.fail(
            "no space & more\r\nü" + String(repeating: "x", count: 500), log: "", took: .zero)
        let requests = server.requests
        try #require(requests.count == 2)
        #expect(
            line(requests[0])
                == "GET /api/push/s3cret?status=up&msg=stored%203%20files&ping=12345 HTTP/1.1")
        #expect(
            line(requests[1]).hasPrefix(
                "GET /api/push/s3cret?status=down&msg=no%20space%20%26%20more%0D%0A%C3%BCxxx"))
        #expect(line(requests[1]).hasSuffix("x&ping=0 HTTP/1.1"))
        #expect(line(requests[1]).utf8.count < 300)
        #expect(warnings.texts.isEmpty)
    }

    @Test("A query of the configured address is kept")
    func query() throws {
        let address = try PingAddress("https://example.org/key/backup?create=1")
        let request = try #require(address.request(.failure, .init(run: "a&b")))
        #expect(request.url == "https://example.org/key/backup/fail?create=1&rid=a%26b")
    }

    @Test("One that fails is tried once more")
    func retry() throws {
        let server = try PingServer { $0 == 1 ? "503 Service Unavailable" : "200 OK" }
        let warnings = Warnings()
        try pings(server, "/s3cret", warnings).start()
        #expect(server.requests.count == 2)
        #expect(warnings.texts.isEmpty)
    }

    @Test(
        "One that does not arrive is a warning, which keeps the address to itself",
        arguments: [("500 Oops", 2), ("429 Slow Down", 2), ("404 Not Found", 1), ("302 Found", 1)])
    func refused(status: String, attempts: Int) throws {
        let server = try PingServer { _ in status }
        let warnings = Warnings()
        try pings(server, "/s3cret", warnings).succeed("", log: "", took: .zero)
        #expect(server.requests.count == attempts)
        #expect(warnings.texts.count == 1)
        #expect(
            warnings.texts.first?.contains("127.0.0.1: it answered \(status.prefix(3))") == true)
        #expect(warnings.texts.first?.contains("s3cret") == false)
    }

    @Test("A service that says nothing is not waited for, and one that is gone is no failure")
    func silent() throws {
        let server = try PingServer { _ in nil }
        let warnings = Warnings()
        var pings = try pings(server, "/s3cret", warnings)
        #expect(pings.timeLimit == .seconds(3))
        pings.timeLimit = .seconds(2)
        pings.start()
        #expect(server.requests.count == 2)
        server.stop()
        pings.start()
        #expect(warnings.texts.count == 2)
        #expect(!warnings.texts.joined().contains("s3cret"))
    }

    @Test(
        "What is no address is refused, and not repeated",
        arguments: [
            "", "s3cret", "ftp://s3cret/", "https://", "https://x/s3cret#a", "https://x /s3cret",
        ])
    func addresses(text: String) {
        #expect {
            try PingAddress(text)
        } throws: {
            !"\($0)".contains("s3cret")
        }
    }

    @Test("An address does not print itself")
    func description() throws {
        let address = try PingAddress("https://user:s3cret@hc-ping.com/s3cret")
        var dumped = ""
        dump(address, to: &dumped)
        #expect(!"\(address) \(String(reflecting: address)) \(dumped)".contains("s3cret"))
        #expect(address.host == "hc-ping.com")
    }
}
