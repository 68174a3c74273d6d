// Message carbons (XEP-0280): who gets a copy, and what a copy looks like.

import Addresses
import Dispatch
import Engine
import NIOCore
import Testing
import XML
import XMPP

@Suite("XEP-0280: copies to other clients")
struct CarbonsTests {
    private static let namespace = "urn:xmpp:carbons:2"
    private static let balcony = "juliet@capulet.example/balcony"
    private static let chamber = "juliet@capulet.example/chamber"
    private static let orchard = "romeo@capulet.example/orchard"
    private static let home = "romeo@capulet.example/home"

    private func chat(to: String, _ body: String, _ more: String = "") -> String {
        "<message to='\(to)' type='chat'><body>\(body)</body>\(more)</message>"
    }

    // MARK: Enabling (sections 4, 5 and 10.1)

    @Test("The server says that it can, and by which rules (sections 3 and 6.2)")
    func discovery() async throws {
        try await withServer { server in
            let client = try await server.login(Self.balcony)
            let answer = try await client.request(
                "get", "<query xmlns='http://jabber.org/protocol/disco#info'/>",
                to: "capulet.example")
            let features =
                answer.child("query", DiscoveryInfo.namespace)?.elements
                .compactMap { $0["var"] } ?? []
            #expect(features.contains(Self.namespace))
            #expect(features.contains("urn:xmpp:carbons:rules:0"))
        }
    }

    @Test("It is enabled and disabled as often as a client likes, each client for itself")
    func enabling() async throws {
        try await withServer { server in
            let balcony = try await server.online(Self.balcony)
            let chamber = try await server.online(Self.chamber)
            let romeo = try await server.online(Self.orchard)
            for (request, expected) in [
                ("disable", []), ("enable", ["received 1"]), ("enable", ["received 2"]),
                ("disable", []), ("disable", []), ("enable", ["received 5"]),
            ] as [(String, [String])] {
                let answer = try await chamber.request(
                    "set", "<\(request) xmlns='\(Self.namespace)'/>")
                #expect(answer["type"] == "result" && answer.elements.isEmpty)
                let number = try await balcony.pendingBodies().count
                #expect(number == 0)
                await romeo.send(
                    chat(to: Self.balcony, expected.first.map { String($0.suffix(1)) } ?? "x"))
                #expect(try await chamber.pendingBodies() == expected)
                #expect(try await balcony.pendingBodies().count == 1)
            }
            _ = try await romeo.pending()
            await romeo.send(chat(to: Self.chamber, "to the one"))
            #expect(try await chamber.pendingBodies() == ["to the one"])
            #expect(try await balcony.pendingBodies() == [], "it has not asked")
        }
    }

    @Test("Another account's carbons are not to be touched, and a get asks nothing")
    func refusals() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let romeo = try await server.online(Self.orchard)
            for name in ["enable", "disable"] {
                for to in ["juliet@capulet.example", "nobody@capulet.example"] {
                    let answer = try await romeo.request(
                        "set", "<\(name) xmlns='\(Self.namespace)'/>", to: to)
                    #expect(answer.condition == "not-allowed")
                }
                let answer = try await romeo.request("get", "<\(name) xmlns='\(Self.namespace)'/>")
                #expect(answer.condition == "bad-request")
            }
        }
    }

    @Test("A resumed session still has them; a new one begins without (section 4)")
    func resumption() async throws {
        try await withServer { server in
            let chamber = try await server.onlineWithCarbons(Self.chamber)
            await chamber.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
            let id = try #require(try await chamber.first { $0.name == "enabled" }["id"])
            _ = try await server.online(Self.balcony)
            let romeo = try await server.online(Self.orchard)
            await chamber.drop()
            await romeo.send(chat(to: Self.balcony, "1"))
            await server.settle()
            let client = try await server.connect()
            try await client.open()
            _ = try await client.scram(SCRAMClient(username: "juliet"))
            try await client.open()
            await client.send("<resume xmlns='urn:xmpp:sm:3' previd='\(id)' h='0'/>")
            #expect(try await client.next().name == "resumed")
            let copy = try #require(try await client.pendingMessages().first)
            #expect(Copy(copy)?.message.body == "1")
            #expect(
                copy.child("delay", "urn:xmpp:delay")?["from"] == "capulet.example",
                "it waited (XEP-0203)")
            await romeo.send(chat(to: Self.balcony, "2"))
            #expect(try await client.pendingBodies() == ["received 2"])
            await client.drop()
            await client.pass(.seconds(601))
            let again = try await server.online(Self.chamber)
            await romeo.send(chat(to: Self.balcony, "3"))
            #expect(try await again.pendingBodies() == [])
        }
    }

    // MARK: The form of a copy (sections 7 and 8)

    @Test("A copy comes from the account, of the same type, and holds the message as it was")
    func form() async throws {
        try await withServer { server in
            let romeo = try await server.online(Self.orchard)
            let home = try await server.onlineWithCarbons(Self.home)
            let balcony = try await server.online(Self.balcony)
            let chamber = try await server.onlineWithCarbons(Self.chamber)
            _ = try await balcony.pending()
            await romeo.send(
                "<message xmlns:e='urn:example' to='\(Self.balcony)' type='chat' id='m'"
                    + " xml:lang='it' e:a='1'><body>ciao &amp; \u{1F33B}</body><e:x/></message>")
            let original = try #require(try await balcony.pendingMessages().first)
            let sent = try #require(try await home.pendingMessages().first.flatMap { Copy($0) })
            let received = try #require(
                try await chamber.pendingMessages().first.flatMap { Copy($0) })
            #expect(sent.direction == "sent" && received.direction == "received")
            #expect(received.message == original)
            // Each account's archive has an id of its own.
            var (own, theirs) = (sent.message, original)
            own.children.removeLast()
            theirs.children.removeLast()
            #expect(own == theirs && own.elements.count == 2)
            #expect(original.attributes.count == 6, "from, to, type, id, language, and its own")
            // In whose context it stands is written in it: `Copy` takes no message of another
            // namespace.
            for (copy, account, client) in [
                (sent, "romeo@capulet.example", Self.home),
                (received, "juliet@capulet.example", Self.chamber),
            ] {
                #expect(copy.wrapper["from"] == account)
                #expect(copy.wrapper["to"] == client)
                #expect(copy.wrapper["type"] == "chat")
                #expect(copy.wrapper.attributes.count == 3)
            }
            await romeo.send("<message to='\(Self.balcony)'><body>of no type</body></message>")
            #expect(try await home.next()["type"] == nil)
            #expect(server.metric("kinglet_carbons_total{direction=\"sent\"}") == 2)
            #expect(server.metric("kinglet_carbons_total{direction=\"received\"}") == 2)
        }
    }

    @Test("Each copy has the id of its own account's archive; claimed ones are gone (XEP-0359)")
    func stanzaIDs() async throws {
        try await withServer { server in
            let romeo = try await server.online(Self.orchard)
            let home = try await server.onlineWithCarbons(Self.home)
            let balcony = try await server.online(Self.balcony)
            let chamber = try await server.onlineWithCarbons(Self.chamber)
            let claims = ["juliet@capulet.example", "romeo@capulet.example", "mantua.example"].map {
                "<stanza-id xmlns='urn:xmpp:sid:0' id='claimed' by='\($0)'/>"
            }
            _ = try await balcony.pending()
            await romeo.send(chat(to: Self.balcony, "1", claims.joined()))
            func ids(_ element: Element?) -> [String] {
                (element?.elements ?? []).filter { $0.name == "stanza-id" }
                    .map { "\($0["by"] ?? "") \($0["id"] ?? "")" }
            }
            let own = try await balcony.pendingMessages().first
            let copies = [
                try await home.pendingMessages().first.flatMap { Copy($0)?.message },
                try await chamber.pendingMessages().first.flatMap { Copy($0)?.message },
            ]
            for (client, seen, owner) in [(balcony, own, "juliet"), (romeo, copies[0], "romeo")] {
                await client.send(
                    "<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2' queryid='q'/></iq>")
                await server.settle()
                let result = try #require(
                    try await client.pendingMessages().first?.child("result", "urn:xmpp:mam:2"))
                let id = try #require(result["id"])
                #expect(
                    ids(seen) == ["mantua.example claimed", "\(owner)@capulet.example \(id)"])
            }
            #expect(ids(copies[1]) == ids(own))
        }
    }

    // MARK: Who gets one

    @Test("Sender and receiver have three clients each, on several loops: everybody hears it once")
    func everybody() async throws {
        try await withServer(loops: 3) { server in
            var clients: [(String, TestClient)] = []
            for (index, name) in ["1", "2", "3"].enumerated() {
                for user in ["romeo", "juliet"] {
                    let client = try await server.onlineWithCarbons(
                        "\(user)@capulet.example/\(name)", loop: index)
                    clients.append(("\(user)/\(name)", client))
                }
            }
            for (_, client) in clients { _ = try await client.pending() }
            await clients[0].1.send(chat(to: "juliet@capulet.example/2", "hi"))
            await server.settle()
            for (name, client) in clients {
                let expected: [String] =
                    switch name {
                    case "romeo/1": []
                    case "juliet/2": ["hi"]
                    default: [name.hasPrefix("romeo") ? "sent hi" : "received hi"]
                    }
                #expect(try await client.pendingBodies() == expected, "\(name)")
            }
        }
    }

    @Test("To the account: its best clients get the message, the others a copy (section 7)")
    func bareAddress() async throws {
        try await withServer { server in
            let balcony = try await server.onlineWithCarbons(Self.balcony, priority: 5)
            let chamber = try await server.onlineWithCarbons(Self.chamber, priority: 1)
            let negative = try await server.onlineWithCarbons(
                "juliet@capulet.example/negative", priority: -1)
            let silent = try await server.login("juliet@capulet.example/silent")
            try await silent.enableCarbons()
            let romeo = try await server.online(Self.orchard)
            await romeo.send(chat(to: "juliet@capulet.example", "1"))
            #expect(try await balcony.pendingBodies() == ["1"])
            #expect(try await chamber.pendingBodies() == ["received 1"])
            #expect(try await negative.pendingBodies() == ["received 1"])
            #expect(try await silent.pendingBodies() == ["received 1"])
        }
    }

    @Test("A chat to a client that is gone goes to another one, which gets no copy as well")
    func goneResource() async throws {
        try await withServer { server in
            let chamber = try await server.onlineWithCarbons(Self.chamber)
            let romeo = try await server.online(Self.orchard)
            await romeo.send(chat(to: Self.balcony, "1"))
            #expect(try await chamber.pendingBodies() == ["1"])
        }
    }

    @Test("The sender's clients get a copy when the receiver is not there (section 8)")
    func receiverAway() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let romeo = try await server.onlineWithCarbons(Self.orchard)
            let home = try await server.onlineWithCarbons(Self.home)
            await romeo.send(chat(to: "juliet@capulet.example", "stored"))
            await romeo.send(
                "<message to='juliet@capulet.example' type='chat'>"
                    + "<composing xmlns='http://jabber.org/protocol/chatstates'/></message>")
            await server.settle()
            #expect(try await home.pendingBodies() == ["sent stored", "sent -"])
            #expect(try await romeo.pendingBodies() == [])
        }
    }

    @Test("What waits for an account comes once: as a copy to who takes no messages, else later")
    func waiting() async throws {
        try await withServer { server in
            let negative = try await server.onlineWithCarbons(Self.balcony, priority: -1)
            let silent = try await server.login(Self.chamber)
            try await silent.enableCarbons()
            let romeo = try await server.online(Self.orchard)
            await romeo.send(chat(to: "juliet@capulet.example", "1"))
            await server.settle()
            #expect(try await negative.pendingBodies() == ["received 1"])
            #expect(try await silent.pendingBodies() == [])
            await silent.send("<presence/>")
            await server.settle()
            #expect(try await silent.pendingBodies() == ["1"])
        }
    }

    @Test("A client that comes while a message is being stored gets it, and no copy of it")
    func announcedMeanwhile() async throws {
        try await withServer { server in
            let juliet = try await server.login(Self.chamber)
            try await juliet.enableCarbons()
            let romeo = try await server.online(Self.orchard)
            await server.settle()
            let gate = await server.holdWriter()
            defer { gate.signal() }
            await romeo.send(chat(to: "juliet@capulet.example", "1"))
            await juliet.send("<presence/>")
            gate.signal()
            await server.settle()
            await server.settle()
            #expect(try await juliet.pendingBodies() == ["1"])
        }
    }

    @Test("What comes back at once is not copied, nor is the error")
    func bounced() async throws {
        try await withServer { server in
            let romeo = try await server.onlineWithCarbons(Self.orchard)
            let home = try await server.onlineWithCarbons(Self.home)
            for to in ["nobody@capulet.example", "capulet.example", "juliet@elsewhere.example"] {
                await romeo.send(chat(to: to, "1"))
            }
            await server.settle()
            #expect(try await home.pendingBodies() == [])
            #expect(try await romeo.pendingMessages().count == 3)
        }
    }

    @Test("A resend is neither delivered nor copied again (XEP-0198 section 4)")
    func resent() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let romeo = try await server.onlineWithCarbons(Self.orchard)
            let home = try await server.onlineWithCarbons(Self.home)
            for _ in 0..<2 {
                await romeo.send(
                    "<message id='m' to='juliet@capulet.example' type='chat'><body>1</body>"
                        + "</message>")
                await server.settle()
            }
            #expect(try await home.pendingBodies() == ["sent 1"])
        }
    }

    @Test("To oneself: every client but the sending one hears it once, as the account's message")
    func toOneself() async throws {
        try await withServer { server in
            let orchard = try await server.onlineWithCarbons(Self.orchard, priority: 1)
            let home = try await server.onlineWithCarbons(Self.home, priority: 1)
            let phone = try await server.onlineWithCarbons("romeo@capulet.example/phone")
            await orchard.send(chat(to: Self.home, "to home"))
            #expect(try await orchard.pendingBodies() == [])
            #expect(try await home.pendingBodies() == ["to home"])
            #expect(try await phone.pendingBodies() == ["received to home"])
            await phone.send(chat(to: "romeo@capulet.example", "to all"))
            #expect(try await orchard.pendingBodies() == ["to all"])
            #expect(try await home.pendingBodies() == ["to all"])
            #expect(try await phone.pendingBodies() == [])
            await orchard.send("<message type='chat'><body>to nobody</body></message>")
            let copy = try #require(try await phone.pendingMessages().first.flatMap { Copy($0) })
            #expect(copy.message["to"] == "romeo@capulet.example")
            #expect(try await orchard.pendingBodies() == ["to nobody"], "RFC 6121 section 8.5.2")
        }
    }

    // MARK: Security (sections 10.3 and 12)

    @Test("Another's claim to be a copy stays his own message, from his own address")
    func impersonation() async throws {
        try await withServer { server in
            let balcony = try await server.online(Self.balcony)
            let chamber = try await server.onlineWithCarbons(Self.chamber)
            let tybalt = try await server.online("tybalt@capulet.example/home")
            for element in ["received", "sent"] {
                await tybalt.send(
                    "<message to='\(Self.balcony)' type='chat'><\(element) xmlns='\(Self.namespace)'>"
                        + "<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'"
                        + " from='\(Self.orchard)' to='\(Self.balcony)' type='chat'>"
                        + "<body>lies</body></message></forwarded></\(element)></message>")
                let seen = try #require(try await balcony.pendingMessages().first)
                #expect(seen["from"] == "tybalt@capulet.example/home")
                let copy = try #require(
                    try await chamber.pendingMessages().first.flatMap { Copy($0) })
                #expect(copy.wrapper["from"] == "juliet@capulet.example")
                #expect(copy.direction == "received")
                #expect(copy.message["from"] == "tybalt@capulet.example/home")
            }
            await tybalt.send(
                "<message from='juliet@capulet.example' to='\(Self.balcony)'><body/></message>")
            try await tybalt.expectStreamError(.invalidFrom)
        }
    }

    @Test("A client that returns a copy returns it to nobody (section 10.3)")
    func returned() async throws {
        try await withServer { server in
            let romeo = try await server.onlineWithCarbons(Self.orchard)
            let home = try await server.onlineWithCarbons(Self.home)
            _ = try await server.online(Self.balcony)
            let chamber = try await server.onlineWithCarbons(Self.chamber)
            await romeo.send(
                "<message id='m' to='\(Self.balcony)' type='chat'><body>1</body></message>")
            let copy = try #require(try await chamber.pendingMessages().first)
            #expect(try await home.pendingBodies() == ["sent 1"])
            // An error goes to the address that the stanza came from (RFC 6120 section 8.3.1).
            let from = try #require(copy["from"])
            await chamber.send(
                "<message type='error' id='m' to='\(from)'><error type='cancel'>"
                    + "<service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
                    + "</error></message>")
            await server.settle()
            #expect(try await romeo.pendingMessages().isEmpty)
            #expect(try await home.pendingMessages().isEmpty)
        }
    }
}
