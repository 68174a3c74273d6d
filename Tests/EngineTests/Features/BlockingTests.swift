// Block lists (XEP-0191).

import Addresses
import Dispatch
import Engine
import Storage
import Testing
import XML
import XMPP

@testable import Features

private let namespace = "urn:xmpp:blocking"
private let romeo = "romeo@capulet.example"
private let juliet = "juliet@capulet.example"

private func items(_ jids: [String]) -> String {
    jids.map { "<item jid='\($0)'/>" }.joined()
}

extension TestClient {
    fileprivate func block(_ jids: String...) async throws -> Element {
        try await request("set", "<block xmlns='\(namespace)'>\(items(jids))</block>")
    }

    fileprivate func unblock(_ jids: String...) async throws -> Element {
        try await request("set", "<unblock xmlns='\(namespace)'>\(items(jids))</unblock>")
    }

    fileprivate func blocked() async throws -> [String?] {
        let answer = try await request("get", "<blocklist xmlns='\(namespace)'/>")
        #expect(answer["type"] == "result")
        return answer.child("blocklist", namespace)?.elements.map { $0["jid"] } ?? []
    }
}

@Suite struct BlockListTests {
    private static let owner = BareJID(preparedLocal: "juliet", preparedDomain: "capulet.example")

    @Test(
        "An item fits as section 6 says",
        arguments: [
            // user@domain/resource: only that resource
            ("romeo@montague.example/orchard", "romeo@montague.example/orchard", true),
            ("romeo@montague.example/orchard", "romeo@montague.example/home", false),
            ("romeo@montague.example/orchard", "romeo@montague.example", false),
            // user@domain: any resource
            ("romeo@montague.example", "romeo@montague.example", true),
            ("romeo@montague.example", "romeo@montague.example/orchard", true),
            ("romeo@montague.example", "benvolio@montague.example", false),
            ("romeo@montague.example", "montague.example", false),
            // domain/resource: only that resource
            ("montague.example/gate", "montague.example/gate", true),
            ("montague.example/gate", "montague.example", false),
            ("montague.example/gate", "montague.example/door", false),
            ("montague.example/gate", "romeo@montague.example/gate", false),
            // domain: itself, user@domain, domain/resource; no subdomains
            ("montague.example", "montague.example", true),
            ("montague.example", "montague.example/gate", true),
            ("montague.example", "romeo@montague.example", true),
            ("montague.example", "romeo@montague.example/orchard", true),
            ("montague.example", "romeo@chat.montague.example", false),
            ("montague.example", "romeo@example", false),
            // addresses are compared prepared (RFC 7622)
            ("Romeo@MONTAGUE.example", "romeo@montague.example/orchard", true),
        ])
    func matching(item: String, address: String, isBlocked: Bool) throws {
        let list = BlockList(of: Self.owner, [try JID(item)])
        #expect(list.blocks(try JID(address)) == isBlocked)
    }

    @Test(
        "No item fits one's own clients or server (section 5)",
        arguments: [
            "juliet@capulet.example", "juliet@capulet.example/balcony", "capulet.example",
            "capulet.example/gate",
        ])
    func own(item: String) throws {
        let list = BlockList(of: Self.owner, [try JID(item)])
        for address in [
            "juliet@capulet.example", "juliet@capulet.example/balcony", "capulet.example",
            "capulet.example/gate",
        ] {
            #expect(!list.blocks(try JID(address)))
        }
        let isDomain = item == "capulet.example"
        #expect(list.blocks(try JID("nurse@capulet.example")) == isDomain, "others it does")
    }

    @Test(
        "A change is pushed as it was read (sections 3.3 to 3.5)",
        arguments: [
            "<block xmlns='urn:xmpp:blocking'><item jid='a@b.example'/><item jid='c.example/d'/></block>",
            "<unblock xmlns='urn:xmpp:blocking'><item jid='a@b.example/c'/></unblock>",
            "<unblock xmlns='urn:xmpp:blocking'/>",
        ])
    func roundTrip(xml: String) throws {
        let element = try Element(parsing: Array(xml.utf8), contentNamespace: Namespaces.client)
        #expect(try BlockListChange(element).element == element)
    }

    @Test("What stands in an item beside the address is left out (as XEP-0377 has it)")
    func extensions() throws {
        let element = Element(
            "block", namespace, [],
            [
                Element(
                    "item", namespace, [("jid", "Spam@b.example")],
                    [Element("report", "urn:xmpp:reporting:1")])
            ])
        #expect(try BlockListChange(element) == .block([JID("spam@b.example")]))
    }

    @Test(
        "What is no change is refused",
        arguments: [
            ("<block xmlns='urn:xmpp:blocking'/>", StanzaError.Condition.badRequest),
            ("<block xmlns='urn:xmpp:blocking'><item/></block>", .badRequest),
            ("<block xmlns='urn:xmpp:blocking'><item xmlns='x' jid='a@b'/></block>", .badRequest),
            (
                "<unblock xmlns='urn:xmpp:blocking'><item xmlns='x' jid='a@b'/></unblock>",
                .badRequest
            ),
            ("<unblock xmlns='urn:xmpp:blocking'><item/></unblock>", .badRequest),
            ("<block xmlns='urn:xmpp:blocking'><item jid=''/></block>", .jidMalformed),
            ("<block xmlns='urn:xmpp:blocking'><item jid='a@b/'/></block>", .jidMalformed),
            (
                "<unblock xmlns='urn:xmpp:blocking'><item jid='a@b'/><item jid='@'/></unblock>",
                .jidMalformed
            ),
        ])
    func malformed(xml: String, condition: StanzaError.Condition) throws {
        let element = try Element(parsing: Array(xml.utf8), contentNamespace: Namespaces.client)
        let error = #expect(throws: StanzaError.self) { try BlockListChange(element) }
        #expect(error?.condition == condition)
    }
}

@Suite struct BlockingTests {
    @Test("The server says that it can block (section 3.1)")
    func discovery() async throws {
        try await withServer { server in
            let client = try await server.login("\(juliet)/balcony")
            let info = "http://jabber.org/protocol/disco#info"
            let answer = try await client.request(
                "get", "<query xmlns='\(info)'/>", to: "capulet.example")
            let features = try #require(answer.child("query", info)).elements.map { $0["var"] }
            #expect(features.contains(namespace))
        }
    }

    @Test("A list outlives the session and the server, and is in force from the start")
    func lasts() async throws {
        try await withServer { server in
            let client = try await server.login("\(juliet)/balcony")
            #expect(try await client.block(romeo, "spam.example")["type"] == "result")
            #expect(try await client.block(romeo)["type"] == "result", "again is no error")
            #expect(try await client.unblock("b.example")["type"] == "result", "nor is this")
            await client.drop()
            let again = try TestServer(over: server)
            let sender = try await again.online("\(romeo)/orchard")
            await sender.send("<message id='m' to='\(juliet)'><body>?</body></message>")
            #expect(try await sender.next().condition == "service-unavailable", "she is offline")
            let later = try await again.login("\(juliet)/chamber")
            #expect(try await later.blocked() == [romeo, "spam.example"])
            await again.stop()
        }
    }

    @Test("Without the lists nobody is let in")
    func unreadable() async throws {
        try await withServer { server in
            try server.host.database.writeNow { connection in
                try connection.execute("DROP TABLE blocked_addresses")
            }
            #expect(throws: StorageError.self) { try TestServer(over: server) }
        }
    }

    @Test("A block stops nothing but what is between the two, and is counted")
    func others() async throws {
        try await withServer(loops: 2) { server in
            let one = try await server.online("\(juliet)/balcony", loop: 0)
            let two = try await server.online("\(romeo)/orchard", loop: 1)
            let nurse = try await server.online("nurse@capulet.example/hall", loop: 1)
            _ = try await one.block(romeo)
            await nurse.send("<message to='\(juliet)'><body>Madam!</body></message>")
            #expect(try await one.next().body == "Madam!")
            await two.send("<message to='nurse@capulet.example'><body>a word</body></message>")
            #expect(try await nurse.next().body == "a word")
            #expect(server.refusals(.blocked) == 0)
            await two.send("<message to='\(juliet)'><body>a word</body></message>")
            let answer = try await two.next()
            #expect(answer.condition == "service-unavailable")
            #expect(answer.child("error")?.elements.count == 1, "and no word of the reason")
            #expect(server.refusals(.blocked) == 1)
        }
    }

    @Test("Who blocks one resource still hears the others (section 6)")
    func resource() async throws {
        try await withServer { server in
            let orchard = try await server.online("\(romeo)/orchard")
            let home = try await server.online("\(romeo)/home")
            let client = try await server.online("\(juliet)/balcony")
            try await befriend(orchard, client)
            _ = try await home.pending()
            _ = try await client.block("\(romeo)/orchard")
            #expect(
                try await orchard.next().isPresence(from: "\(juliet)/balcony", "unavailable"))
            await client.send("<presence><show>away</show></presence>")
            _ = try await client.pending()
            #expect(try await orchard.pending().isEmpty)
            #expect(try await home.pending().map { $0.child("show")?.text } == ["away"])
            await orchard.send("<presence><show>dnd</show></presence>")
            _ = try await orchard.pending()
            #expect(try await client.pending().isEmpty)
            await home.send("<message to='\(juliet)'><body>It is I</body></message>")
            #expect(try await client.next().body == "It is I")
            _ = try await home.pending()
            _ = try await client.unblock("\(romeo)/orchard")
            #expect(try await orchard.pending().map { $0.child("show")?.text } == ["away"])
            #expect(try await home.pending().isEmpty, "nothing new")
            #expect(try await client.pending().map { $0["from"] } == ["\(romeo)/orchard"])
        }
    }

    @Test("A blocked domain is everybody on it, but not oneself and not one's server (section 5)")
    func ownDomain() async throws {
        try await withServer { server in
            let balcony = try await server.online("\(juliet)/balcony")
            let chamber = try await server.online("\(juliet)/chamber")
            let other = try await server.online("\(romeo)/orchard")
            for client in [balcony, chamber] { _ = try await client.pending() }
            _ = try await balcony.block("capulet.example", juliet)
            await chamber.send("<message to='\(juliet)/balcony'><body>me</body></message>")
            #expect(try await balcony.next().body == "me")
            let ping = "<ping xmlns='urn:xmpp:ping'/>"
            #expect(
                try await balcony.request("get", ping, to: "capulet.example")["type"] == "result")
            await balcony.send("<presence><show>away</show></presence>")
            #expect(try await chamber.first { $0.name == "presence" }.child("show") != nil)
            await other.send("<message to='\(juliet)'><body>?</body></message>")
            #expect(try await other.next().condition == "service-unavailable")
            #expect(try await balcony.unblock()["type"] == "result", "and there is a way back")
            #expect(try await balcony.blocked() == [])
        }
    }

    @Test("Only who saw the account sees it go, and only who may sees it come (3.3 and 3.4)")
    func strangers() async throws {
        try await withServer { server in
            let stranger = try await server.online("\(romeo)/orchard")
            let guest = try await server.online("paris@capulet.example/tomb")
            let client = try await server.online("\(juliet)/balcony")
            await client.send("<presence to='paris@capulet.example/tomb'/>")
            #expect(try await guest.next().isPresence(from: "\(juliet)/balcony"))
            _ = try await client.block(romeo, "paris@capulet.example")
            #expect(try await guest.next().isPresence(from: "\(juliet)/balcony", "unavailable"))
            #expect(try await stranger.pending().isEmpty)
            _ = try await client.unblock()
            await client.drop()
            for other in [guest, stranger] { #expect(try await other.pending().isEmpty) }
        }
    }

    @Test("Who has blocked the other hears nothing of being blocked in turn")
    func mutual() async throws {
        try await withServer { server in
            let one = try await server.online("\(romeo)/orchard")
            let two = try await server.online("\(juliet)/balcony")
            try await befriend(one, two)
            _ = try await two.block(romeo)
            #expect(try await one.pending().count == 1)
            _ = try await one.block(juliet)
            #expect(try await two.pending().isEmpty)
            _ = try await two.unblock()
            #expect(try await one.pending().isEmpty, "he still blocks her")
            #expect(try await two.pending().isEmpty, "so he stays unseen")
            _ = try await one.unblock()
            #expect(try await one.pending().count == 1)
            #expect(try await two.pending().count == 1)
        }
    }

    @Test("A request that waits is not shown while its sender is blocked")
    func waitingRequest() async throws {
        try await withServer { server in
            let one = try await server.online("\(romeo)/orchard")
            let two = try await server.login("\(juliet)/balcony")
            await one.send("<presence type='subscribe' to='\(juliet)'/>")
            _ = try await one.pending()
            _ = try await two.block(romeo)
            await two.send("<presence/>")
            #expect(try await two.pending().map { $0["from"] } == ["\(juliet)/balcony"])
            _ = try await two.unblock(romeo)
            await two.send("<presence type='unavailable'/><presence/>")
            #expect(try await two.first { $0["type"] == "subscribe" }["from"] == romeo)
        }
    }

    @Test("A blocked contact's request is neither answered nor kept (section 3.3)")
    func requestWhileBlocked() async throws {
        try await withServer { server in
            let one = try await server.online("\(romeo)/orchard")
            let paris = try await server.online("paris@capulet.example/tomb")
            let two = try await server.online("\(juliet)/balcony")
            await two.send("<presence type='subscribed' to='\(romeo)'/>")
            _ = try await two.pending()
            _ = try await two.block(romeo, "paris@capulet.example")
            for client in [one, paris] {
                await client.send("<presence type='subscribe' to='\(juliet)'/>")
                #expect(try await client.pending().map(\.name) == ["iq"], "a push to his roster")
            }
            _ = try await two.unblock()
            await two.send("<presence type='unavailable'/><presence/>")
            #expect(try await two.pending().map { $0["from"] } == ["\(juliet)/balcony"])
            #expect(try await one.pending().isEmpty)
        }
    }

    @Test("A right that a blocked contact takes back is gone; what he grants holds")
    func takenBack() async throws {
        try await withServer { server in
            let one = try await server.online("\(romeo)/orchard")
            let two = try await server.online("\(juliet)/balcony")
            await two.send("<presence type='subscribe' to='\(romeo)'/>")
            _ = try await one.first { $0["type"] == "subscribe" }
            _ = try await two.block(romeo)
            await one.send("<presence type='subscribed' to='\(juliet)'/>")
            _ = try await one.pending()
            #expect(try await two.pending().filter { $0.name == "presence" }.isEmpty)
            #expect(try await two.getRoster().first?["subscription"] == "to")
            _ = try await two.unblock()
            #expect(try await two.next().isPresence(from: "\(romeo)/orchard"))
            _ = try await two.block(romeo)
            await one.send("<presence type='unsubscribed' to='\(juliet)'/>")
            _ = try await one.pending()
            _ = try await two.unblock()
            await two.send("<presence type='probe' to='\(romeo)'/>")
            #expect(try await two.pending().filter { $0.name == "presence" }.isEmpty)
            #expect(try await two.getRoster().first?["subscription"] == "none")
        }
    }

    @Test("A message that waited is not delivered if its sender was blocked since (section 3.3)")
    func offline() async throws {
        try await withServer { server in
            let one = try await server.online("\(romeo)/orchard")
            let nurse = try await server.online("nurse@capulet.example/hall")
            let two = try await server.login("\(juliet)/balcony")
            for client in [one, nurse] {
                await client.send(
                    "<message to='\(juliet)'><body>\(client === one)</body></message>")
                _ = try await client.pending()
            }
            _ = try await two.block(romeo)
            await two.send("<presence/>")
            #expect(
                try await two.pending().filter { $0.name == "message" }.map(\.body) == ["false"])
            #expect(server.metric("kinglet_offline_messages") == 0)
            #expect(server.metric("kinglet_offline_messages_delivered_total") == 1)
        }
    }

    @Test("A message that never reached a client is not delivered to another after a block")
    func redelivery() async throws {
        try await withServer { server in
            let one = try await server.online("\(romeo)/orchard")
            let two = try await server.online("\(juliet)/balcony")
            await two.setWritable(false)
            await one.send("<message to='\(juliet)' id='m'><body>slow</body></message>")
            #expect(try await one.pending().isEmpty)
            let other = try await server.online("\(juliet)/chamber")
            _ = try await other.block(romeo)
            await two.drop()
            let answer = try await one.first { $0["id"] == "m" }
            #expect(answer.condition == "service-unavailable")
            #expect(try await other.pending().filter { $0.name == "message" }.isEmpty)
        }
    }

    @Test("A list is limited; what is on it can be sent again, and a command is whole or nothing")
    func limit() async throws {
        try await withServer("limits.blocked=3") { server in
            let client = try await server.login("\(juliet)/balcony")
            _ = try await client.block("1.example", "2.example")
            let tooMany = try await client.block("3.example", "4.example")
            #expect(tooMany.condition == "resource-constraint")
            #expect(tooMany.errorType == "wait")
            #expect(server.refusals(.blockedAddresses) == 1)
            #expect(try await client.blocked() == ["1.example", "2.example"])
            let whole = try await client.block("2.example", "3.example", "3.example")
            #expect(whole["type"] == "result")
            let atOnce = try await client.block("4.example", "5.example", "6.example", "7.example")
            #expect(atOnce.condition == "resource-constraint")
            #expect(try await client.blocked() == ["1.example", "2.example", "3.example"])
            _ = try await client.unblock("2.example")
            #expect(try await client.block("4.example")["type"] == "result")
        }
    }

    @Test("What cannot be stored is not in force, and may be tried again")
    func cannotStore() async throws {
        try await withServer { server in
            try server.refuse("INSERT", on: "blocked_addresses")
            let client = try await server.online("\(juliet)/balcony")
            #expect(try await client.blocked() == [])
            let answer = try await client.block(romeo)
            #expect(answer.condition == "internal-server-error")
            #expect(answer.errorType == "wait")
            #expect(try await client.blocked() == [])
            #expect(try await client.pending().isEmpty, "no push")
        }
    }

    @Test("A block is in force when the client hears that it is, and not before it is stored")
    func order() async throws {
        try await withServer(loops: 2) { server in
            let one = try await server.online("\(romeo)/orchard", loop: 1)
            let two = try await server.online("\(juliet)/balcony", loop: 0)
            // Or messages would wait for the offline store, and that for the gate.
            await server.settle()
            let gate = await server.holdWriter()
            defer { gate.signal() }
            await two.send(
                "<iq type='set' id='b'><block xmlns='\(namespace)'>\(items([romeo]))</block></iq>")
            // Headlines are not archived: nothing but the block waits for the writer.
            await one.send("<message to='\(juliet)' type='headline'><body>in time</body></message>")
            #expect(try await two.next().body == "in time")
            gate.signal()
            #expect(try await two.next()["id"] == "b")
            await one.send("<message to='\(juliet)' type='headline'><body>late</body></message>")
            #expect(try await one.next().condition == "service-unavailable")
            #expect(try await two.pending().isEmpty)
        }
    }

    @Test("What a session of an account that is going still blocks is not kept")
    func removalMeanwhile() async throws {
        try await withServer { server in
            let client = try await server.online("\(juliet)/balcony")
            let jid = try BareJID(juliet)
            let gate = await server.holdWriter()
            server.host.removeAccount(jid) { _ in }
            await client.send(
                "<iq type='set' id='b'><block xmlns='\(namespace)'>\(items([romeo]))</block></iq>")
            gate.signal()
            await server.settle()
            let again = try await server.online("\(juliet)/balcony")
            #expect(try await again.blocked() == [])
            let next = try TestServer(over: server)
            #expect(try await next.login("\(juliet)/chamber").blocked() == [])
            await next.stop()
        }
    }

    @Test("With an account its list goes, and does not come back with the name")
    func removal() async throws {
        try await withServer { server in
            let one = try await server.online("\(romeo)/orchard")
            let two = try await server.online("\(juliet)/balcony")
            _ = try await two.block(romeo)
            let jid = try BareJID(juliet)
            await withCheckedContinuation { continuation in
                server.host.removeAccount(jid) { _ in continuation.resume() }
            }
            try await two.expectStreamError(.notAuthorized)
            await server.settle()
            let rows = try server.host.database.readNow { connection in
                try connection.first("SELECT count(*) FROM blocked_addresses") { $0.integer(0) }
            }
            #expect(rows == 0)
            let again = try await server.online("\(juliet)/balcony")
            #expect(try await again.blocked() == [])
            await one.send("<message to='\(juliet)'><body>Madam</body></message>")
            #expect(try await again.next().body == "Madam")
        }
    }
}
