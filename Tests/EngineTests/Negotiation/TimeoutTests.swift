// Time that a client has, by a clock that the tests hold.

import Addresses
import Engine
import NIOCore
import NIOEmbedded
import Testing
import XML
import XMPP

@Suite struct TimeoutTests {
    @Test("A client that says nothing is ended, with our header before the error")
    func silence() async throws {
        try await withServer("limits.negotiation=30s") { server in
            let client = try await server.connect()
            await client.pass(.seconds(29))
            #expect(client.hasNothing)
            await client.pass(.seconds(2))
            _ = try await client.header()
            try await client.expectStreamError(.connectionTimeout)
            #expect(server.refusals(.negotiationTimeout) == 1)
        }
    }

    @Test("A client that does not log in is ended")
    func noLogin() async throws {
        try await withServer { server in
            let client = try await server.connect()
            try await client.open()
            await client.pass(.seconds(31))
            try await client.expectStreamError(.connectionTimeout)
        }
    }

    @Test("A client that logs in and binds nothing is ended")
    func noBinding() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let client = try await server.connect()
            try await client.open()
            #expect(try await client.plain("juliet").name == "success")
            await client.pass(.seconds(31))
            _ = try await client.header()
            try await client.expectStreamError(.connectionTimeout)
        }
    }

    @Test("A client that is logged in may be silent for ever")
    func idle() async throws {
        try await withServer { server in
            let client = try await server.login("juliet@capulet.example/balcony")
            await client.send(" \n ")
            await client.pass(.minutes(30))
            #expect(try await client.pending().isEmpty)
        }
    }

    @Test("A stanza that was begun has to be finished in time")
    func unfinishedStanza() async throws {
        try await withServer { server in
            let client = try await server.login("juliet@capulet.example/balcony")
            await client.send("<message to='a@capulet.example'><body>hal")
            await client.pass(.seconds(29))
            #expect(client.hasNothing)
            await client.send("f a ")
            await client.pass(.seconds(2))
            try await client.expectStreamError(.policyViolation)
            #expect(server.refusals(.stanzaTimeout) == 1)
        }
    }

    @Test("Each stanza has its own time: a stream that gets on is not ended")
    func getsOn() async throws {
        try await withServer { server in
            let client = try await server.login("juliet@capulet.example/balcony")
            await client.send("<presence to='a@capulet.example")
            for _ in 0..<3 {
                await client.pass(.seconds(20))
                await client.send("'/><presence to='a@capulet.example")
            }
            #expect(client.hasNothing)
            await client.send("'/>")
            #expect(try await client.pending().isEmpty)
        }
    }

    @Test("A stanza that is finished in time leaves no deadline behind")
    func finishedStanza() async throws {
        try await withServer { server in
            let client = try await server.login("juliet@capulet.example/balcony")
            await client.send("<presence")
            await client.send("/>")
            _ = try await client.next()
            await client.pass(.minutes(30))
            #expect(try await client.pending().isEmpty)
        }
    }

    @Test("Each loop looks at its streams once a second, and measures how late it is")
    func tick() async throws {
        try await withServer { server in
            let count = "kinglet_event_loop_lag_seconds_count"
            #expect(server.metric(count) == 0)
            await server.loops[0].advanceTime(by: .seconds(3))
            #expect(server.metric(count) == 3)
            let loop = try #require(server.host.loops.first)
            // In real time, which goes on while other tests have the machine.
            #expect(loop.timeSinceLastTurn < .seconds(600))
        }
    }
}
