// What the administrator is told of sessions and accounts.

import Addresses
import Engine
import NIOCore
import Testing
import XML

@Suite("Sessions and accounts as an administrator sees them")
struct SessionDescriptionTests {
    private static let namespace = "urn:xmpp:sm:3"
    private static let juliet = "juliet@capulet.example/balcony"
    private static let romeo = "romeo@capulet.example/orchard"

    private func session(_ server: TestServer, _ jid: String = juliet) throws -> Session {
        try #require(server.host.sessions.session(try JID(jid)))
    }

    private func describe(_ session: Session) async -> Session.Description? {
        await withCheckedContinuation { continuation in
            session.describe { continuation.resume(returning: $0) }
        }
    }

    private func describe(
        _ server: TestServer, _ jid: String = juliet
    ) async throws -> Session.Description {
        try #require(await describe(try session(server, jid)))
    }

    private func unacknowledged(_ server: TestServer) -> Double? {
        server.metric("kinglet_unacknowledged_stanzas")
    }

    private func message(_ body: String, to: String = juliet) -> String {
        "<message to='\(to)' type='chat' id='\(body)'><body>\(body)</body></message>"
    }

    @Test("Where it comes from, since when, with which TLS, and what it announced")
    func plain() async throws {
        try await withServer { server in
            let before = Clock.secondsSince1970()
            let juliet = try await server.login(Self.juliet)
            var seen = try await describe(server)
            #expect(seen.jid.description == Self.juliet)
            #expect(seen.address == "127.0.0.1")
            #expect((before...Clock.secondsSince1970()).contains(seen.since))
            #expect(seen.tls == TLSLabel.none)
            #expect(!seen.availability.isAvailable)
            #expect(seen.hibernatesFor == nil)
            #expect(seen.unacknowledged == nil, "it does not count")

            await juliet.secure()
            try await juliet.announce(priority: 5)
            seen = try await describe(server)
            #expect(seen.tls == .tls13)
            #expect(seen.availability.isAvailable && seen.availability.priority == 5)
        }
    }

    @Test("A session that has ended has no description")
    func ended() async throws {
        try await withServer { server in
            let juliet = try await server.online(Self.juliet)
            let session = try session(server)
            await juliet.send("</stream:stream>")
            try await juliet.expectEnd()
            #expect(await describe(session) == nil)
        }
    }

    @Test("What a client has not acknowledged is counted until it has, or is gone")
    func acknowledging() async throws {
        try await withServer(loops: 2) { server in
            let juliet = try await server.online(Self.juliet)
            let romeo = try await server.online(Self.romeo, loop: 1)
            await romeo.send(message("before"))
            _ = try await juliet.first { $0.body == "before" }
            #expect(unacknowledged(server) == 0, "she does not count yet")
            await juliet.send("<enable xmlns='\(Self.namespace)'/>")
            _ = try await juliet.first { $0.name == "enabled" }
            for body in ["1", "2", "3"] { await romeo.send(message(body)) }
            _ = try await juliet.first { $0.body == "3" }
            #expect(try await describe(server).unacknowledged == 3)
            #expect(unacknowledged(server) == 3)
            await juliet.send("<a xmlns='\(Self.namespace)' h='2'/>")
            #expect(try await describe(server).unacknowledged == 1)
            #expect(unacknowledged(server) == 1)
            await juliet.send("</stream:stream>")
            try await server.wait { unacknowledged(server) == 0 }
            #expect(server.host.sessions.all.count == 1)
        }
    }

    @Test("What waits for a slow reader counts once the client enables acknowledgements")
    func enablingLate() async throws {
        try await withServer { server in
            let juliet = try await server.online(Self.juliet)
            let romeo = try await server.online(Self.romeo)
            await juliet.setWritable(false)
            await romeo.send(message("1"))
            await server.settle()
            #expect(unacknowledged(server) == 0)
            await juliet.send("<enable xmlns='\(Self.namespace)'/>")
            #expect(try await describe(server).unacknowledged == 1)
            #expect(unacknowledged(server) == 1)
        }
    }

    @Test("A session whose client is away says how long it waits, and what for", arguments: [0, 1])
    func hibernating(_ loop: Int) async throws {
        try await withServer(loops: 2) { server in
            let juliet = try await server.online(Self.juliet)
            let since = try await describe(server).since
            await juliet.send("<enable xmlns='\(Self.namespace)' resume='true' max='60'/>")
            let id = try #require(try await juliet.first { $0.name == "enabled" }["id"])
            let romeo = try await server.online(Self.romeo, loop: 1)
            await juliet.drop()
            await romeo.send(message("1") + message("2"))
            await server.settle()
            await juliet.pass(.milliseconds(10_500))
            let away = try await describe(server)
            #expect(away.hibernatesFor == 50, "it is rounded up")
            #expect(away.tls == nil && away.address == "127.0.0.1")
            #expect(away.availability.isAvailable, "to its contacts it is there")
            #expect(away.unacknowledged == 2)
            #expect(server.metric("kinglet_sessions_hibernating") == 1)

            let again = try await server.connect(loop: loop)
            try await again.open()
            _ = try await again.scram(SCRAMClient(username: "juliet"))
            try await again.open()
            await again.send("<resume xmlns='\(Self.namespace)' previd='\(id)' h='0'/>")
            _ = try await again.first { $0.body == "2" }
            let back = try await describe(server)
            #expect(back.hibernatesFor == nil && back.tls == TLSLabel.none)
            #expect(back.since == since)
            #expect(server.metric("kinglet_sessions_hibernating") == 0)
            #expect(unacknowledged(server) == 2, "it moved with the session")
            await again.send("<a xmlns='\(Self.namespace)' h='2'/>")
            #expect(try await describe(server).unacknowledged == 0)
            #expect(unacknowledged(server) == 0)
        }
    }

    @Test("Sizes: what is archived, waits, is in the roster, and is blocked")
    func sizes() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let account = try BareJID("juliet@capulet.example")
            func sizes() throws -> [String: Int] {
                let found = try #require(try server.host.accountAndSizes(of: account))
                #expect(found.account.jid == account)
                return Dictionary(uniqueKeysWithValues: found.sizes.map { ($0.name, $0.value) })
            }
            let names = [
                "archive_bytes", "archive_messages", "blocked_addresses", "offline_messages",
                "roster_items",
            ]
            #expect(try sizes() == Dictionary(uniqueKeysWithValues: names.map { ($0, 0) }))

            let romeo = try await server.online(Self.romeo)
            await romeo.send(message("1", to: account.description))
            await romeo.send(message("2", to: account.description))
            await romeo.send("<presence type='subscribe' to='\(account)'/>")
            _ = try await romeo.pending()
            let away = try sizes()
            #expect(away["archive_messages"] == 2 && away["offline_messages"] == 2)
            #expect(away["roster_items"] == 1)
            #expect(try #require(away["archive_bytes"]) > 100)

            let juliet = try await server.online(Self.juliet)
            _ = try await juliet.pending()
            try await server.wait { (try? sizes()["offline_messages"]) == 0 }
            #expect(try sizes()["archive_messages"] == 2)
            _ = try await juliet.request(
                "set",
                "<block xmlns='urn:xmpp:blocking'><item jid='paris@capulet.example'/></block>")
            #expect(try sizes()["blocked_addresses"] == 1)
            #expect(try server.host.accountAndSizes(of: try BareJID("x@capulet.example")) == nil)
        }
    }
}
