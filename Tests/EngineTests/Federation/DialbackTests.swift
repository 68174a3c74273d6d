// XEP-0220 and XEP-0185: keys, and the dialogue about them.

import NIOCore
import NIOEmbedded
import TLS
import Testing
import XML
import XMPP

@testable import Engine

@Suite("Server dialback (XEP-0220)")
struct DialbackTests {
    @Test("Keys are made as XEP-0185 shows")
    func example() {
        let dialback = Dialback(secret: Array("s3cr3tf0rd14lb4ck".utf8))
        let key = dialback.key(
            receiving: "xmpp.example.com", originating: "example.org", streamID: "D60000229F")
        #expect(key == "37c69b1cf07a3f67c04a5ef5902fa5114f2c76fe4a2686482ba5b89323075643")
        #expect(
            dialback.isValid(
                key, receiving: "xmpp.example.com", originating: "example.org",
                streamID: "D60000229F"))
        #expect(
            !dialback.isValid(
                key, receiving: "xmpp.example.com", originating: "example.org", streamID: "other"))
    }

    @Test("Two servers without good certificates talk where both owners allow dialback")
    func servers() async throws {
        try await withServerPair(["federation.dialback=true"]) { pair in
            pair.world.setVerdict(.selfSigned, of: "capulet.example")
            pair.world.setVerdict(.selfSigned, of: "montague.example")
            let juliet = try await pair.capulet.online("juliet@capulet.example/balcony")
            let romeo = try await pair.montague.online("romeo@montague.example/orchard")
            await juliet.send(
                "<message to='romeo@montague.example' type='chat'><body>Who?</body></message>")
            #expect(try await romeo.first { $0.name == "message" }.body == "Who?")
            let labels = "{direction=\"in\",mechanism=\"dialback\"}"
            #expect(
                pair.montague.metric("kinglet_server_authentications_total\(labels)") == 1)
        }
    }

    @Test("A domain that had a valid certificate does not go without one later")
    func noWayBack() async throws {
        try await withServerPair(["federation.dialback=true"]) { pair in
            let juliet = try await pair.capulet.online("juliet@capulet.example/balcony")
            let romeo = try await pair.montague.online("romeo@montague.example/orchard")
            await juliet.send(
                "<message to='romeo@montague.example' type='chat'><body>1</body></message>")
            #expect(try await romeo.first { $0.name == "message" }.body == "1")
            await pair.settle()
            pair.world.setVerdict(.wrongName, of: "montague.example")
            pair.world.cut()
            await pair.settle()
            for loop in pair.capulet.loops { await loop.advanceTime(by: .seconds(30)) }
            await juliet.send(
                "<message to='romeo@montague.example' type='chat'><body>2</body></message>")
            let answer = try await juliet.first { $0.name == "message" }
            #expect(answer["type"] == "error" && answer.condition == "remote-server-not-found")
            #expect(!pair.world.sent(by: "capulet.example").contains("<db:result"))
        }
    }

    @Test("A key of another stream proves nothing")
    func replayed() async throws {
        try await withServerPair(["federation.dialback=true"]) { pair in
            pair.world.setVerdict(.selfSigned, of: "montague.example")
            let romeo = try await pair.montague.online("romeo@montague.example/orchard")
            let juliet = try await pair.capulet.online("juliet@capulet.example/balcony")
            await romeo.send(
                "<message to='juliet@capulet.example' type='chat'><body>I</body></message>")
            _ = try await juliet.first { $0.name == "message" }
            let sent = pair.world.sent(by: "montague.example")
            let start = try #require(sent.firstRange(of: "<db:result"))
            let end = try #require(sent.firstRange(of: "</db:result>"))
            let thief = try await TestPeer(
                pair.capulet, verdicts: ["montague.example": .selfSigned])
            try await thief.openSecurely()
            await thief.send(String(sent[start.lowerBound..<end.upperBound]))
            let answer = try await thief.next()
            #expect(answer.name == "result" && answer["type"] == "invalid")
            try await thief.expectStreamError(.notAuthorized)
            await thief.drop()
        }
    }

    @Test("Where the owner does not allow it, a key is refused and the stream stays")
    func off() async throws {
        let server = try TestServer(["federation.policy=open"])
        let peer = try await TestPeer(server)
        try await peer.authenticate()
        await peer.send(
            "<db:result from='verona.example' to='capulet.example'>abc</db:result>"
                + "<db:verify from='montague.example' to='capulet.example' id='1'>abc</db:verify>")
        for (name, condition) in [("result", "not-authorized"), ("verify", "not-allowed")] {
            let answer = try await peer.next()
            #expect(answer.name == name && answer["type"] == "error")
            let error = answer.elements.first { $0.name == "error" }
            #expect(error?.elements.first?.name == condition)
        }
        await peer.drop()
        await server.stop()
    }

    @Test("A key for a domain that is not here is an error of its own (XEP-0220 section 2.5)")
    func unknownDomain() async throws {
        let server = try TestServer(["federation.policy=open", "federation.dialback=true"])
        let peer = try await TestPeer(server)
        let features = try await peer.openSecurely().features
        #expect(features.child("dialback", "urn:xmpp:features:dialback") != nil)
        for name in ["result", "verify"] {
            await peer.send(
                "<db:\(name) from='montague.example' to='verona.example' id='1'>abc</db:\(name)>")
            let answer = try await peer.next()
            #expect(answer.name == name && answer["type"] == "error")
            let error = answer.elements.first { $0.name == "error" }
            #expect(error?.elements.first?.name == "item-not-found")
        }
        await peer.drop()
        await server.stop()
    }

    @Test("Whoever asks about a key of ours hears whether it is right")
    func authoritative() async throws {
        let server = try TestServer(["federation.policy=open", "federation.dialback=true"])
        let peer = try await TestPeer(server, verdicts: ["montague.example": .untrusted])
        try await peer.openSecurely()
        let keys = try #require(server.host.federation.dialback)
        let right = keys.key(
            receiving: "montague.example", originating: "capulet.example", streamID: "s7")
        for (key, id, type) in [(right, "s7", "valid"), (right, "s8", "invalid")] {
            await peer.send(
                "<db:verify from='montague.example' to='capulet.example' id='\(id)'>"
                    + "\(key)</db:verify>")
            let answer = try await peer.next()
            #expect(answer["type"] == type && answer["id"] == id)
            #expect(answer["from"] == "capulet.example" && answer["to"] == "montague.example")
        }
        await peer.drop()
        await server.stop()
    }
}
