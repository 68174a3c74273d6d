// Tokens, passwords and networks.

import Prometheus
import Testing

@testable import MetricsEndpoint

@Suite("Access")
struct AccessTests {
    // "king:let:é" in base64; the password holds a colon.
    private static let basic = "Basic a2luZzpsZXQ6w6k="
    private static let both = MetricsServer.Access(
        bearerToken: "0123456789abcdef", basicUser: "king", basicPassword: "let:é")

    @Test("Without credentials every page is 401 and says how to give them")
    func challenge() throws {
        let server = try TestServer(access: Self.both)
        for path in ["/metrics", "/healthz", "/", "/nowhere"] {
            let answer = try server.get(path)
            #expect(answer.status == 401)
            #expect(
                answer.all("www-authenticate") == [
                    "Bearer realm=\"kinglet\"", "Basic realm=\"kinglet\", charset=\"UTF-8\"",
                ])
            #expect(!answer.body.contains("kinglet_"))
        }
    }

    @Test("The right token or the right password opens (RFC 6750, RFC 7617)")
    func right() throws {
        let server = try TestServer(access: Self.both)
        for value in [
            "Bearer 0123456789abcdef", "bearer 0123456789abcdef", Self.basic,
            "BASIC a2luZzpsZXQ6w6k", "Bearer   0123456789abcdef",
        ] {
            let answer = try server.get("/metrics", headers: ["Authorization: \(value)"])
            #expect(answer.status == 200, "\(value)")
        }
    }

    @Test(
        "Anything else does not",
        arguments: [
            "Bearer 0123456789abcdeg", "Bearer 0123456789abcde", "Bearer 0123456789abcdef0",
            "Bearer 0123456789abcdef0123456789abcdef", "Bearer ", "Bearer", "0123456789abcdef",
            "Basic 0123456789abcdef", "Basic a2luZzpsZXQ6w6k=x", "Basic a2luZzo=", "Basic !!!!",
            "Bearer a2luZzpsZXQ6w6k=", "Digest username=king", "",
        ])
    func wrong(value: String) throws {
        let answer = try TestServer(access: Self.both).get(
            "/metrics", headers: ["Authorization: \(value)"])
        #expect(answer.status == 401)
    }

    @Test("With only a token, a password does not open, and the other way round")
    func onlyOne() {
        let token = MetricsServer.Access(bearerToken: "t")
        #expect(token.accepts(authorization: "Bearer t"))
        #expect(!token.accepts(authorization: Self.basic))
        let password = MetricsServer.Access(basicUser: "king", basicPassword: "let:é")
        #expect(password.accepts(authorization: Self.basic))
        #expect(!password.accepts(authorization: "Bearer king"))
        #expect(password.challenges.count == 1)
    }

    @Test("Incomplete settings stop the start instead of opening the door")
    func incomplete() {
        for access in [
            MetricsServer.Access(bearerToken: ""), MetricsServer.Access(basicUser: "king"),
            MetricsServer.Access(basicPassword: "x"),
            MetricsServer.Access(basicUser: "king", basicPassword: ""),
            MetricsServer.Access(basicUser: "ki:ng", basicPassword: "x"),
            MetricsServer.Access(basicUser: "king", basicPassword: "x\n"),
            // A token file ends in a line feed, and no header can carry one.
            MetricsServer.Access(bearerToken: "t\n"), MetricsServer.Access(bearerToken: "t t"),
            MetricsServer.Access(bearerToken: " "), MetricsServer.Access(bearerToken: "t\u{0}"),
        ] {
            #expect(access.problem?.code == .badAccess)
        }
        #expect(MetricsServer.Access().problem == nil)
        #expect(Self.both.problem == nil)
    }

    @Test("Beyond loopback, something must be asked for")
    func beyondLoopback() {
        for address in ["0.0.0.0", "::", "0", "fe80::1%lo"] {
            let error = #expect(throws: MetricsEndpointError.self) {
                _ = try TestServer(address: address)
            }
            #expect(error?.code == .badAccess)
            #expect(error?.advice.contains("metrics.token") == true)
        }
    }

    @Test(
        "An allow-list that holds strangers is no lock; private networks are",
        arguments: [
            ("0.0.0.0/0", false), ("::/0", false), ("::ffff:0:0/96", false), ("128.0.0.0/1", false),
            ("2000::/3", false), ("10.0.0.0/8", true), ("fc00::/7", true), ("fe80::/10", true),
            ("192.168.0.0/16", true), ("127.0.0.1", true), ("8.0.0.0/7", false),
        ])
    func wide(network: String, isLock: Bool) throws {
        let cidr = try #require(CIDR(network))
        var access = MetricsServer.Access(
            allowedNetworks: [cidr] + ["10.1.1.1"].compactMap(CIDR.init))
        #expect(access.isOpen != isLock)
        if !isLock {
            #expect(throws: MetricsEndpointError.self) {
                _ = try TestServer(address: "::", access: access)
            }
        }
        access.bearerToken = "t"
        #expect(!access.isOpen)
    }

    @Test("Addresses outside the allow-list are 403, before any password is looked at")
    func allowList() throws {
        let networks = ["10.0.0.0/8", "::1"].compactMap(CIDR.init)
        var access = MetricsServer.Access(bearerToken: "t", allowedNetworks: networks)
        let closed = try TestServer(access: access)
        #expect(try closed.get("/metrics", headers: ["Authorization: Bearer t"]).status == 403)
        access.allowedNetworks += ["127.0.0.0/8"].compactMap(CIDR.init)
        let open = try TestServer(access: access)
        #expect(try open.get("/metrics").status == 401)
        #expect(try open.get("/metrics", headers: ["Authorization: Bearer t"]).status == 200)
    }

    @Test("An IPv4 client of an IPv6 socket is an IPv4 client (RFC 4291 section 2.5.5.2)")
    func mapped() throws {
        let networks = ["127.0.0.1"].compactMap(CIDR.init)
        let server = try TestServer(
            address: "::", access: MetricsServer.Access(allowedNetworks: networks))
        #expect(try server.get("/healthz").status == 200)
        let connection = try HTTPConnection(port: server.port, ipv6: true)
        connection.send(TestServer.request("/healthz"))
        #expect(try connection.readAnswer().status == 403)
    }

    @Test("Base64 decodes the vectors of RFC 4648 section 10, padded or not")
    func base64() {
        for (text, bytes) in [
            ("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYg==", "foob"),
            ("Zm9vYmE=", "fooba"), ("Zm9vYmFy", "foobar"), ("Zm9vYg", "foob"),
        ] {
            #expect(MetricsServer.Access.base64(text[...].utf8) == Array(bytes.utf8))
        }
        for text in ["Z", "Zm9vY", "Zg=x", "Zm 9v", "Zg===", "Zm9v\u{0}", "é"] {
            #expect(MetricsServer.Access.base64(text[...].utf8) == nil, "\(text)")
        }
    }
}
