// What well-behaved clients get.

import Prometheus
import Testing

@testable import Web

@Suite struct WebRequestTests {
    @Test("A page at /, with headers that keep browsers careful, and no Server")
    func welcome() async throws {
        try await TestSite.with { site in
            let port = site.port
            let answer = try await blocking { try WebClient(port).get("/") }
            #expect(answer.status == 200)
            #expect(answer.body.hasPrefix("This is a chat server"))
            #expect(answer.header("server") == nil)
            #expect(answer.header("x-content-type-options") == "nosniff")
            #expect(answer.header("cache-control") == "no-store")
            #expect(answer.header("referrer-policy") == "no-referrer")
            #expect(answer.header("date")?.hasSuffix(" GMT") == true)
            #expect(answer.header("connection") == nil)
        }
    }

    @Test("Requests of one connection, with and without a body, one after the other")
    func keepAlive() async throws {
        try await TestSite.with { site in
            let port = site.port
            let texts = try await blocking {
                let client = try WebClient(port)
                var texts: [String] = []
                for index in 0..<20 {
                    let body = String(repeating: "b", count: index * 400)
                    try client.send(
                        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: \(body.utf8.count)\r\n"
                            + "\r\n\(body)")
                    let answer = try client.answer()
                    #expect(answer.status == 200 && answer.body == body)
                    texts.append(try client.get("/item/\(index)?q=\(index)").body)
                }
                return texts
            }
            #expect(texts == (0..<20).map { "[\($0)] [q=\($0)]\n" })
            let counted = await site.eventually { site.metrics.requests[.success].value == 40 }
            #expect(counted)
            let left = await site.eventually { site.metrics.connections.value == 0 }
            #expect(left)
        }
    }

    @Test("Requests that are sent ahead are answered in order")
    func pipelining() async throws {
        try await TestSite.with { site in
            let port = site.port
            try await blocking {
                let client = try WebClient(port)
                var text = ""
                for index in 0..<6 {
                    text += "GET /item/\(index) HTTP/1.1\r\nHost: a\r\n\r\n"
                    text += "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                    text += "3\r\nabc\r\n1\r\n\(index)\r\n0\r\n\r\n"
                }
                try client.send("GET /slow?100 HTTP/1.1\r\nHost: a\r\n\r\n" + text)
                #expect(try client.answer().body == "slow\n")
                for index in 0..<6 {
                    let item = try client.answer()
                    #expect(item.body == "[\(index)] []\n")
                    let echo = try client.answer()
                    #expect(echo.body == "abc\(index)")
                }
                #expect(try client.get("/").status == 200)
            }
        }
    }

    @Test("Requests may come in single bytes, and in odd pieces")
    func pieces() async throws {
        try await TestSite.with { site in
            let port = site.port
            let text =
                "\r\nPOST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                + "5;x=y\r\nhello\r\n0\r\nTrailer: t\r\n\r\n"
                + "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
            try await blocking {
                for size in [1, 7, 64] {
                    let client = try WebClient(port)
                    let bytes = Array(text.utf8)
                    for start in stride(from: 0, to: bytes.count, by: size) {
                        try client.send(Array(bytes[start..<min(bytes.count, start + size)]))
                    }
                    for _ in 0..<2 {
                        let answer = try client.answer()
                        #expect(answer.status == 200 && answer.body == "hello")
                    }
                }
            }
        }
    }

    @Test("Of many that are sent ahead the first are answered, then the connection is closed")
    func pipeliningLimit() async throws {
        try await TestSite.with { site in
            let port = site.port
            let text = try await blocking {
                let client = try WebClient(port)
                let one = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
                try client.send(String(repeating: one, count: 300))
                return try client.readToEnd()
            }
            let answers = text.components("HTTP/1.1 200")
            #expect(answers > 1 && answers < 100)
            #expect(text.contains("onnection: close"))
        }
    }

    @Test(
        "Also with one more than are held the connection is closed, and nothing is skipped",
        arguments: [18, 25, 33, 34])
    func pipeliningEdge(count: Int) async throws {
        try await TestSite.with { site in
            let port = site.port
            let text = try await blocking {
                let client = try WebClient(port)
                let requests = (0..<count).map { index in
                    "GET /item/\(index) HTTP/1.1\r\nHost: a\r\n\r\n"
                }
                try client.send(
                    "GET /slow?100 HTTP/1.1\r\nHost: a\r\n\r\n" + requests.joined())
                return try client.readToEnd()
            }
            let answers = text.components("HTTP/1.1 200") - 1
            #expect((1..<count).contains(answers))
            for index in 0..<answers - 1 { #expect(text.contains("[\(index)] []")) }
        }
    }

    @Test("HEAD is GET without the body, OPTIONS tells the methods, others get 405")
    func methods() async throws {
        try await TestSite.with { site in
            let port = site.port
            try await blocking {
                let client = try WebClient(port)
                let head = try client.get("/item/x", method: "HEAD")
                #expect(head.status == 200)
                #expect(head.header("content-length") == "7")
                let options = try client.get("/item/x", method: "OPTIONS")
                #expect(options.status == 204)
                #expect(options.header("allow") == "GET, HEAD, OPTIONS, PUT")
                let all = try client.get("*", method: "OPTIONS")
                #expect(all.header("allow") == "GET, HEAD, OPTIONS")
                let delete = try client.get("/item/x", method: "DELETE")
                #expect(delete.status == 405)
                #expect(delete.header("allow") == "GET, HEAD, OPTIONS, PUT")
                let put = try client.get("/item/x", method: "PUT")
                #expect(put.status == 204)
                #expect(put.header("content-length") == nil)
                for method in ["TRACE", "PROPFIND", "QUERY"] {
                    let answer = try client.get("/", method: method)
                    #expect(answer.status == 405)
                    #expect(answer.header("content-type") == "application/problem+json")
                }
                #expect(try WebClient(port).get("/", method: "BREW").status == 400)
            }
        }
    }

    @Test(
        "What is not there is not found",
        arguments: [
            "/item", "/item/", "/item/a/b", "/items/a", "//", "/metrics", "/item/%", "/item/%zz",
            "/item/%00", "/item/%ff", "/echo/", "/ECHO", "/item/../echo",
        ])
    func notFound(_ path: String) async throws {
        try await TestSite.with { site in
            let port = site.port
            let answer = try await blocking { try WebClient(port).get(path) }
            #expect(answer.status == 404)
        }
    }

    @Test("Targets in absolute form, and percent-encoding in the parameter")
    func targets() async throws {
        try await TestSite.with { site in
            let port = site.port
            try await blocking {
                let client = try WebClient(port)
                #expect(try client.get("https://example.org/item/a?b").body == "[a] [b]\n")
                #expect(try client.get("https://example.org").status == 200)
                #expect(try client.get("/item/a%2Fb%C3%A9").body == "[a/bé] []\n")
            }
        }
    }

    @Test("The connection is closed where the client or the limit says so")
    func closing() async throws {
        try await TestSite.with("limits:\n  web_requests_per_connection: 3\n") { site in
            let port = site.port
            try await blocking {
                let client = try WebClient(port)
                let answer = try client.get("/", headers: "Connection: close\r\n")
                #expect(answer.header("connection") == "close")
                #expect(try client.isClosed())
                let old = try WebClient(port)
                try old.send("GET / HTTP/1.0\r\n\r\n")
                #expect(try old.answer().header("connection") == "close")
                #expect(try old.isClosed())
                let upgrade = try WebClient(port)
                let upgraded = try upgrade.get(
                    "/", headers: "Connection: Upgrade\r\nUpgrade: h2c\r\n")
                #expect(upgraded.status == 200)
                #expect(try upgrade.isClosed())
                let third = try WebClient(port)
                #expect(try third.get("/").header("connection") == nil)
                #expect(try third.get("/").header("connection") == nil)
                #expect(try third.get("/").header("connection") == "close")
                #expect(try third.isClosed())
            }
        }
    }

    @Test("Who closes its side after a request still gets the answer")
    func halfClosed() async throws {
        try await TestSite.with { site in
            let port = site.port
            let text = try await blocking {
                let client = try WebClient(port)
                try client.send("GET /slow?200 HTTP/1.1\r\nHost: a\r\n\r\n")
                client.endOutput()
                return try client.readToEnd()
            }
            #expect(text.hasSuffix("slow\n"))
        }
    }

    @Test("100 Continue is said where the body will be taken, and only there")
    func expectation() async throws {
        try await TestSite.with { site in
            let port = site.port
            try await blocking {
                let client = try WebClient(port)
                let head = "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                try client.send(head + "Content-Length: 5\r\n\r\n")
                #expect(try client.answer().status == 100)
                try client.send("hello")
                let answer = try client.answer()
                #expect(answer.status == 200 && answer.body == "hello")
                try client.send(head + "Content-Length: 10001\r\n\r\n")
                let refusal = try client.answer()
                #expect(refusal.status == 413)
                #expect(refusal.header("connection") == "close")
                #expect(try client.isClosed())
                let other = try WebClient(port)
                let wrong = try other.get("/", headers: "Expect: tea\r\n")
                #expect(wrong.status == 417)
            }
        }
    }

    @Test("A handler that works too long is told, and the client gets 503")
    func slowHandler() async throws {
        try await TestSite.with("limits:\n  web_request_time: 1s\n") { site in
            let port = site.port
            let answer = try await blocking {
                let client = try WebClient(port)
                let answer = try client.get("/slow")
                #expect(try client.isClosed())
                return answer
            }
            #expect(answer.status == 503)
            // It was cancelled, so its connection counts no more.
            let left = await site.eventually { site.metrics.connections.value == 0 }
            #expect(left)
            #expect(site.metrics.refusals[.requestTime].value == 1)
        }
    }

    @Test("A close waits for what is under way")
    func gracefulClose() async throws {
        try await TestSite.with { site in
            let port = site.port
            async let answer = blocking { try WebClient(port).get("/slow?700") }
            let idle = try await blocking {
                let client = try WebClient(port)
                _ = try client.get("/")
                return SendableClient(client)
            }
            let both = await site.eventually { site.metrics.connections.value == 2 }
            #expect(both)
            try await Task.sleep(for: .milliseconds(200))
            await site.server.close()
            #expect(try await answer.body == "slow\n")
            #expect(try await blocking { try idle.client.isClosed() })
            #expect(throws: WebClient.Failure.self) { _ = try WebClient(port) }
        }
    }
}

/// A client that threads use one after the other.
struct SendableClient: @unchecked Sendable {
    let client: WebClient

    init(_ client: WebClient) { self.client = client }
}

extension String {
    /// How often a text occurs.
    func components(_ text: String) -> Int {
        var count = 0
        var rest = self[...]
        while let range = rest.firstRange(of: text) {
            count += 1
            rest = rest[range.upperBound...]
        }
        return count
    }
}
