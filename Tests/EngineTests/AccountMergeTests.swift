// One account comes back from a backup into data that has gone on without it.

import Addresses
import Engine
import Storage
import Testing
import XML
import XMPP

@Suite("An account that comes back from a backup")
struct AccountMergeTests {
    private static let mam = "urn:xmpp:mam:2"
    private static let juliet = "juliet@capulet.example"
    private static let romeo = "romeo@capulet.example"

    private func account(_ text: String) throws -> BareJID { try BareJID(text) }

    private func say(_ server: TestServer, _ bodies: [String], from: String, to: String)
        async throws
    {
        let client = try await server.login("\(from)/say\(bodies[0])")
        for body in bodies {
            await client.send(
                "<message to='\(to)' type='chat' id='\(body)'><body>\(body) word</body></message>")
        }
        await server.settle()
    }

    private func settle(_ server: TestServer) async {
        await withCheckedContinuation { continuation in
            server.host.settleAllMessages { continuation.resume() }
        }
        await server.settle()
    }

    /// Ids and bodies of an account's history, or of what a search finds in it.
    private func history(
        _ server: TestServer, _ account: String, search: String? = nil
    ) async throws -> [[String]] {
        let client = try await server.login("\(account)/h\(UInt32.random(in: 0...UInt32.max))")
        let id = client.nextID()
        let form = search.map {
            "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>\(Self.mam)"
                + "</value></field><field var='{urn:xmpp:fulltext:0}fulltext'><value>\($0)</value>"
                + "</field></x>"
        }
        await client.send(
            "<iq type='set' id='\(id)'><query xmlns='\(Self.mam)'>\(form ?? "")</query></iq>")
        var found: [[String]] = []
        while true {
            let element = try await client.next()
            if element["id"] == id {
                #expect(element["type"] == "result", "\(element)")
                return found
            }
            guard let result = element.child("result", Self.mam) else { continue }
            let message = result.child("forwarded", "urn:xmpp:forward:0")?
                .child("message", "jabber:client")
            found.append([result["id"] ?? "", message?.child("body")?.text ?? ""])
        }
    }

    private func remove(_ server: TestServer, _ account: String) async throws {
        let jid = try self.account(account)
        let isGone = await withCheckedContinuation { continuation in
            server.host.removeAccount(jid) { continuation.resume(returning: try? $0.get()) }
        }
        #expect(isGone == true)
        await settle(server)
        await server.settle()
    }

    private func roster(_ client: TestClient) async throws -> [String: String] {
        let query = try await client.request("get", "<query xmlns='jabber:iq:roster'/>").elements
        return Dictionary(
            (query.first?.elements ?? []).map { ($0["jid"] ?? "", $0["subscription"] ?? "") },
            uniquingKeysWith: { $1 })
    }

    private func set(_ client: TestClient, _ payload: String) async throws {
        #expect(try await client.request("set", payload)["type"] == "result")
    }

    private func value(_ sizes: [AccountSize]?, _ name: String) -> Int? {
        sizes?.first { $0.name == name }?.value
    }

    /// What a server has, merged from a copy, and the server after that.
    private func merge(
        _ server: TestServer, _ copy: [UInt8], _ account: String
    ) async throws -> ([AccountSize]?, TestServer) {
        let backup = try TestServer(copy: copy)
        _ = try await server.stopForCopy()
        let command = try TestServer(over: server)
        let sizes = try command.host.mergeAccount(try self.account(account), from: backup.host)
        await backup.stop()
        _ = try await command.stopForCopy()
        return (sizes, try TestServer(over: command))
    }

    @Test(
        "A deleted account has everything again, and nobody else loses", arguments: [false, true])
    func deleted(_ isSettled: Bool) async throws {
        let first = try TestServer([])
        try await first.addAccount("romeo")
        try await first.addAccount("juliet")
        try await say(first, ["1", "2"], from: Self.juliet, to: Self.romeo)
        try await say(first, ["3"], from: Self.romeo, to: Self.juliet)
        try await say(first, ["4"], from: Self.juliet, to: Self.juliet)
        let client = try await first.login("\(Self.juliet)/x")
        try await set(
            client, "<query xmlns='jabber:iq:roster'><item jid='\(Self.romeo)' name='R'/></query>")
        try await set(client, "<block xmlns='urn:xmpp:blocking'><item jid='tybalt@x'/></block>")
        if isSettled {
            await settle(first)
            #expect(try await history(first, Self.juliet, search: "word").count == 4)
        }
        let before = try await history(first, Self.juliet)
        let romeos = try await history(first, Self.romeo)
        #expect(before.count == 4 && romeos.count == 3)
        let copy = try await first.stopForCopy()

        let second = try TestServer(over: first)
        try await remove(second, Self.juliet)
        try await say(second, ["5"], from: Self.romeo, to: "nurse@capulet.example")
        let (sizes, third) = try await merge(second, copy, Self.juliet)
        #expect(value(sizes, "accounts") == 1)
        #expect(value(sizes, "archive_messages") == 4)
        #expect(value(sizes, "roster_items") == 1)
        #expect(value(sizes, "blocked_addresses") == 1)

        // The login is with the password of then.
        #expect(try await history(third, Self.juliet) == before)
        #expect(try await history(third, Self.juliet, search: "word").count == 4)
        let again = try await history(third, Self.romeo)
        #expect(again.prefix(3) == romeos[...] && again.count >= 3)
        let anew = try await third.login("\(Self.juliet)/y")
        #expect(try await roster(anew)[Self.romeo] == "none")
        let blocked = try await anew.request("get", "<blocklist xmlns='urn:xmpp:blocking'/>")
        #expect(blocked.elements.first?.elements.first?["jid"] == "tybalt@x")
        let usage = try third.host.database.readNow { connection in
            try third.host.hooks.accountSizes.flatMap {
                try $0(try account(Self.juliet), connection)
            }
        }
        #expect(value(usage, "archive_messages") == 4)

        // Twice is once.
        let (none, fourth) = try await merge(third, copy, Self.juliet)
        #expect(none?.allSatisfy { $0.value == 0 } == true, "\(none ?? [])")
        await fourth.stop()
    }

    /// The rule of an account's archive.
    private func rule(_ client: TestClient) async throws -> String? {
        try await client.request("get", "<prefs xmlns='\(Self.mam)'/>").elements.first?["default"]
    }

    @Test("An account that is made again has its archive's rule, and once what waited for it")
    func waiting() async throws {
        let first = try TestServer([])
        try await first.addAccount("romeo")
        try await first.addAccount("juliet")
        let client = try await first.login("\(Self.juliet)/x")
        try await set(client, "<prefs xmlns='\(Self.mam)' default='never'/>")
        try await say(first, ["1", "2"], from: Self.romeo, to: Self.juliet)
        let copy = try await first.stopForCopy()

        let second = try TestServer(over: first)
        try await remove(second, Self.juliet)
        let (sizes, third) = try await merge(second, copy, Self.juliet)
        #expect(value(sizes, "archive_preferences") == 1)
        #expect(value(sizes, "waiting_messages") == 2)
        #expect(value(sizes, "archive_messages") == 0)
        let (none, fourth) = try await merge(third, copy, Self.juliet)
        #expect(none?.allSatisfy { $0.value == 0 } == true, "\(none ?? [])")

        let anew = try await fourth.login("\(Self.juliet)/y")
        #expect(try await rule(anew) == "never")
        await anew.send("<presence/>")
        var bodies: [String] = []
        while bodies.count < 2 {
            if let body = try await anew.next().child("body")?.text { bodies.append(body) }
        }
        #expect(bodies == ["1 word", "2 word"])
        // What she wants now is not changed by what she wanted.
        try await set(anew, "<prefs xmlns='\(Self.mam)' default='roster'/>")
        await fourth.settle()
        let (again, fifth) = try await merge(fourth, copy, Self.juliet)
        #expect(again?.allSatisfy { $0.value == 0 } == true, "\(again ?? [])")
        let last = try await fifth.login("\(Self.juliet)/z")
        #expect(try await rule(last) == "roster")
        await fifth.stop()
    }

    @Test("What is there, or newer, stays")
    func newer() async throws {
        let first = try TestServer([])
        try await first.addAccount("romeo")
        try await say(first, ["1"], from: Self.juliet, to: Self.romeo)
        let client = try await first.login("\(Self.juliet)/x")
        try await set(
            client, "<query xmlns='jabber:iq:roster'><item jid='\(Self.romeo)' name='A'/></query>")
        let copy = try await first.stopForCopy()
        let second = try TestServer(over: first)
        let later = try await second.login("\(Self.juliet)/y")
        try await set(
            later, "<query xmlns='jabber:iq:roster'><item jid='\(Self.romeo)' name='B'/></query>")
        try await say(second, ["2"], from: Self.juliet, to: Self.romeo)
        let before = try await history(second, Self.juliet)
        let (sizes, third) = try await merge(second, copy, Self.juliet)
        #expect(sizes?.allSatisfy { $0.value == 0 } == true, "\(sizes ?? [])")
        #expect(try await history(third, Self.juliet) == before)
        let anew = try await third.login("\(Self.juliet)/z")
        let query = try await anew.request("get", "<query xmlns='jabber:iq:roster'/>")
        #expect(query.elements.first?.elements.first?["name"] == "B")
        await third.stop()
    }

    @Test("Messages of another life of the database are counted and left out")
    func anotherLife() async throws {
        let first = try TestServer([])
        try await first.addAccount("romeo")
        try await say(first, ["1"], from: Self.juliet, to: Self.romeo)
        let old = try await first.stopForCopy()
        let second = try TestServer(over: first)
        try await say(second, ["2", "3"], from: Self.juliet, to: Self.romeo)
        let lost = try await second.stopForCopy()
        // Restored to the old state; number 2 is another message now.
        let third = try TestServer(over: second, copy: old, mark: "a")
        try await say(third, ["4", "5", "6"], from: Self.romeo, to: Self.juliet)
        let before = try await history(third, Self.juliet)
        let (sizes, fourth) = try await merge(third, lost, Self.juliet)
        #expect(value(sizes, "archive_messages") == 0)
        #expect(value(sizes, "archive_messages_of_another_life") == 2)
        #expect(try await history(fourth, Self.juliet) == before)
        await fourth.stop()
    }

    @Test("An account that the backup has not is said to be missing")
    func unknown() async throws {
        let first = try TestServer([])
        let copy = try await first.stopForCopy()
        let second = try TestServer(over: first)
        let (sizes, third) = try await merge(second, copy, Self.juliet)
        #expect(sizes == nil)
        await third.stop()
    }
}
