// Whoever sent a message that was acknowledged and could not get to another domain hears of that
// (RFC 6120 section 10.4), whatever becomes of the client meanwhile.

import Addresses
import NIOCore
import NIOEmbedded
import Testing
import XML
import XMPP

@testable import Engine
@testable import Storage

@Suite("Errors about messages that were kept")
struct ReturnedErrorsTests {
    private let juliet = "juliet@capulet.example"
    private let gone = FederationFailure(.noSuchDomain, "it does not exist")

    private let message =
        "<message to='romeo@montague.example' type='chat' id='m'><body>m</body></message>"

    private func rows(_ table: String, _ server: TestServer) -> Int64 {
        let count = try? server.host.database.readNow { connection in
            try connection.first("SELECT count(*) FROM \(table)") { $0.integer(0) }
        }
        return count.flatMap { $0 } ?? -1
    }

    private func pass(_ time: TimeAmount, _ server: TestServer) async {
        for loop in server.loops { await loop.advanceTime(by: time) }
        await server.settle()
    }

    /// Juliet's phone, which counts, with a message that waits for another domain.
    private func phone(_ server: TestServer) async throws -> ResumingClient {
        let phone = try await ResumingClient(try await server.online("\(juliet)/phone"), max: 60)
        _ = try await phone.stanzas()
        await phone.acknowledge()
        await phone.client.send(message)
        await server.settle()
        return phone
    }

    /// The message goes back.
    private func fail(_ server: TestServer) async throws {
        server.host.federation.start(FailingConnector(gone), server.host)
        try await server.wait { rows("outgoing", server) == 0 }
        await server.settle()
    }

    private func errors(_ elements: [Element]) -> [String?] {
        elements.filter { $0["type"] == "error" }.map { $0["to"] }
    }

    @Test("It is kept until its client has it, and no other client gets it meanwhile")
    func acknowledged() async throws {
        try await withServer("federation.policy=open") { server in
            let phone = try await phone(server)
            try await fail(server)
            #expect(errors(try await phone.stanzas()) == ["\(juliet)/phone"])
            #expect(rows("returned", server) == 1)
            let desk = try await server.online("\(juliet)/desk")
            #expect(errors(try await desk.pending()).isEmpty)
            await phone.acknowledge()
            try await server.wait { rows("returned", server) == 0 }
            #expect(errors(try await desk.pending()).isEmpty)
            #expect(errors(try await phone.stanzas()).isEmpty)
        }
    }

    @Test("A client that hibernates and does not come back leaves it to the next one")
    func timedOut() async throws {
        try await withServer("federation.policy=open") { server in
            let phone = try await phone(server)
            await phone.client.drop()
            await server.settle()
            try await fail(server)
            await pass(.seconds(61), server)
            #expect(server.host.sessions.sessions(of: try BareJID(juliet)).isEmpty)
            #expect(rows("returned", server) == 1)
            let desk = try await server.online("\(juliet)/desk")
            let error = try await desk.first { $0["type"] == "error" }
            #expect(error["id"] == "m" && error["to"] == juliet)
            #expect(error.condition == "remote-server-not-found")
            try await server.wait { rows("returned", server) == 0 }
        }
    }

    @Test("Or to one that is there already")
    func leftToOthers() async throws {
        try await withServer("federation.policy=open") { server in
            let phone = try await phone(server)
            let desk = try await server.online("\(juliet)/desk")
            await phone.client.drop()
            await server.settle()
            try await fail(server)
            #expect(errors(try await desk.pending()).isEmpty, "the phone may come back for it")
            await pass(.seconds(61), server)
            #expect(try await desk.first { $0["type"] == "error" }["to"] == juliet)
            try await server.wait { rows("returned", server) == 0 }
        }
    }

    @Test("A copy that another client has is enough (XEP-0280 section 6.1)")
    func copied() async throws {
        try await withServer("federation.policy=open") { server in
            let desk = try await server.onlineWithCarbons("\(juliet)/desk")
            let phone = try await phone(server)
            await phone.client.drop()
            await server.settle()
            _ = try await desk.pending()
            try await fail(server)
            let copy = try await desk.first { $0.name == "message" }
            #expect(copy.child("received", "urn:xmpp:carbons:2") != nil)
            try await server.wait { rows("returned", server) == 0 }
            await pass(.seconds(61), server)
            #expect(errors(try await desk.pending()).isEmpty, "it has it")
        }
    }

    @Test("It outlives a crash before its client has it", arguments: [true, false])
    func crash(isOnline: Bool) async throws {
        try await withServer("federation.policy=open") { server in
            let phone = try await phone(server)
            if !isOnline { await phone.client.drop() }
            await server.settle()
            try await fail(server)
            if isOnline { #expect(errors(try await phone.stanzas()).count == 1) }
            await server.stop()

            let next = try TestServer(over: server)
            let desk = try await next.online("\(juliet)/desk")
            #expect(try await desk.first { $0["type"] == "error" }["id"] == "m")
            try await next.wait { rows("returned", next) == 0 }
            await next.stop()
        }
    }

    @Test("Over a planned restart it comes once (XEP-0198 section 5)", arguments: [true, false])
    func restart(comesBack: Bool) async throws {
        try await withServer("federation.policy=open") { server in
            let phone = try await phone(server)
            await phone.client.drop()
            await server.settle()
            try await fail(server)

            let next = try await server.restart("federation.policy=open")
            let desk = try await next.online("\(juliet)/desk")
            #expect(errors(try await desk.pending()).isEmpty)
            if comesBack {
                #expect(try await phone.comeBack(to: next).name == "resumed")
                #expect(errors(try await phone.stanzas()) == ["\(juliet)/phone"])
                await phone.acknowledge()
            } else {
                await pass(.seconds(61), next)
                #expect(try await desk.first { $0["type"] == "error" }["to"] == juliet)
            }
            try await next.wait { rows("returned", next) == 0 }
            #expect(errors(try await desk.pending()).isEmpty)
            await next.stop()
        }
    }

    @Test("What waited for a domain that is a component's now goes back to who sent it")
    func component() async throws {
        try await withServer("federation.policy=open") { server in
            let client = try await server.online("\(juliet)/phone")
            await client.send(
                "<message to='a@\(TestComponent.domain)' type='chat' id='m'><body>m</body>"
                    + "</message>")
            await server.settle()
            #expect(rows("outgoing", server) == 1)
            await server.stop()
            let next = try TestServer(
                over: server, ["federation.policy=open", TestComponent.setting])
            try await fail(next)
            #expect(rows("returned", next) == 1)
            let desk = try await next.online("\(juliet)/desk")
            #expect(try await desk.first { $0["type"] == "error" }["id"] == "m")
            try await next.wait { rows("returned", next) == 0 }
            await next.stop()
        }
    }

    @Test("A disk that fails delays it and loses nothing", arguments: ["INSERT", "DELETE"])
    func failingDisk(verb: String) async throws {
        try await withServer("federation.policy=open") { server in
            let client = try await server.online("\(juliet)/phone")
            await client.send(message)
            await server.settle()
            try server.refuse(verb, on: "returned")
            server.host.federation.start(FailingConnector(gone), server.host)
            let failures = "kinglet_commit_failures_total"
            try await server.wait { server.metric(failures) ?? 0 > 0 }
            let before = errors(try await client.pending())
            #expect(before.count == (verb == "INSERT" ? 0 : 1))
            #expect(rows("outgoing", server) == (verb == "INSERT" ? 1 : 0))

            try server.host.database.writeNow { try $0.execute("DROP TRIGGER refuse_\(verb)") }
            await pass(.seconds(5), server)
            try await server.wait { rows("outgoing", server) + rows("returned", server) == 0 }
            let after = errors(try await client.pending())
            #expect(before + after == ["\(juliet)/phone"])
        }
    }

    @Test("Those who are there hear of more than are kept for an account")
    func many() async throws {
        try await withServer("federation.policy=open") { server in
            let client = try await server.online("\(juliet)/phone")
            for number in 0..<120 {
                await client.send(
                    "<message to='romeo@montague.example' type='chat' id='m\(number)'>"
                        + "<body>m</body></message>")
            }
            await server.settle()
            try await fail(server)
            var count = 0
            while count < 120 {
                count += errors([try await client.next()]).count
            }
            try await server.wait { rows("returned", server) == 0 }
            #expect(errors(try await client.pending()).isEmpty)
        }
    }
}
