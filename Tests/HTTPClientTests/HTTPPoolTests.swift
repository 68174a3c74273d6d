import Foundation
import HTTPClient
import Synchronization
import Testing

@Suite("Many requests share one thread and a few connections")
struct HTTPPoolTests {
    private static let patient = HTTPRules(timeLimit: .seconds(120))

    @Test("One connection serves a hundred requests, one after the other")
    func keepAlive() async throws {
        let server = try PoolServer()
        let pool = try HTTPPool()
        for number in 0..<100 {
            let body = [UInt8]("number \(number)".utf8)
            let result = await pool.send("/echo", port: server.plain, method: "POST", body: body)
            #expect(result.body == "number \(number)")
        }
        let counts = try server.counts()
        #expect(counts["requests"] == 100)
        // The second one asks for the counts.
        #expect(counts["connections"] == 2)
        #expect(pool.underWay == 0)
        pool.stop()
    }

    @Test("A response has its status, fields and body, and says when the request was sent")
    func response() async throws {
        let server = try PoolServer()
        let pool = try HTTPPool()
        let response = try await pool.send("/gone", port: server.plain).get()
        #expect(response.status == 410)
        #expect(response.header("X-Reason") == "gone")
        #expect(response.body == Array(#"{"reason": "Unregistered"}"#.utf8))
        let sent = try #require(response.requestSent)
        #expect(sent > .zero && sent < .seconds(60))
        let redirection = await pool.send("/redirect", port: server.plain)
        #expect(redirection.status == 302)
        #expect(redirection.body == "elsewhere")
        for method in ["GET", "HEAD", "PUT", "DELETE"] {
            #expect(await pool.send("/ok", port: server.plain, method: method).status == 200)
        }
        let large = [UInt8](repeating: 7, count: 60_000)
        let echo = try await pool.send("/echo", port: server.plain, method: "POST", body: large)
            .get()
        #expect(echo.body == large)
    }

    @Test("Many at once keep to the connections that there may be")
    func bounded() async throws {
        let server = try PoolServer()
        let pool = try HTTPPool(connectionsPerHost: 3)
        let statuses = await withTaskGroup(of: Int?.self) { group in
            for _ in 0..<60 {
                group.addTask { await pool.send("/slow?seconds=0.01", port: server.plain).status }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(statuses == Array(repeating: 200, count: 60))
        let counts = try server.counts()
        #expect(counts["requests"] == 60)
        // One more asks for the counts.
        #expect((2...4).contains(counts["peak"] ?? 0))
        #expect((counts["connections"] ?? 0) <= 4)
    }

    @Test("Connections that are not needed make room for others")
    func total() async throws {
        let servers = [try PoolServer(), try PoolServer(), try PoolServer()]
        let pool = try HTTPPool(connections: 1)
        for _ in 0..<3 {
            for server in servers {
                #expect(await pool.send("/ok", port: server.plain).status == 200)
            }
        }
        await withTaskGroup(of: Int?.self) { group in
            for number in 0..<12 {
                let port = servers[number % 3].plain
                group.addTask { await pool.send("/slow?seconds=0.01", port: port).status }
            }
            for await status in group { #expect(status == 200) }
        }
    }

    @Test("Nothing is waited for longer than it may take, not even for a connection")
    func timeouts() async throws {
        let server = try PoolServer()
        let pool = try HTTPPool(connectionsPerHost: 1)
        let short = HTTPRules(timeLimit: .milliseconds(300))
        for path in ["/never", "/slow?seconds=100"] {
            let began = ContinuousClock.now
            #expect(await pool.send(path, port: server.plain, short).code == .timeout)
            #expect(ContinuousClock.now - began >= .milliseconds(290))
            #expect(ContinuousClock.now - began < .seconds(60))
        }
        // The only connection is in use, and these two wait for it.
        async let long = pool.send("/slow?seconds=3", port: server.plain)
        async let first = pool.send("/ok", port: server.plain, short)
        async let second = pool.send("/ok", port: server.plain, short)
        let waited = await [first.code, second.code]
        #expect(waited.contains(.timeout))
        #expect(await long.status == 200)
        #expect(pool.underWay == 0)
        for limit in [Duration.zero, .seconds(-5), .seconds(Int64.max)] {
            let rules = HTTPRules(timeLimit: limit)
            let result = await pool.send("/ok", port: server.plain, rules)
            let isRight = limit > .zero ? result.status == 200 : result.code == .timeout
            #expect(isRight, "\(limit): \(result)")
        }
    }

    @Test("Head and body are bounded")
    func sizes() async throws {
        let server = try PoolServer()
        let pool = try HTTPPool()
        #expect(await pool.send("/headers", port: server.plain).code == .size)
        #expect(await pool.send("/large?bytes=65537", port: server.plain).code == .size)
        #expect(await pool.send("/large?bytes=65536", port: server.plain).status == 200)
        #expect(await pool.send("/large?bytes=9000000", port: server.plain).code == .size)
        let none = HTTPRules(bodyLimit: 0)
        #expect(await pool.send("/ok", port: server.plain, none).code == .size)
    }

    @Test("What is not HTTP, or breaks, is no response")
    func broken() async throws {
        let server = try PoolServer()
        let pool = try HTTPPool()
        let garbage = await pool.send("/garbage", port: server.plain).code
        #expect([.garbage, .request].contains(garbage))
        #expect(await pool.send("/drop", port: server.plain).code == .connection)
        #expect(await pool.send("/cut", port: server.plain).code == .connection)
        let closed = try TestServer { _, _ in }
        closed.stop()
        let refused = await pool.send("/s3cret", port: closed.port)
        #expect(refused.code == .connection)
        guard case .failure(let error) = refused else { return }
        #expect(error.host == "127.0.0.1")
        #expect(error.message.contains("refused"))
        let name = String(repeating: "x", count: 70) + ".invalid"
        let unknown = await pool.send(HTTPRequest("GET", "https://\(name)/"), Self.patient)
        #expect(unknown.code == .name)
    }

    @Test("A connection that the server has closed meanwhile is replaced")
    func closedMeanwhile() async throws {
        let server = try PoolServer()
        let pool = try HTTPPool()
        for _ in 0..<3 {
            #expect(await pool.send("/close", port: server.plain).status == 200)
        }
        #expect(await pool.send("/drop-kept", port: server.plain).status == 200)
        for _ in 0..<3 { #expect(await pool.send("/ok", port: server.plain).status == 200) }
        try await Task.sleep(for: .milliseconds(200))
        #expect(await pool.send("/ok", port: server.plain).status == 200)
    }

    @Test(
        "What cannot be sent is told, too",
        arguments: [
            HTTPRequest("GET", "file:///etc/passwd"), HTTPRequest("GET", ""),
            HTTPRequest("get", "http://127.0.0.1/"), HTTPRequest("GET", "http:///x"),
            HTTPRequest("GET", "http://127.0.0.1/", headers: [("X", "a\r\nY: b")]),
        ])
    func impossible(request: HTTPRequest) async throws {
        let pool = try HTTPPool()
        #expect(await pool.send(request, Self.patient).code == .request)
    }

    @Test("The end of a request may send the next one")
    func chain() async throws {
        let server = try PoolServer()
        let pool = try HTTPPool()
        let url = "http://127.0.0.1:\(server.plain)/ok"
        let statuses = await withCheckedContinuation { continuation in
            pool.send(HTTPRequest("GET", url), Self.patient) { first in
                pool.send(HTTPRequest("GET", url), Self.patient) { second in
                    continuation.resume(returning: [first.status, second.status])
                }
            }
        }
        #expect(statuses == [200, 200])
    }

    // MARK: Stopping

    @Test("Stopping ends what is under way, once each, and what comes afterwards")
    func stopping() async throws {
        let server = try PoolServer()
        let pool = try HTTPPool(connectionsPerHost: 2)
        let ends = Mutex<[HTTPError.Code?]>([])
        for _ in 0..<20 {
            let url = "http://127.0.0.1:\(server.plain)/never"
            pool.send(HTTPRequest("GET", url), Self.patient) { result in
                ends.withLock { $0.append(result.code) }
            }
        }
        #expect(pool.underWay == 20)
        try await Task.sleep(for: .milliseconds(100))
        pool.stop()
        #expect(ends.withLock { $0 } == Array(repeating: .cancelled, count: 20))
        #expect(pool.underWay == 0)
        let late = await pool.send("/ok", port: server.plain)
        #expect(late.code == .cancelled)
        pool.stop()
    }

    @Test("It may be stopped by the end of a request, or just let go")
    func stoppedByItself() async throws {
        let server = try PoolServer()
        let url = "http://127.0.0.1:\(server.plain)/ok"
        let pool = try HTTPPool()
        let status = await withCheckedContinuation { continuation in
            pool.send(HTTPRequest("GET", url), Self.patient) { result in
                pool.stop()
                continuation.resume(returning: result.status)
            }
        }
        #expect(status == 200)
        pool.stop()
        let code = await withCheckedContinuation { continuation in
            try? HTTPPool().send(
                HTTPRequest("GET", "http://127.0.0.1:\(server.plain)/never"), Self.patient
            ) { continuation.resume(returning: $0.code) }
        }
        #expect(code == .cancelled)
    }

    // MARK: Resources

    /// Descriptors of this process that are sockets to a port, and all its `http` threads.
    private static func sockets(to port: Int) throws -> Int {
        let digits = String(port, radix: 16, uppercase: true)
        let wanted = ":" + String(repeating: "0", count: 4 - digits.count) + digits
        let table = try String(contentsOfFile: "/proc/net/tcp", encoding: .utf8)
        // 01: established, 08: the other end has closed.
        var inodes: Set<String> = []
        for line in table.split(separator: "\n") {
            let fields = line.split(separator: " ").map(String.init)
            guard fields.count > 9, fields[2].hasSuffix(wanted) else { continue }
            if ["01", "08"].contains(fields[3]) { inodes.insert("socket:[\(fields[9])]") }
        }
        let folder = "/proc/self/fd"
        return try FileManager.default.contentsOfDirectory(atPath: folder).count { name in
            let target = try? FileManager.default.destinationOfSymbolicLink(
                atPath: "\(folder)/\(name)")
            return target.map(inodes.contains) ?? false
        }
    }

    @Test("Five hundred failures leave no more connections than there may be, and stopping none")
    func leaks() async throws {
        let server = try PoolServer()
        let pool = try HTTPPool(connectionsPerHost: 4)
        let paths = [
            "/garbage", "/drop", "/cut", "/headers", "/large?bytes=100000", "/close", "/ok",
            "/never",
        ]
        await withTaskGroup(of: Void.self) { group in
            for number in 0..<500 {
                let path = paths[(number &* 7 &+ number / 11) % paths.count]
                let limit: Duration = path == "/never" ? .milliseconds(50) : .seconds(120)
                group.addTask {
                    _ = await pool.send(path, port: server.plain, HTTPRules(timeLimit: limit))
                }
                if number % 20 == 19 { await group.waitForAll() }
            }
        }
        #expect(pool.underWay == 0)
        #expect(try Self.sockets(to: server.plain) <= 4)
        #expect(await pool.send("/ok", port: server.plain).status == 200)
        pool.stop()
        #expect(try Self.sockets(to: server.plain) == 0)
    }

    @Test("A pool that has nothing to do does nothing, also with connections kept")
    func idle() async throws {
        let server = try PoolServer()
        let pool = try HTTPPool()
        let threads = Mutex<String?>(nil)
        let url = "http://127.0.0.1:\(server.plain)/ok"
        await withCheckedContinuation { continuation in
            pool.send(HTTPRequest("GET", url), Self.patient) { _ in
                let link = "/proc/thread-self"
                let own = try? FileManager.default.destinationOfSymbolicLink(atPath: link)
                threads.withLock { $0 = own }
                continuation.resume()
            }
        }
        let thread = try #require(threads.withLock { $0 })
        func switches() throws -> [Substring] {
            let status = try String(contentsOfFile: "/proc/\(thread)/status", encoding: .utf8)
            return status.split(separator: "\n").filter { $0.contains("voluntary_ctxt_switches") }
        }
        try await Task.sleep(for: .milliseconds(300))
        let before = try switches()
        #expect(before.count == 2)
        try await Task.sleep(for: .seconds(2))
        #expect(try switches() == before)
        pool.stop()
    }
}
