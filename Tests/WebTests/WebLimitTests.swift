// What others get: too much, too slow, or not HTTP.

import Glibc
import Programs
import Prometheus
import Testing

@testable import Web

@Suite struct WebLimitTests {
    /// Sends `text` and gives the status of the first answer and whether the connection closed.
    private static func status(_ port: Int, _ text: String) throws -> Int {
        let client = try WebClient(port)
        try client.send(text)
        let answer = try client.answer()
        #expect(answer.header("connection") == "close")
        #expect(try client.isClosed())
        return answer.status
    }

    private static func check(_ port: Int, _ text: String, _ expected: [Int]) throws {
        let status = try status(port, text)
        #expect(expected.contains(status))
    }

    private static let post = "POST /echo HTTP/1.1\r\nHost: a\r\n"

    @Test(
        "What two readers could read in two ways is refused, and the connection closed",
        arguments: [
            post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            post + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            post + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
            post + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
            post + "Content-Length: 5, 5\r\n\r\nhello",
            post + "Content-Length: +5\r\n\r\nhello",
            post + "Content-Length: -1\r\n\r\n",
            post + "Content-Length: 99999999999999999999999\r\n\r\n",
            post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            post + "Transfer-Encoding: identity\r\n\r\n",
            post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            post + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
            post + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
            post + "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
            post + "Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
            post + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
            post + "Transfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n",
            post + "X: a\r\n folded\r\nContent-Length: 0\r\n\r\n",
            post + "X : a\r\nContent-Length: 0\r\n\r\n",
            post + "Content-Length : 5\r\n\r\nhello",
            post + "Host: b\r\nContent-Length: 0\r\n\r\n",
            "POST /echo HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
            "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: \u{0}\r\n\r\n",
            "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET item HTTP/1.1\r\nHost: a\r\n\r\n",
            "\u{1}\u{2}\u{3}\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ])
    func smuggling(_ text: String) async throws {
        try await TestSite.with { site in
            let port = site.port
            let status = try await blocking { try Self.status(port, text) }
            #expect([400, 501, 505].contains(status))
            if !text.hasPrefix("PRI") { #expect(status == 400) }
            #expect(site.metrics.refusals[.malformed].value == 1)
        }
    }

    @Test("A broken request behind a good one is refused after the good one's answer")
    func brokenSecond() async throws {
        try await TestSite.with { site in
            let port = site.port
            try await blocking {
                let client = try WebClient(port)
                try client.send(
                    "GET /slow?50 HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nbroken\r\n\r\n")
                #expect(try client.answer().body == "slow\n")
                #expect(try client.answer().status == 400)
                #expect(try client.isClosed())
            }
        }
    }

    @Test("Headers have a size and a number, the target a length")
    func heads() async throws {
        try await TestSite.with { site in
            let port = site.port
            try await blocking {
                let start = "GET / HTTP/1.1\r\nHost: a\r\n"
                let wide = "X: \(String(repeating: "x", count: 17_000))\r\n\r\n"
                try Self.check(port, start + wide, [431])
                let many = String(repeating: "a: b\r\n", count: 10_000)
                try Self.check(port, start + many + "\r\n", [431])
                let target = String(repeating: "x", count: 9000)
                let rest = " HTTP/1.1\r\nHost: a\r\n\r\n"
                try Self.check(port, "GET /\(target)\(rest)", [414])
                let endless = String(repeating: "x", count: 1_048_576)
                try Self.check(port, "GET /\(endless)\(rest)", [414])
                // Bytes that are never the end of anything.
                let chunk = Self.post + "Transfer-Encoding: chunked\r\n\r\n1;\(endless)"
                try Self.check(port, chunk, [400, 431])
            }
            #expect(site.metrics.refusals[.headers].value >= 4)
        }
    }

    @Test("A body over the route's limit is not read, said beforehand or not")
    func bodies() async throws {
        try await TestSite.with { site in
            let port = site.port
            try await blocking {
                let whole = String(repeating: "x", count: 10_000)
                let client = try WebClient(port)
                try client.send(Self.post + "Content-Length: 10000\r\n\r\n\(whole)")
                #expect(try client.answer().status == 200)
                try client.send(Self.post + "Content-Length: 10001\r\n\r\n\(whole)")
                #expect(try client.answer().status == 413)
                #expect(try client.isClosed())
                let chunk = "1000\r\n\(String(repeating: "x", count: 4096))\r\n"
                let chunked = Self.post + "Transfer-Encoding: chunked\r\n\r\n"
                try Self.check(port, chunked + String(repeating: chunk, count: 20), [413])
                // A route without bodies, and no route at all.
                let get = "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n\(whole)"
                try Self.check(port, get, [413])
                let none = "POST /none HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n"
                try Self.check(port, none, [404])
            }
            #expect(site.metrics.refusals[.body].value == 3)
        }
    }

    @Test("A body that breaks off reaches no handler")
    func truncated() async throws {
        let route = WebRoute(.post, .exact("/keep"), bodyLimit: 1000) { request in
            Issue.record("handled: \(request.body.count)")
            return WebResponse(200)
        }
        try await TestSite.with(routes: [route]) { site in
            let port = site.port
            try await blocking {
                for framing in [
                    "Content-Length: 50\r\n\r\nhello",
                    "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
                ] {
                    let client = try WebClient(port)
                    try client.send("POST /keep HTTP/1.1\r\nHost: a\r\n\(framing)")
                    usleep(50_000)
                    client.endOutput()
                    #expect(try client.isClosed())
                }
            }
            let left = await site.eventually { site.metrics.connections.value == 0 }
            #expect(left)
        }
    }

    @Test("One who sends a byte a second gets 408, in the head and in the body")
    func slowloris() async throws {
        try await TestSite.with("limits:\n  web_request_time: 2s\n") { site in
            let port = site.port
            try await blocking {
                for start in [
                    "GET / HTTP/1.1\r\nHost: a\r\nX: ", Self.post + "Content-Length: 100\r\n\r\n",
                ] {
                    let client = try WebClient(port)
                    try client.send(start)
                    let clock = ContinuousClock()
                    let began = clock.now
                    for _ in 0..<10 {
                        usleep(400_000)
                        guard try client.send("a") else { break }
                        if clock.now - began > .milliseconds(2600) { break }
                    }
                    #expect(try client.answer().status == 408)
                    #expect(try client.isClosed())
                    #expect(clock.now - began < .seconds(8))
                }
            }
            #expect(site.metrics.refusals[.requestTime].value == 2)
        }
    }

    @Test("One who does not read a large answer is cut off")
    func slowReader() async throws {
        try await TestSite.with("limits:\n  web_request_time: 2s\n") { site in
            let port = site.port
            let client = try await blocking {
                let client = try WebClient(port, receiveBuffer: 4096)
                try client.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
                return SendableClient(client)
            }
            let refused = await site.eventually { site.metrics.refusals[.slowReader].value == 1 }
            #expect(refused)
            let left = await site.eventually { site.metrics.connections.value == 0 }
            #expect(left)
            _ = client
        }
    }

    @Test("An idle connection is closed, before a request and between two")
    func idle() async throws {
        try await TestSite.with("limits:\n  web_idle_time: 1s\n") { site in
            let port = site.port
            try await blocking {
                #expect(try WebClient(port).isClosed())
                let client = try WebClient(port)
                _ = try client.get("/")
                #expect(try client.isClosed())
            }
        }
    }

    @Test("What is no TLS ends at once, and silence after a time")
    func noTLS() async throws {
        try await TestSite.with("limits:\n  web_handshake_time: 1s\n") { site in
            let port = site.port
            try await blocking {
                for text in [
                    "GET / HTTP/1.1\r\nHost: a\r\n\r\n", String(repeating: "\u{7}", count: 500),
                ] {
                    let client = try WebClient(port, tls: false)
                    try client.send(text)
                    // At most an alert comes back.
                    #expect(try client.readToEnd().utf8.count < 20)
                }
                let silent = try WebClient(port, tls: false)
                #expect(try silent.isClosed())
                let half = try WebClient(port, tls: false)
                try half.send([0x16, 0x03, 0x01, 0x02, 0x00, 0x01])
                #expect(try half.isClosed())
            }
            #expect(site.metrics.refusals[.tls].value == 2)
            #expect(site.metrics.refusals[.handshakeTime].value == 2)
            let left = await site.eventually { site.metrics.connections.value == 0 }
            #expect(left)
        }
    }

    @Test("Connections have a limit, in all and for one address")
    func connections() async throws {
        for key in ["web_connections", "web_connections_per_address"] {
            try await TestSite.with("limits:\n  \(key): 3\n", exemptsLoopback: false) { site in
                let port = site.port
                try await blocking {
                    var clients = try (0..<3).map { _ in try WebClient(port) }
                    #expect(throws: WebClient.Failure.self) { _ = try WebClient(port) }
                    for client in clients { #expect(try client.get("/").status == 200) }
                    clients.removeLast()
                }
                let left = await site.eventually { site.metrics.connections.value == 0 }
                #expect(left)
                let answer = try await blocking { try WebClient(port).get("/") }
                #expect(answer.status == 200)
                let reason: WebRefusal =
                    key == "web_connections" ? .connections : .connectionsPerAddress
                #expect(site.metrics.refusals[reason].value == 1)
            }
        }
    }

    @Test("Idle connections make room when all places are taken, working ones do not")
    func room() async throws {
        let yaml = "limits:\n  web_connections: 3\n  web_idle_time: 12s\n"
        try await TestSite.with(yaml) { site in
            let port = site.port
            async let slow = blocking { try WebClient(port).get("/slow?5000") }
            let clients = try await blocking {
                try (0..<2).map { _ in SendableClient(try WebClient(port)) }
            }
            let full = await site.eventually { site.metrics.connections.value == 3 }
            #expect(full)
            try await Task.sleep(for: .milliseconds(1200))
            try await blocking {
                #expect(throws: WebClient.Failure.self) { _ = try WebClient(port) }
                let closed = try clients.filter { try $0.client.isClosed() }.count
                #expect(closed == 2)
            }
            let left = await site.eventually { site.metrics.connections.value == 1 }
            #expect(left)
            let answer = try await blocking { try WebClient(port).get("/") }
            #expect(answer.status == 200)
            #expect(try await slow.body == "slow\n")
        }
    }

    @Test("Requests of one address have a rate")
    func rate() async throws {
        try await TestSite.with("limits:\n  web_request_rate: 2\n", exemptsLoopback: false) {
            site in
            let port = site.port
            try await blocking {
                let client = try WebClient(port)
                var statuses: [Int] = []
                for _ in 0..<100 { statuses.append(try client.get("/").status) }
                #expect(statuses.prefix(8).allSatisfy { $0 == 200 })
                #expect(statuses.contains(429))
                var refusal = try client.get("/")
                while refusal.status == 200 { refusal = try client.get("/") }
                #expect(refusal.header("retry-after") == "1")
                sleep(1)
                #expect(try client.get("/").status == 200)
            }
            #expect(site.metrics.refusals[.rate].value >= 3)
        }
    }

    @Test("curl, which offers HTTP/2 too, trusts the certificate and gets HTTP/1.1")
    func curl() async throws {
        let curl = try #require(Program.find("curl"))
        try await TestSite.with { site in
            let port = site.port
            let folder = site.folder
            let text = try await blocking {
                let program = Program(
                    curl,
                    [
                        "-sS", "--max-time", "20", "--cacert", "\(folder)/authority.crt",
                        "--resolve", "example.org:\(port):127.0.0.1", "-w",
                        "%{http_version} %{http_code}\\n", "-T", "/etc/hostname",
                        "https://example.org:\(port)/item/x", "--next", "-sS", "--cacert",
                        "\(folder)/authority.crt", "--resolve", "example.org:\(port):127.0.0.1",
                        "-w", "%{http_version} %{num_connects}\\n", "-d", "hello",
                        "https://example.org:\(port)/echo",
                    ])
                var bytes: [UInt8] = []
                let end = try program.run(
                    output: { bytes += $0 },
                    errors: { Issue.record("\(String(decoding: $0, as: UTF8.self))") })
                #expect(end == .exited(0))
                return String(decoding: bytes, as: UTF8.self)
            }
            // A body for a route that takes none is refused.
            #expect(text.contains("1.1 413\n"))
            #expect(text.hasSuffix("hello1.1 1\n") || text.hasSuffix("hello1.1 0\n"))
        }
    }
}
