// Data from a backup: nothing that clients remember from after it is taken for something else.

import Addresses
import Engine
import Storage
import Testing
import XML
import XMPP

@Suite("A database that comes from a backup")
struct RestorationTests {
    private static let juliet = "juliet@capulet.example"
    private static let balcony = "juliet@capulet.example/balcony"
    private static let romeo = "romeo@capulet.example/orchard"
    private static let mam = "urn:xmpp:mam:2"

    /// Has Romeo say something to Juliet, who is online, and gives the archive ids that she sees.
    private func say(_ bodies: [String], _ server: TestServer) async throws -> [String] {
        let juliet = try await server.online(Self.balcony)
        let romeo = try await server.online(Self.romeo)
        var ids: [String] = []
        for body in bodies {
            await romeo.send(
                "<message to='\(Self.juliet)' type='chat' id='\(body)'><body>\(body)</body>"
                    + "</message>")
            let message = try await juliet.first { $0.child("body")?.text == body }
            ids.append(try #require(message.child("stanza-id", "urn:xmpp:sid:0")?["id"]))
        }
        await server.settle()
        return ids
    }

    /// The archive after an id: bodies by id; nil when the server does not know that id.
    private func history(
        _ server: TestServer, of account: String = juliet, after id: String? = nil
    ) async throws -> [String: String]? {
        let juliet = try await server.login("\(account)/\(UInt32.random(in: 0...UInt32.max))")
        let request = juliet.nextID()
        let page = id.map {
            "<set xmlns='http://jabber.org/protocol/rsm'><after>\($0)</after></set>"
        }
        await juliet.send(
            "<iq type='set' id='\(request)'><query xmlns='\(Self.mam)'>\(page ?? "")</query></iq>")
        var found: [String: String] = [:]
        while true {
            let element = try await juliet.next()
            if element["id"] == request {
                guard element["type"] == "error" else { return found }
                #expect(element.condition == "item-not-found")
                return nil
            }
            guard let result = element.child("result", Self.mam), let id = result["id"] else {
                continue
            }
            found[id] =
                result.child("forwarded", "urn:xmpp:forward:0")?
                .child("message", "jabber:client")?.child("body")?.text
        }
    }

    @Test("No message after a restore has the id of one that was lost, and old ids stay")
    func archiveIDs() async throws {
        let first = try TestServer([])
        let old = try await say(["1", "2"], first)
        let backup = try await first.stopForCopy()

        let second = try TestServer(over: first)
        let lost = try await say(["3", "4"], second)
        _ = try await second.stopForCopy()

        let third = try TestServer(over: second, copy: backup, mark: "a")
        #expect(try await history(third) == [old[0]: "1", old[1]: "2"])
        let new = try await say(["5", "6", "7"], third)
        #expect(Set(new).isDisjoint(with: lost))
        // A client that has seen what is lost learns so, and does not skip what is new.
        for id in lost { #expect(try await history(third, after: id) == nil) }
        #expect(try await history(third, after: old[1]) == [new[0]: "5", new[1]: "6", new[2]: "7"])
        _ = try await third.stopForCopy()

        // The same backup again, whose epochs know nothing of the restore before.
        let fourth = try TestServer(over: third, copy: backup, mark: "b")
        let newest = try await say(["8"], fourth)
        #expect(Set(newest).isDisjoint(with: lost + new))
        for id in new { #expect(try await history(fourth, after: id) == nil) }
        await fourth.stop()
    }

    private func epochs(_ server: TestServer) throws -> [Int64] {
        try server.host.database.readNow { connection in
            var numbers: [Int64] = []
            try connection.rows("SELECT number FROM archive_epochs ORDER BY number") {
                numbers.append($0.integer(0))
            }
            return numbers
        }
    }

    @Test("A mark counts once, however often the server starts with it")
    func once() async throws {
        let first = try TestServer([])
        _ = try await say(["1"], first)
        #expect(try epochs(first) == [1])
        let backup = try await first.stopForCopy()
        let second = try TestServer(over: first, copy: backup, mark: "a")
        let noted = try epochs(second)
        #expect(noted.count == 2)
        _ = try await say(["2"], second)
        let later = try await second.stopForCopy()
        // The process died before it had removed the mark.
        let third = try TestServer(over: second, copy: later, mark: "a")
        #expect(try epochs(third) == noted)
        let again = try await third.stopForCopy()
        let fourth = try TestServer(over: third, copy: again, mark: "b")
        #expect(try epochs(fourth).count == 3)
        await fourth.stop()
    }

    @Test("A mark whose transaction fails counts at the next start")
    func failure() async throws {
        let first = try TestServer([])
        _ = try await say(["1"], first)
        try first.refuse("INSERT", on: "archive_epochs")
        let backup = try await first.stopForCopy()
        #expect(throws: StorageError.self) {
            _ = try TestServer(over: first, copy: backup, mark: "a")
        }
        let second = try TestServer(over: first)
        #expect(try epochs(second) == [1])
        try second.host.database.writeNow { connection in
            try connection.execute("DROP TRIGGER refuse_INSERT")
        }
        let mended = try await second.stopForCopy()
        let third = try TestServer(over: second, copy: mended, mark: "a")
        #expect(try epochs(third).count == 2)
        await third.stop()
    }

    @Test("When epochs have run out, all ids are new")
    func overflow() async throws {
        let first = try TestServer([])
        let old = try await say(["1"], first)
        try first.host.database.writeNow { connection in
            try connection.execute(
                "INSERT INTO archive_epochs (number, first) VALUES (4294967295, 2)")
        }
        let backup = try await first.stopForCopy()
        let second = try TestServer(over: first, copy: backup, mark: "a")
        #expect(try epochs(second) == [1])
        #expect(try await history(second, after: old[0]) == nil)
        #expect(try await history(second)?.count == 1)
        await second.stop()
    }

    @Test("A roster version of what was lost gets the whole roster (RFC 6121 section 2.6)")
    func rosterVersions() async throws {
        func get(_ version: String, _ client: TestClient) async throws -> Element? {
            try await client.request(
                "get", "<query xmlns='jabber:iq:roster' ver='\(version)'/>"
            ).elements.first
        }
        func add(_ name: String, _ client: TestClient) async throws {
            let answer = try await client.request(
                "set",
                "<query xmlns='jabber:iq:roster'><item jid='\(name)@capulet.example'/></query>")
            #expect(answer["type"] == "result", "\(answer)")
        }
        let first = try TestServer([])
        let juliet = try await first.login(Self.balcony)
        try await add("nurse", juliet)
        let old = try #require(try await get("", juliet)?["ver"])
        let backup = try await first.stopForCopy()
        let second = try TestServer(over: first)
        let again = try await second.login(Self.balcony)
        try await add("romeo", again)
        let lost = try #require(try await get("", again)?["ver"])
        _ = try await second.stopForCopy()
        let third = try TestServer(over: second, copy: backup, mark: "a")
        let restored = try await third.login(Self.balcony)
        #expect(lost != old)
        #expect(try await get(lost, restored)?.elements.count == 1)
        #expect(try await get(old, restored) == nil)
        await third.stop()
    }

    @Test("Sessions of the backup are not resumed, and what they had comes again (XEP-0198)")
    func sessions() async throws {
        let first = try TestServer([])
        let juliet = try await ResumingClient(try await first.online(Self.balcony))
        let romeo = try await ResumingClient(try await first.online(Self.romeo))
        await romeo.client.send(
            "<message to='\(Self.balcony)' type='chat' id='1'><body>1</body></message>")
        #expect(try await juliet.bodies() == ["1"])
        #expect(try await romeo.handled() == "1")
        let backup = try await first.stopForCopy()
        let second = try TestServer(over: first, copy: backup, mark: "a")
        await second.host.restoreSessions()
        await second.settle()
        // How far his stream was is not said either: he was told of more since.
        let answer = try await romeo.comeBack(to: second)
        #expect(answer.name == "failed" && answer["h"] == nil)
        #expect(try await juliet.comeBack(to: second).name == "failed")
        let anew = try await second.login("\(Self.juliet)/new")
        await anew.send("<presence/>")
        let message = try await anew.first { $0.name == "message" }
        #expect(message.child("body")?.text == "1")
        await second.stop()
    }

    @Test("In a scratch copy a probe gets the longest history", arguments: [false, true])
    func probe(_ isSettled: Bool) async throws {
        try await withServer { server in
            let ids = try await say(["1", "2", "3"], server)
            try await server.addAccount("nurse")
            let juliet = try await server.login("\(Self.juliet)/other")
            await juliet.send(
                "<message to='nurse@capulet.example' type='chat'><body>4</body></message>")
            await server.settle()
            if isSettled {
                await withCheckedContinuation { continuation in
                    server.host.settleAllMessages { continuation.resume() }
                }
            }
            let probe = try await server.login("probe@capulet.example/x")
            #expect(try server.host.takeLongestHistory(for: try probe.jid.bare) == 4)
            #expect(try await history(server, of: "probe@capulet.example")?.count == 4)
            #expect(try await history(server, of: "probe@capulet.example")?[ids[0]] == "1")
            #expect(try await history(server)?.isEmpty == true)
        }
    }

    @Test("Without any history the probe has none")
    func nothing() async throws {
        try await withServer { server in
            let probe = try await server.login("probe@capulet.example/x")
            #expect(try server.host.takeLongestHistory(for: try probe.jid.bare) == 0)
        }
    }
}
