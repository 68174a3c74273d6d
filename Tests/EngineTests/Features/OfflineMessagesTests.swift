// Messages for who is not there (XEP-0160).

import Addresses
import Dispatch
import Engine
import NIOEmbedded
import Storage
import Testing
import XML
import XMPP

@Suite struct OfflineMessagesTests {
    private static let juliet = "juliet@capulet.example"

    private func send(_ client: TestClient, _ body: String, to: String = juliet) async {
        await client.send(
            "<message to='\(to)' type='chat' id='\(body)'><body>\(body)</body></message>")
    }

    private func waiting(_ server: TestServer) -> Double? {
        server.metric("kinglet_offline_messages")
    }

    /// Logs in and announces, and gives the bodies that come, in order.
    private func receive(_ server: TestServer, _ resource: String = "balcony") async throws
        -> [Element]
    {
        let client = try await server.login("\(Self.juliet)/\(resource)")
        await client.send("<presence/>")
        return try await client.pending().filter { $0.name == "message" }
    }

    @Test("A message is stored and comes with the time of its arrival (XEP-0203 section 3)")
    func storesAndStamps() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let romeo = try await server.online("romeo@capulet.example/orchard")
            let before = Clock.millisecondsSince1970()
            await send(romeo, "But soft")
            #expect(try await romeo.pending().isEmpty, "no error")
            #expect(waiting(server) == 1)
            let messages = try await receive(server)
            let after = Clock.millisecondsSince1970()
            try #require(messages.count == 1)
            #expect(messages[0].body == "But soft")
            #expect(messages[0]["from"] == "romeo@capulet.example/orchard")
            #expect(messages[0]["to"] == Self.juliet)
            #expect(messages[0]["id"] == "But soft")
            let delay = try #require(messages[0].child("delay", "urn:xmpp:delay"))
            #expect(delay["from"] == "capulet.example")
            let stamp = try #require(delay["stamp"])
            let time = try #require(Timestamp.parse(stamp))
            #expect(time >= before && time <= after && stamp.hasSuffix("Z"))
        }
    }

    @Test("Stored messages come in order, are deleted, and do not come again")
    func deliversOnce() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let romeo = try await server.online("romeo@capulet.example/orchard")
            for number in 0..<20 { await send(romeo, "\(number)") }
            _ = try await romeo.pending()
            #expect(waiting(server) == 20)
            #expect(try await receive(server).map(\.body) == (0..<20).map { "\($0)" })
            #expect(waiting(server) == 0)
            #expect(try await receive(server, "chamber").isEmpty)
            #expect(server.metric("kinglet_offline_messages_delivered_total") == 20)
        }
    }

    @Test("A newer message does not overtake those that are stored, however many they are")
    func newerMessageWaits() async throws {
        try await withServer("limits.offline_messages=2000") { server in
            try await server.addAccount("juliet")
            let romeo = try await server.online("romeo@capulet.example/orchard")
            let messages = (0..<1200).map {
                "<message to='\(Self.juliet)'><body>\($0)</body></message>"
            }
            await romeo.send(messages.joined())
            try await server.wait { waiting(server) == 1200 }
            let juliet = try await server.login("\(Self.juliet)/balcony")
            await juliet.send("<presence/>")
            // She is available at once, and her stored messages are on their way.
            await send(romeo, "live")
            let seen = try await juliet.pending().filter { $0.name == "message" }
            var bodies = seen.map { $0.body ?? "" }
            while bodies.count < 1201 {
                let message = try await juliet.first { $0.name == "message" }
                bodies.append(message.body ?? "")
            }
            #expect(bodies == (0..<1200).map { "\($0)" } + ["live"])
            _ = try await juliet.pending()
            #expect(waiting(server) == 0)
        }
    }

    @Test("A stored one does not overtake an older one to the full address (RFC 6120 section 10.1)")
    func olderMessageGoesFirst() async throws {
        try await withServer(loops: 2) { server in
            let juliet = try await server.login("\(Self.juliet)/balcony")
            let romeo = try await server.online("romeo@capulet.example/orchard", loop: 1)
            let writer = await server.holdWriter()
            await send(romeo, "1", to: "\(Self.juliet)/balcony")
            await send(romeo, "2")
            // Both are stored before she announces herself, and the first is on its way meanwhile.
            let loop = DispatchSemaphore(value: 0)
            server.loops[1].execute { loop.wait() }
            writer.signal()
            await withCheckedContinuation { continuation in
                server.host.database.writer.afterQueued { continuation.resume() }
            }
            let again = await server.holdWriter()
            try await juliet.announce()
            loop.signal()
            await server.loops[1].call {}
            await send(romeo, "3")
            again.signal()
            #expect(try await juliet.pending().map(\.body) == ["1", "2", "3"])
        }
    }

    @Test("What the receiver did not get before the connection broke comes again")
    func keptWhenReceiverDies() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let romeo = try await server.online("romeo@capulet.example/orchard")
            await send(romeo, "kept")
            _ = try await romeo.pending()
            let juliet = try await server.login("\(Self.juliet)/balcony")
            let gate = await server.holdWriter()
            await juliet.send("<presence/>")
            await juliet.drop()
            gate.signal()
            await server.settle()
            #expect(waiting(server) == 1)
            #expect(try await receive(server).map(\.body) == ["kept"])
        }
    }

    @Test("A message that is being stored while the receiver returns is delivered")
    func storedWhileReturning() async throws {
        try await withServer(loops: 2) { server in
            let juliet = try await server.login("\(Self.juliet)/balcony", loop: 0)
            let romeo = try await server.online("romeo@capulet.example/orchard", loop: 1)
            let gate = await server.holdWriter()
            await send(romeo, "1")
            await juliet.send("<presence/>")
            await send(romeo, "2")
            gate.signal()
            let seen = try await juliet.pending().filter { $0.name == "message" }
            #expect(seen.map(\.body) == ["1", "2"])
            #expect(waiting(server) == 0)
        }
    }

    @Test("A full store returns further messages to their senders (XEP-0160 section 3)")
    func limit() async throws {
        try await withServer("limits.offline_messages=2", "archive.default=never") { server in
            try await server.addAccount("juliet")
            let romeo = try await server.online("romeo@capulet.example/orchard")
            for number in 1...3 { await send(romeo, "\(number)") }
            let answers = try await romeo.pending()
            try #require(answers.count == 1)
            #expect(answers[0]["id"] == "3")
            #expect(answers[0].condition == "service-unavailable")
            #expect(server.refusals(.offlineMessages) == 1)
            #expect(try await receive(server).map(\.body) == ["1", "2"])
        }
    }

    @Test("What the receiver's archive has is not returned, though it is too much to wait")
    func limitWithArchive() async throws {
        try await withServer("limits.offline_messages=2") { server in
            try await server.addAccount("juliet")
            let romeo = try await server.online("romeo@capulet.example/orchard")
            for number in 1...3 { await send(romeo, "\(number)") }
            #expect(try await romeo.pending().isEmpty)
            #expect(try await receive(server).map(\.body) == ["1", "2"])
        }
    }

    @Test(
        "What is not worth keeping is not stored (XEP-0160 section 3, XEP-0334)",
        arguments: [
            "<composing xmlns='http://jabber.org/protocol/chatstates'/>",
            "<active xmlns='http://jabber.org/protocol/chatstates'/><thread>t</thread>",
            "<body>x</body><no-store xmlns='urn:xmpp:hints'/>", "",
        ])
    func notStored(content: String) async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let romeo = try await server.online("romeo@capulet.example/orchard")
            await romeo.send("<message to='\(Self.juliet)' type='chat'>\(content)</message>")
            #expect(try await romeo.pending().isEmpty)
            #expect(waiting(server) == 0)
        }
    }

    @Test("What must not be kept for good may wait for its receiver (XEP-0334 section 4.1)")
    func notForGood() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let romeo = try await server.online("romeo@capulet.example/orchard")
            await romeo.send(
                "<message to='\(Self.juliet)' type='chat'><body>x</body>"
                    + "<no-permanent-store xmlns='urn:xmpp:hints'/></message>")
            _ = try await romeo.pending()
            #expect(waiting(server) == 1)
            #expect(try await receive(server).map(\.body) == ["x"])
        }
    }

    @Test("A body with a chat state is stored whole")
    func storesWhole() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let romeo = try await server.online("romeo@capulet.example/orchard")
            await romeo.send(
                "<message to='\(Self.juliet)' type='chat' xml:lang='it' xmlns:x='urn:x'>"
                    + "<body>a &lt; b</body><x:mark x:y='&quot;'/>"
                    + "<active xmlns='http://jabber.org/protocol/chatstates'/></message>")
            _ = try await romeo.pending()
            let message = try #require(try await receive(server).first)
            #expect(message.body == "a < b")
            #expect(
                message.child("mark", "urn:x")?.attributes
                    == [Attribute("y", "\"", namespace: "urn:x")])
            #expect(message.child("active", "http://jabber.org/protocol/chatstates") != nil)
            #expect(
                message.attributes.contains(Attribute("lang", "it", namespace: Namespaces.xml)))
        }
    }

    @Test("A message to an account that does not exist is returned")
    func unknownAccount() async throws {
        try await withServer { server in
            let romeo = try await server.online("romeo@capulet.example/orchard")
            await send(romeo, "x", to: "nobody@capulet.example")
            #expect(try await romeo.next().condition == "service-unavailable")
            #expect(waiting(server) == 0)
        }
    }

    @Test("A resource with a negative priority does not get them (RFC 6121 section 8.5.2.2)")
    func negativePriority() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let romeo = try await server.online("romeo@capulet.example/orchard")
            await send(romeo, "1")
            _ = try await romeo.pending()
            let juliet = try await server.online("\(Self.juliet)/balcony", priority: -1)
            #expect(try await juliet.pending().isEmpty)
            await juliet.send("<presence><priority>0</priority></presence>")
            let seen = try await juliet.pending().filter { $0.name == "message" }
            #expect(seen.map(\.body) == ["1"])
        }
    }

    @Test("Stored messages go to the first resource that comes, once")
    func firstResource() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let romeo = try await server.online("romeo@capulet.example/orchard")
            await send(romeo, "1")
            _ = try await romeo.pending()
            let one = try await server.login("\(Self.juliet)/1")
            let two = try await server.login("\(Self.juliet)/2")
            let gate = await server.holdWriter()
            await one.send("<presence/>")
            await two.send("<presence/>")
            gate.signal()
            #expect(try await one.pending().filter { $0.name == "message" }.count == 1)
            #expect(try await two.pending().filter { $0.name == "message" }.isEmpty)
        }
    }

    @Test("What cannot be deleted comes again at the next login, and not in a circle")
    func cannotDelete() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let romeo = try await server.online("romeo@capulet.example/orchard")
            await send(romeo, "1")
            _ = try await romeo.pending()
            try server.refuse("DELETE", on: "offline_messages")
            #expect(try await receive(server, "balcony").map(\.body) == ["1"])
            #expect(waiting(server) == 1)
            #expect(try await receive(server, "chamber").map(\.body) == ["1"])
        }
    }

    @Test("What cannot be stored is returned, to be tried again (RFC 6120 section 8.3.3.6)")
    func cannotStore() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            try server.refuse("INSERT", on: "offline_messages")
            let romeo = try await server.online("romeo@capulet.example/orchard")
            await send(romeo, "1")
            let answer = try await romeo.next()
            #expect(answer.condition == "internal-server-error")
            #expect(answer.errorType == "wait")
            #expect(server.refusals(.storage) == 1)
        }
    }

    @Test("The count of waiting messages survives a restart")
    func countsAtStart() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let romeo = try await server.online("romeo@capulet.example/orchard")
            await send(romeo, "1")
            _ = try await romeo.pending()
            let again = try TestServer(over: server)
            await again.settle()
            #expect(waiting(again) == 1)
            await again.stop()
        }
    }

    @Test("Coming, going and coming again in one breath brings nothing twice")
    func announcedTwice() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let romeo = try await server.online("romeo@capulet.example/orchard")
            for number in 0..<5 { await send(romeo, "\(number)") }
            #expect(try await romeo.pending().isEmpty)
            let client = try await server.login("\(Self.juliet)/balcony")
            await client.send("<presence/><presence type='unavailable'/><presence/>")
            let messages = try await client.pending().filter { $0.name == "message" }
            #expect(messages.map(\.body) == ["0", "1", "2", "3", "4"])
            #expect(waiting(server) == 0)
        }
    }
}
