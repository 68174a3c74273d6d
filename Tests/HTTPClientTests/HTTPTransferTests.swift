import Foundation
import HTTPClient
import Testing

@Suite("Requests to other servers are bounded, and keep their secrets")
struct HTTPTransferTests {
    private func failure(
        _ request: HTTPRequest, _ transfer: HTTPTransfer = HTTPTransfer(timeLimit: .seconds(120))
    ) -> HTTPError? {
        do {
            _ = try transfer.perform(request)
            return nil
        } catch {
            #expect(!error.description.contains("s3cret"))
            return error
        }
    }

    private func url(_ server: TestServer) -> String {
        "http://user:s3cret@127.0.0.1:\(server.port)/s3cret?token=s3cret"
    }

    @Test("A response has its status, fields and body")
    func response() throws {
        let server = try TestServer { _, connection in
            TestServer.write(
                "HTTP/1.1 404 Not Found\r\nX-One: a b \r\nEmpty:\r\nContent-Length: 5\r\n\r\nhello",
                to: connection)
        }
        let response = try HTTPTransfer().perform(
            HTTPRequest("GET", url(server), headers: [("Accept", "text/plain"), ("X-Empty", "")]))
        #expect(response.status == 404)
        #expect(!response.isSuccess)
        #expect(response.header("x-one") == "a b")
        #expect(response.header("empty") == "")
        #expect(response.header("other") == nil)
        #expect(response.body == Array("hello".utf8))
        let request = try #require(server.requests.first)
        #expect(request.hasPrefix("GET /s3cret?token=s3cret HTTP/1.1\r\n"))
        #expect(request.contains("\r\nAccept: text/plain\r\n"))
        #expect(request.contains("\r\nX-Empty:\r\n"))
    }

    @Test("A body is sent as it is, also an empty one", arguments: [0, 5, 300_000])
    func body(length: Int) throws {
        let server = try TestServer { _, connection in
            TestServer.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", to: connection)
        }
        let body = [UInt8](repeating: UInt8(ascii: "x"), count: length)
        for method in ["POST", "PUT"] {
            let response = try HTTPTransfer().perform(
                HTTPRequest(method, url(server), body: body))
            #expect(response.isSuccess)
            let request = try #require(server.requests.last)
            #expect(request.hasPrefix("\(method) /"))
            #expect(request.hasSuffix("\r\n\r\n" + String(decoding: body, as: UTF8.self)))
            #expect(request.contains("\r\nContent-Length: \(length)\r\n"))
            #expect(!request.contains("Content-Type") && !request.contains("Expect"))
        }
    }

    @Test("A redirection is a response, unless it is to be followed")
    func redirection() throws {
        let server = try TestServer { request, connection in
            TestServer.write(
                request.contains(" /end ")
                    ? "HTTP/1.1 200 OK\r\nX-End: 1\r\nContent-Length: 3\r\n\r\nend"
                    : "HTTP/1.1 302 Found\r\nLocation: /end\r\nContent-Length: 4\r\n\r\nelse",
                to: connection)
        }
        let request = HTTPRequest("GET", url(server))
        let first = try HTTPTransfer().perform(request)
        #expect(first.status == 302)
        #expect(server.requests.count == 1)
        var transfer = HTTPTransfer()
        transfer.redirections = 1
        let last = try transfer.perform(request)
        #expect(last.status == 200)
        #expect(last.body == Array("end".utf8))
        #expect(last.headers.map(\.name) == ["X-End", "Content-Length"])
        #expect(server.requests.count == 3)
    }

    @Test("A body is bounded, whether its length is announced or not")
    func endlessBody() throws {
        let server = try TestServer { request, connection in
            let length = request.contains("announced") ? "Content-Length: 1000000000\r\n" : ""
            TestServer.write("HTTP/1.1 200 OK\r\n\(length)\r\n", to: connection)
            let piece = String(repeating: "x", count: 10_000)
            while TestServer.write(piece, to: connection) {}
        }
        let transfer = HTTPTransfer(timeLimit: .seconds(120), bodyLimit: 100_000)
        for path in ["announced", "open"] {
            #expect(failure(HTTPRequest("GET", url(server) + path), transfer)?.code == .size)
        }
        let exact = try TestServer { _, connection in
            TestServer.write(
                "HTTP/1.1 200 OK\r\n\r\n" + String(repeating: "x", count: 100_000),
                to: connection)
        }
        #expect(
            try transfer.perform(HTTPRequest("GET", url(exact))).body.count == 100_000)
    }

    @Test("A head is bounded")
    func endlessHead() throws {
        let server = try TestServer { _, connection in
            TestServer.write("HTTP/1.1 200 OK\r\n", to: connection)
            while TestServer.write(
                "X-More: \(String(repeating: "x", count: 500))\r\n", to: connection)
            {}
        }
        #expect(failure(HTTPRequest("GET", url(server)))?.code == .size)
    }

    @Test("A server that is slow, or drips, is not waited for longer than the limit")
    func slow() throws {
        let silent = try TestServer { _, connection in TestServer.wait(for: connection) }
        let dripping = try TestServer { _, connection in
            TestServer.write("HTTP/1.1 200 OK\r\n\r\n", to: connection)
            while TestServer.write("x", to: connection) { poll(nil, 0, 20) }
        }
        let transfer = HTTPTransfer(timeLimit: .milliseconds(300))
        for server in [silent, dripping] {
            let began = ContinuousClock.now
            #expect(failure(HTTPRequest("GET", url(server)), transfer)?.code == .timeout)
            #expect(ContinuousClock.now - began >= .milliseconds(290))
            #expect(ContinuousClock.now - began < .seconds(60))
        }
    }

    @Test("A transfer that nobody wants any more ends")
    func cancelled() throws {
        let server = try TestServer { _, connection in TestServer.wait(for: connection) }
        #expect {
            try HTTPTransfer(timeLimit: .seconds(100)).perform(
                HTTPRequest("GET", url(server)), isWanted: { false })
        } throws: {
            ($0 as? HTTPError)?.code == .cancelled
        }
    }

    @Test("What is not HTTP is no response")
    func garbage() throws {
        for text in [
            "SSH-2.0-OpenSSH_9.2\r\n", "\u{0}\u{1}\u{2}\r\n\r\n", "", "<html>hello</html>",
        ] {
            let server = try TestServer { _, connection in TestServer.write(text, to: connection) }
            let code = failure(HTTPRequest("GET", url(server)))?.code
            #expect([.garbage, .connection, .request].contains(code), "\(text)")
        }
        let cut = try TestServer { _, connection in
            TestServer.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", to: connection)
        }
        #expect(failure(HTTPRequest("GET", url(cut)))?.code == .connection)
    }

    @Test("No connection and no such name are told apart")
    func unreachable() throws {
        let server = try TestServer { _, _ in }
        server.stop()
        let refused = failure(HTTPRequest("GET", "http://127.0.0.1:\(server.port)/s3cret"))
        #expect(refused?.code == .connection)
        #expect(refused?.host == "127.0.0.1")
        #expect(refused?.message.contains("refused") == true)
        // A label that is too long is unknown without asking anybody.
        let name = String(repeating: "x", count: 70) + ".invalid"
        let unknown = failure(HTTPRequest("GET", "https://\(name)/s3cret"))
        #expect(unknown?.code == .name)
        #expect(unknown?.host == name)
    }

    @Test(
        "Only https and http addresses are asked",
        arguments: [
            "file:///etc/passwd", "ftp://127.0.0.1/", "127.0.0.1", "", "https://", "http:///x",
            "gopher://127.0.0.1/", "http://127.0.0.1/a b", "http://127.0.0.1/\r\nX: y", "https:",
            "HTTP//x", "dict://127.0.0.1/",
        ])
    func schemes(url: String) {
        #expect(failure(HTTPRequest("GET", url))?.code == .request)
    }

    @Test("A request cannot carry what is no method or field")
    func injection() throws {
        let server = try TestServer { _, _ in }
        let url = url(server)
        let bad = [
            HTTPRequest("GET\r\nX: y", url), HTTPRequest("", url), HTTPRequest("get", url),
            HTTPRequest("GET", url, headers: [("X", "a\r\nY: b")]),
            HTTPRequest("GET", url, headers: [("X: y", "a")]),
            HTTPRequest("GET", url, headers: [("", "a")]),
            HTTPRequest("GET", url, headers: [("X\n", "a")]),
        ]
        for request in bad { #expect(failure(request)?.code == .request) }
        #expect(server.requests.isEmpty)
    }

    @Test("A proxy gets the whole address")
    func proxy() throws {
        let server = try TestServer { _, connection in
            TestServer.write("HTTP/1.1 204 No Content\r\n\r\n", to: connection)
        }
        var transfer = HTTPTransfer()
        transfer.proxy = "http://127.0.0.1:\(server.port)"
        let response = try transfer.perform(HTTPRequest("GET", "http://elsewhere.invalid/x"))
        #expect(response.status == 204)
        #expect(server.requests.last?.hasPrefix("GET http://elsewhere.invalid/x HTTP") == true)
    }

    @Test("A URL's host is found without user, password and port")
    func hosts() {
        #expect(HTTPTransfer.host(of: "https://u:p@example.org:8443/x?y#z") == "example.org")
        #expect(HTTPTransfer.host(of: "http://[::1]:80/") == "[::1]")
        #expect(HTTPTransfer.host(of: "nothing") == nil)
    }
}
