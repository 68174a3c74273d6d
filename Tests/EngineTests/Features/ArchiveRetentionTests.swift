// How long archives keep messages, and how much of them.

import Addresses
import Engine
import NIOCore
import NIOEmbedded
import Storage
import Testing
import XML
import XMPP

@testable import Features

@Suite("XEP-0313: what is too old or too much goes (section 3.2)")
struct ArchiveRetentionTests {
    private static let juliet = "juliet@capulet.example"
    private static let romeo = "romeo@montague.example"
    private static let domains = ["capulet.example", "montague.example"]
    private static let mam = "urn:xmpp:mam:2"
    private static let day = 86_400

    private func withServer(
        _ settings: String..., body: (TestServer) async throws -> Void
    ) async throws {
        let server = try TestServer(settings, domains: Self.domains)
        do {
            try await body(server)
        } catch {
            await server.stop()
            throw error
        }
        await server.stop()
    }

    /// Bodies in a client's archive, since a time or all.
    private func bodies(
        _ client: TestClient, since: Int64? = nil, with words: String? = nil
    ) async throws -> [String] {
        var fields = "<field var='FORM_TYPE' type='hidden'><value>\(Self.mam)</value></field>"
        if let since {
            let time = Clock.timestamp(since)
            fields += "<field var='start'><value>\(time)</value></field>"
        }
        if let words { fields += "<field var='withtext'><value>\(words)</value></field>" }
        let id = client.nextID()
        await client.send(
            "<iq type='set' id='\(id)'><query xmlns='\(Self.mam)'>"
                + "<x xmlns='jabber:x:data' type='submit'>\(fields)</x></query></iq>")
        var bodies: [String] = []
        while true {
            let element = try await client.next()
            if element["id"] == id {
                #expect(element.child("fin", Self.mam)?["complete"] == "true")
                return bodies
            }
            guard
                let message = element.child("result", Self.mam)?
                    .child("forwarded", "urn:xmpp:forward:0")?.child("message", Namespaces.client)
            else { continue }
            bodies.append(message.child("body")?.text ?? "")
        }
    }

    /// Romeo tells Juliet 0 ... 9, the first four of which become some days older.
    private func talk(_ server: TestServer, olderBy days: Int) async throws -> [TestClient] {
        let juliet = try await server.online("\(Self.juliet)/balcony")
        let romeo = try await server.online("\(Self.romeo)/orchard")
        for number in 0..<10 {
            if number == 4 { await settleMessages(server) }
            await romeo.send(
                "<message to='\(Self.juliet)' type='chat'><body>word\(number)</body></message>")
            _ = try await juliet.first { $0.name == "message" }
        }
        await settleMessages(server)
        let time = Int64(days * Self.day * 1000)
        try server.host.database.writeNow { connection in
            try connection.execute(
                "UPDATE messages SET received = received - ? WHERE id <= 4", .integer(time))
            try connection.execute(
                """
                UPDATE archive_spans SET earliest = earliest - ?1, latest = latest - ?1
                WHERE last <= 4
                """, .integer(time))
        }
        return [juliet, romeo]
    }

    private func settleMessages(_ server: TestServer) async {
        await server.settle()
        await withCheckedContinuation { done in server.host.settleAllMessages { done.resume() } }
        await server.settle()
    }

    /// Lets so much time pass that what has to go goes.
    private func pass(_ server: TestServer) async {
        await server.loops[0].advanceTime(by: .minutes(11))
        await settleMessages(server)
    }

    private func rows(_ server: TestServer, _ table: String) throws -> Int64? {
        try server.host.database.readNow { connection in
            try connection.first("SELECT count(*) FROM \(table)") { $0.integer(0) }
        }
    }

    private let all = (0..<10).map { "word\($0)" }
    private let late = (4..<10).map { "word\($0)" }

    @Test("What is older than its domain keeps it goes from all that told of it")
    func age() async throws {
        try await withServer("archive.max_age=2d") { server in
            let clients = try await talk(server, olderBy: 3)
            #expect(try await bodies(clients[0]) == all)
            await pass(server)
            for client in clients {
                #expect(try await bodies(client) == late)
                #expect(try await bodies(client, since: 0) == late)
                #expect(try await bodies(client, with: "word2") == [])
                #expect(try await bodies(client, with: "word7") == ["word7"])
            }
            #expect(try rows(server, "messages") == 6)
            #expect(try rows(server, "archive_spans") == 1)
            #expect(server.metric("kinglet_archive_removed_total") == 8)
            #expect(server.metric("kinglet_archive_messages") == 12)
        }
    }

    @Test("The latest messages go, too, when they are too old, however few they are")
    func latest() async throws {
        try await withServer("archive.max_age=2d") { server in
            let juliet = try await server.online("\(Self.juliet)/balcony")
            await juliet.send(
                "<message to='\(Self.romeo)' type='chat'><body>1</body></message>")
            try await server.addAccount("romeo", domain: "montague.example")
            await juliet.send(
                "<message to='\(Self.romeo)' type='chat'><body>2</body></message>")
            await server.settle()
            try server.host.database.writeNow { connection in
                try connection.execute(
                    "UPDATE messages SET received = received - ?",
                    .integer(Int64(3 * Self.day * 1000)))
            }
            await server.loops[0].advanceTime(by: .minutes(11))
            await server.settle()
            await server.settle()
            #expect(try await bodies(juliet) == [])
        }
    }

    @Test("What is younger stays, and so does everything without a limit", arguments: ["4d", "0s"])
    func young(_ age: String) async throws {
        try await withServer("archive.max_age=\(age)") { server in
            let clients = try await talk(server, olderBy: 3)
            await pass(server)
            #expect(try await bodies(clients[0]) == all)
        }
    }

    @Test("Each domain has its own limits; one's rest is found by its time as before")
    func domains() async throws {
        let own = "archive.domains=[{domains: [montague.example], max_age: 2d}]"
        try await withServer("archive.max_age=30d", own) { server in
            let clients = try await talk(server, olderBy: 3)
            await pass(server)
            #expect(try await bodies(clients[0]) == all)
            #expect(try await bodies(clients[1]) == late)
            let time = Clock.secondsSince1970() - Int64(4 * Self.day)
            #expect(try await bodies(clients[0], since: time) == all)
            #expect(try rows(server, "messages") == 10)
            // What stayed behind is not forgotten when its own time comes.
            try server.host.database.writeNow { connection in
                try connection.execute(
                    "UPDATE messages SET received = received - ? WHERE id <= 4",
                    .integer(Int64(40 * Self.day * 1000)))
            }
            let next = try TestServer(over: server, ["archive.max_age=30d", own])
            await pass(next)
            #expect(try rows(next, "messages") == 6)
            await next.stop()
        }
    }

    @Test("Of what is too much the oldest goes, until the rest fits")
    func size() async throws {
        try await withServer("archive.max_size=1000") { server in
            let clients = try await talk(server, olderBy: 0)
            let before = try #require(server.metric("kinglet_archive_bytes"))
            #expect(before > 2500, "of two domains, so the test has something to remove")
            await pass(server)
            let after = try #require(server.metric("kinglet_archive_bytes"))
            #expect(after <= 2000 && after > 1400)
            for client in clients {
                let rest = try await bodies(client)
                #expect(!rest.isEmpty && rest == Array(all.suffix(rest.count)))
            }
            // Nothing more goes.
            await pass(server)
            #expect(server.metric("kinglet_archive_bytes") == after)
        }
    }

    @Test(
        "What leaves an archive between the reading of its words and their index is not found in it"
    )
    func meanwhile() async throws {
        try await withServer { server in
            let clients = try await talk(server, olderBy: 0)
            let database = server.host.database
            try database.writeNow { connection in
                try connection.execute(
                    "INSERT INTO archive_text (archive_text) VALUES ('delete-all')")
                try connection.execute("UPDATE archive_state SET searchable = 0")
            }
            let words = try #require(
                try database.readNow { try MessageArchiveStore.words($0, limit: 100) })
            #expect(words.texts.count == 10 && !words.isMore)
            let numbers = try database.readNow { connection in
                try [Self.juliet, Self.romeo].map {
                    try MessageStore.existingNumber(of: try BareJID($0), in: connection)
                }
            }
            let (juliet, romeo) = (try #require(numbers[0]), try #require(numbers[1]))
            // One message leaves one archive, one leaves both.
            try database.writeNow { connection in
                for (message, owner) in [(3, juliet), (4, juliet), (4, romeo)] as [(Int64, Int64)] {
                    try MessageArchiveStore.remove(
                        connection, message, from: owner, isWaiting: nil)
                }
                try MessageArchiveStore.index(connection, words)
                // Once is enough.
                try MessageArchiveStore.index(connection, words)
            }
            #expect(try await bodies(clients[0], with: "word2") == [])
            #expect(try await bodies(clients[1], with: "word2") == ["word2"])
            for client in clients {
                #expect(try await bodies(client, with: "word3") == [])
                #expect(try await bodies(client, with: "word9") == ["word9"])
            }
            try database.writeNow { connection in
                try MessageArchiveStore.remove(connection, 3, from: romeo, isWaiting: nil)
                try connection.execute(
                    "INSERT INTO archive_text (archive_text) VALUES ('integrity-check')")
            }
            #expect(try await bodies(clients[1], with: "word2") == [])
        }
    }

    @Test("A message that waits for its receiver still comes")
    func waiting() async throws {
        try await withServer("archive.max_age=2d") { server in
            let clients = try await talk(server, olderBy: 0)
            await clients[0].drop()
            await clients[1].send(
                "<message to='\(Self.juliet)' type='chat'><body>waits</body></message>")
            await settleMessages(server)
            try server.host.database.writeNow { connection in
                try connection.execute(
                    "UPDATE messages SET received = received - ?",
                    .integer(Int64(3 * Self.day * 1000)))
            }
            await pass(server)
            #expect(try await bodies(clients[1]) == [])
            #expect(try rows(server, "messages") == 1)
            let juliet = try await server.login("\(Self.juliet)/balcony")
            await juliet.send("<presence/>")
            #expect(try await juliet.first { $0.name == "message" }.body == "waits")
        }
    }
}
