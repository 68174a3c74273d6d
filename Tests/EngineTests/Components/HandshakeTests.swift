import Engine
import NIOCore
import Testing
import XML
import XMPP

@Suite("Components attach, XEP-0114 section 3")
struct HandshakeTests {
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

    @Test("A component that knows its secret is attached, and counted until it goes")
    func attaches() async throws {
        try await withBridge { server in
            #expect(server.metric("kinglet_component_connections") == 0)
            let component = try await TestComponent.attached(to: server)
            #expect(server.metric("kinglet_component_connections") == 1)
            await component.send("</stream:stream>")
            try await server.wait { server.metric("kinglet_component_connections") == 0 }
        }
    }

    @Test("A wrong secret ends the stream with not-authorized, and is counted")
    func wrongSecret() async throws {
        try await withBridge { server in
            let component = try await TestComponent(server)
            let id = try await component.open()
            await component.shake(id, "a secret of somebody else")
            try await component.expectStreamError(.notAuthorized)
            let series = "kinglet_component_refusals_total{reason=\"wrong_secret\"}"
            #expect(server.metric(series) == 1)
            #expect(server.metric("kinglet_component_connections") == 0)
        }
    }

    @Test("A handshake of another stream is worth nothing: each stream has an id of its own")
    func replayed() async throws {
        try await withBridge { server in
            let first = try await TestComponent(server)
            let id = try await first.open()
            let second = try await TestComponent(server)
            #expect(try await second.open() != id)
            await second.shake(id)
            try await second.expectStreamError(.notAuthorized)
        }
    }

    @Test(
        "Only the lower-case digest is a handshake",
        arguments: ["", "0", "<x/>", String(repeating: "0", count: 100_000)])
    func malformed(text: String) async throws {
        try await withBridge { server in
            let component = try await TestComponent(server)
            _ = try await component.open()
            await component.send("<handshake>\(text)</handshake>")
            // A long one is beyond the limit before authentication.
            try await component.expectStreamError(
                text.count > 10_000 ? .policyViolation : .notAuthorized)
        }
    }

    @Test("Nothing but a handshake is listened to before it")
    func stanzaFirst() async throws {
        try await withBridge { server in
            let juliet = try await server.online("juliet@capulet.example/balcony")
            let component = try await TestComponent(server)
            _ = try await component.open()
            await component.send(
                "<message from='a@\(TestComponent.domain)' to='\(try juliet.jid)'><body>hi</body>"
                    + "</message>")
            try await component.expectStreamError(.notAuthorized)
            #expect(try await juliet.pending().isEmpty)
        }
    }

    @Test("A domain that no component has is unknown, also the server's own")
    func unknownDomain() async throws {
        try await withBridge { server in
            for domain in ["other.example", TestServer.domain, "", "a b"] {
                let component = try await TestComponent(server)
                await component.send(TestComponent.header(to: domain))
                _ = try await component.header()
                try await component.expectStreamError(.hostUnknown)
            }
            let series = "kinglet_component_refusals_total{reason=\"unknown_domain\"}"
            #expect(server.metric(series) == 4)
        }
    }

    @Test(
        "Another content namespace is refused after a header of ours (RFC 6120 section 4.7.1)",
        arguments: ["jabber:client", "jabber:server", "jabber:component:connect", ""])
    func namespace(content: String) async throws {
        try await withBridge { server in
            let component = try await TestComponent(server)
            await component.send(TestComponent.header(to: TestComponent.domain, content: content))
            _ = try await component.header()
            try await component.expectStreamError(.invalidNamespace)
        }
    }

    @Test("The newer connection of a component takes the older one's place")
    func replaced() async throws {
        try await withBridge(loops: 2) { server in
            let old = try await TestComponent.attached(to: server)
            let new = try await TestComponent.attached(to: server, loop: 1)
            try await old.expectStreamError(.conflict)
            #expect(server.metric("kinglet_component_connections") == 1)
            let romeo = try await server.online("romeo@capulet.example/orchard")
            await romeo.send(
                "<message to='x@\(TestComponent.domain)'><body>hi</body></message>")
            #expect(try await new.next().child("body")?.text == "hi")
        }
    }

    @Test("Wrong handshakes slow down the next ones from the same network, right ones too")
    func slowed() async throws {
        try await withBridge("limits.login_delay=20s") { server in
            for _ in 0..<2 {
                let component = try await TestComponent(server)
                let id = try await component.open()
                await component.shake(id, "a secret of somebody else")
                if await component.isPaused() { await component.pass(.milliseconds(100)) }
                try await component.expectStreamError(.notAuthorized)
            }
            let component = try await TestComponent(server)
            let id = try await component.open()
            await component.shake(id)
            #expect(await component.isPaused())
            #expect(server.metric("kinglet_component_connections") == 0)
            await component.pass(.seconds(20))
            #expect(try await component.next().name == "handshake")
            #expect(await component.isPaused() == false)
        }
    }

    @Test("A component that says nothing has its time and no more")
    func silent() async throws {
        try await withBridge("limits.negotiation=30s") { server in
            let component = try await TestComponent(server)
            _ = try await component.open()
            await component.pass(.seconds(32))
            try await component.expectStreamError(.connectionTimeout)
        }
    }

    @Test("The server's stop ends the streams of components")
    func stop() async throws {
        try await withBridge { server in
            let component = try await TestComponent.attached(to: server)
            server.host.endAllStreams()
            try await component.expectStreamError(.systemShutdown)
        }
    }
}
