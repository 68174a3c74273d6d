import Dispatch
import Engine
import NIOCore
import Testing
import XML
import XMPP

@Suite("Stanzas from and to components, XEP-0114 section 3")
struct ComponentRoutingTests {
    private static let bridge = TestComponent.domain

    private func withBridge(
        _ settings: String..., loops: Int = 1, _ body: (TestServer) async throws -> Void
    ) async throws {
        let server = try TestServer([TestComponent.setting] + settings, loops: loops)
        do {
            try await body(server)
        } catch {
            await server.stop()
            throw error
        }
        await server.stop()
    }

    private func refusals(_ reason: String, _ server: TestServer) -> Double? {
        server.metric("kinglet_component_refusals_total{reason=\"\(reason)\"}")
    }

    // MARK: Both ways

    @Test("Messages go both ways, between any address of the component and any account")
    func messages() async throws {
        try await withBridge(loops: 2) { server in
            let component = try await TestComponent.attached(to: server, loop: 1)
            let romeo = try await server.online("romeo@capulet.example/orchard")
            await romeo.send(
                "<message type='chat' id='1' to='tybalt@\(Self.bridge)/x'><body>a &lt; b</body>"
                    + "</message>")
            let message = try await component.next()
            #expect(message.namespace == "jabber:component:accept")
            #expect(message["from"] == "romeo@capulet.example/orchard")
            #expect(message["to"] == "tybalt@\(Self.bridge)/x")
            #expect(message.child("body")?.text == "a < b")

            await component.send(
                "<message type='chat' from='tybalt@\(Self.bridge)/x' "
                    + "to='romeo@capulet.example'><body>c</body></message>")
            let answer = try await romeo.next()
            #expect(answer.namespace == "jabber:client" && answer.body == "c")
            #expect(answer["from"] == "tybalt@\(Self.bridge)/x")

            let series = "kinglet_component_stanzas_total{kind=\"message\",direction="
            #expect(server.metric(series + "\"in\"}") == 1)
            #expect(server.metric(series + "\"out\"}") == 1)
            #expect(server.metric("kinglet_component_queue_stanzas") == 0)
        }
    }

    @Test(
        "What a component says after a new start is no resend, whatever its ids",
        arguments: ["never", "always"])
    func repeats(archive: String) async throws {
        try await withBridge("archive.default=\(archive)") { server in
            let romeo = try await server.online("romeo@capulet.example/orchard")
            for _ in 0..<2 {
                let component = try await TestComponent.attached(to: server)
                await component.send(
                    "<message type='chat' id='1' from='nurse@\(Self.bridge)' "
                        + "to='romeo@capulet.example'><body>I am here</body></message>")
                #expect(try await romeo.next().body == "I am here")
                await server.settle()
                await component.drop()
                await server.settle()
            }
        }
    }

    @Test(
        "A stanza that declares the stream's namespace itself is the same stanza",
        arguments: [
            "<message xmlns='jabber:component:accept' from='\(TestComponent.domain)' "
                + "to='romeo@capulet.example/orchard'><body>c</body></message>",
            "<c:message xmlns:c='jabber:component:accept' from='\(TestComponent.domain)' "
                + "to='romeo@capulet.example/orchard'><c:body>c</c:body></c:message>",
        ])
    func declared(stanza: String) async throws {
        try await withBridge { server in
            let component = try await TestComponent.attached(to: server)
            let romeo = try await server.online("romeo@capulet.example/orchard")
            await component.send(stanza)
            let message = try await romeo.next()
            #expect(message.namespace == "jabber:client" && message.body == "c")
        }
    }

    @Test("A message for an account that is away waits for it (XEP-0160)")
    func offline() async throws {
        try await withBridge { server in
            try await server.addAccount("romeo")
            let component = try await TestComponent.attached(to: server)
            await component.send(
                "<message type='chat' from='a@\(Self.bridge)' to='romeo@capulet.example'>"
                    + "<body>later</body></message>")
            await server.settle()
            let romeo = try await server.online("romeo@capulet.example/orchard")
            #expect(try await romeo.first { $0.name == "message" }.body == "later")
        }
    }

    @Test("A client's message is in its archive, and goes to the component once")
    func archived() async throws {
        try await withBridge("archive.default=always") { server in
            let component = try await TestComponent.attached(to: server)
            let romeo = try await server.online("romeo@capulet.example/orchard")
            await romeo.send(
                "<message type='chat' id='1' to='tybalt@\(Self.bridge)'><body>a</body></message>")
            #expect(try await component.next().child("body")?.text == "a")
            #expect(await component.hasNothing())
            let answer = try await romeo.request("set", "<query xmlns='urn:xmpp:mam:2'/>")
            #expect(answer["type"] == "result")
        }
    }

    @Test("Requests go both ways, and their answers")
    func requests() async throws {
        try await withBridge { server in
            let component = try await TestComponent.attached(to: server)
            let romeo = try await server.online("romeo@capulet.example/orchard")
            await romeo.send(
                "<iq type='get' id='q' to='\(Self.bridge)'><ping xmlns='urn:xmpp:ping'/></iq>")
            let request = try await component.next()
            #expect(request["id"] == "q" && request.child("ping", "urn:xmpp:ping") != nil)
            await component.send(
                "<iq type='result' id='q' from='\(Self.bridge)' "
                    + "to='romeo@capulet.example/orchard'/>")
            let result = try await romeo.next()
            #expect(result["type"] == "result" && result["from"] == Self.bridge)

            await component.send(
                "<iq type='get' id='r' from='a@\(Self.bridge)/b' "
                    + "to='romeo@capulet.example/orchard'><ping xmlns='urn:xmpp:ping'/></iq>")
            let other = try await romeo.next()
            #expect(other["id"] == "r" && other["from"] == "a@\(Self.bridge)/b")
            await romeo.send("<iq type='result' id='r' to='a@\(Self.bridge)/b'/>")
            let answer = try await component.next()
            #expect(answer["type"] == "result" && answer["to"] == "a@\(Self.bridge)/b")
        }
    }

    @Test("A request does not overtake a message that waits for the disk (RFC 6120 section 10.1)")
    func order() async throws {
        try await withBridge("archive.default=always") { server in
            let component = try await TestComponent.attached(to: server)
            let romeo = try await server.online("romeo@capulet.example/orchard")
            let gate = await server.holdWriter()
            await romeo.send(
                "<message type='chat' id='m' to='\(Self.bridge)'><body>x</body></message>")
            await romeo.send(
                "<iq type='get' id='q' to='\(Self.bridge)'><ping xmlns='urn:xmpp:ping'/></iq>")
            gate.signal()
            for id in ["m", "q"] { #expect(try await component.next()["id"] == id) }
        }
    }

    @Test("What the server does not answer to a component comes back as an error")
    func unknownRequest() async throws {
        try await withBridge { server in
            let component = try await TestComponent.attached(to: server)
            await component.send(
                "<iq type='get' id='q' from='\(Self.bridge)' to='capulet.example'>"
                    + "<query xmlns='urn:unknown'/></iq>")
            let answer = try await component.next()
            #expect(answer["type"] == "error" && answer["id"] == "q")
            #expect(answer["from"] == "capulet.example" && answer["to"] == Self.bridge)
        }
    }

    @Test("Two components talk to each other")
    func together() async throws {
        try await withBridge(loops: 2) { server in
            let one = try await TestComponent.attached(to: server)
            let two = try await TestComponent.attached(
                to: server, loop: 1, domain: TestComponent.otherDomain,
                secret: TestComponent.otherSecret)
            await one.send(
                "<message from='a@\(Self.bridge)' to='b@\(TestComponent.otherDomain)'>"
                    + "<body>hi</body></message>")
            #expect(try await two.next().child("body")?.text == "hi")
        }
    }

    @Test("Components are the server's items, attached or not (XEP-0030 section 4)")
    func items() async throws {
        try await withBridge { server in
            let romeo = try await server.online("romeo@capulet.example/orchard")
            let namespace = "http://jabber.org/protocol/disco#items"
            let answer = try await romeo.request(
                "get", "<query xmlns='\(namespace)'/>", to: "capulet.example")
            let items = answer.child("query", namespace)?.elements.map { $0["jid"] }
            #expect(items == [Self.bridge, TestComponent.otherDomain])
        }
    }

    // MARK: Addresses

    @Test(
        "A component speaks for its own domain and no other",
        arguments: [
            "romeo@capulet.example", "capulet.example", "a@pubsub.example", "a@montague.example",
            "a@x.bridge.capulet.example", "a@b@c",
        ])
    func spoofed(sender: String) async throws {
        try await withBridge { server in
            let component = try await TestComponent.attached(to: server)
            let juliet = try await server.online("juliet@capulet.example/balcony")
            await component.send(
                "<message from='\(sender)' to='juliet@capulet.example'><body>x</body></message>")
            try await component.expectStreamError(.invalidFrom)
            #expect(try await juliet.pending().isEmpty)
            #expect(refusals("spoofed_address", server) == (sender == "a@b@c" ? 0 : 1))
        }
    }

    @Test("Both addresses are needed; without a receiver the component is told")
    func addresses() async throws {
        try await withBridge { server in
            let component = try await TestComponent.attached(to: server)
            await component.send("<message id='1' from='\(Self.bridge)'><body>x</body></message>")
            let error = try await component.next()
            #expect(error["id"] == "1" && error["type"] == "error")
            await component.send("<presence from='\(Self.bridge)' to='a@b@c'/>")
            #expect(try await component.next()["type"] == "error")
            await component.send("<message to='juliet@capulet.example'/>")
            try await component.expectStreamError(.improperAddressing)
        }
    }

    @Test(
        "There is no stream management, and nothing else that is no stanza",
        arguments: [
            "<enable xmlns='urn:xmpp:sm:3'/>", "<r xmlns='urn:xmpp:sm:3'/>", "<x/>",
            "<handshake>0</handshake>",
        ])
    func noStanza(element: String) async throws {
        try await withBridge { server in
            let component = try await TestComponent.attached(to: server)
            await component.send(element)
            try await component.expectStreamError(.unsupportedStanzaType)
        }
    }

    // MARK: When it is not there

    @Test("What goes to a component that is not attached comes back; presence does not")
    func notAttached() async throws {
        try await withBridge { server in
            let romeo = try await server.online("romeo@capulet.example/orchard")
            // Until his offline messages are read, messages to him are held back, requests not.
            await server.settle()
            await romeo.send("<presence to='a@\(Self.bridge)'/>")
            await romeo.send("<message id='m' to='a@\(Self.bridge)'><body>x</body></message>")
            await romeo.send(
                "<iq type='get' id='q' to='\(Self.bridge)'><ping xmlns='urn:xmpp:ping'/></iq>")
            let answers = try await romeo.pending()
            // What comes as a message waits until the offline store was looked into.
            #expect(Set(answers.map { $0["id"] ?? $0.name }) == ["m", "q"], "\(answers)")
            for error in answers {
                #expect(error["type"] == "error" && error.condition == "service-unavailable")
                #expect(
                    error.child("error")?.child("text", Namespaces.stanzaErrors)?.text
                        == "\(Self.bridge) is not connected")
            }
        }
    }

    @Test("What waits for a component when it leaves goes back to its senders")
    func leaves() async throws {
        try await withBridge { server in
            let component = try await TestComponent.attached(to: server)
            let romeo = try await server.online("romeo@capulet.example/orchard")
            await component.setWritable(false)
            await romeo.send("<message id='m' to='a@\(Self.bridge)'><body>x</body></message>")
            await romeo.send(
                "<iq type='get' id='q' to='a@\(Self.bridge)'><ping xmlns='urn:xmpp:ping'/></iq>")
            await server.settle()
            #expect(server.metric("kinglet_component_queue_stanzas") == 2)
            await component.drop()
            for id in ["m", "q"] {
                let error = try await romeo.next()
                #expect(error["id"] == id && error["type"] == "error")
            }
            #expect(server.metric("kinglet_component_queue_stanzas") == 0)
            #expect(refusals("not_connected", server) == 2)
        }
    }

    @Test("What waits goes to the connection that takes the place of a broken one, in order")
    func takesOver() async throws {
        try await withBridge { server in
            let old = try await TestComponent.attached(to: server)
            let romeo = try await server.online("romeo@capulet.example/orchard")
            await old.setWritable(false)
            for number in 1...100 {
                await romeo.send(
                    "<message to='a@\(Self.bridge)'><body>\(number)</body></message>")
            }
            await server.settle()
            let new = try await TestComponent.attached(to: server)
            for number in 1...100 {
                #expect(try await new.next().child("body")?.text == "\(number)")
            }
        }
    }

    // MARK: Limits

    @Test("What waits for a component that does not read is bounded; then the sender is told")
    func queueLimit() async throws {
        try await withBridge("limits.outgoing_queue=64KiB") { server in
            let component = try await TestComponent.attached(to: server)
            let romeo = try await server.online("romeo@capulet.example/orchard")
            await component.setWritable(false)
            let text = String(repeating: "x", count: 20_000)
            for number in 1...5 {
                await romeo.send(
                    "<message id='\(number)' to='a@\(Self.bridge)'><body>\(text)</body></message>")
            }
            for number in 4...5 {
                let error = try await romeo.next()
                #expect(error["id"] == "\(number)")
                #expect(error.child("error")?.elements.first?.name == "resource-constraint")
            }
            await component.setWritable(true)
            for number in 1...3 { #expect(try await component.next()["id"] == "\(number)") }
            await romeo.send("<message id='6' to='a@\(Self.bridge)'><body>x</body></message>")
            #expect(try await component.next()["id"] == "6")
        }
    }

    @Test("A component's stanza has the size and the depth that a client's may have")
    func size() async throws {
        try await withBridge("limits.stanza=20000", "limits.depth=8") { server in
            let deep = String(repeating: "<x>", count: 9)
            for body in [String(repeating: "x", count: 20_000), deep] {
                let component = try await TestComponent.attached(to: server)
                await component.send(
                    "<message from='\(Self.bridge)' to='juliet@capulet.example'><body>\(body)")
                try await component.expectStreamError(.policyViolation)
            }
        }
    }

    @Test("A component that is too fast is read more slowly, and nothing is lost")
    func rate() async throws {
        try await withBridge("limits.server_stanza_rate=1") { server in
            let juliet = try await server.online("juliet@capulet.example/balcony")
            let component = try await TestComponent.attached(to: server)
            await component.send(
                String(
                    repeating: "<message from='\(Self.bridge)' "
                        + "to='juliet@capulet.example/balcony'><body>x</body></message>",
                    count: 6))
            #expect(await component.isPaused())
            for _ in 0..<3 { await component.pass(.seconds(1)) }
            for _ in 0..<6 { #expect(try await juliet.first { $0.name == "message" }.body == "x") }
            #expect(server.refusals(.stanzaRate) >= 1)
        }
    }
}
