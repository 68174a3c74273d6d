import Foundation
import HTTPClient
import Testing

@Suite("A pool's connections: certificates, HTTP/2, private addresses")
struct PoolSecurityTests {
    private static let two = HTTPRules(timeLimit: .seconds(120), needsHTTP2: true)

    // MARK: TLS

    @Test("A certificate counts when its authority is the system's or named, and its name fits")
    func certificates() async throws {
        let server = try PoolServer()
        let strict = try HTTPPool()
        #expect(await strict.send("/ok", port: server.secure, secure: true).code == .tls)
        let pool = try HTTPPool(authorities: server.certificate)
        #expect(await pool.send("/ok", port: server.secure, secure: true).status == 200)
        let rules = HTTPRules(timeLimit: .seconds(120))
        let named = HTTPRequest("GET", "https://localhost:\(server.secure)/ok")
        #expect(await pool.send(named, rules).status == 200)
        let other = HTTPRequest("GET", "https://127.0.0.2:\(server.secure)/ok")
        #expect([.tls, .connection].contains(await pool.send(other, rules).code))
        let plain = try TestServer { _, connection in
            TestServer.write("HTTP/1.1 400 Bad Request\r\n\r\n", to: connection)
        }
        let short = HTTPRules(timeLimit: .seconds(2))
        let mixed = await pool.send("/ok", port: plain.port, secure: true, short).code
        #expect(mixed == .tls || mixed == .timeout)
        #expect(throws: HTTPError.self) { try HTTPPool(authorities: "/nonexistent") }
    }

    // MARK: HTTP/2

    @Test("Requests at the same time share one connection of HTTP/2")
    func multiplexing() async throws {
        let server = try PoolServer()
        let pool = try HTTPPool(authorities: server.certificate)
        for isSecure in [true, false] {
            let port = isSecure ? server.secure : server.plain
            let before = try server.counts()
            await withTaskGroup(of: String?.self) { group in
                for number in 0..<100 {
                    group.addTask {
                        await pool.send(
                            "/echo", port: port, secure: isSecure, method: "POST",
                            body: Array("\(number)".utf8), Self.two
                        ).body
                    }
                }
                var bodies: Set<String?> = []
                for await body in group { bodies.insert(body) }
                #expect(bodies.count == 100 && !bodies.contains(nil))
            }
            let after = try server.counts()
            #expect((after["streams"] ?? 0) - (before["streams"] ?? 0) == 100)
            // One, and one that asks for the counts. Without TLS it depends on libcurl's version.
            guard isSecure else { continue }
            #expect((after["connections"] ?? 0) - (before["connections"] ?? 0) == 2)
        }
    }

    @Test("Without HTTP/2 there is no answer, if it is needed")
    func oldServer() async throws {
        let server = try PoolServer()
        let pool = try HTTPPool(authorities: server.certificate)
        #expect(await pool.send("/ok", port: server.old, secure: true).status == 200)
        #expect(await pool.send("/ok", port: server.old, secure: true, Self.two).code == .garbage)
        let plain = try TestServer { _, connection in
            TestServer.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", to: connection)
        }
        let code = await pool.send("/ok", port: plain.port, Self.two).code
        #expect([.garbage, .connection].contains(code))
        // The connection of HTTP/1 that was kept is not taken for one of HTTP/2.
        #expect(await pool.send("/ok", port: server.plain).status == 200)
        #expect(await pool.send("/ok", port: server.plain, Self.two).status == 200)
    }

    @Test("A server that goes away in between loses nothing that it has not looked at")
    func goingAway() async throws {
        let server = try PoolServer()
        let pool = try HTTPPool(authorities: server.certificate)
        func send(_ path: String) async -> Result<HTTPResponse, HTTPError> {
            await pool.send(path, port: server.secure, secure: true, Self.two)
        }
        /// Whether the next ones succeed. The first of them may still have met the old connection.
        func recovers() async -> Bool {
            let first = await send("/ok")
            let second = await send("/ok")
            return [200, nil].contains(first.status) && second.status == 200
        }
        // With the answer, several times: the next one gets a new connection.
        for _ in 0..<5 {
            #expect(await send("/goaway").status == 200)
            #expect(await recovers())
        }
        // Without having looked: it is sent again, or the failure is one of the connection.
        for number in 0..<5 {
            let result = await send("/refuse\(number)")
            #expect(result.status == 200 || result.code == .connection, "\(result)")
            #expect(await recovers())
        }
        for path in ["/vanish", "/rst"] {
            let result = await send(path)
            #expect(result.code == .connection, "\(result)")
            #expect(await recovers())
        }
    }

    @Test("A server that takes one request at first gets the others later")
    func narrowServer() async throws {
        let server = try PoolServer()
        let pool = try HTTPPool(authorities: server.certificate)
        for _ in 0..<2 {
            await withTaskGroup(of: Result<HTTPResponse, HTTPError>.self) { group in
                for _ in 0..<40 {
                    group.addTask {
                        await pool.send(
                            "/slow?seconds=0.1", port: server.narrow, secure: true, Self.two)
                    }
                }
                for await result in group { #expect(result.status == 200, "\(result)") }
            }
        }
        let counts = try server.counts()
        #expect(counts["streams"] == 80)
        #expect(counts["refused"] == 0)
        // The second one asks for the counts.
        #expect(counts["connections"] == 2)
    }

    @Test("Those that wait for the first answer end with it, or when their time is over")
    func noFirstAnswer() async throws {
        let server = try PoolServer()
        let pool = try HTTPPool(authorities: server.certificate)
        let closed = try TestServer { _, _ in }
        closed.stop()
        func codes(_ path: String, port: Int, _ rules: HTTPRules) async -> [HTTPError.Code?] {
            await withTaskGroup(of: HTTPError.Code?.self) { group in
                for _ in 0..<20 {
                    group.addTask { await pool.send(path, port: port, secure: true, rules).code }
                }
                return await group.reduce(into: []) { $0.append($1) }
            }
        }
        let refused = await codes("/ok", port: closed.port, Self.two)
        #expect(refused == Array(repeating: .connection, count: 20))
        let old = await codes("/ok", port: server.old, Self.two)
        #expect(old == Array(repeating: .garbage, count: 20))
        var short = Self.two
        short.timeLimit = .milliseconds(300)
        let silent = await codes("/never", port: server.secure, short)
        #expect(silent == Array(repeating: .timeout, count: 20))
        let answered = await codes("/ok", port: server.secure, Self.two)
        #expect(answered == Array(repeating: nil, count: 20))
        async let last = codes("/never", port: server.narrow, Self.two)
        while pool.underWay < 20 { try await Task.sleep(for: .milliseconds(5)) }
        pool.stop()
        #expect(await last == Array(repeating: .cancelled, count: 20))
    }

    @Test("Many under way when a server goes away all end, and the next ones succeed")
    func goingAwayFromMany() async throws {
        let server = try PoolServer()
        let pool = try HTTPPool(authorities: server.certificate)
        for round in 0..<5 {
            await withTaskGroup(of: Result<HTTPResponse, HTTPError>.self) { group in
                for number in 0..<40 {
                    let path =
                        number == 20
                        ? ["/goaway", "/vanish", "/refuse-\(round)"][round % 3]
                        : "/slow?seconds=0.0\(number % 9)"
                    group.addTask {
                        await pool.send(path, port: server.secure, secure: true, Self.two)
                    }
                }
                for await result in group {
                    #expect(result.status == 200 || result.code == .connection, "\(result)")
                }
            }
            _ = await pool.send("/ok", port: server.secure, secure: true, Self.two)
            let next = await pool.send("/ok", port: server.secure, secure: true, Self.two)
            #expect(next.status == 200)
        }
        #expect(pool.underWay == 0)
    }

    @Test("A stream that is silent ends alone")
    func silentStream() async throws {
        let server = try PoolServer()
        let pool = try HTTPPool(authorities: server.certificate)
        var short = Self.two
        short.timeLimit = .milliseconds(300)
        let before = try server.counts()
        async let silent = pool.send("/never", port: server.secure, secure: true, short)
        async let slow = pool.send("/slow?seconds=1", port: server.secure, secure: true, Self.two)
        #expect(await silent.code == .timeout)
        #expect(await slow.status == 200)
        var small = Self.two
        small.bodyLimit = 1000
        let large = "/large?bytes=1001"
        #expect(await pool.send(large, port: server.secure, secure: true, small).code == .size)
        #expect(await pool.send("/ok", port: server.secure, secure: true, Self.two).status == 200)
        let after = try server.counts()
        #expect((after["connections"] ?? 0) - (before["connections"] ?? 0) == 2)
    }

    // MARK: Addresses

    private static let guarded = HTTPRules(
        timeLimit: .seconds(120), forbidsPrivateAddresses: true)

    @Test(
        "A user's host does not lead into this network, however it is written",
        arguments: [
            "127.0.0.1", "2130706433", "0x7f.1", "0x7f000001", "0177.0.0.1", "127.1", "localhost",
            "0", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254",
            "100.64.0.1", "192.0.0.8", "198.18.0.1", "224.0.0.1", "255.255.255.255", "[::1]",
            "[::]", "[::ffff:127.0.0.1]", "[::ffff:10.0.0.1]", "[::ffff:7f00:1]",
            "[64:ff9b::7f00:1]",
            "[64:ff9b::a00:1]", "[2002:7f00:1::]", "[2002:a00:1::]", "[fc00::1]", "[fd12::1]",
            "[fe80::1]", "[ff02::1]", "[::7f00:1]", "[2001:0:7f00:1::]", "[64:ff9b:1::1]",
        ])
    func forbidden(host: String) async throws {
        let pool = try HTTPPool()
        for scheme in ["https", "http"] {
            let request = HTTPRequest("POST", "\(scheme)://\(host):9/x", body: [1])
            let result = await pool.send(request, Self.guarded)
            #expect(result.code == .forbiddenAddress, "\(result)")
        }
    }

    @Test("A connection that was opened without the rule is not used by a request with it")
    func separation() async throws {
        let server = try PoolServer()
        let pool = try HTTPPool(authorities: server.certificate)
        for _ in 0..<3 {
            #expect(await pool.send("/ok", port: server.plain).status == 200)
            #expect(await pool.send("/ok", port: server.secure, secure: true).status == 200)
            let plain = await pool.send("/ok", port: server.plain, Self.guarded)
            #expect(plain.code == .forbiddenAddress)
            var rules = Self.guarded
            rules.needsHTTP2 = true
            let secure = await pool.send("/ok", port: server.secure, secure: true, rules)
            #expect(secure.code == .forbiddenAddress)
        }
        #expect(try server.counts()["requests"] == 3)
    }
}
