import Addresses
import Dispatch
import Engine
import NIOCore
import NIOEmbedded
import Storage
import Testing
import XML
import XMPP

@Suite("XEP-0198: resumption (section 5)")
struct ResumptionTests {
    private static let namespace = "urn:xmpp:sm:3"
    private static let juliet = "juliet@capulet.example/balcony"
    private static let romeo = "romeo@capulet.example/orchard"

    private func enable(_ client: TestClient, max: String = "") async throws -> String {
        await client.send("<enable xmlns='\(Self.namespace)' resume='true' \(max)/>")
        let answer = try await client.first { $0.name == "enabled" }
        #expect(answer["resume"] == "true")
        return try #require(answer["id"])
    }

    /// A client that has logged in and bound nothing.
    private func connect(
        _ server: TestServer, _ user: String = "juliet", loop: Int = 0
    ) async throws -> TestClient {
        let client = try await server.connect(loop: loop)
        try await client.open()
        _ = try await client.scram(SCRAMClient(username: user))
        try await client.open()
        return client
    }

    private func resume(
        _ server: TestServer, _ id: String, h: Int, loop: Int = 0, user: String = "juliet"
    ) async throws -> (TestClient, Element) {
        let client = try await connect(server, user, loop: loop)
        await client.send("<resume xmlns='\(Self.namespace)' previd='\(id)' h='\(h)'/>")
        return (client, try await client.next())
    }

    private func message(_ number: Int) -> String {
        "<message to='\(Self.juliet)' type='chat' id='\(number)'><body>\(number)</body></message>"
    }

    private func streams(_ server: TestServer) throws -> Int64? {
        try server.host.database.readNow { connection in
            try connection.first("SELECT count(*) FROM streams") { $0.integer(0) }
        }
    }

    private func bodies(_ elements: [Element]) -> [String] {
        elements.compactMap { $0.name == "message" ? $0.child("body")?.text : nil }
    }

    @Test("What was not acknowledged comes again, what was does not", arguments: [0, 1])
    func retransmission(_ loop: Int) async throws {
        try await withServer(loops: 2) { server in
            let juliet = try await server.online(Self.juliet)
            let id = try await enable(juliet)
            let romeo = try await server.online(Self.romeo, loop: 1)
            await romeo.send(message(1) + message(2))
            #expect(bodies(try await juliet.pending()) == ["1", "2"])
            // Romeo's two messages, and the answer to a ping.
            await juliet.send("<a xmlns='\(Self.namespace)' h='1'/>")
            await server.settle()
            await juliet.drop()
            await romeo.send(message(3))
            await server.settle()
            let (again, answer) = try await resume(server, id, h: 1, loop: loop)
            #expect(answer.name == "resumed" && answer["previd"] == id)
            #expect(answer["h"] == "1", "the ping")
            let elements = try await again.pending()
            #expect(bodies(elements) == ["2", "3"])
            for element in elements where element.name == "message" {
                #expect(element.child("delay", "urn:xmpp:delay") != nil, "XEP-0203")
            }
            await romeo.send(message(4))
            #expect(bodies(try await again.pending()) == ["4"])
        }
    }

    private func messages(_ numbers: ClosedRange<Int>) -> String {
        numbers.map { message($0) }.joined()
    }

    @Test("What waits for the disk is in the h of <resumed/>, or it would come twice")
    func unstored() async throws {
        for isOpen in [false, true] {
            try await withServer(loops: 2) { server in
                try await server.addAccount("juliet")
                let romeo = try await server.login(Self.romeo)
                let id = try await enable(romeo)
                let gate = await server.holdWriter()
                await romeo.send(messages(1...2))
                if !isOpen { await romeo.drop() }
                let again = try await connect(server, "romeo", loop: 1)
                await again.send("<resume xmlns='\(Self.namespace)' previd='\(id)' h='0'/>")
                if isOpen { try await romeo.expectStreamError(.conflict) }
                #expect(again.hasNothing)
                gate.signal()
                let answer = try await again.next()
                #expect(answer.name == "resumed" && answer["h"] == "2")
                await again.send(message(3))
                await server.settle()
                await again.send("<r xmlns='\(Self.namespace)'/>")
                #expect(try await again.first { $0.name == "a" }["h"] == "3")
                let juliet = try await server.login(Self.juliet)
                await juliet.send("<presence/>")
                #expect(bodies(try await juliet.pending()) == ["1", "2", "3"])
            }
        }
    }

    @Test("A session that ends while somebody waits for it is not found, and its h is complete")
    func endedMeanwhile() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let romeo = try await server.login(Self.romeo)
            let id = try await enable(romeo)
            let session = try #require(server.host.sessions.all.first)
            let gate = await server.holdWriter()
            await romeo.send(messages(1...2))
            let again = try await connect(server, "romeo")
            await again.send("<resume xmlns='\(Self.namespace)' previd='\(id)' h='0'/>")
            try await romeo.expectStreamError(.conflict)
            session.terminate(StreamError(.policyViolation))
            #expect(again.hasNothing)
            gate.signal()
            let answer = try await again.next()
            #expect(answer.name == "failed" && answer["h"] == "2")
            #expect(try await again.bind("other")["type"] == "result")
        }
    }

    @Test("Contacts see nothing of it: no unavailable, no new presence")
    func presence() async throws {
        try await withServer { server in
            let juliet = try await server.online(Self.juliet)
            let id = try await enable(juliet)
            let tablet = try await server.online("juliet@capulet.example/tablet")
            #expect(try await tablet.pending().count == 1, "juliet's presence")
            await juliet.drop()
            #expect(try await tablet.pending().isEmpty)
            let (again, answer) = try await resume(server, id, h: 1)
            #expect(answer.name == "resumed")
            #expect(try await tablet.pending().isEmpty)
            #expect(try await again.pending().isEmpty, "she had the tablet's presence")
        }
    }

    @Test("A stream that is still open is closed with a conflict")
    func stillOpen() async throws {
        try await withServer(loops: 2) { server in
            let juliet = try await server.online(Self.juliet)
            let id = try await enable(juliet)
            let (again, answer) = try await resume(server, id, h: 0, loop: 1)
            #expect(answer.name == "resumed")
            try await juliet.expectStreamError(.conflict)
            #expect(server.host.sessions.all.count == 1)
            let (third, next) = try await resume(server, id, h: 0)
            #expect(next.name == "resumed")
            try await again.expectStreamError(.conflict)
            #expect(
                try await third.request("get", "<query xmlns='jabber:iq:roster'/>")["type"]
                    == "result")
        }
    }

    @Test("Of two that come for a session at once both are answered, and the later one has it")
    func twoAtOnce() async throws {
        try await withServer(loops: 3) { server in
            let juliet = try await server.online(Self.juliet)
            let id = try await enable(juliet)
            await juliet.drop()
            await server.settle()
            let first = try await connect(server, loop: 1)
            let second = try await connect(server, loop: 2)
            // Both ask before the session leaves its loop, and it arrives late at the next one.
            let departure = DispatchSemaphore(value: 0)
            let arrival = DispatchSemaphore(value: 0)
            server.loops[0].execute { departure.wait() }
            for client in [first, second] {
                await client.send("<resume xmlns='\(Self.namespace)' previd='\(id)' h='0'/>")
            }
            server.loops[1].execute { arrival.wait() }
            departure.signal()
            await server.loops[0].call {}
            arrival.signal()
            #expect(try await second.next().name == "resumed")
            #expect(try await first.next().name == "resumed")
            try await first.expectStreamError(.conflict)
            #expect(try await second.pending().isEmpty, "the answer to the ping comes alone")
        }
    }

    @Test("A client that says goodbye is gone at once")
    func goodbye() async throws {
        try await withServer { server in
            let juliet = try await server.online(Self.juliet)
            let id = try await enable(juliet)
            await juliet.send("</stream:stream>")
            try await juliet.expectEnd()
            let (_, answer) = try await resume(server, id, h: 0)
            #expect(answer.name == "failed")
        }
    }

    @Test("Unknown, and somebody else's: not found, and a resource can be bound")
    func unknown() async throws {
        try await withServer { server in
            let juliet = try await server.online(Self.juliet)
            let id = try await enable(juliet)
            try await server.addAccount("romeo")
            for (previous, user) in [("nonsense", "juliet"), (id, "romeo")] {
                let (client, answer) = try await resume(server, previous, h: 0, user: user)
                #expect(answer.name == "failed" && answer.namespace == Self.namespace)
                #expect(answer.elements.first?.name == "item-not-found")
                #expect(try await client.bind("other")["type"] == "result")
            }
            #expect(try await juliet.pending().isEmpty, "untouched")
            let broken = try await connect(server)
            await broken.send("<resume xmlns='\(Self.namespace)' previd='\(id)'/>")
            #expect(try await broken.next().elements.first?.name == "bad-request")
        }
    }

    @Test("More than was sent is an error (section 6), and the session stays")
    func tooHigh() async throws {
        try await withServer { server in
            let juliet = try await server.online(Self.juliet)
            let id = try await enable(juliet)
            await juliet.drop()
            let (client, answer) = try await resume(server, id, h: 5)
            #expect(answer.elements.first?.name == "undefined-condition")
            #expect(answer.child("handled-count-too-high", Self.namespace)?["send-count"] == "0")
            try await client.expectEnd()
            #expect(try await resume(server, id, h: 0).1.name == "resumed")
        }
    }

    @Test("After its time the session ends, and what was not acknowledged waits offline")
    func expiry() async throws {
        try await withServer("limits.hibernation=20s") { server in
            let juliet = try await server.online(Self.juliet)
            let id = try await enable(juliet, max: "max='10'")
            let romeo = try await server.online(Self.romeo)
            await romeo.send(message(1))
            #expect(bodies(try await juliet.pending()) == ["1"])
            await juliet.drop()
            await romeo.send(message(2))
            await romeo.send("<iq type='get' id='7' to='\(Self.juliet)'><q xmlns='urn:x'/></iq>")
            await server.settle()
            await juliet.pass(.seconds(9))
            #expect(server.host.sessions.all.count == 2)
            await juliet.pass(.seconds(2))
            await server.settle()
            #expect(server.host.sessions.all.count == 1)
            #expect(try await romeo.first { $0["id"] == "7" }["type"] == "error")
            #expect(server.metric("kinglet_resumptions_total{result=\"expired\"}") == 1)
            #expect(try await resume(server, id, h: 0).1.name == "failed")
            let again = try await server.login(Self.juliet)
            await again.send("<presence/>")
            let elements = try await again.pending()
            #expect(bodies(elements) == ["1", "2"])
        }
    }

    @Test(
        "A client that comes too late hears how much was handled, exactly, until its account goes")
    func positionAfterTheEnd() async throws {
        try await withServer("limits.hibernation=20s") { server in
            try await server.addAccount("juliet")
            let romeo = try await server.online(Self.romeo)
            let id = try await enable(romeo)
            await romeo.send(
                message(1) + "<iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>")
            await romeo.send("<message to='\(Self.juliet)' type='headline'/>" + message(2))
            await romeo.send("<presence/>")
            await server.settle()
            await romeo.drop()
            await romeo.pass(.seconds(21))
            await server.settle()
            let late = try await resume(server, id, h: 0, user: "romeo")
            #expect(late.1.name == "failed" && late.1["h"] == "5")
            await late.0.drop()
            // Messages of the stream that are listed later do not take it back.
            await withCheckedContinuation { done in
                server.host.settleAllMessages { done.resume() }
            }
            #expect(try await resume(server, id, h: 0, user: "romeo").1["h"] == "5")
            #expect(try await resume(server, id, h: 0, user: "juliet").1["h"] == nil)
            let account = try BareJID("romeo@capulet.example")
            await withCheckedContinuation { done in
                server.host.removeAccount(account) { _ in done.resume() }
            }
            await server.settle()
            #expect(try streams(server) == 0)
        }
    }

    @Test("A client that said good-bye will not ask: nothing is written of its stream")
    func goodBye() async throws {
        try await withServer { server in
            let romeo = try await server.online(Self.romeo)
            _ = try await enable(romeo)
            await romeo.send("</stream:stream>")
            await server.settle()
            #expect(try streams(server) == 0)
        }
    }

    @Test("Messages that pass from loop to loop stay in order while the session moves")
    func order() async throws {
        try await withServer(loops: 3) { server in
            let juliet = try await server.online(Self.juliet)
            let id = try await enable(juliet)
            let romeo = try await server.online(Self.romeo, loop: 1)
            let count = 400
            async let sending: Void = {
                for number in 0..<count { await romeo.send(message(number)) }
            }()
            var received = 0
            var client = juliet
            var texts: [String] = []
            for turn in 0..<8 {
                for _ in 0..<5 {
                    let element = try await client.first { $0.name == "message" }
                    received += 1
                    texts.append(element.child("body")?.text ?? "")
                }
                let (next, answer) = try await resume(server, id, h: received, loop: turn % 3)
                #expect(answer.name == "resumed")
                client = next
            }
            await sending
            while received < count {
                let element = try await client.first { $0.name == "message" }
                received += 1
                texts.append(element.child("body")?.text ?? "")
            }
            #expect(texts == (0..<count).map(String.init))
        }
    }

    @Test("A client that never acknowledges is asked, then taken for dead; one that hoards ends")
    func silent() async throws {
        try await withServer("limits.acknowledgement=5s", "limits.unacknowledged=100") { server in
            let juliet = try await server.online(Self.juliet)
            _ = try await enable(juliet)
            let romeo = try await server.online(Self.romeo)
            await romeo.send(message(0))
            await server.settle()
            await juliet.pass(.seconds(2))
            #expect(try await juliet.first { $0.name == "r" }.namespace == Self.namespace)
            await juliet.pass(.seconds(10))
            #expect(server.metric("kinglet_sessions_hibernating") == 1)
            for number in 1...100 { await romeo.send(message(number)) }
            await server.settle()
            #expect(server.refusals(.unacknowledged) == 1)
            #expect(server.host.sessions.all.count == 1)
            let again = try await server.login(Self.juliet)
            await again.send("<presence/>")
            let expected = (0...100).map(String.init)
            #expect(bodies(try await again.pending()) == expected)
        }
    }
}
