// Clients that nobody looks at (XEP-0352): what they get, when, and in which order.

import Engine
import NIOCore
import Testing
import XML
import XMPP

@Suite("XEP-0352: inactive clients")
struct ClientStateIndicationTests {
    private static let namespace = "urn:xmpp:csi:0"
    private static let phone = "juliet@capulet.example/phone"
    private static let orchard = "romeo@capulet.example/orchard"
    private static let inactive = "<inactive xmlns='\(namespace)'/>"
    private static let active = "<active xmlns='\(namespace)'/>"
    private static let states = "http://jabber.org/protocol/chatstates"

    private func state(_ name: String = "composing", to: String = phone) -> String {
        "<message to='\(to)' type='chat'><\(name) xmlns='\(Self.states)'/></message>"
    }

    private func receipt(_ id: String) -> String {
        "<message to='\(Self.phone)' type='chat' id='\(id)'>"
            + "<received xmlns='urn:xmpp:receipts' id='\(id)'/></message>"
    }

    private func chat(_ body: String, to: String = phone) -> String {
        "<message to='\(to)' type='chat' id='\(body)'><body>\(body)</body></message>"
    }

    /// What a client is told, in a word each.
    private func words(_ elements: [Element]) -> [String] {
        elements.map { element in
            if element.name == "presence" {
                return "\(element["from"]?.split(separator: "/").last ?? "") "
                    + (element["type"] ?? element.child("show")?.text ?? "available")
            }
            guard element.name == "message" else { return element.name }
            let content = Copy(element)?.message ?? element
            return content.body ?? content.elements.first { $0.name != "delay" }?.name ?? "-"
        }
    }

    /// That this and nothing else has come since the last time.
    private func gets(
        _ client: ResumingClient, _ wanted: [String], _ comment: Comment? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let told = try await client.stanzas()
        #expect(words(told) == wanted, comment, sourceLocation: sourceLocation)
    }

    /// Juliet's phone and Romeo, who see each other. The phone counts, so that what it has been
    /// sent can be read without a request, whose answer would not wait.
    private func withFriends(
        _ settings: String..., loops: Int = 1,
        _ body: (TestServer, ResumingClient, TestClient) async throws -> Void
    ) async throws {
        let server = try TestServer(settings, loops: loops)
        do {
            let phone = try await server.online(Self.phone)
            let romeo = try await server.online(Self.orchard, loop: loops - 1)
            try await befriend(phone, romeo)
            try await body(server, try await ResumingClient(phone), romeo)
        } catch {
            await server.stop()
            throw error
        }
        await server.stop()
    }

    // MARK: The protocol (section 4)

    @Test("It is offered after the login, unless it is switched off", arguments: [true, false])
    func offered(_ isEnabled: Bool) async throws {
        try await withServer("features.client_state_indication=\(isEnabled)") { server in
            try await server.addAccount("juliet")
            let client = try await server.connect()
            #expect(try await client.open().child("csi", Self.namespace) == nil)
            _ = try await client.scram(SCRAMClient(username: "juliet"))
            let offered = try await client.open().child("csi", Self.namespace)
            #expect((offered != nil) == isEnabled)
        }
    }

    @Test("Switched off, a client that says it all the same loses nothing by it")
    func switchedOff() async throws {
        try await withFriends("features.client_state_indication=false") { server, phone, romeo in
            await phone.client.send(Self.inactive)
            await romeo.send(state())
            try await gets(phone, ["composing"])
            await phone.client.send(Self.active)
            try await gets(phone, [])
            #expect(server.metric("kinglet_sessions_inactive") == 0)
        }
    }

    @Test("It is not answered, and nobody else hears of it (sections 4.2 and 6)")
    func silent() async throws {
        try await withFriends { server, phone, romeo in
            for element in [Self.inactive, Self.inactive, Self.active, Self.active] {
                await phone.client.send(element)
                try await gets(phone, [])
                #expect(try await romeo.pending().isEmpty)
            }
            await phone.client.send("<unknown xmlns='\(Self.namespace)'/>")
            try await phone.client.expectStreamError(.unsupportedStanzaType)
        }
    }

    @Test("It means nothing before a resource is bound")
    func beforeBinding() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let client = try await server.connect()
            try await client.open()
            _ = try await client.scram(SCRAMClient(username: "juliet"))
            try await client.open()
            await client.send(Self.inactive)
            try await client.expectStreamError(.unsupportedStanzaType)
            #expect(server.metric("kinglet_sessions_inactive") == 0)
        }
    }

    // MARK: What waits

    @Test("Of presence the last of each resource, in the order in which they spoke last")
    func presence() async throws {
        try await withFriends { server, phone, romeo in
            let home = try await server.online("romeo@capulet.example/home")
            try await gets(phone, ["home available"])
            await phone.client.send(Self.inactive)
            for show in ["away", "dnd", "chat"] {
                await romeo.send("<presence><show>\(show)</show></presence>")
            }
            await home.send("<presence><show>xa</show></presence>")
            await romeo.send("<presence><show>dnd</show></presence>")
            try await gets(phone, [])
            await home.send("<presence type='unavailable'/>")
            try await gets(phone, [])
            await phone.client.send(Self.active)
            try await gets(phone, ["orchard dnd", "home unavailable"])
            #expect(server.metric("kinglet_csi_held_total{kind=\"presence\"}") == 6)
            #expect(server.metric("kinglet_csi_superseded_total{kind=\"presence\"}") == 4)
            #expect(server.metric("kinglet_csi_flushed_total{reason=\"active\"}") == 2)
            await romeo.send("<presence/>")
            try await gets(phone, ["orchard available"], "active again")
        }
    }

    @Test("Chat states and receipts, which say that they come late (XEP-0203)")
    func messages() async throws {
        try await withFriends { server, phone, romeo in
            await phone.client.send(Self.inactive)
            await romeo.send(state() + receipt("1") + state("paused") + receipt("2"))
            try await gets(phone, [])
            await phone.client.send(Self.active)
            let late = try await phone.stanzas()
            #expect(words(late) == ["received", "paused", "received"])
            #expect(
                late.allSatisfy {
                    $0.child("delay", "urn:xmpp:delay")?["from"] == TestServer.domain
                })
            #expect(server.metric("kinglet_csi_held_total{kind=\"chat_state\"}") == 2)
            #expect(server.metric("kinglet_csi_superseded_total{kind=\"chat_state\"}") == 1)
            #expect(server.metric("kinglet_csi_held_total{kind=\"message\"}") == 2)
            #expect(server.metric("kinglet_csi_superseded_total{kind=\"message\"}") == 0)
        }
    }

    @Test("Copies of what the user writes elsewhere; a call that was taken there does not wait")
    func copies() async throws {
        try await withFriends { server, phone, romeo in
            try await phone.client.enableCarbons()
            let balcony = try await server.online("juliet@capulet.example/balcony")
            _ = try await phone.stanzas()
            await phone.client.send(Self.inactive)
            await balcony.send(chat("written", to: Self.orchard))
            try await gets(phone, [])
            await balcony.send(
                "<message to='\(Self.orchard)' type='chat'>"
                    + "<proceed xmlns='urn:xmpp:jingle-message:0' id='1'/></message>")
            try await gets(phone, ["written", "proceed"])
        }
    }

    // MARK: What does not

    @Test(
        "What must not wait comes at once, and what waited before it",
        arguments: [
            "<message to='\(phone)' type='chat'><body>x</body></message>",
            "<message to='\(phone)' type='chat'><propose xmlns='urn:xmpp:jingle-message:0' id='1'/>"
                + "</message>",
            "<message to='\(phone)'><encrypted xmlns='urn:xmpp:omemo:2'/></message>",
            "<message to='\(phone)' type='error' id='1'><error type='cancel'/></message>",
            "<iq to='\(phone)' type='get' id='1'><query xmlns='jabber:iq:version'/></iq>",
            "<presence to='juliet@capulet.example' type='unsubscribe'/>",
        ])
    func urgent(_ text: String) async throws {
        try await withFriends { server, phone, romeo in
            await phone.client.send(Self.inactive)
            await romeo.send("<presence><show>away</show></presence>" + state())
            try await gets(phone, [])
            await romeo.send(text + state("paused"))
            let told = try await phone.stanzas()
            #expect(words(Array(told.prefix(2))) == ["orchard away", "composing"])
            #expect(told.count >= 3)
            #expect(told.dropFirst(2).allSatisfy { $0.child("delay", "urn:xmpp:delay") == nil })
            #expect(!words(told).contains("paused"), "it still is inactive")
            #expect(server.metric("kinglet_csi_flushed_total{reason=\"overtaken\"}") == 2)
            await phone.client.send(Self.active)
            try await gets(phone, ["paused"])
        }
    }

    @Test("Active and a request at once: what waited comes before the answer (section 5.1)")
    func inOrder() async throws {
        try await withFriends { server, phone, romeo in
            await phone.client.send(Self.inactive)
            await romeo.send(state())
            try await gets(phone, [])
            await phone.client.send(
                Self.active + "<iq type='get' id='ping1'><ping xmlns='urn:xmpp:ping'/></iq>")
            try await gets(phone, ["composing", "iq"])
        }
    }

    @Test("An inactive client's own requests are answered at once, archive queries among them")
    func requests() async throws {
        try await withFriends { server, phone, romeo in
            await romeo.send(receipt("1"))
            #expect(try await phone.stanzas().count == 1)
            await phone.client.send(Self.inactive)
            await romeo.send(state())
            try await gets(phone, [])
            await phone.client.send(
                "<iq type='set' id='1'><query xmlns='urn:xmpp:mam:2'/></iq>")
            await server.settle()
            let told = try await phone.stanzas()
            #expect(words(told) == ["composing", "result", "iq"])
            #expect(told.last?.child("fin", "urn:xmpp:mam:2") != nil)
        }
    }

    // MARK: Limits

    @Test("When there is too much, all of it goes out and the next ones wait again")
    func full() async throws {
        try await withFriends("limits.held_stanzas=3") { server, phone, romeo in
            await phone.client.send(Self.inactive)
            await romeo.send(receipt("1") + state() + state() + state("paused"))
            try await gets(phone, [], "two, for the rest is old")
            await romeo.send("<presence><show>away</show></presence>" + receipt("2"))
            try await gets(phone, ["received", "paused", "orchard away"])
            #expect(server.metric("kinglet_csi_flushed_total{reason=\"full\"}") == 3)
            #expect(server.metric("kinglet_sessions_inactive") == 1)
            await phone.client.send(Self.active)
            try await gets(phone, ["received"])
        }
    }

    @Test("The same by size")
    func fullBySize() async throws {
        try await withFriends("limits.held_bytes=2KiB") { server, phone, romeo in
            await phone.client.send(Self.inactive)
            let status = String(repeating: "s", count: 900)
            await romeo.send("<presence><status>\(status)</status></presence>")
            await romeo.send("<presence><status>\(status)</status></presence>")
            await romeo.send(receipt("1"))
            try await gets(phone, [])
            let home = try await server.login("romeo@capulet.example/home")
            await home.send("<presence><status>\(status)</status></presence>")
            try await gets(phone, ["orchard available", "received", "home available"])
        }
    }

    // MARK: The stream's end

    @Test("A resumed stream begins active, and what waited was not lost (section 5.2)")
    func resumption() async throws {
        try await withFriends(loops: 2) { server, phone, romeo in
            await phone.client.send(Self.inactive)
            await romeo.send("<presence><show>away</show></presence>" + state() + receipt("1"))
            try await gets(phone, [])
            #expect(server.metric("kinglet_sessions_inactive") == 1)
            await phone.client.drop()
            await server.settle()
            #expect(server.metric("kinglet_sessions_inactive") == 0)
            await romeo.send(state("paused"))
            await server.settle()
            #expect(try await phone.comeBack(to: server, loop: 1).name == "resumed")
            try await gets(phone, ["orchard away", "composing", "received", "paused"])
            await romeo.send(state("active"))
            try await gets(phone, ["active"])
            await phone.client.send(Self.inactive)
            await romeo.send(state("gone"))
            try await gets(phone, [])
        }
    }

    @Test("So it is when it resumes while its old stream is still open")
    func stillOpen() async throws {
        try await withFriends(loops: 2) { server, phone, romeo in
            await phone.client.send(Self.inactive)
            await romeo.send(receipt("1"))
            try await gets(phone, [])
            #expect(try await phone.comeBack(to: server, loop: 1).name == "resumed")
            try await gets(phone, ["received"])
            await romeo.send(state())
            try await gets(phone, ["composing"])
            #expect(server.metric("kinglet_sessions_inactive") == 0)
        }
    }

    @Test("What waited outlives a planned restart")
    func restart() async throws {
        try await withFriends { server, phone, romeo in
            await phone.client.send(Self.inactive)
            await romeo.send("<presence><show>away</show></presence>" + receipt("1"))
            try await gets(phone, [])
            let next = try await server.restart()
            try await phone.expectShutdown()
            #expect(try await phone.comeBack(to: next).name == "resumed")
            let told = words(try await phone.stanzas())
            #expect(told.filter { $0 == "received" } == ["received"])
            #expect(phone.received == told.count, "nothing before the shutdown")
            #expect(next.metric("kinglet_sessions_inactive") == 0)
            await next.stop()
        }
    }

    @Test("A session that ends leaves what is worth it to the next one, in order")
    func end() async throws {
        try await withFriends { server, phone, romeo in
            await phone.client.send(Self.inactive)
            await romeo.send(receipt("1") + state() + receipt("2"))
            try await gets(phone, [])
            await phone.client.send("</stream:stream>")
            await server.settle()
            #expect(server.metric("kinglet_sessions_inactive") == 0)
            #expect(server.metric("kinglet_offline_messages") == 2)
            #expect(server.metric("kinglet_csi_flushed_total{reason=\"stream_end\"}") == 3)
            let next = try await server.login("juliet@capulet.example/next")
            await next.send("<presence/>")
            await server.settle()
            let ids = try await next.pendingMessages().map { $0["id"] }
            #expect(ids == ["1", "2"])
        }
    }
}
