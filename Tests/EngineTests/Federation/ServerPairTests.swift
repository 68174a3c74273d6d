// Two whole servers, each with its own event loop and database, and the streams between them.

import Engine
import NIOCore
import NIOEmbedded
import TLS
import Testing
import XML
import XMPP

@testable import Storage

@Suite("Between two servers (RFC 6120 section 10.4)")
struct ServerPairTests {
    private func waiting(_ server: TestServer) throws -> Int64 {
        try server.host.database.readNow { connection in
            try connection.first("SELECT count(*) FROM outgoing") { $0.integer(0) } ?? 0
        }
    }

    @Test("A message gets there, and one comes back", arguments: [false, true])
    func bothWays(isDirectTLS: Bool) async throws {
        try await withServerPair(isDirectTLS: isDirectTLS) { pair in
            let juliet = try await pair.capulet.online("juliet@capulet.example/balcony")
            let romeo = try await pair.montague.online("romeo@montague.example/orchard")
            await juliet.send(
                "<message to='romeo@montague.example' type='chat' id='1'><body>Who?</body></message>"
            )
            let first = try await romeo.first { $0.name == "message" }
            #expect(first.body == "Who?")
            #expect(first["from"] == "juliet@capulet.example/balcony")
            await romeo.send(
                "<message to='juliet@capulet.example' type='chat' id='2'><body>I</body></message>")
            let second = try await juliet.first { $0.name == "message" }
            #expect(second.body == "I")
        }
    }

    @Test("With a bidirectional stream one connection is enough (XEP-0288)")
    func bidirectional() async throws {
        try await withServerPair { pair in
            let juliet = try await pair.capulet.online("juliet@capulet.example/balcony")
            let romeo = try await pair.montague.online("romeo@montague.example/orchard")
            for number in 0..<3 {
                await juliet.send(
                    "<message to='romeo@montague.example' type='chat'><body>\(number)</body></message>"
                )
                #expect(try await romeo.first { $0.name == "message" }.body == "\(number)")
                await romeo.send(
                    "<message to='juliet@capulet.example' type='chat'><body>\(number)</body></message>"
                )
                #expect(try await juliet.first { $0.name == "message" }.body == "\(number)")
            }
            #expect(pair.world.connections == 1)
            let ours = try #require(pair.capulet.host.federation.streams.first)
            #expect(ours.direction == .outgoing && ours.remotes == ["montague.example"])
            #expect(ours.mechanism == .external && ours.isBidirectional)
            let theirs = try #require(pair.montague.host.federation.streams.first)
            #expect(theirs.direction == .incoming && theirs.remotes == ["capulet.example"])
            #expect(theirs.local == "montague.example" && theirs.address == "192.0.2.1")
        }
    }

    @Test("Who may not send to us is not asked to on a stream of ours, and does not")
    func oneWay() async throws {
        try await withServerPair { pair in
            try await pair.capulet.say(.deny, "montague.example", [.incoming])
            let juliet = try await pair.capulet.online("juliet@capulet.example/balcony")
            let romeo = try await pair.montague.online("romeo@montague.example/orchard")
            await juliet.send(
                "<message to='romeo@montague.example' type='chat'><body>Who?</body></message>")
            #expect(try await romeo.first { $0.name == "message" }.body == "Who?")
            await romeo.send(
                "<message to='juliet@capulet.example' type='chat'><body>I</body></message>")
            let refused = "kinglet_server_refused_streams_total{reason=\"policy\"}"
            try await pair.capulet.wait { pair.capulet.metric(refused) == 1 }
            #expect(!pair.world.sent(by: "capulet.example").contains("urn:xmpp:bidi'"))
            #expect(try await juliet.pendingMessages().isEmpty)
        }
    }

    @Test("What was acknowledged is kept no longer (XEP-0198)")
    func acknowledged() async throws {
        try await withServerPair { pair in
            let juliet = try await pair.capulet.online("juliet@capulet.example/balcony")
            let romeo = try await pair.montague.online("romeo@montague.example/orchard")
            await juliet.send(
                "<message to='romeo@montague.example' type='chat' id='1'><body>Who?</body></message>"
            )
            _ = try await romeo.first { $0.name == "message" }
            try await pair.capulet.wait { (try? waiting(pair.capulet)) == 0 }
            #expect(pair.world.sent(by: "montague.example").contains("<a xmlns='urn:xmpp:sm:3'"))
        }
    }

    @Test("What was lost before it was acknowledged is sent again, and comes once")
    func lost() async throws {
        try await withServerPair { pair in
            let juliet = try await pair.capulet.online("juliet@capulet.example/balcony")
            let romeo = try await pair.montague.online("romeo@montague.example/orchard")
            pair.world.breakConnections { domain, text in
                domain == "montague.example" && text.contains("<a xmlns='urn:xmpp:sm:3'")
            }
            await juliet.send(
                "<message to='romeo@montague.example' type='chat' id='1'><body>Who?</body></message>"
            )
            #expect(try await romeo.first { $0.name == "message" }.body == "Who?")
            let open = "kinglet_server_streams{direction=\"out\",state=\"open\"}"
            try await pair.capulet.wait { pair.capulet.metric(open) == 0 }
            #expect(try waiting(pair.capulet) == 1)
            pair.world.breakConnections(where: nil)
            await pair.settle()
            for loop in pair.capulet.loops { await loop.advanceTime(by: .seconds(30)) }
            try await pair.capulet.wait { (try? waiting(pair.capulet)) == 0 }
            let sent = pair.world.sent(by: "capulet.example")
            #expect(sent.ranges(of: "<body>Who?</body>").count == 2, "it was sent twice")
            await pair.settle()
            #expect(try await romeo.pendingMessages().isEmpty, "and came once")
        }
    }

    @Test("A server that does not count is asked something behind each batch")
    func unmanaged() async throws {
        try await withServerPair { pair in
            let juliet = try await pair.capulet.online("juliet@capulet.example/balcony")
            let romeo = try await pair.montague.online("romeo@montague.example/orchard")
            pair.world.change { _, text in text.replacing("<sm xmlns='urn:xmpp:sm:3'/>", with: "") }
            await juliet.send(
                "<message to='romeo@montague.example' type='chat' id='1'><body>Who?</body></message>"
            )
            #expect(try await romeo.first { $0.name == "message" }.body == "Who?")
            try await pair.capulet.wait { (try? waiting(pair.capulet)) == 0 }
            #expect(pair.world.sent(by: "capulet.example").contains("urn:xmpp:ping"))
            #expect(!pair.world.sent(by: "capulet.example").contains("<enable"))
        }
    }

    @Test("A child that declares jabber:client itself is no stranger there")
    func namespaces() async throws {
        try await withServerPair { pair in
            let juliet = try await pair.capulet.online("juliet@capulet.example/balcony")
            let romeo = try await pair.montague.online("romeo@montague.example/orchard")
            await juliet.send(
                """
                <message to='romeo@montague.example' type='chat'><body xmlns="jabber:client">Who?\
                </body><forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'/>\
                </forwarded></message>
                """)
            let message = try await romeo.first { $0.name == "message" }
            #expect(message.body == "Who?")
            #expect(
                message.child("forwarded", "urn:xmpp:forward:0")?
                    .child("message", Namespaces.client) != nil)
            #expect(
                pair.world.sent(by: "capulet.example").contains("<body>Who?</body>"))
        }
    }

    @Test("A certificate for another name sends the message back, with the reason")
    func wrongName() async throws {
        try await withServerPair { pair in
            pair.world.setVerdict(.wrongName, of: "montague.example")
            let juliet = try await pair.capulet.online("juliet@capulet.example/balcony")
            await juliet.send(
                "<message to='romeo@montague.example' type='chat' id='1'><body>Who?</body></message>"
            )
            let answer = try await juliet.first { $0.name == "message" }
            #expect(answer["type"] == "error" && answer.condition == "remote-server-not-found")
            let failures = "kinglet_server_stream_failures_total"
            #expect(
                pair.capulet.metric("\(failures){reason=\"certificate_wrong_name\"}") == 1)
            #expect(pair.capulet.metric("kinglet_server_bounced_stanzas_total") == 1)
        }
    }

    @Test("What the other side sent before it heard of our close is taken (RFC 6120 section 4.4)")
    func close() async throws {
        try await withServer("federation.policy=open") { server in
            let juliet = try await server.online("juliet@capulet.example/balcony")
            let peer = try await EstablishedPeer(server, isManaged: false)
            await peer.closeWhenIdle(after: .seconds(60))
            try await peer.ends { if case .end = $0 { true } else { false } }
            await peer.send(
                "<message from='romeo@montague.example/x' to='juliet@capulet.example/balcony'>"
                    + "<body>late</body></message></stream:stream>")
            #expect(try await juliet.first { $0.name == "message" }.body == "late")
            try await peer.ends { if case .closed = $0 { true } else { false } }
        }
    }

    @Test("What came before the end of the input is handled, though the stream was paused")
    func endOfInput() async throws {
        try await withServer(
            "federation.policy=open", "limits.server_stanza_rate=1"
        ) { server in
            let juliet = try await server.online("juliet@capulet.example/balcony")
            let peer = try await EstablishedPeer(server, isManaged: false)
            await peer.send(
                (1...9).map {
                    "<message from='romeo@montague.example/x' type='headline'"
                        + " to='juliet@capulet.example/balcony'><body>\($0)</body></message>"
                }.joined())
            #expect(await peer.isPaused())
            await peer.endInput()
            for _ in 0..<9 { await peer.pass(.seconds(2)) }
            for number in 1...9 {
                #expect(try await juliet.first { $0.name == "message" }.body == "\(number)")
            }
            try await peer.ends { if case .closed = $0 { true } else { false } }
        }
    }

    @Test("A stream without use is closed in peace")
    func idle() async throws {
        try await withServerPair(["federation.idle=60s"]) { pair in
            let juliet = try await pair.capulet.online("juliet@capulet.example/balcony")
            let romeo = try await pair.montague.online("romeo@montague.example/orchard")
            await juliet.send(
                "<message to='romeo@montague.example' type='chat'><body>1</body></message>")
            _ = try await romeo.first { $0.name == "message" }
            try await pair.capulet.wait { (try? waiting(pair.capulet)) == 0 }
            await pair.settle()
            let series = "kinglet_server_streams{direction=\"out\",state=\"open\"}"
            #expect(pair.capulet.metric(series) == 1)
            for loop in pair.capulet.loops { await loop.advanceTime(by: .seconds(61)) }
            try await pair.capulet.wait { pair.capulet.metric(series) == 0 }
            #expect(pair.world.sent(by: "capulet.example").hasSuffix("</stream:stream>"))
            await juliet.send(
                "<message to='romeo@montague.example' type='chat'><body>2</body></message>")
            #expect(try await romeo.first { $0.name == "message" }.body == "2")
        }
    }

    @Test("A server that stops tells the other one")
    func stop() async throws {
        try await withServerPair { pair in
            let juliet = try await pair.capulet.online("juliet@capulet.example/balcony")
            let romeo = try await pair.montague.online("romeo@montague.example/orchard")
            await juliet.send(
                "<message to='romeo@montague.example' type='chat'><body>1</body></message>")
            _ = try await romeo.first { $0.name == "message" }
            await pair.capulet.host.stop()
            await pair.settle()
            #expect(pair.world.sent(by: "capulet.example").contains("<system-shutdown"))
            #expect(try waiting(pair.capulet) == 0)
        }
    }
}
