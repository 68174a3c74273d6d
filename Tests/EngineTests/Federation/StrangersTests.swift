// Senders on other domains whom their receivers do not know are limited.

import Addresses
import NIOCore
import Testing
import XML

@testable import Engine

@Suite struct StrangersTests {
    private let juliet = "juliet@capulet.example"

    private func pair(_ contact: String, _ account: String = "juliet@capulet.example") throws
        -> Acquaintance
    {
        Acquaintance(account: try BareJID(account), contact: try BareJID(contact))
    }

    @Test("A sender has a minute's worth, then the database is asked, once for a while")
    func sender() throws {
        let strangers = Strangers()
        let now = NIODeadline.uptimeNanoseconds(1_000_000_000)
        let romeo = try pair("romeo@montague.example")
        for _ in 0..<3 { #expect(strangers.admit(romeo, rate: 3, now: now) == .admit) }
        #expect(strangers.admit(romeo, rate: 3, now: now) == .ask)
        #expect(strangers.admit(romeo, rate: 3, now: now) == .ask, "what follows waits behind it")
        strangers.conclude(romeo, isKnown: false, now: now)
        strangers.conclude(romeo, isKnown: false, now: now)
        #expect(strangers.admit(romeo, rate: 3, now: now) == .refuse)
        #expect(strangers.admit(romeo, rate: 3, now: now + .seconds(20)) == .admit)
        #expect(strangers.admit(romeo, rate: 3, now: now + .seconds(20)) == .refuse)
        strangers.note(romeo.contact, isKnownTo: romeo.account, now: now)
        #expect(strangers.admit(romeo, rate: 3, now: now + .seconds(20)) == .admit)
    }

    @Test("All senders of a domain have ten times as much together, another domain its own")
    func domain() throws {
        let strangers = Strangers()
        let now = NIODeadline.uptimeNanoseconds(1_000_000_000)
        for number in 0..<20 {
            let answer = strangers.admit(
                try pair("m\(number)@montague.example"), rate: 2, now: now)
            #expect(answer == .admit)
        }
        #expect(strangers.admit(try pair("last@montague.example"), rate: 2, now: now) == .ask)
        #expect(strangers.admit(try pair("paris@verona.example"), rate: 2, now: now) == .admit)
    }

    @Test("The database is asked about a few receivers whom one sender names; memory costs nothing")
    func questions() throws {
        let strangers = Strangers()
        let now = NIODeadline.uptimeNanoseconds(1_000_000_000)
        func answer(_ account: Int, isKnown: Bool = false) throws -> Strangers.Answer {
            let pair = try pair("tybalt@montague.example", "m\(account)@capulet.example")
            return strangers.admit(pair, rate: 1, now: now) { isKnown }
        }
        #expect(try answer(0, isKnown: true) == .admit)
        #expect(try answer(1) == .admit, "it took no token of the stranger's")
        for account in 2..<12 { #expect(try answer(account) == .ask) }
        #expect(try answer(12) == .refuse)
        #expect(try answer(13, isKnown: true) == .admit)
    }

    @Test("The tables have a limit and keep what was used last")
    func limit() {
        var table = RecentTable<Int, Int>(limit: 100)
        for number in 0..<10_000 {
            table[number] = number
            let first = table[0]
            #expect(first == 0)
        }
        #expect(table.count <= 100)
        table[0] = nil
        let gone = table[0]
        #expect(gone == nil)
    }

    @Test("A stranger who sends too much is refused; whoever is known is not, in order")
    func messages() async throws {
        try await withPeer("federation.stranger_rate=1") { server, peer in
            let client = try await server.online("\(juliet)/balcony")
            func send(_ sender: String, _ bodies: [String]) async {
                for body in bodies {
                    await peer.send(
                        "<message from='\(sender)/x' to='\(juliet)' type='chat' id='\(body)'>"
                            + "<body>\(body)</body></message>")
                }
            }
            await send("tybalt@montague.example", ["1", "2", "3"])
            #expect(try await client.pending().map(\.body) == ["1"])
            let refused = try await peer.pending()
            #expect(refused.map { $0["id"] } == ["2", "3"])
            #expect(refused.allSatisfy { $0.condition == "resource-constraint" })
            #expect(refused.allSatisfy { $0.errorType == "wait" })
            #expect(server.metric("kinglet_server_refused_strangers_total") == 2)

            _ = try await client.request(
                "set",
                "<query xmlns='jabber:iq:roster'><item jid='romeo@montague.example'/></query>")
            let many = (0..<20).map { "r\($0)" }
            await send("romeo@montague.example", many)
            #expect(try await client.pending().compactMap(\.body) == many)

            await client.send(
                "<message to='paris@montague.example' type='chat'><body>?</body></message>")
            await send("paris@montague.example", many)
            #expect(try await client.pending().compactMap(\.body) == many)
            #expect(server.metric("kinglet_server_refused_strangers_total") == 2)

            // Who is turned away is not known by that.
            await client.send("<presence type='unsubscribed' to='tybalt@montague.example'/>")
            await send("tybalt@montague.example", ["4"])
            #expect(try await client.pending().isEmpty)
            #expect(server.metric("kinglet_server_refused_strangers_total") == 3)
        }
    }

    @Test("Presence to bare addresses and requests to clients are limited, too")
    func presenceAndRequests() async throws {
        try await withPeer("federation.stranger_rate=2") { server, peer in
            let client = try await server.online("\(juliet)/balcony")
            try await befriend(client, "romeo@montague.example", at: peer)
            let (unavailable, error) = (" type='unavailable'", " type='error'")
            for (stranger, types) in [
                ("tybalt", ["", unavailable, "", error]),
                ("sampson", [error, error, error, unavailable]),
            ] {
                for type in types {
                    for sender in ["romeo", stranger] {
                        await peer.send(
                            "<presence from='\(sender)@montague.example/x' to='\(juliet)'\(type)/>")
                    }
                }
                let seen = try await client.pending().map { $0["from"] ?? "" }
                #expect(seen.count { $0 == "romeo@montague.example/x" } == 4)
                #expect(seen.count { $0 == "\(stranger)@montague.example/x" } == 2)
            }
            #expect(try await peer.pending().isEmpty, "presence is not answered")
            for (number, sender) in ["paris", "romeo"].flatMap({ [$0, $0, $0] }).enumerated() {
                await peer.send(
                    "<iq type='get' id='q\(number)' from='\(sender)@montague.example/x'"
                        + " to='\(juliet)/balcony'><q xmlns='urn:example'/></iq>")
                await peer.send(
                    "<iq type='result' id='r\(number)' from='\(sender)@montague.example/x'"
                        + " to='\(juliet)/balcony'/>")
            }
            let asked = try await client.pending().map { $0["id"] ?? "" }
            #expect(asked == ["q0", "r0", "q1", "r1", "r2", "q3", "r3", "q4", "r4", "q5", "r5"])
            let refused = try await peer.pending()
            #expect(refused.map { $0["id"] } == ["q2"])
            #expect(refused.first?.condition == "resource-constraint")
            #expect(refused.first?.errorType == "wait")
        }
    }

    @Test(
        "What asks for, grants or ends a subscription is limited (RFC 6121 section 3)",
        arguments: ["subscribe", "subscribed", "unsubscribe", "unsubscribed"])
    func subscriptions(type: String) async throws {
        try await withPeer("federation.stranger_rate=2") { server, peer in
            let client = try await server.online("\(juliet)/balcony")
            try await befriend(client, "romeo@montague.example", at: peer)
            for (number, sender) in ["romeo", "tybalt"].flatMap({ [$0, $0, $0, $0] }).enumerated() {
                await peer.send(
                    "<presence type='\(type)' id='s\(number)' to='\(juliet)'"
                        + " from='\(sender)@montague.example'/>")
            }
            let refused = try await peer.pending().filter { $0["type"] == "error" }
            #expect(refused.map { $0["id"] } == ["s6", "s7"])
            #expect(refused.allSatisfy { $0.condition == "resource-constraint" })
            #expect(server.metric("kinglet_server_refused_strangers_total") == 2)
        }
    }

    @Test("Requests for subscriptions are limited, too; a room that somebody is in is not")
    func requestsAndRooms() async throws {
        try await withPeer("federation.stranger_rate=1") { server, peer in
            let client = try await server.online("\(juliet)/balcony")
            for account in ["1", "2", "3"] {
                try await server.addAccount("nurse\(account)")
                await peer.send(
                    "<presence type='subscribe' from='tybalt@montague.example'"
                        + " to='nurse\(account)@capulet.example'/>")
            }
            let refused = try await peer.pending()
            #expect(refused.map(\.condition) == ["resource-constraint", "resource-constraint"])
            await client.send("<presence to='feast@montague.example/juliet'/>")
            let bodies = (0..<10).map { "g\($0)" }
            for body in bodies {
                await peer.send(
                    "<message from='feast@montague.example/nurse' to='\(juliet)/balcony'"
                        + " type='groupchat'><body>\(body)</body></message>")
            }
            #expect(try await client.pending().compactMap(\.body) == bodies)
        }
    }
}
