// Presence to and from other domains (RFC 6121 section 4).

import Addresses
import Dispatch
import Engine
import Testing
import XML
import XMPP

@testable import Storage

@Suite struct PresenceAcrossDomainsTests {
    private let juliet = "juliet@capulet.example"
    private let romeo = "romeo@montague.example"

    @Test("Initial presence and a probe go out, updates and the end follow (4.2 to 4.5)")
    func broadcast() async throws {
        try await withPeer { server, peer in
            let first = try await server.online("\(juliet)/balcony")
            try await befriend(first, romeo, at: peer)
            let second = try await server.login("\(juliet)/chamber")
            await second.send("<presence><show>away</show></presence>")
            let initial = try await peer.next()
            #expect(initial.isPresence(from: "\(juliet)/chamber"))
            #expect(initial["to"] == romeo)
            #expect(initial.child("show")?.text == "away")
            let probe = try await peer.next()
            #expect(probe.isPresence(from: "\(juliet)/chamber", "probe"), "4.3.1")
            #expect(probe["to"] == romeo)

            await second.send("<presence><show>dnd</show></presence>")
            let update = try await peer.next()
            #expect(update.child("show")?.text == "dnd")
            #expect(try await peer.pending().isEmpty, "an update probes nobody (4.4)")

            await second.drop()
            #expect(try await peer.next().isPresence(from: "\(juliet)/chamber", "unavailable"))
            #expect(try await peer.pending().isEmpty)
        }
    }

    @Test("Presence to a bare address reaches available resources, to a full one its client")
    func delivery() async throws {
        try await withPeer { server, peer in
            let one = try await server.online("\(juliet)/1")
            let silent = try await server.login("\(juliet)/2")
            _ = try await one.pending()
            await peer.send("<presence from='\(romeo)/orchard' to='\(juliet)'/>")
            await peer.send(
                "<presence from='\(romeo)/orchard' to='\(juliet)/2' type='unavailable'/>")
            await peer.send("<presence from='\(romeo)/orchard' to='nobody@capulet.example'/>")
            #expect(try await one.pending().map { $0["type"] ?? "" } == [""], "8.5.2.1.2")
            #expect(try await silent.pending().map { $0["type"] } == ["unavailable"], "8.5.3.1")
            #expect(try await peer.pending().isEmpty, "8.5.1")
        }
    }

    @Test("Directed presence goes out, and so does its end (4.6)")
    func directed() async throws {
        try await withPeer { server, peer in
            let client = try await server.online("\(juliet)/balcony")
            await client.send("<presence to='feast@rooms.montague.example/juliet'/>")
            await client.send("<presence to='montague.example'/>")
            let sent = try await peer.pending()
            #expect(sent.map { $0["to"] } == ["montague.example"], "a domain may be a gateway")
            await client.drop()
            let gone = try await peer.next()
            #expect(gone.isPresence(from: "\(juliet)/balcony", "unavailable"))
            #expect(gone["to"] == "montague.example")
        }
    }

    /// Who probes whom, and the answers: sender, type, receiver.
    private static let probes: [(name: String, to: String, answers: [String])] = [
        (
            "a bare address", "juliet@capulet.example",
            [
                "juliet@capulet.example/1 - romeo@montague.example/orchard",
                "juliet@capulet.example/2 - romeo@montague.example/orchard",
            ]
        ),
        (
            "one resource", "juliet@capulet.example/2",
            ["juliet@capulet.example/2 - romeo@montague.example/orchard"]
        ),
        (
            "a resource that is gone", "juliet@capulet.example/3",
            ["juliet@capulet.example/3 unavailable romeo@montague.example/orchard"]
        ),
        (
            "who is not a contact", "nurse@capulet.example",
            ["nurse@capulet.example unsubscribed romeo@montague.example"]
        ),
        (
            "who is offline and not a contact", "tybalt@capulet.example",
            ["tybalt@capulet.example unsubscribed romeo@montague.example"]
        ),
        (
            "who does not exist", "nobody@capulet.example",
            ["nobody@capulet.example unsubscribed romeo@montague.example"]
        ),
        ("the server", "capulet.example", []),
    ]

    @Test("Probes are answered as the subscription allows (4.3.2)")
    func probes() async throws {
        try await withPeer { server, peer in
            let one = try await server.online("\(juliet)/1")
            _ = try await server.online("nurse@capulet.example/1")
            try await server.addAccount("tybalt")
            try await befriend(one, romeo, at: peer)
            _ = try await server.online("\(juliet)/2")
            _ = try await peer.pending()
            for (name, to, wanted) in Self.probes {
                await peer.send("<presence type='probe' from='\(romeo)/orchard' to='\(to)'/>")
                let answers = try await peer.pending().map { answer in
                    let type = answer["type"] ?? "-"
                    return "\(answer["from"] ?? "") \(type) \(answer["to"] ?? "")"
                }
                #expect(answers == wanted, "\(name)")
            }
        }
    }

    @Test("Contacts see sessions go that end because the server stops (4.5.2)")
    func stop() async throws {
        try await withPeer { server, peer in
            let one = try await server.online("\(juliet)/1")
            try await befriend(one, romeo, at: peer)
            // Nothing more has to be acknowledged, so the stream could end at once.
            let sent = try #require(server.host.federation.descriptions.first).queuedStanzas
            await peer.acknowledge(sent)
            await server.settle()
            #expect(server.host.federation.descriptions.first?.queuedStanzas == 0)
            let host = server.host
            let stopping = Task { await host.stop() }
            #expect(try await peer.next().isPresence(from: "\(juliet)/1", "unavailable"))
            await peer.acknowledge(sent + 1)
            await stopping.value
        }
    }

    @Test("Only the database refuses a probe, and not while a request waits (4.3.2)")
    func refusedProbes() async throws {
        try await withPeer { server, peer in
            let one = try await server.online("\(juliet)/1")
            // A subscription of which the memory does not know, or not any more.
            try server.host.database.writeNow { connection in
                try connection.execute(
                    "INSERT INTO roster_items VALUES (?, ?, '', '', 2, 1, NULL)", .text(juliet),
                    .text(romeo))
            }
            await peer.send("<presence type='probe' from='\(romeo)' to='\(juliet)'/>")
            #expect(try await peer.pending().map { $0["from"] } == ["\(juliet)/1"])
            await peer.send(
                "<presence type='subscribe' from='paris@montague.example' to='\(juliet)'/>")
            _ = try await one.first { $0["type"] == "subscribe" }
            await peer.send(
                "<presence type='probe' from='paris@montague.example' to='\(juliet)'/>")
            #expect(try await peer.pending().isEmpty)
        }
    }

    @Test("A contact who is offline is unavailable for those who may know (4.3.2)")
    func offlineProbe() async throws {
        try await withPeer { server, peer in
            let one = try await server.online("\(juliet)/1")
            try await befriend(one, romeo, at: peer)
            await one.drop()
            _ = try await peer.pending()
            await peer.send("<presence type='probe' from='\(romeo)' to='\(juliet)'/>")
            let answer = try await peer.next()
            #expect(answer.isPresence(from: juliet, "unavailable"))
            #expect(answer["to"] == romeo)
        }
    }

    @Test("An error that answers presence is shown and answered by nobody (RFC 6120 8.3.1)")
    func errors() async throws {
        try await withPeer { server, peer in
            let one = try await server.online("\(juliet)/1")
            try await befriend(one, romeo, at: peer)
            await peer.send(
                "<presence type='error' from='\(romeo)' to='\(juliet)/1'><error type='cancel'>"
                    + "<service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
                    + "</error></presence>")
            #expect(try await one.next().isPresence(from: romeo, "error"))
            #expect(try await peer.pending().isEmpty)
            await peer.send("<presence type='nonsense' from='\(romeo)' to='\(juliet)/1'/>")
            #expect(try await peer.next().condition == "bad-request")
        }
    }

    @Test("Blocking says good-bye, holds, and its end shows the account again (XEP-0191 3.3, 3.4)")
    func blocking() async throws {
        try await withPeer { server, peer in
            let one = try await server.online("\(juliet)/1")
            try await befriend(one, romeo, at: peer)
            let item = "<item jid='\(romeo)'/>"
            _ = try await one.request("set", "<block xmlns='urn:xmpp:blocking'>\(item)</block>")
            #expect(try await peer.next().isPresence(from: "\(juliet)/1", "unavailable"))
            await one.send("<presence><show>away</show></presence>")
            await peer.send("<presence from='\(romeo)/orchard' to='\(juliet)'/>")
            await peer.send("<presence type='probe' from='\(romeo)/orchard' to='\(juliet)'/>")
            await peer.send("<presence type='subscribe' from='\(romeo)' to='\(juliet)'/>")
            #expect(try await peer.pending().isEmpty)
            #expect(
                try await one.pending().filter { $0["from"]?.hasPrefix(romeo) == true }.isEmpty)
            await peer.send(
                "<message from='\(romeo)/orchard' to='\(juliet)'><body>x</body></message>")
            #expect(try await peer.next().condition == "service-unavailable")

            _ = try await one.request(
                "set", "<unblock xmlns='urn:xmpp:blocking'>\(item)</unblock>")
            let shown = try await peer.next()
            #expect(shown.isPresence(from: "\(juliet)/1"))
            #expect(shown.child("show")?.text == "away")
            #expect(try await peer.next().isPresence(from: "\(juliet)/1", "probe"))
        }
    }

    @Test("Presence to many contacts elsewhere needs no database")
    func manyContacts() async throws {
        try await withPeer("limits.unstored=1000") { server, peer in
            let one = try await server.login("\(juliet)/1")
            for number in 0..<500 {
                await one.send("<presence type='subscribe' to='m\(number)@montague.example'/>")
                await peer.send(
                    "<presence type='subscribe' from='m\(number)@montague.example' to='\(juliet)'/>"
                )
            }
            await server.settle()
            for number in 0..<500 {
                await one.send("<presence type='subscribed' to='m\(number)@montague.example'/>")
            }
            _ = try await peer.pending()
            let gate = await server.holdWriter()
            await one.send("<presence/>")
            var seen: Set<String> = []
            while seen.count < 500 {
                let presence = try await peer.next()
                if presence.isPresence(from: "\(juliet)/1") { seen.insert(presence["to"] ?? "") }
            }
            gate.signal()
        }
    }
}
