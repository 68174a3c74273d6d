// Presence (RFC 6121 section 4).

import Addresses
import Engine
import Testing
import XML
import XMPP

@Suite struct PresenceTests {
    @Test("Initial presence reaches who may see it and brings theirs (sections 4.2 and 4.3)")
    func initial() async throws {
        try await withServer { server in
            let romeo = try await server.online("romeo@capulet.example/orchard")
            let juliet = try await server.online("juliet@capulet.example/balcony")
            try await befriend(romeo, juliet)
            await juliet.drop()
            _ = try await romeo.pending()
            await romeo.send("<presence><show>chat</show></presence>")
            _ = try await romeo.pending()

            let again = try await server.login("juliet@capulet.example/chamber")
            #expect(try await again.pending().isEmpty, "nothing before presence")
            await again.send("<presence id='p' xml:lang='it'><status>ciao</status></presence>")
            let seen = try await romeo.next()
            #expect(seen.isPresence(from: "juliet@capulet.example/chamber"))
            #expect(seen["to"] == "romeo@capulet.example")
            #expect(seen["id"] == "p")
            #expect(seen.child("status")?.text == "ciao")
            let own = try await again.next()
            #expect(own.isPresence(from: "juliet@capulet.example/chamber"))
            #expect(own["to"] == "juliet@capulet.example")
            let probed = try await again.next()
            #expect(probed.isPresence(from: "romeo@capulet.example/orchard"))
            #expect(probed.child("show")?.text == "chat")
            #expect(try await again.pending().isEmpty)
        }
    }

    @Test("One's own resources see each other (section 4.2.2)")
    func ownResources() async throws {
        try await withServer(loops: 2) { server in
            let one = try await server.online("juliet@capulet.example/1", loop: 0)
            let silent = try await server.login("juliet@capulet.example/3", loop: 1)
            let two = try await server.login("juliet@capulet.example/2", loop: 1)
            await two.send("<presence><show>xa</show></presence>")
            #expect(try await two.next().isPresence(from: "juliet@capulet.example/2"))
            #expect(try await two.next().isPresence(from: "juliet@capulet.example/1"))
            let seen = try await one.next()
            #expect(seen.isPresence(from: "juliet@capulet.example/2"))
            #expect(seen.child("show")?.text == "xa")
            await two.send("<presence type='unavailable'/>")
            #expect(
                try await one.next().isPresence(from: "juliet@capulet.example/2", "unavailable"))
            #expect(try await silent.pending().isEmpty)
        }
    }

    @Test("An update is broadcast and brings nothing new back (section 4.4)")
    func update() async throws {
        try await withServer { server in
            let romeo = try await server.online("romeo@capulet.example/orchard")
            let juliet = try await server.online("juliet@capulet.example/balcony")
            try await befriend(romeo, juliet)
            await juliet.send("<presence><show>away</show></presence>")
            #expect(try await romeo.pending().map { $0.child("show")?.text } == ["away"])
            #expect(try await juliet.pending().count == 1, "her own and no probe")
        }
    }

    @Test("Unavailable presence is broadcast with its content; then there is silence (4.5)")
    func unavailable() async throws {
        try await withServer { server in
            let romeo = try await server.online("romeo@capulet.example/orchard")
            let juliet = try await server.online("juliet@capulet.example/balcony")
            try await befriend(romeo, juliet)
            await juliet.send("<presence type='unavailable'><status>good night</status></presence>")
            let seen = try await romeo.next()
            #expect(seen.isPresence(from: "juliet@capulet.example/balcony", "unavailable"))
            #expect(seen.child("status")?.text == "good night")
            await juliet.drop()
            #expect(try await romeo.pending().isEmpty, "told once")
        }
    }

    @Test(
        "However a session ends, its contacts see it go (section 4.5.2)",
        arguments: ["", "</stream:stream>", "<junk>>", "<x/>"])
    func disconnect(last: String) async throws {
        try await withServer { server in
            let romeo = try await server.online("romeo@capulet.example/orchard")
            let juliet = try await server.online("juliet@capulet.example/balcony")
            try await befriend(romeo, juliet)
            if last.isEmpty { await juliet.drop() } else { await juliet.send(last) }
            if last == "<junk>>" { await juliet.drop() }
            let seen = try await romeo.pending()
            try #require(seen.count == 1)
            #expect(seen[0].isPresence(from: "juliet@capulet.example/balcony", "unavailable"))
        }
    }

    @Test("Directed presence reaches its receiver, who hears of its end as well (section 4.6)")
    func directed() async throws {
        try await withServer { server in
            let stranger = try await server.online("paris@capulet.example/tomb")
            let juliet = try await server.online("juliet@capulet.example/balcony")
            await juliet.send(
                "<presence to='paris@capulet.example/tomb'><status>only you</status></presence>")
            let seen = try await stranger.next()
            #expect(seen.isPresence(from: "juliet@capulet.example/balcony"))
            #expect(seen["to"] == "paris@capulet.example/tomb")
            await juliet.send("<presence><show>away</show></presence>")
            #expect(try await stranger.pending().isEmpty, "no broadcast to strangers")
            await juliet.drop()
            let end = try await stranger.next()
            #expect(end.isPresence(from: "juliet@capulet.example/balcony", "unavailable"))
        }
    }

    @Test("Directed presence works before and without any broadcast (section 4.6.1)")
    func directedOnly() async throws {
        try await withServer { server in
            let stranger = try await server.online("paris@capulet.example/tomb")
            let juliet = try await server.login("juliet@capulet.example/balcony")
            await juliet.send("<presence to='paris@capulet.example'/>")
            #expect(try await stranger.next().isPresence(from: "juliet@capulet.example/balcony"))
            await juliet.send("<presence to='paris@capulet.example' type='unavailable'/>")
            #expect(
                try await stranger.next().isPresence(
                    from: "juliet@capulet.example/balcony", "unavailable"))
            await juliet.drop()
            #expect(try await stranger.pending().isEmpty, "told already")
        }
    }

    @Test("A contact who also got directed presence hears of its end once")
    func directedToContact() async throws {
        try await withServer { server in
            let romeo = try await server.online("romeo@capulet.example/orchard")
            let juliet = try await server.online("juliet@capulet.example/balcony")
            try await befriend(romeo, juliet)
            await juliet.send("<presence to='romeo@capulet.example'/>")
            _ = try await romeo.next()
            await juliet.drop()
            #expect(try await romeo.pending().count == 1)
        }
    }

    @Test(
        "A priority is a number from -128 to 127 (section 4.7.2.3)",
        arguments: ["128", "-129", "high", "1.5", "&#x661;"])
    func badPriority(priority: String) async throws {
        try await withServer { server in
            let client = try await server.login("juliet@capulet.example/balcony")
            await client.send("<presence id='p'><priority>\(priority)</priority></presence>")
            let answer = try await client.next()
            #expect(answer["id"] == "p")
            #expect(answer.condition == "bad-request")
            await client.send("<message to='juliet@capulet.example' type='headline'/>")
            #expect(try await client.pending().isEmpty, "not available")
        }
    }

    @Test("A type that presence does not have is a bad request (section 4.7.1)")
    func badType() async throws {
        try await withServer { server in
            let client = try await server.login("juliet@capulet.example/balcony")
            await client.send("<presence type='available'/>")
            #expect(try await client.next().condition == "bad-request")
            await client.send("<presence type='error'/>")
            #expect(try await client.pending().isEmpty)
        }
    }

    @Test("A probe is answered to who may see the contact, to nobody else (section 4.3.2)")
    func probes() async throws {
        try await withServer { server in
            let romeo = try await server.online("romeo@capulet.example/orchard")
            let juliet = try await server.online("juliet@capulet.example/balcony")
            await romeo.send("<presence type='probe' to='juliet@capulet.example'/>")
            await romeo.send("<presence type='probe' to='nobody@capulet.example'/>")
            #expect(try await romeo.pending().isEmpty)
            try await befriend(romeo, juliet)
            await romeo.send("<presence type='probe' to='juliet@capulet.example'/>")
            #expect(try await romeo.next().isPresence(from: "juliet@capulet.example/balcony"))
            #expect(try await juliet.pending().isEmpty, "a probe is for the server")
        }
    }

    @Test("Directed presence is limited")
    func directedLimit() async throws {
        try await withServer { server in
            let client = try await server.login("juliet@capulet.example/balcony")
            let many = (0..<1000).map { "<presence to='r\($0)@capulet.example'/>" }.joined()
            await client.send(many)
            #expect(try await client.pending().isEmpty)
            await client.send("<presence to='more@capulet.example'/>")
            #expect(try await client.next().condition == "resource-constraint")
        }
    }
}
