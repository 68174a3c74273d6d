// Presence subscriptions between two users (RFC 6121 section 3).

import Addresses
import Dispatch
import Engine
import Storage
import Testing
import XML
import XMPP

@Suite struct SubscriptionTests {
    private func item(_ element: Element) -> Element? {
        guard element.name == "iq", element["type"] == "set" else { return nil }
        return element.child("query", "jabber:iq:roster")?.child("item")
    }

    @Test("A request, its approval, and the presence that then flows (section 3.1)")
    func endToEnd() async throws {
        try await withServer(loops: 2) { server in
            let romeo = try await server.online("romeo@capulet.example/orchard", loop: 0)
            let juliet = try await server.online("juliet@capulet.example/balcony", loop: 1)
            await romeo.send(
                "<presence type='subscribe' to='juliet@capulet.example/balcony' id='s'>"
                    + "<status>It is the east</status></presence>")
            let ask = try #require(item(try await romeo.next()))
            #expect(ask["jid"] == "juliet@capulet.example")
            #expect(ask["subscription"] == "none")
            #expect(ask["ask"] == "subscribe")

            let request = try await juliet.next()
            #expect(request.isPresence(from: "romeo@capulet.example", "subscribe"))
            #expect(request["to"] == "juliet@capulet.example", "bare to bare (3.1.2)")
            #expect(request.child("status")?.text == "It is the east")
            #expect(try await juliet.getRoster().isEmpty, "a request is not in the roster (A.1)")

            await juliet.send("<presence type='subscribed' to='romeo@capulet.example'/>")
            let granted = try #require(item(try await juliet.next()))
            #expect(granted["subscription"] == "from")

            let approval = try await romeo.next()
            #expect(approval.isPresence(from: "juliet@capulet.example", "subscribed"))
            let push = try #require(item(try await romeo.next()), "after the stanza (3.1.6)")
            #expect(push["subscription"] == "to")
            #expect(push["ask"] == nil)
            let presence = try await romeo.next()
            #expect(presence.isPresence(from: "juliet@capulet.example/balcony"))
            #expect(presence["to"] == "romeo@capulet.example")

            await juliet.send("<presence><show>away</show></presence>")
            #expect(try await romeo.next().child("show")?.text == "away")
            await romeo.send("<presence><show>dnd</show></presence>")
            _ = try await romeo.next()
            let seen = try await juliet.pending().filter {
                $0["from"] != "juliet@capulet.example/balcony"
            }
            #expect(seen.isEmpty, "one direction only")
        }
    }

    @Test("A request can be denied (section 3.1.4)")
    func denial() async throws {
        try await withServer { server in
            let romeo = try await server.online("romeo@capulet.example/orchard")
            let juliet = try await server.online("juliet@capulet.example/balcony")
            await romeo.send("<presence type='subscribe' to='juliet@capulet.example'/>")
            _ = try await juliet.first { $0["type"] == "subscribe" }
            await juliet.send("<presence type='unsubscribed' to='romeo@capulet.example'/>")
            _ = try await romeo.first {
                $0.isPresence(from: "juliet@capulet.example", "unsubscribed")
            }
            let push = try #require(item(try await romeo.next()))
            #expect(push["subscription"] == "none")
            #expect(push["ask"] == nil)
            #expect(try await juliet.pending().isEmpty)
        }
    }

    @Test("Who unsubscribes gets no more presence, and the contact is told (section 3.3)")
    func unsubscribe() async throws {
        try await withServer { server in
            let romeo = try await server.online("romeo@capulet.example/orchard")
            let juliet = try await server.online("juliet@capulet.example/balcony")
            try await befriend(romeo, juliet)
            await romeo.send("<presence type='unsubscribe' to='juliet@capulet.example'/>")
            let told = try await juliet.pending()
            #expect(told.first?.isPresence(from: "romeo@capulet.example", "unsubscribe") == true)
            #expect(told.compactMap(item).last?["subscription"] == "to")
            let seen = try await romeo.pending()
            #expect(seen.compactMap(item).last?["subscription"] == "from")
            #expect(
                seen.contains {
                    $0.isPresence(from: "juliet@capulet.example/balcony", "unavailable")
                })
            await juliet.send("<presence/>")
            #expect(try await romeo.pending().isEmpty)
        }
    }

    @Test("Who takes a subscription back sends no more presence (section 3.2)")
    func cancel() async throws {
        try await withServer { server in
            let romeo = try await server.online("romeo@capulet.example/orchard")
            let juliet = try await server.online("juliet@capulet.example/balcony")
            try await befriend(romeo, juliet)
            await juliet.send("<presence type='unsubscribed' to='romeo@capulet.example'/>")
            let seen = try await romeo.pending()
            #expect(
                seen.contains {
                    $0.isPresence(from: "juliet@capulet.example/balcony", "unavailable")
                })
            #expect(seen.contains { $0.isPresence(from: "juliet@capulet.example", "unsubscribed") })
            #expect(seen.compactMap(item).last?["subscription"] == "from")
            await juliet.send("<presence/>")
            #expect(try await romeo.pending().isEmpty)
        }
    }

    @Test("A request to who is offline comes with the next presence, until answered (3.1.3)")
    func offlineRequest() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let romeo = try await server.online("romeo@capulet.example/orchard")
            await romeo.send(
                "<presence type='subscribe' to='juliet@capulet.example'><status>?</status></presence>"
            )
            _ = try await romeo.pending()
            for _ in 0..<2 {
                let juliet = try await server.login("juliet@capulet.example/balcony")
                #expect(try await juliet.pending().isEmpty, "not before presence")
                await juliet.send("<presence/>")
                let request = try await juliet.first { $0["type"] == "subscribe" }
                #expect(request["from"] == "romeo@capulet.example")
                #expect(request.child("status")?.text == "?")
                await juliet.drop()
            }
            let juliet = try await server.online("juliet@capulet.example/balcony")
            await juliet.send("<presence type='subscribed' to='romeo@capulet.example'/>")
            _ = try await juliet.pending()
            await juliet.drop()
            let later = try await server.online("juliet@capulet.example/balcony")
            #expect(!(try await later.pending().contains { $0["type"] == "subscribe" }))
        }
    }

    @Test("Who was approved before is approved at once (section 3.1.3)")
    func alreadyApproved() async throws {
        try await withServer { server in
            let romeo = try await server.online("romeo@capulet.example/orchard")
            let juliet = try await server.online("juliet@capulet.example/balcony")
            try await subscribe(romeo, to: juliet)
            _ = try await romeo.pending()
            _ = try await juliet.pending()
            await romeo.send("<presence type='subscribe' to='juliet@capulet.example'/>")
            let seen = try await romeo.pending()
            #expect(seen.contains { $0.isPresence(from: "juliet@capulet.example/balcony") })
            #expect(seen.compactMap(item).allSatisfy { $0["subscription"] == "to" })
            #expect(try await juliet.pending().isEmpty, "Juliet is not asked again")
        }
    }

    @Test("A request to nobody stays open and is never answered (section 8.5.1)")
    func unknownContact() async throws {
        try await withServer { server in
            let romeo = try await server.online("romeo@capulet.example/orchard")
            await romeo.send("<presence type='subscribe' to='nobody@capulet.example'/>")
            let seen = try await romeo.pending()
            #expect(seen.compactMap(item).map { $0["ask"] } == ["subscribe"])
            #expect(seen.allSatisfy { $0.name == "iq" })
        }
    }

    @Test("A subscription to oneself is nothing, to a domain a bad request")
    func pointless() async throws {
        try await withServer { server in
            let romeo = try await server.online("romeo@capulet.example/orchard")
            await romeo.send("<presence type='subscribe' to='romeo@capulet.example'/>")
            #expect(try await romeo.pending().isEmpty)
            await romeo.send("<presence type='subscribe' to='capulet.example'/>")
            #expect(try await romeo.next().condition == "bad-request")
        }
    }

    @Test("Requests that wait for an answer have a limit of their own")
    func limits() async throws {
        try await withServer("limits.subscription_requests=1") { server in
            let juliet = try await server.login("juliet@capulet.example/balcony")
            let nurse = try await server.online("nurse@capulet.example/room")
            await nurse.send("<presence type='subscribe' to='juliet@capulet.example'/>")
            _ = try await nurse.pending()
            let romeo = try await server.online("romeo@capulet.example/orchard")
            await romeo.send("<presence type='subscribe' to='juliet@capulet.example'/>")
            let answer = try await romeo.first { $0.name == "presence" }
            #expect(answer.condition == "resource-constraint")
            #expect(answer["from"] == "juliet@capulet.example")
            #expect(try await juliet.pending().isEmpty)
        }
    }

    @Test("A change that is committed while a roster is being read is not lost")
    func changeWhileLoading() async throws {
        try await withServer(loops: 2) { server in
            try await server.addAccount("juliet")
            let romeo = try await server.online("romeo@capulet.example/orchard", loop: 0)
            let juliet = try await server.connect(loop: 1)
            try await juliet.open()
            #expect(try await juliet.plain("juliet").name == "success")
            try await juliet.open()
            let release = await holdReaders(server)
            await juliet.send(
                "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
            await romeo.send("<presence type='subscribe' to='juliet@capulet.example'/>")
            _ = try await romeo.first { item($0)?["ask"] == "subscribe" }
            for _ in 0..<3 { release.signal() }
            #expect(try await juliet.next()["id"] == "b")
            await juliet.send("<presence/>")
            _ = try await juliet.first { $0.isPresence(from: "romeo@capulet.example", "subscribe") }
        }
    }

    /// Keeps all three readers of the database busy, until three signals.
    private func holdReaders(_ server: TestServer) async -> DispatchSemaphore {
        let gate = DispatchSemaphore(value: 0)
        for _ in 0..<3 {
            await withCheckedContinuation { continuation in
                server.host.database.read(
                    { _ in
                        continuation.resume()
                        gate.wait()
                    }, then: { _ in })
            }
        }
        return gate
    }
}
