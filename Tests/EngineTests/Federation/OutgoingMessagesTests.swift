// What the database holds of messages on their way to another domain, and for how long.

import Addresses
import NIOCore
import NIOEmbedded
import Testing
import XML
import XMPP

@testable import Engine
@testable import Storage

@Suite("Messages on their way to another domain")
struct OutgoingMessagesTests {
    private let juliet = "juliet@capulet.example"
    private let room = "feast@montague.example"

    private func rows(_ query: String, _ server: TestServer) -> Int64 {
        let count = try? server.host.database.readNow { connection in
            try connection.first("SELECT count(*) FROM \(query)") { $0.integer(0) }
        }
        return count.flatMap { $0 } ?? -1
    }

    private func message(
        _ id: String, to: String, type: String = "chat", inside: String = ""
    ) -> String {
        "<message to='\(to)' type='\(type)' id='\(id)'><body>\(id)</body>\(inside)</message>"
    }

    // MARK: What no archive may keep

    @Test(
        "The text of a message that no archive may keep is gone once the other domain has it",
        arguments: [
            ("groupchat", "", "always"), ("chat", "", "never"),
            ("chat", "<no-permanent-store xmlns='urn:xmpp:hints'/>", "always"),
        ])
    func unkept(type: String, inside: String, archive: String) async throws {
        try await withPeer("archive.default=\(archive)") { server, peer in
            let client = try await server.online("\(juliet)/phone")
            await client.send(message("m", to: room, type: type, inside: inside))
            #expect(try await peer.next().body == "m")
            await peer.acknowledge(1)
            try await server.wait { rows("outgoing", server) == 0 }
            #expect(rows("messages", server) == 1, "a resend is recognised")
            #expect(rows("messages WHERE length(stanza) > 0", server) == 0)
            await withCheckedContinuation { done in
                server.host.settleAllMessages { done.resume() }
            }
            #expect(rows("messages", server) == 0)
        }
    }

    @Test("What waits for a local account outlives its settling, though no archive keeps it")
    func waiting() async throws {
        try await withPeer("archive.default=never") { server, peer in
            try await server.addAccount("juliet")
            await peer.send(
                "<message from='romeo@montague.example/x' to='\(juliet)' type='chat' id='1'>"
                    + "<body>later</body></message>")
            await server.settle()
            await withCheckedContinuation { done in
                server.host.settleAllMessages { done.resume() }
            }
            let client = try await server.online("\(juliet)/phone")
            #expect(try await client.first { $0.name == "message" }.body == "later")
            try await server.wait { rows("messages", server) == 0 }
        }
    }

    @Test("What another domain says to a component leaves nothing in the database")
    func throughUs() async throws {
        let server = try TestServer([
            "federation.policy=open", "federation.stranger_rate=1000", TestComponent.setting,
        ])
        let component = try await TestComponent.attached(to: server)
        let peer = try await EstablishedPeer(server)
        let before = rows("addresses", server)
        for number in 0..<5 {
            await peer.send(
                "<message from='made-up-\(number)@montague.example/x' type='chat'"
                    + " to='made-up-\(number)@\(TestComponent.domain)' id='1'>"
                    + "<body>\(number)</body></message>")
            #expect(try await component.next().child("body")?.text == "\(number)")
        }
        #expect(rows("addresses", server) == before)
        #expect(rows("messages", server) == 0)
        await server.stop()
    }

    @Test("Nor does who writes to an account that keeps nothing and is there")
    func unkeptSenders() async throws {
        try await withPeer("federation.stranger_rate=1000") { server, peer in
            let client = try await server.online("\(juliet)/phone")
            let answer = try await client.request(
                "set", "<prefs xmlns='urn:xmpp:mam:2' default='never'><always/><never/></prefs>")
            #expect(answer["type"] == "result")
            let before = rows("addresses", server)
            await peer.send(
                "<message from='made-up@montague.example/x' to='\(juliet)' type='chat' id='1'>"
                    + "<body>hi</body></message>")
            #expect(try await client.first { $0.name == "message" }.body == "hi")
            #expect(rows("addresses", server) == before)
        }
    }

    // MARK: What is worth the disk

    @Test(
        "To a room only what says something waits on the disk, and not what asks for none of it",
        arguments: [
            ("<body>hi</body>", true), ("<subject/>", true), ("<subject>s</subject>", true),
            ("<reactions id='1' xmlns='urn:xmpp:reactions:0'/>", true),
            ("<composing xmlns='http://jabber.org/protocol/chatstates'/>", false),
            ("<body>hi</body><no-store xmlns='urn:xmpp:hints'/>", false),
        ])
    func groupchat(content: String, isQueued: Bool) async throws {
        try await withPeer { server, peer in
            let client = try await server.online("\(juliet)/phone")
            await client.send(
                "<message to='\(room)' type='groupchat' id='g'>\(content)</message>")
            #expect(try await peer.next()["id"] == "g")
            await server.settle()
            #expect(rows("outgoing", server) == (isQueued ? 1 : 0), "not acknowledged yet")
            #expect(rows("messages", server) == (isQueued ? 1 : 0))
        }
    }

    // MARK: A disk that fails

    @Test("What was delivered while the disk failed is not sent again after the next start")
    func failingDisk() async throws {
        try await withServer("federation.policy=open") { server in
            let failure = FederationFailure(.dnsTimeout, "no answer")
            server.host.federation.start(FailingConnector(failure), server.host)
            let peer = try await EstablishedPeer(server)
            let client = try await server.online("\(juliet)/phone")
            await client.send(message("m", to: "romeo@montague.example"))
            #expect(try await peer.next().body == "m")
            try server.refuse("DELETE", on: "outgoing")
            await peer.acknowledge(1)
            let failures = "kinglet_commit_failures_total"
            try await server.wait { server.metric(failures) ?? 0 > 0 }
            await server.settle()
            #expect(rows("outgoing", server) == 1)

            try server.host.database.writeNow { try $0.execute("DROP TRIGGER refuse_DELETE") }
            for loop in server.loops { await loop.advanceTime(by: .seconds(5)) }
            try await server.wait { rows("outgoing", server) == 0 }
        }
    }
}
