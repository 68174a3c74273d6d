import Foundation
import Testing

@testable import DNS

@Suite("Look-ups with a real name server")
struct ResolverTests {
    private static let records = [
        "--srv-host=_xmpp-server._tcp.example.test,xmpp.example.test,5269,10,60",
        "--srv-host=_xmpp-server._tcp.example.test,Backup.example.test,5270,20,0",
        "--srv-host=_xmpps-server._tcp.example.test",
        "--host-record=xmpp.example.test,192.0.2.7,2001:db8::7,500",
        "--host-record=four.example.test,192.0.2.8",
        "--host-record=six.example.test,2001:db8::8",
        "--cname=alias.example.test,xmpp.example.test",
    ]

    private func error<T>(_ body: () async throws(DNSError) -> T) async -> DNSError.Code? {
        do throws(DNSError) {
            _ = try await body()
            return nil
        } catch {
            return error.code
        }
    }

    @Test(
        "Services, their absence and their denial are told apart (RFC 2782, RFC 6120 section 3.2)")
    func services() async throws {
        let server = try Dnsmasq(Self.records)
        defer { server.stop() }
        let resolver = try Resolver(servers: ["127.0.0.1:\(server.port)"], timeout: .ample)
        guard
            case .records(let records) = try await resolver.services(
                "_XMPP-server._tcp.Example.test.")
        else {
            Issue.record("no records")
            return
        }
        #expect(
            records.sorted { $0.priority < $1.priority } == [
                ServiceRecord(priority: 10, weight: 60, port: 5269, target: "xmpp.example.test"),
                ServiceRecord(priority: 20, weight: 0, port: 5270, target: "backup.example.test"),
            ])
        #expect(try await resolver.services("_xmpps-server._tcp.example.test") == .unavailable)
        #expect(try await resolver.services("_xmpp-server._tcp.other.test") == .none)
        #expect(try await resolver.services("xmpp.example.test") == .none)
    }

    @Test("A reply that is too large for a datagram comes by TCP (RFC 7766, section 5)")
    func largeReply() async throws {
        let server = try Dnsmasq(
            (1...60).map { "--srv-host=_xmpp-server._tcp.large.test,host\($0).large.test,\($0)" })
        defer { server.stop() }
        let resolver = try Resolver(servers: ["127.0.0.1:\(server.port)"], timeout: .ample)
        guard
            case .records(let records) = try await resolver.services(
                "_xmpp-server._tcp.large.test")
        else {
            Issue.record("no records")
            return
        }
        #expect(records.map(\.port).sorted() == Array(1...60))
    }

    @Test("Addresses of both families are found, also behind an alias")
    func addresses() async throws {
        let server = try Dnsmasq(Self.records)
        defer { server.stop() }
        let resolver = try Resolver(servers: ["127.0.0.1:\(server.port)"], timeout: .ample)
        func texts(_ host: String) async throws -> [String] {
            try await resolver.addresses(of: host).map(\.text)
        }
        #expect(try await texts("xmpp.example.test") == ["2001:db8::7", "192.0.2.7"])
        #expect(try await texts("Alias.Example.test.") == ["2001:db8::7", "192.0.2.7"])
        #expect(try await texts("four.example.test") == ["192.0.2.8"])
        #expect(try await texts("six.example.test") == ["2001:db8::8"])
        #expect(
            await error { () async throws(DNSError) in
                try await resolver.addresses(of: "nobody.example.test")
            } == .noSuchDomain)
        #expect(
            await error { () async throws(DNSError) in
                try await resolver.addresses(of: "_xmpp-server._tcp.example.test")
            } == .noAddress)
    }

    @Test("An address is its own, and the hosts file counts; neither asks anybody")
    func withoutServer() async throws {
        let server = try TestNameServer { _ in [] }
        defer { server.stop() }
        let resolver = try Resolver(servers: ["127.0.0.1:\(server.port)"], timeout: .ample)
        #expect(try await resolver.addresses(of: "192.0.2.1").map(\.text) == ["192.0.2.1"])
        #expect(try await resolver.addresses(of: "[2001:db8::1]").map(\.text) == ["2001:db8::1"])
        let local = try await resolver.addresses(of: "localhost")
        #expect(local.map(\.text).contains("127.0.0.1"))
        #expect(local.allSatisfy { $0.reach == .loopback })
        #expect(server.queries.isEmpty)
    }

    @Test(
        "What is no name is not asked for",
        arguments: ["", "a b.test", "bücher.test", "a..test", "127.0.0.1:53", "a\u{0}.test"])
    func badNames(_ name: String) async throws {
        let server = try TestNameServer { _ in [] }
        defer { server.stop() }
        let resolver = try Resolver(servers: ["127.0.0.1:\(server.port)"], timeout: .ample)
        #expect(
            await error { () async throws(DNSError) in try await resolver.services(name) }
                == .invalidName)
        #expect(
            await error { () async throws(DNSError) in try await resolver.addresses(of: name) }
                == .invalidName)
        #expect(server.queries.isEmpty)
    }

    @Test("Servers are named by their addresses, with or without a port")
    func servers() throws {
        for server in ["127.0.0.1", "127.0.0.1:53", "::1", "[::1]", "[::1]:5353"] {
            #expect(throws: Never.self, "\(server)") { try Resolver(servers: [server]) }
        }
        for server in ["", "localhost", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "[::1]:x"] {
            #expect(throws: DNSError(.invalidName, server), "\(server)") {
                try Resolver(servers: [server])
            }
        }
    }

    @Test("Servers that the system's configuration names later are asked without a restart")
    func configuration() async throws {
        let server = try Dnsmasq(Self.records)
        defer { server.stop() }
        let path = FileManager.default.temporaryDirectory.path + "/resolv-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: path) }
        // That nobody listens is known only when the query is repeated.
        var settings = ChannelSettings(timeout: .seconds(20))
        settings.configuration = path
        settings.port = server.port
        // Nobody listens there.
        try Data("nameserver 127.0.0.99\n".utf8).write(to: URL(fileURLWithPath: path))
        let clock = SetClock()
        let resolver = Resolver(settings, now: clock.now)
        #expect(
            await error { () async throws(DNSError) in
                try await resolver.addresses(of: "xmpp.example.test")
            } == .serverFailure)
        try Data("# it is up\nnameserver 127.0.0.1\n".utf8).write(
            to: URL(fileURLWithPath: path), options: .atomic)
        clock.advance(.seconds(5))
        #expect(try await resolver.addresses(of: "xmpp.example.test").count == 2)
    }
}
