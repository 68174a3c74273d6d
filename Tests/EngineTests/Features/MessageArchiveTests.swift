// XEP-0313 over the engine: what is kept, and every form of the query.

import Addresses
import Engine
import Storage
import Testing
import XML
import XMPP

@Suite("XEP-0313: archives")
struct MessageArchiveTests {
    private static let juliet = "juliet@capulet.example"
    private static let romeo = "romeo@capulet.example"
    private static let mam = "urn:xmpp:mam:2"

    struct Result {
        let id: String
        let message: Element
        let stamp: String
        var body: String { message.child("body")?.text ?? "" }
    }

    struct Page {
        let results: [Result]
        let fin: Element
        var bodies: [String] { results.map(\.body) }
        var isComplete: Bool { fin["complete"] == "true" }
        func edge(_ name: String) -> String? {
            fin.child("set", "http://jabber.org/protocol/rsm")?.child(name)?.text
        }
    }

    private func form(_ fields: [(String, [String])]) -> String {
        guard !fields.isEmpty else { return "" }
        let inner = fields.map { name, values in
            "<field var='\(name)'>" + values.map { "<value>\($0)</value>" }.joined() + "</field>"
        }.joined()
        return "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>"
            + "<value>\(Self.mam)</value></field>\(inner)</x>"
    }

    private func rsm(_ content: String) -> String {
        "<set xmlns='http://jabber.org/protocol/rsm'>\(content)</set>"
    }

    private func query(
        _ client: TestClient, _ fields: [(String, [String])] = [], rsm content: String? = nil,
        extra: String = ""
    ) async throws -> Page {
        let id = client.nextID()
        await client.send(
            "<iq type='set' id='\(id)'><query xmlns='\(Self.mam)' queryid='q'>\(form(fields))"
                + (content.map(rsm) ?? "") + "\(extra)</query></iq>")
        var results: [Result] = []
        while true {
            let element = try await client.next()
            if element["id"] == id {
                let fin = try #require(element.child("fin", Self.mam), "\(element)")
                return Page(results: results, fin: fin)
            }
            guard let result = element.child("result", Self.mam) else { continue }
            #expect(element["from"] == (try client.jid.bare.description))
            #expect(result["queryid"] == "q")
            let forwarded = try #require(result.child("forwarded", "urn:xmpp:forward:0"))
            results.append(
                Result(
                    id: try #require(result["id"]),
                    message: try #require(forwarded.child("message", "jabber:client")),
                    stamp: try #require(forwarded.child("delay", "urn:xmpp:delay")?["stamp"])))
        }
    }

    private func refused(
        _ client: TestClient, _ fields: [(String, [String])] = [], rsm content: String = ""
    ) async throws -> String? {
        try await client.request(
            "set",
            "<query xmlns='\(Self.mam)'>\(form(fields))\(content.isEmpty ? "" : rsm(content))</query>"
        ).condition
    }

    private func say(_ client: TestClient, _ body: String, to: String) async {
        await client.send(
            "<message to='\(to)' type='chat' id='\(body)'><body>\(body)</body></message>")
    }

    /// Juliet and Romeo, who have said 0 ... 9 by turns, and Juliet has said "nurse" to the nurse.
    private func withConversation(
        settled: Bool, _ body: (TestServer, TestClient, TestClient) async throws -> Void
    ) async throws {
        try await withServer { server in
            try await server.addAccount("nurse")
            let juliet = try await server.online("\(Self.juliet)/balcony")
            let romeo = try await server.online("\(Self.romeo)/orchard")
            for number in 0..<10 {
                let isJuliets = number % 2 == 0
                await say(
                    isJuliets ? juliet : romeo, "\(number)",
                    to: isJuliets ? Self.romeo : Self.juliet)
                _ = try await (isJuliets ? romeo : juliet).first { $0.name == "message" }
            }
            await say(juliet, "nurse", to: "nurse@capulet.example")
            await server.settle()
            if settled {
                await withCheckedContinuation { continuation in
                    server.host.settleAllMessages { continuation.resume() }
                }
            }
            try await body(server, juliet, romeo)
        }
    }

    @Test("Everything, from old to new, for both sides", arguments: [false, true])
    func everything(settled: Bool) async throws {
        try await withConversation(settled: settled) { server, juliet, romeo in
            let page = try await query(juliet)
            #expect(page.bodies == (0..<10).map(String.init) + ["nurse"])
            #expect(page.isComplete)
            #expect(page.edge("first") == page.results.first?.id)
            #expect(page.edge("last") == page.results.last?.id)
            #expect(Set(page.results.map(\.id)).count == 11)
            let other = try await query(romeo)
            #expect(other.bodies == (0..<10).map(String.init))
            #expect(other.results[0].message["from"] == "\(Self.juliet)/balcony")
            #expect(other.results[0].message["to"] == Self.romeo)
        }
    }

    @Test("Pages forward, backward and flipped (section 4.3)", arguments: [false, true])
    func pages(settled: Bool) async throws {
        try await withConversation(settled: settled) { server, juliet, romeo in
            let first = try await query(romeo, rsm: "<max>4</max>")
            #expect(first.bodies == ["0", "1", "2", "3"] && !first.isComplete)
            let second = try await query(
                romeo, rsm: "<max>4</max><after>\(first.edge("last") ?? "")</after>")
            #expect(second.bodies == ["4", "5", "6", "7"] && !second.isComplete)
            let third = try await query(
                romeo, rsm: "<max>4</max><after>\(second.edge("last") ?? "")</after>")
            #expect(third.bodies == ["8", "9"] && third.isComplete)
            let last = try await query(romeo, rsm: "<max>3</max><before/>")
            #expect(last.bodies == ["7", "8", "9"] && !last.isComplete)
            let earlier = try await query(
                romeo, rsm: "<max>7</max><before>\(last.edge("first") ?? "")</before>")
            #expect(earlier.bodies == (0..<7).map(String.init) && earlier.isComplete)
            let flipped = try await query(
                romeo, rsm: "<max>3</max><before/>", extra: "<flip-page/>")
            #expect(flipped.bodies == ["9", "8", "7"])
            #expect(flipped.edge("first") == last.edge("first"), "the page is the same")
            let nothing = try await query(
                romeo, rsm: "<after>\(third.edge("last") ?? "")</after>")
            #expect(nothing.bodies.isEmpty && nothing.isComplete && nothing.edge("first") == nil)
            let count = try await query(romeo, rsm: "<max>0</max>")
            #expect(count.bodies.isEmpty && count.edge("count") == "10")
        }
    }

    @Test("Filters by contact, resource, time and id (section 4.1)", arguments: [false, true])
    func filters(settled: Bool) async throws {
        try await withConversation(settled: settled) { server, juliet, romeo in
            #expect(try await query(juliet, [("with", [Self.romeo])]).bodies.count == 10)
            #expect(
                try await query(juliet, [("with", ["nurse@capulet.example"])]).bodies == ["nurse"])
            #expect(try await query(juliet, [("with", ["nobody@capulet.example"])]).bodies.isEmpty)
            let orchard = try await query(juliet, [("with", ["\(Self.romeo)/orchard"])])
            #expect(
                orchard.bodies == ["1", "3", "5", "7", "9"], "what was to the bare address is not")
            let all = try await query(juliet)
            let from = [("after-id", [all.results[2].id]), ("before-id", [all.results[6].id])]
            #expect(try await query(juliet, from).bodies == ["3", "4", "5"])
            #expect(try await query(juliet, from, rsm: "<max>1</max><before/>").bodies == ["5"])
            let some = try await query(juliet, [("ids", [all.results[7].id, all.results[1].id])])
            #expect(some.bodies == ["1", "7"])
            let stamp = all.results[0].stamp
            #expect(try await query(juliet, [("start", [stamp])]).bodies.count == 11)
            #expect(try await query(juliet, [("start", ["2999-01-01T00:00:00Z"])]).bodies.isEmpty)
            #expect(try await query(juliet, [("end", ["1999-01-01T00:00:00Z"])]).bodies.isEmpty)
            let range = [("start", ["1999-01-01T00:00:00Z"]), ("end", ["2999-01-01T00:00:00Z"])]
            #expect(try await query(juliet, range).bodies.count == 11)
        }
    }

    @Test("Ids that are not there are not found (sections 4.1.3 and 4.3.2)")
    func notFound() async throws {
        try await withConversation(settled: true) { server, juliet, romeo in
            let nurses = try await query(juliet, [("with", ["nurse@capulet.example"])])
            // Hers, and not his.
            for id in ["nonsense", "AAAAAAAAAAAAAAAA", nurses.results[0].id] {
                for field in ["before-id", "after-id", "ids"] {
                    #expect(try await refused(romeo, [(field, [id])]) == "item-not-found")
                }
                for element in ["before", "after"] {
                    let content = "<\(element)>\(id)</\(element)>"
                    #expect(try await refused(romeo, rsm: content) == "item-not-found")
                }
            }
            #expect(try await refused(romeo, [("unknown", ["x"])]) == "feature-not-implemented")
            #expect(try await refused(romeo, [("start", ["yesterday"])]) == "bad-request")
            #expect(try await refused(romeo, rsm: "<index>2</index>") == "feature-not-implemented")
        }
    }

    @Test("Metadata names the ends (section 5); an archive without messages has none")
    func metadata() async throws {
        try await withConversation(settled: true) { server, juliet, romeo in
            let all = try await query(juliet)
            let answer = try await juliet.request("get", "<metadata xmlns='\(Self.mam)'/>")
            let metadata = try #require(answer.child("metadata", Self.mam))
            #expect(metadata.child("start")?["id"] == all.results.first?.id)
            #expect(metadata.child("end")?["id"] == all.results.last?.id)
            #expect(metadata.child("end")?["timestamp"] == all.results.last?.stamp)
            let new = try await server.online("tybalt@capulet.example/street")
            let empty = try await new.request("get", "<metadata xmlns='\(Self.mam)'/>")
            #expect(empty.child("metadata", Self.mam)?.elements.isEmpty == true)
            #expect(try await query(new).isComplete)
        }
    }

    @Test("Nobody reads somebody else's")
    func foreign() async throws {
        try await withConversation(settled: false) { server, juliet, romeo in
            let answer = try await romeo.request(
                "set", "<query xmlns='\(Self.mam)'/>", to: Self.juliet)
            #expect(answer.condition == "forbidden")
        }
    }

    @Test("A delivered message carries the id of its receiver's archive; forged ones go (XEP-0359)")
    func stanzaIDs() async throws {
        try await withServer { server in
            let juliet = try await server.online("\(Self.juliet)/balcony")
            let romeo = try await server.online("\(Self.romeo)/orchard")
            let sid = "xmlns='urn:xmpp:sid:0'"
            await romeo.send(
                "<message to='\(Self.juliet)' type='chat' id='m'>"
                    + "<stanza-id \(sid) by='Juliet@Capulet.Example' id='forged1'/><body>x</body>"
                    + "<stanza-id \(sid) by='\(Self.romeo)' id='forged2'/>"
                    + "<stanza-id \(sid) by='room@elsewhere.example' id='kept'/>"
                    + "<origin-id \(sid) id='o'/></message>")
            let message = try await juliet.first { $0.name == "message" }
            let ids = message.elements.filter { $0.name == "stanza-id" }
            #expect(ids.map { $0["by"] } == ["room@elsewhere.example", Self.juliet])
            #expect(message.child("origin-id", "urn:xmpp:sid:0")?["id"] == "o")
            let page = try await query(juliet)
            #expect(page.results.map(\.id) == [ids.last?["id"]])
            #expect(page.results[0].message.elements.filter { $0.name == "stanza-id" }.count == 1)
            // What is not kept carries none, and forged ones go all the same.
            await romeo.send(
                "<message to='\(Self.juliet)' type='chat'><active "
                    + "xmlns='http://jabber.org/protocol/chatstates'/>"
                    + "<stanza-id \(sid) by='\(Self.juliet)' id='forged'/></message>")
            let state = try await juliet.first { $0.name == "message" }
            #expect(state.child("stanza-id", "urn:xmpp:sid:0") == nil)
        }
    }

    @Test(
        "What is kept (section 6.1.1)",
        arguments: [
            ("<body>x</body>", true), ("<body>x</body><no-store xmlns='urn:xmpp:hints'/>", false),
            ("<body>x</body><no-permanent-store xmlns='urn:xmpp:hints'/>", false),
            ("<active xmlns='http://jabber.org/protocol/chatstates'/>", false),
            ("<encrypted xmlns='eu.siacs.conversations.axolotl'/>", true),
            ("<received xmlns='urn:xmpp:receipts' id='1'/>", true),
            ("<request xmlns='urn:xmpp:receipts'/>", false),
            ("<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>", true),
            ("<markable xmlns='urn:xmpp:chat-markers:0'/>", false),
            ("<reactions xmlns='urn:xmpp:reactions:0' id='1'/>", true),
            ("<retract xmlns='urn:xmpp:message-retract:1' id='1'/>", true),
            ("<replace xmlns='urn:xmpp:message-correct:0' id='1'/><body>y</body>", true),
            ("<propose xmlns='urn:xmpp:jingle-message:0' id='1'/>", true),
            ("<store xmlns='urn:xmpp:hints'/><thing xmlns='urn:example'/>", true),
            ("<thing xmlns='urn:example'/>", false), ("<subject>s</subject>", false),
        ])
    func content(_ content: String, _ isKept: Bool) async throws {
        try await withServer { server in
            let juliet = try await server.online("\(Self.juliet)/balcony")
            let romeo = try await server.online("\(Self.romeo)/orchard")
            await romeo.send("<message to='\(Self.juliet)' type='chat'>\(content)</message>")
            let got = try await juliet.first { $0.name == "message" }
            #expect((got.child("stanza-id", "urn:xmpp:sid:0") != nil) == isKept)
            #expect(try await query(juliet).results.count == (isKept ? 1 : 0))
            #expect(try await query(romeo).results.count == (isKept ? 1 : 0))
        }
    }

    @Test("Neither errors nor headlines nor group chat are kept, nor what was bounced")
    func types() async throws {
        try await withServer { server in
            let juliet = try await server.online("\(Self.juliet)/balcony")
            let romeo = try await server.online("\(Self.romeo)/orchard")
            for type in ["error", "headline", "groupchat"] {
                await romeo.send(
                    "<message to='\(Self.juliet)/balcony' type='\(type)'><body>x</body></message>")
                _ = try await juliet.first { $0.name == "message" }
            }
            await say(romeo, "x", to: "nobody@capulet.example")
            #expect(try await romeo.next().condition == "service-unavailable")
            #expect(try await query(juliet).results.isEmpty)
            #expect(try await query(romeo).results.isEmpty)
        }
    }

    @Test("A note to oneself is there once, and 'with' oneself finds it alone (section 4.1.1)")
    func notes() async throws {
        try await withConversation(settled: true) { server, juliet, romeo in
            await say(juliet, "note", to: Self.juliet)
            _ = try await juliet.first { $0.name == "message" }
            for _ in 0..<2 {
                #expect(try await query(juliet, [("with", [Self.juliet])]).bodies == ["note"])
                #expect(try await query(juliet, rsm: "<max>1</max><before/>").bodies == ["note"])
                await withCheckedContinuation { continuation in
                    server.host.settleAllMessages { continuation.resume() }
                }
            }
        }
    }

    @Test("Preferences are kept and obeyed (XEP-0441)")
    func preferences() async throws {
        try await withServer { server in
            let juliet = try await server.online("\(Self.juliet)/balcony")
            let romeo = try await server.online("\(Self.romeo)/orchard")
            func preferences(_ client: TestClient) async throws -> Element? {
                try await client.request("get", "<prefs xmlns='\(Self.mam)'/>")
                    .child("prefs", Self.mam)
            }
            #expect(try await preferences(juliet)?["default"] == "always")
            let answer = try await juliet.request(
                "set",
                "<prefs xmlns='\(Self.mam)' default='never'><always><jid>nurse@capulet.example"
                    + "</jid></always><never/></prefs>")
            #expect(answer["type"] == "result")
            #expect(try await preferences(juliet)?["default"] == "never")
            await say(romeo, "1", to: Self.juliet)
            let message = try await juliet.first { $0.name == "message" }
            #expect(message.child("stanza-id", "urn:xmpp:sid:0") == nil)
            let nurse = try await server.online("nurse@capulet.example/kitchen")
            await say(nurse, "2", to: Self.juliet)
            _ = try await juliet.first { $0.name == "message" }
            #expect(try await query(juliet).bodies == ["2"])
            #expect(try await query(romeo).bodies == ["1"], "his own choice")
        }
    }

    @Test("Words are found, in settled messages and in the latest (XEP-0431)")
    func search() async throws {
        try await withConversation(settled: true) { server, juliet, romeo in
            func find(_ client: TestClient, _ words: String) async throws -> [String] {
                try await query(client, [("{urn:xmpp:fulltext:0}fulltext", [words])]).bodies
            }
            #expect(try await find(juliet, "NURSE") == ["nurse"])
            #expect(try await find(romeo, "nurse").isEmpty, "it is not his")
            await romeo.send(
                "<message to='\(Self.juliet)' type='chat'><body>what light &amp; shadow</body>"
                    + "</message>")
            _ = try await juliet.first { $0.name == "message" }
            await romeo.send(
                "<message to='\(Self.juliet)' type='chat'><body>明天见面吧</body></message>")
            _ = try await juliet.first { $0.name == "message" }
            #expect(try await find(juliet, "shadow light") == ["what light & shadow"])
            #expect(try await find(romeo, "明天") == ["明天见面吧"])
            #expect(try await find(juliet, "\"light shadow\"") == ["what light & shadow"])
            #expect(try await find(juliet, "\"shadow light\"").isEmpty)
            #expect(try await find(juliet, "!?").isEmpty)
            let with = [("with", ["nurse@capulet.example"]), ("withtext", ["light"])]
            #expect(try await query(juliet, with).bodies.isEmpty)
        }
    }

    @Test("What a client fetched before it announced itself does not come again (section 6.1.1)")
    func offline() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let romeo = try await server.online("\(Self.romeo)/orchard")
            for number in 1...3 { await say(romeo, "\(number)", to: Self.juliet) }
            await server.settle()
            let juliet = try await server.login("\(Self.juliet)/balcony")
            #expect(try await query(juliet, rsm: "<max>2</max>").bodies == ["1", "2"])
            await juliet.send("<presence/>")
            let messages = try await juliet.pending().filter { $0.name == "message" }
            #expect(messages.map { $0.child("body")?.text } == ["3"])
            #expect(messages.first?.child("stanza-id", "urn:xmpp:sid:0") != nil)
            #expect(server.metric("kinglet_offline_messages") == 0)
            #expect(try await query(juliet).bodies == ["1", "2", "3"])
        }
    }

    @Test("A resend is acknowledged, not stored again and not delivered again")
    func resend() async throws {
        try await withServer { server in
            let juliet = try await server.online("\(Self.juliet)/balcony")
            let romeo = try await server.online("\(Self.romeo)/orchard")
            await say(romeo, "1", to: Self.juliet)
            await say(romeo, "1", to: Self.juliet)
            let again = try await server.online("\(Self.romeo)/hall")
            await say(again, "1", to: Self.juliet)
            await say(again, "2", to: Self.juliet)
            let messages = try await juliet.pending().filter { $0.name == "message" }
            #expect(messages.map { $0.child("body")?.text } == ["1", "2"])
            #expect(try await query(juliet).bodies == ["1", "2"])
            #expect(server.metric("kinglet_resent_messages_total") == 2)
            // Also after a restart.
            let other = try TestServer(over: server)
            let third = try await other.login("\(Self.romeo)/street")
            await say(third, "2", to: Self.juliet)
            await other.settle()
            #expect(other.metric("kinglet_resent_messages_total") == 1)
            await other.stop()
        }
    }

    @Test("What only looks like a resend is delivered: another stream, another content, much later")
    func notResent() async throws {
        try await withServer { server in
            let juliet = try await server.online("\(Self.juliet)/balcony")
            func bodies() async throws -> [String] {
                await server.settle()
                return try await juliet.pending().compactMap { $0.child("body")?.text }
            }
            // Who says good-bye has nothing to send again (RFC 6120 section 8.1.3).
            for _ in 0..<2 {
                let bot = try await server.login("\(Self.romeo)/bot")
                await say(bot, "1", to: Self.juliet)
                await bot.send("</stream:stream>")
                #expect(try await bodies() == ["1"])
            }
            let romeo = try await server.login("\(Self.romeo)/orchard")
            for content in ["A", "B", "B"] {
                await romeo.send(
                    "<message to='\(Self.juliet)' id='1' type='chat'>"
                        + "<displayed xmlns='urn:xmpp:chat-markers:0' id='\(content)'/></message>")
            }
            await server.settle()
            #expect(try await juliet.pending().count { $0.name == "message" } == 2)
            // A resend may say that it is late.
            await say(romeo, "2", to: Self.juliet)
            await romeo.drop()
            let again = try await server.login("\(Self.romeo)/hall")
            await again.send(
                "<message to='\(Self.juliet)' type='chat' id='2'><body>2</body>"
                    + "<delay xmlns='urn:xmpp:delay' stamp='2026-01-01T00:00:00Z'/></message>")
            #expect(try await bodies() == ["2"])
        }
    }

    @Test("A resend is recognised though other writes have failed since")
    func resendAfterFailures() async throws {
        struct Failure: Error {}
        try await withServer { server in
            let juliet = try await server.online("\(Self.juliet)/balcony")
            let romeo = try await server.login("\(Self.romeo)/orchard")
            await say(romeo, "1", to: Self.juliet)
            await server.settle()
            server.host.database.writer.submit({ _ in throw Failure() }, then: { _ in })
            await server.settle()
            await say(romeo, "1", to: Self.juliet)
            await say(romeo, "2", to: Self.juliet)
            await server.settle()
            let bodies = try await juliet.pending().compactMap { $0.child("body")?.text }
            #expect(bodies == ["1", "2"])
            #expect(server.metric("kinglet_resent_messages_total") == 1)
        }
    }

    @Test("What came back because too much waits is new when it is sent again")
    func refusedIsNotSeen() async throws {
        try await withServer("limits.offline_messages=1", "archive.default=never") { server in
            try await server.addAccount("juliet")
            let romeo = try await server.login("\(Self.romeo)/orchard")
            await say(romeo, "1", to: Self.juliet)
            await say(romeo, "2", to: Self.juliet)
            await server.settle()
            #expect(try await romeo.next().condition == "service-unavailable")
            let juliet = try await server.login("\(Self.juliet)/balcony")
            await juliet.send("<presence/>")
            await server.settle()
            await juliet.drop()
            await say(romeo, "2", to: Self.juliet)
            let later = try await server.login("\(Self.juliet)/balcony")
            await server.settle()
            await later.send("<presence/>")
            await server.settle()
            #expect(try await later.pending().compactMap { $0.child("body")?.text } == ["2"])
        }
    }

    @Test("What a session did not get comes back if nobody keeps it for its receiver")
    func lostAndFull() async throws {
        try await withServer("limits.offline_messages=1") { server in
            let juliet = try await server.online("\(Self.juliet)/balcony")
            let answer = try await juliet.request(
                "set", "<prefs xmlns='\(Self.mam)' default='never'><always/><never/></prefs>")
            #expect(answer["type"] == "result")
            await juliet.send("<enable xmlns='urn:xmpp:sm:3'/>")
            let romeo = try await server.online("\(Self.romeo)/orchard")
            for body in ["1", "2", "3"] { await say(romeo, body, to: Self.juliet) }
            await server.settle()
            await juliet.drop()
            await server.settle()
            let errors = try await romeo.pending().filter { $0["type"] == "error" }
            #expect(errors.map { $0["id"] } == ["2", "3"])
            #expect(errors.allSatisfy { $0.condition == "service-unavailable" })
            #expect(try await query(romeo).bodies == ["1", "2", "3"])
        }
    }

    @Test("Answers from the archive are not held against who has yet to acknowledge them")
    func unacknowledgedAnswers() async throws {
        try await withServer("limits.unacknowledged=100") { server in
            try await server.addAccount("juliet")
            let romeo = try await server.login("\(Self.romeo)/orchard")
            for number in 0..<130 { await say(romeo, "\(number)", to: Self.juliet) }
            await romeo.send("<enable xmlns='urn:xmpp:sm:3'/>")
            #expect(try await query(romeo).bodies.count == 130)
            let juliet = try await server.login("\(Self.juliet)/balcony")
            for number in 0..<5 {
                await juliet.send(
                    "<message to='\(Self.romeo)/orchard' type='headline' id='\(number)'/>")
            }
            await server.settle()
            #expect(try await romeo.pending().count { $0.name == "message" } == 5)
            for number in 5..<105 {
                await juliet.send(
                    "<message to='\(Self.romeo)/orchard' type='headline' id='\(number)'/>")
            }
            await server.settle()
            let end = try await romeo.first { $0.name == "error" }
            #expect(end.elements.first?.name == "resource-constraint")
        }
    }

    @Test("A time that is claimed in the server's name goes no further (XEP-0203 section 5)")
    func forgedDelay() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let romeo = try await server.login("\(Self.romeo)/orchard")
            let delays = ["capulet.example", "juliet@capulet.example", "mantua.example"].map {
                "<delay xmlns='urn:xmpp:delay' from='\($0)' stamp='2001-01-01T00:00:00Z'/>"
            }
            await romeo.send(
                "<message to='\(Self.juliet)' type='chat' id='1'><body>1</body>"
                    + delays.joined() + "</message>")
            await server.settle()
            let juliet = try await server.login("\(Self.juliet)/balcony")
            await juliet.send("<presence/>")
            let live = try await juliet.first { $0.name == "message" }
            let stored = try #require(try await query(juliet).results.first?.message)
            for (message, count) in [(live, 3), (stored, 2)] {
                let found = message.elements.filter { $0.name == "delay" }
                #expect(found.count == count)
                #expect(
                    found.filter { $0["from"] == "capulet.example" }
                        .allSatisfy { $0["stamp"]?.hasPrefix("2001") == false })
            }
        }
    }

    @Test("Messages that are named are filtered and paged like others", arguments: [true, false])
    func namedOnes(settled: Bool) async throws {
        try await withConversation(settled: settled) { server, juliet, romeo in
            let everything = try await query(juliet).results
            let ids = everything.map(\.id)
            func named(
                _ fields: [(String, [String])] = [], rsm content: String? = nil
            ) async throws -> Page {
                try await query(juliet, [("ids", ids)] + fields, rsm: content)
            }
            #expect(try await named().bodies == everything.map(\.body))
            #expect(try await named([("with", ["nurse@capulet.example"])]).bodies == ["nurse"])
            #expect(try await named([("start", ["2100-01-01T00:00:00Z"])]).bodies == [])
            #expect(try await named([("after-id", [ids[8]])]).bodies == ["9", "nurse"])
            #expect(try await named([("withtext", ["3"])]).bodies == ["3"])
            let page = try await named(rsm: "<max>4</max>")
            #expect(page.bodies == ["0", "1", "2", "3"] && !page.isComplete)
            let next = try await named(rsm: "<max>4</max><after>\(page.edge("last") ?? "")</after>")
            #expect(next.bodies == ["4", "5", "6", "7"])
            let last = try await named(rsm: "<max>2</max><before/>")
            #expect(last.bodies == ["9", "nurse"])
            // What is counted is what is wanted.
            for (fields, count) in [
                ([("start", ["2100-01-01T00:00:00Z"])], "0"),
                ([("end", ["2100-01-01T00:00:00Z"])], "11"), ([("withtext", ["nurse"])], "1"),
                ([("ids", [ids[1], ids[2]])], "2"),
            ] as [([(String, [String])], String)] {
                let page = try await query(juliet, fields, rsm: "<max>0</max>")
                #expect(page.edge("count") == count && page.bodies.isEmpty)
            }
        }
    }

    @Test("An account that is gone leaves nothing, and its contacts keep theirs")
    func removal() async throws {
        try await withConversation(settled: true) { server, juliet, romeo in
            await say(juliet, "late", to: Self.romeo)
            _ = try await romeo.first { $0.name == "message" }
            let jid = try BareJID(Self.juliet)
            await withCheckedContinuation { continuation in
                server.host.removeAccount(jid) { _ in continuation.resume() }
            }
            try await juliet.expectStreamError(.notAuthorized)
            let again = try await server.login("\(Self.juliet)/balcony")
            #expect(try await query(again).bodies.isEmpty)
            #expect(try await query(romeo).bodies == (0..<10).map(String.init) + ["late"])
            let rows = try server.host.database.readNow { connection in
                try connection.first(
                    "SELECT (SELECT count(*) FROM archive_removals), count(*) FROM messages"
                ) { ($0.integer(0), $0.integer(1)) }
            }
            #expect(rows?.0 == 0 && rows?.1 == 12, "the nurse and Romeo keep theirs")
            #expect(try await query(again, [("withtext", ["late"])]).bodies.isEmpty)
            #expect(try await query(romeo, [("withtext", ["late"])]).bodies == ["late"])
        }
    }
}
