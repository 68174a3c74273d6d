// How often the log tells of servers that were refused.

import NIOCore
import Testing
import XMPP

@testable import Engine

@Suite("The log of refused servers")
struct RefusalLogTests {
    @Test("One line for a network and a reason in ten minutes, however often it comes")
    func pause() async throws {
        try await withServer("federation.policy=open") { server in
            let federation = server.host.federation
            let start = NIODeadline.uptimeNanoseconds(0)
            func isNew(
                _ reason: FederationFailureReason, _ network: String, _ time: TimeAmount,
                of domain: String? = nil
            ) -> Bool {
                federation.isNew(reason, of: network, domain: domain, now: start + time)
            }
            #expect(isNew(.timeout, "192.0.2.7", .seconds(0)))
            #expect(!isNew(.timeout, "192.0.2.7", .minutes(9)))
            #expect(isNew(.policy, "192.0.2.7", .minutes(9)), "another reason")
            #expect(isNew(.timeout, "192.0.2.8", .minutes(9)), "another network")
            #expect(
                isNew(.timeout, "192.0.2.7", .minutes(9), of: "montague.example"),
                "a domain that was proved")
            #expect(isNew(.timeout, "192.0.2.7", .minutes(10)))
        }
    }

    @Test("Each refusal is counted")
    func counted() async throws {
        try await withServer("federation.policy=open", "federation.deny=montague.example") {
            server in
            for _ in 0..<3 {
                let peer = try await TestPeer(server)
                await peer.send(
                    "<stream:stream xmlns='jabber:server' from='montague.example' version='1.0'"
                        + " to='capulet.example' xmlns:stream='http://etherx.jabber.org/streams'>")
                _ = try await peer.event()
                try await peer.expectStreamError(.policyViolation)
            }
            #expect(server.metric("kinglet_server_refused_streams_total{reason=\"policy\"}") == 3)
        }
    }
}
