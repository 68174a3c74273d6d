// Resource binding (RFC 6120 section 7).

import Addresses
import Engine
import Testing
import XML
import XMPP

@Suite struct BindTests {
    @Test("A client gets the resource that it asks for, prepared (RFC 6120 section 7.7)")
    func chosenResource() async throws {
        try await withServer { server in
            let client = try await server.login("juliet@capulet.example")
            #expect(try client.jid.resource.utf8.count >= 16, "hard to guess (section 7.6)")
            let other = try await server.login("juliet@capulet.example/balcony")
            #expect(try other.jid.description == "juliet@capulet.example/balcony")
            #expect(server.metric("kinglet_sessions") == 2)
        }
    }

    @Test("A resource that cannot be one is a bad request, and another may follow (7.7.2.1)")
    func badResource() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let client = try await server.connect()
            try await client.open()
            #expect(try await client.plain("juliet").name == "success")
            try await client.open()
            let answer = try await client.bind("tab&#9;tab")
            #expect(answer.condition == "bad-request")
            #expect(try await client.bind("balcony")["type"] == "result")
        }
    }

    @Test("The newest connection of a resource stays, the old one ends (7.7.2.2)")
    func conflict() async throws {
        try await withServer { server in
            let old = try await server.login("juliet@capulet.example/balcony")
            let new = try await server.login("juliet@capulet.example/balcony")
            try await old.expectStreamError(.conflict)
            #expect(try await new.pending().isEmpty)
            #expect(server.metric("kinglet_sessions") == 1)
        }
    }

    @Test("A conflict across event loops ends the old connection, too")
    func conflictAcrossLoops() async throws {
        try await withServer(loops: 2) { server in
            let old = try await server.login("juliet@capulet.example/balcony", loop: 0)
            let new = try await server.login("juliet@capulet.example/balcony", loop: 1)
            try await old.expectStreamError(.conflict)
            #expect(try await new.pending().isEmpty)
        }
    }

    @Test("Contacts see the old connection go before they see the new one come")
    func conflictPresence() async throws {
        try await withServer { server in
            let romeo = try await server.online("romeo@capulet.example/orchard")
            let old = try await server.online("juliet@capulet.example/balcony")
            try await befriend(romeo, old)
            let new = try await server.login("juliet@capulet.example/balcony")
            await new.send("<presence><status>new</status></presence>")
            let seen = try await romeo.pending().filter { $0.name == "presence" }
            #expect(seen.map { $0["type"] } == ["unavailable", nil])
            #expect(seen.last?.child("status")?.text == "new")
        }
    }

    @Test("One resource too many is refused, and the stream may try again (7.6.2.1)")
    func tooManyResources() async throws {
        try await withServer("limits.resources=2") { server in
            let first = try await server.login("juliet@capulet.example/1")
            _ = try await server.login("juliet@capulet.example/2")
            let third = try await server.connect()
            try await third.open()
            #expect(try await third.plain("juliet").name == "success")
            try await third.open()
            let answer = try await third.bind("3")
            #expect(answer.condition == "resource-constraint")
            #expect(answer.errorType == "wait")
            await first.drop()
            #expect(try await third.bind("3")["type"] == "result")
        }
    }

    @Test("A stream binds one resource only (RFC 6120 section 7.1)")
    func secondBind() async throws {
        try await withServer { server in
            let client = try await server.login("juliet@capulet.example/balcony")
            let answer = try await client.request(
                "set", "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>")
            #expect(answer.condition == "not-allowed")
            #expect(try await client.pending().isEmpty)
        }
    }

    @Test("A client that goes while its session is made ready leaves nothing behind")
    func leavesWhileBinding() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let client = try await server.connect()
            try await client.open()
            #expect(try await client.plain("juliet").name == "success")
            try await client.open()
            await client.send(
                "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
            await client.drop()
            await server.settle()
            #expect(server.host.sessions.all.isEmpty)
            #expect(server.metric("kinglet_sessions") == 0)
            let again = try await server.online("juliet@capulet.example/balcony")
            #expect(try await again.pending().isEmpty)
        }
    }
}
