// Dialback believes DNS. A domain that has shown a valid certificate needs no such belief, and
// whoever forges its DNS gets nothing by it: not its name, and not its mail (XEP-0220, XEP-0288).

import TLS
import Testing
import XML

@testable import Engine

@Suite("A domain that had a valid certificate is not let back to dialback")
struct CertifiedDomainsTests {
    /// Two servers; the one of capulet.example has seen a valid certificate of the other's, which
    /// somebody stands in for from then on.
    private func withForgery(_ body: (ServerPair) async throws -> Void) async throws {
        try await withServerPair(["federation.dialback=true"]) { pair in
            let juliet = try await pair.capulet.online("juliet@capulet.example/balcony")
            let romeo = try await pair.montague.online("romeo@montague.example/orchard")
            await juliet.send(
                "<message to='romeo@montague.example' type='chat'><body>Who?</body></message>")
            _ = try await romeo.first { $0.name == "message" }
            await pair.settle()
            pair.world.setVerdict(.wrongName, of: "montague.example")
            pair.world.cut()
            await pair.settle()
            try await body(pair)
        }
    }

    /// A key that montague.example's own server calls right.
    private func key(_ pair: ServerPair, _ streamID: String?) throws -> String {
        let keys = try #require(pair.montague.host.federation.dialback)
        return "<db:result from='montague.example' to='capulet.example'>"
            + keys.key(
                receiving: "capulet.example", originating: "montague.example",
                streamID: try #require(streamID)) + "</db:result>"
    }

    private func refusal(_ peer: TestPeer) async throws -> String? {
        let answer = try await peer.next()
        #expect(answer.name == "result" && answer["type"] == "error")
        return answer.elements.first { $0.name == "error" }?.elements.first?.name
    }

    @Test("Not on a stream of its own, from which our answers would go to it (XEP-0288)")
    func ownStream() async throws {
        try await withForgery { pair in
            let thief = try await TestPeer(
                pair.capulet, verdicts: ["montague.example": .selfSigned])
            let header = try await thief.openSecurely().header
            await thief.send("<bidi xmlns='urn:xmpp:bidi'/>")
            await thief.send(try key(pair, header.id))
            #expect(try await refusal(thief) == "remote-server-not-found")
            #expect(!pair.capulet.host.federation.streams.contains { $0.mechanism == .dialback })
            await thief.drop()
        }
    }

    @Test("Nor as a second domain of a server that is whom it says (XEP-0220, multiplexing)")
    func secondDomain() async throws {
        try await withForgery { pair in
            let thief = try await TestPeer(
                pair.capulet, "verona.example", verdicts: ["verona.example": .valid])
            try await thief.openSecurely()
            await thief.auth("=")
            #expect(try await thief.next().name == "success")
            let header = try await thief.open(from: "verona.example").header
            await thief.send(try key(pair, header.id))
            #expect(try await refusal(thief) == "remote-server-not-found")
            #expect(
                pair.capulet.host.federation.streams.allSatisfy {
                    !$0.remotes.contains("montague.example")
                })
            await thief.drop()
        }
    }

    @Test("It may use dialback where its own server has one: its other connections need none")
    func validCertificate() async throws {
        try await withServerPair(["federation.dialback=true"]) { pair in
            let peer = try await TestPeer(
                pair.capulet, "verona.example",
                verdicts: ["verona.example": .valid, "montague.example": .valid])
            let header = try await peer.openSecurely().header
            await peer.send(try key(pair, header.id))
            let answer = try await peer.next()
            #expect(answer.name == "result" && answer["type"] == "valid")
            await peer.drop()
            await pair.settle()
            let own = try await TestPeer(pair.capulet, verdicts: ["montague.example": .absent])
            let second = try await own.openSecurely().header
            await own.send(try key(pair, second.id))
            let valid = try await own.next()
            #expect(valid.name == "result" && valid["type"] == "valid")
            await own.drop()
        }
    }

    @Test("A domain to which somebody writes is not pushed out by names that are made up")
    func bound() async throws {
        try await withForgery { pair in
            let federation = pair.capulet.host.federation
            for number in 0..<10_000 {
                #expect(federation.mayDial("n\(number).evil.example", .valid))
            }
            #expect(!federation.mayDial("montague.example", .selfSigned))
            #expect(federation.mayDial("unknown.example", .selfSigned))
        }
    }
}
