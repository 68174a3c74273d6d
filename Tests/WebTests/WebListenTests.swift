// Addresses and ports.

import Testing

@testable import Web

@Suite struct WebListenTests {
    @Test("Every address is bound, each with a port of its own where any will do")
    func addresses() async throws {
        try await TestSite.with(addresses: ["127.0.0.1", "127.0.0.2"]) { site in
            #expect(site.server.bound.map(\.address) == ["127.0.0.1", "127.0.0.2"])
            #expect(site.server.bound.allSatisfy { $0.port > 0 })
            let port = site.port
            let answer = try await blocking { try WebClient(port).get("/") }
            #expect(answer.status == 200)
        }
    }

    @Test("Every address of the machine is IPv4 too")
    func everyAddress() async throws {
        try await TestSite.with(addresses: ["::"]) { site in
            let port = site.port
            let answer = try await blocking { try WebClient(port).get("/") }
            #expect(answer.status == 200)
        }
    }

    @Test("A port that is taken, and an address that is none, are named with what to do")
    func failures() async throws {
        try await TestSite.with { site in
            let port = site.port
            let taken = await #expect(throws: WebListenError.self) {
                try await TestSite.with(addresses: ["127.0.0.2", "127.0.0.1"], webPort: port) { _ in
                }
            }
            #expect(
                taken?.description
                    == "cannot listen on 127.0.0.1 port \(port): another program uses this port; "
                    + "stop it, or set listen.web_port in the configuration")
            // The address before it was let go again.
            try await TestSite.with(addresses: ["127.0.0.2"], webPort: port) { _ in }
            let strange = await #expect(throws: WebListenError.self) {
                try await TestSite.with(addresses: ["192.0.2.77"]) { _ in }
            }
            #expect(strange?.message == "this machine has no such address")
        }
    }
}
