// Last activity (XEP-0012) and entity time (XEP-0202).

import Addresses
import Engine
import Storage
import Testing
import XML

@Suite struct LastActivityTests {
    private static let last = "jabber:iq:last"
    private static let query = "<query xmlns='jabber:iq:last'/>"
    private static let juliet = "juliet@capulet.example"

    private func seconds(_ answer: Element) -> Int64? {
        #expect(answer["type"] == "result")
        return answer.child("query", Self.last)?["seconds"].flatMap { Int64($0) }
    }

    /// Moves what is stored about Juliet into the past.
    private func age(_ server: TestServer, by seconds: Int) throws {
        try server.host.database.writeNow { connection in
            try connection.execute("UPDATE last_activity SET ended = ended - \(seconds)")
            try connection.execute("UPDATE accounts SET last_login = last_login - 10000")
        }
    }

    @Test("The server says for how long it runs (XEP-0012 section 5)")
    func server() async throws {
        try await withServer { server in
            let client = try await server.login("romeo@capulet.example/orchard")
            let answer = try await client.request("get", Self.query, to: "capulet.example")
            let uptime = try #require(seconds(answer))
            #expect((0..<600).contains(uptime))
            #expect(answer.child("query", Self.last)?.children == [])
            let set = try await client.request("set", Self.query, to: "capulet.example")
            #expect(set.condition == "not-allowed")
        }
    }

    @Test("0 while a session stands, then the time since the last one ended (section 3)")
    func account() async throws {
        try await withServer { server in
            let romeo = try await server.online("romeo@capulet.example/orchard")
            let juliet = try await server.online("juliet@capulet.example/balcony")
            let other = try await server.online("juliet@capulet.example/chamber")
            try await subscribe(romeo, to: juliet)
            #expect(seconds(try await juliet.request("get", Self.query)) == 0, "one's own")
            for client in [juliet, other] {
                let answer = try await romeo.request("get", Self.query, to: Self.juliet)
                #expect(seconds(answer) == 0)
                await client.drop()
                await server.settle()
            }
            try age(server, by: 903)
            let answer = try await romeo.request("get", Self.query, to: Self.juliet)
            #expect((903..<1503).contains(try #require(seconds(answer))))
        }
    }

    @Test("The end of a session outlives a restart; without it the last login counts")
    func restart() async throws {
        try await withServer { server in
            let romeo = try await server.online("romeo@capulet.example/orchard")
            let juliet = try await server.online("juliet@capulet.example/balcony")
            try await subscribe(romeo, to: juliet)
            await juliet.drop()
            await server.settle()
            try age(server, by: 903)
            let next = try TestServer(over: server)
            let later = try await next.online("romeo@capulet.example/orchard")
            let answer = try await later.request("get", Self.query, to: Self.juliet)
            #expect((903..<1503).contains(try #require(seconds(answer))))
            try next.host.database.writeNow { connection in
                try connection.execute("DELETE FROM last_activity")
            }
            let login = try await later.request("get", Self.query, to: Self.juliet)
            #expect((10_000..<10_600).contains(try #require(seconds(login))))
            await next.stop()
        }
    }

    @Test("Strangers are refused, whether the account exists or not (section 3 and 8)")
    func strangers() async throws {
        try await withServer { server in
            let romeo = try await server.online("romeo@capulet.example/orchard")
            let juliet = try await server.online("juliet@capulet.example/balcony")
            // She sees him, he does not see her.
            try await subscribe(juliet, to: romeo)
            var answers: [Element] = []
            for address in [Self.juliet, "nobody@capulet.example"] {
                answers.append(try await romeo.request("get", Self.query, to: address))
            }
            await juliet.drop()
            await server.settle()
            answers.append(try await romeo.request("get", Self.query, to: Self.juliet))
            #expect(answers.allSatisfy { $0.condition == "forbidden" && $0.errorType == "auth" })
            #expect(Set(answers.map { $0.child("error")?.elements.count }).count == 1)
        }
    }

    @Test("A client is asked only by who may see its presence (section 4)")
    func client() async throws {
        try await withServer { server in
            let romeo = try await server.online("romeo@capulet.example/orchard")
            let juliet = try await server.online("juliet@capulet.example/balcony")
            for resource in ["balcony", "nowhere"] {
                let answer = try await romeo.request(
                    "get", Self.query, to: "\(Self.juliet)/\(resource)")
                #expect(answer.condition == "forbidden", "the same for both")
            }
            #expect(try await juliet.pending().isEmpty)
            try await subscribe(romeo, to: juliet)
            _ = try await juliet.pending()
            await romeo.send(
                "<iq type='get' id='last' to='\(Self.juliet)/balcony'>\(Self.query)</iq>")
            let request = try await juliet.first { $0["id"] == "last" }
            #expect(request["from"] == "romeo@capulet.example/orchard")
        }
    }

    @Test("With an account its last activity goes")
    func removal() async throws {
        try await withServer { server in
            let romeo = try await server.online("romeo@capulet.example/orchard")
            let juliet = try await server.online("juliet@capulet.example/balcony")
            await juliet.drop()
            await server.settle()
            for jid in ["juliet@capulet.example", "romeo@capulet.example"] {
                let jid = try BareJID(jid)
                await withCheckedContinuation { continuation in
                    server.host.removeAccount(jid) { _ in continuation.resume() }
                }
            }
            _ = try await romeo.next()  // its stream error: the session has ended
            await server.settle()
            let rows = try server.host.database.readNow { connection in
                try connection.first("SELECT count(*) FROM last_activity") { $0.integer(0) }
            }
            #expect(rows == 0)
        }
    }

    @Test("An offline contact's account answers discovery, too (XEP-0030 section 8)")
    func offlineContact() async throws {
        try await withServer { server in
            let romeo = try await server.online("romeo@capulet.example/orchard")
            let juliet = try await server.online("juliet@capulet.example/balcony")
            try await subscribe(romeo, to: juliet)
            await juliet.drop()
            await server.settle()
            let answer = try await romeo.request(
                "get", "<query xmlns='http://jabber.org/protocol/disco#info'/>", to: Self.juliet)
            #expect(answer["type"] == "result")
        }
    }

    @Test("The server tells its time in UTC, and its offset (XEP-0202 section 2)")
    func time() async throws {
        try await withServer { server in
            let client = try await server.login("romeo@capulet.example/orchard")
            let before = Clock.timestamp(Clock.secondsSince1970())
            let answer = try await client.request(
                "get", "<time xmlns='urn:xmpp:time'/>", to: "capulet.example")
            let after = Clock.timestamp(Clock.secondsSince1970())
            let time = try #require(answer.child("time", "urn:xmpp:time"))
            let utc = try #require(time.child("utc")?.text)
            #expect(before <= utc && utc <= after)
            #expect(try #require(time.child("tzo")?.text).wholeMatch(of: /[+-]\d\d:\d\d/) != nil)
            let set = try await client.request(
                "set", "<time xmlns='urn:xmpp:time'/>", to: "capulet.example")
            #expect(set.condition == "not-allowed")
        }
    }
}
