// Messages and requests to and from other domains: archives, copies, the offline store, resends
// and answers behave as within one.

import Addresses
import Prometheus
import Testing
import XML
import XMPP

@testable import Engine
@testable import Storage

@Suite struct MessagesAcrossDomainsTests {
    private let juliet = "juliet@capulet.example"
    private let romeo = "romeo@montague.example"

    private func message(_ body: String, to: String? = nil, inside: String = "") -> String {
        "<message from='\(romeo)/orchard' to='\(to ?? juliet)' type='chat' id='\(body)'>"
            + "<body>\(body)</body>\(inside)</message>"
    }

    /// The bodies that a query for a contact's messages finds, with their senders.
    private func history(_ client: TestClient, with contact: String) async throws -> [String] {
        await client.send(
            "<iq type='set' id='h'><query xmlns='urn:xmpp:mam:2'>"
                + "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>"
                + "<value>urn:xmpp:mam:2</value></field><field var='with'>"
                + "<value>\(contact)</value></field></x></query></iq>")
        var found: [String] = []
        while true {
            let element = try await client.next()
            if element["id"] == "h" { return found }
            let message = element.child("result", "urn:xmpp:mam:2")?
                .child("forwarded", "urn:xmpp:forward:0")?.child("message", Namespaces.client)
            if let message { found.append("\(message["from"] ?? "") \(message.body ?? "")") }
        }
    }

    @Test("Both directions are in the archive of the local side and in no other (XEP-0313)")
    func archive() async throws {
        try await withPeer { server, peer in
            let client = try await server.online("\(juliet)/balcony")
            await client.send(
                "<message to='\(romeo)' type='chat' id='a'><body>out</body></message>")
            #expect(try await peer.next().body == "out")
            await peer.send(message("in"))
            let received = try await client.next()
            let id = received.elements.first { $0.name == "stanza-id" }
            #expect(id?["by"] == juliet)
            let found = try await history(client, with: romeo)
            #expect(found == ["\(juliet)/balcony out", "\(romeo)/orchard in"])
            let keepers = try server.host.database.readNow { connection in
                var all: [Int64] = []
                try connection.rows("SELECT keepers FROM messages ORDER BY id") { row in
                    all.append(row.integer(0))
                }
                return all
            }
            #expect(keepers == [Keepers.sender.rawValue, Keepers.receiver.rawValue])
        }
    }

    @Test("Ids that claim to be ours are taken out, a room's stay (XEP-0359 section 3)")
    func forgedIDs() async throws {
        try await withPeer { server, peer in
            let client = try await server.online("\(juliet)/balcony")
            let forged = "<stanza-id xmlns='urn:xmpp:sid:0' by='\(juliet)' id='forged'/>"
            let room = "<stanza-id xmlns='urn:xmpp:sid:0' by='\(romeo)' id='theirs'/>"
            await peer.send(message("x", inside: forged + room))
            let ids = try await client.next().elements.filter { $0.name == "stanza-id" }
            #expect(ids.map { $0["by"] } == [romeo, juliet])
            #expect(!ids.contains { $0["id"] == "forged" })
        }
    }

    @Test("Whoever is offline gets it later, with its time (XEP-0203); nobody else does")
    func offline() async throws {
        try await withPeer { server, peer in
            try await server.addAccount("juliet")
            await peer.send(message("later"))
            await peer.send(message("lost", to: "nobody@capulet.example"))
            let bounced = try await peer.pending()
            #expect(bounced.map(\.condition) == ["service-unavailable"])
            #expect(bounced.first?["to"] == "\(romeo)/orchard")
            let client = try await server.online("\(juliet)/balcony")
            let message = try await client.first { $0.name == "message" }
            #expect(message.body == "later")
            #expect(message.child("delay", "urn:xmpp:delay")?["from"] == "capulet.example")
        }
    }

    @Test("Further clients get copies of what goes out and comes in (XEP-0280)")
    func carbons() async throws {
        try await withPeer { server, peer in
            let one = try await server.online("\(juliet)/1")
            let two = try await server.onlineWithCarbons("\(juliet)/2")
            _ = try await one.pending()
            await one.send("<message to='\(romeo)' type='chat'><body>out</body></message>")
            #expect(try await peer.next().body == "out")
            await peer.send(message("in", to: "\(juliet)/1"))
            #expect(try await two.pendingBodies() == ["sent out", "received in"])
        }
    }

    @Test("What another stream brings again is the same, on one stream it is meant")
    func resends() async throws {
        try await withPeer("archive.default=never") { server, peer in
            let client = try await server.online("\(juliet)/balcony")
            await peer.send(message("kept by nobody"))
            await peer.send(message("kept by nobody"))
            #expect(try await client.pendingBodies().count == 2, "RFC 6120 section 8.1.3")
            let other = try await EstablishedPeer(server, takes: false)
            await other.send(message("kept by nobody"))
            await other.send(message("new"))
            #expect(try await client.pendingBodies() == ["new"])
            #expect(server.host.metrics.resentMessages.value == 1)
        }
    }

    @Test("The same with an archive, and for who is offline")
    func storedResends() async throws {
        try await withPeer { server, peer in
            try await server.addAccount("juliet")
            await peer.send(message("1"))
            let other = try await EstablishedPeer(server, takes: false)
            await server.settle()
            await other.send(message("1"))
            await server.settle()
            let client = try await server.online("\(juliet)/balcony")
            _ = try await client.first { $0.body == "1" }
            #expect(try await client.pendingBodies().isEmpty)
            #expect(server.host.metrics.resentMessages.value == 1)
        }
    }

    @Test("A room's history is never a resend (XEP-0045 section 7.2.13)", arguments: [true, false])
    func roomHistory(namesRoom: Bool) async throws {
        try await withPeer("federation.stranger_rate=1000") { server, peer in
            let room = "feast@montague.example"
            let by = namesRoom ? " from='\(room)'" : ""
            let delay = "<delay xmlns='urn:xmpp:delay'\(by) stamp='2026-11-21T20:00:00Z'/>"
            func said(_ text: String, inside: String = "") -> String {
                "<message from='\(room)/romeo' to='\(juliet)/balcony' type='groupchat' id='\(text)'>"
                    + "<body>\(text)</body>\(inside)</message>"
            }
            let first = try await server.online("\(juliet)/balcony")
            await first.send("<presence to='\(room)/juliet'/>")
            await peer.send(said("1"))
            #expect(try await first.pendingBodies() == ["1"])
            let other = try await EstablishedPeer(server, takes: false)
            await other.send(said("1"))
            #expect(try await first.pendingBodies().isEmpty, "she was there all the time")

            // She goes out and comes in again.
            await first.send("<presence to='\(room)/juliet'/>")
            await other.send(said("1", inside: delay))
            #expect(try await first.pendingBodies() == ["1"])

            await first.drop()
            let second = try await server.online("\(juliet)/balcony")
            let third = try await EstablishedPeer(server, takes: false)
            await third.send(said("1", inside: delay))
            #expect(try await second.pendingBodies() == ["1"])
        }
    }

    @Test("After a stream's end in peace nothing is a resend", arguments: ["never", "always"])
    func repeats(archive: String) async throws {
        try await withPeer("archive.default=\(archive)") { server, peer in
            let client = try await server.online("\(juliet)/balcony")
            let first = try await EstablishedPeer(server, takes: false)
            await first.send(message("1"))
            await server.settle()
            // All of it is acknowledged before the good-bye.
            await first.send("<r xmlns='urn:xmpp:sm:3'/></stream:stream>")
            #expect(try await client.pendingBodies() == ["1"])
            let second = try await EstablishedPeer(server, takes: false)
            await second.send(message("1"))
            #expect(try await client.pendingBodies() == ["1"])
            // This one goes before it has heard what arrived.
            await second.send("</stream:stream>")
            await server.settle()
            let third = try await EstablishedPeer(server, takes: false)
            await third.send(message("1"))
            #expect(try await client.pendingBodies().isEmpty)
            #expect(server.host.metrics.resentMessages.value == 1)
        }
    }

    /// What is asked of whom, and the answer's type or error, for a contact and for a stranger.
    private static let requests: [(payload: String, to: String, contact: String, other: String)] = [
        ("<ping xmlns='urn:xmpp:ping'/>", "", "result", "result"),
        ("<query xmlns='http://jabber.org/protocol/disco#info'/>", "", "result", "result"),
        ("<query xmlns='http://jabber.org/protocol/disco#items'/>", "", "result", "result"),
        ("<query xmlns='jabber:iq:version'/>", "", "result", "result"),
        ("<time xmlns='urn:xmpp:time'/>", "", "result", "result"),
        ("<query xmlns='jabber:iq:last'/>", "", "result", "result"),
        ("<ping xmlns='urn:xmpp:ping'/>", "juliet@", "result", "service-unavailable"),
        (
            "<query xmlns='http://jabber.org/protocol/disco#info'/>", "juliet@", "result",
            "service-unavailable"
        ),
        (
            "<query xmlns='http://jabber.org/protocol/disco#items'/>", "juliet@", "result",
            "service-unavailable"
        ),
        ("<query xmlns='jabber:iq:last'/>", "juliet@", "result", "forbidden"),
        (
            "<query xmlns='jabber:iq:roster'/>", "juliet@", "service-unavailable",
            "service-unavailable"
        ),
        (
            "<query xmlns='urn:xmpp:mam:2'/>", "juliet@", "service-unavailable",
            "service-unavailable"
        ),
        ("<query xmlns='jabber:iq:last'/>", "nobody@", "forbidden", "forbidden"),
        ("<ping xmlns='urn:xmpp:ping'/>", "nobody@", "service-unavailable", "service-unavailable"),
    ]

    @Test(
        "Requests are answered to anybody, about an account to its contacts (8.5.1)",
        arguments: [true, false])
    func requests(isOnline: Bool) async throws {
        try await withPeer { server, peer in
            let client = try await server.online("\(juliet)/balcony")
            try await befriend(client, romeo, at: peer)
            if !isOnline {
                await client.drop()
                _ = try await peer.pending()
            }
            for (payload, to, contact, other) in Self.requests {
                for (asker, wanted) in [(romeo, contact), ("paris@montague.example", other)] {
                    let answer = try await peer.request(
                        from: "\(asker)/x", to: "\(to)capulet.example", payload)
                    #expect(
                        (answer.condition ?? answer["type"]) == wanted, "\(payload) \(to) \(asker)")
                }
            }
        }
    }

    @Test("Requests between clients pass both ways (RFC 6120 section 10)")
    func clientRequests() async throws {
        try await withPeer { server, peer in
            let client = try await server.online("\(juliet)/balcony")
            await client.send(
                "<iq type='get' id='q' to='\(romeo)/orchard'><q xmlns='urn:example'/></iq>")
            #expect(try await peer.next()["from"] == "\(juliet)/balcony")
            await peer.send(
                "<iq type='result' id='q' from='\(romeo)/orchard' to='\(juliet)/balcony'/>")
            #expect(try await client.next()["type"] == "result")
            await peer.send(
                "<iq type='get' id='p' from='\(romeo)/orchard' to='\(juliet)/gone'>"
                    + "<q xmlns='urn:example'/></iq>")
            #expect(try await peer.next().condition == "service-unavailable")
        }
    }
}
