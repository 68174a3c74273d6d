// What becomes of stanzas for a server that cannot be reached, or does not want them.

import Addresses
import NIOCore
import NIOEmbedded
import Synchronization
import Testing
import XML
import XMPP

@testable import Engine
@testable import Storage

@Suite("A server that cannot be reached")
struct UnreachableServerTests {
    private let key = RouteKey(local: TestServer.domain, remote: EstablishedPeer.domain)
    private let juliet = "juliet@capulet.example"
    private let gone = FederationFailure(.noSuchDomain, "it does not exist")
    private let silent = FederationFailure(.dnsTimeout, "no answer")

    private func message(_ id: String) -> String {
        "<message to='romeo@montague.example' type='chat' id='\(id)'><body>\(id)</body></message>"
    }

    private func count(_ table: String, _ server: TestServer) -> Int64 {
        let count = try? server.host.database.readNow { connection in
            try connection.first("SELECT count(*) FROM \(table)") { $0.integer(0) }
        }
        return count.flatMap { $0 } ?? -1
    }

    private func route(_ server: TestServer) -> ServerRoute {
        server.host.federation.route(key, server.host)
    }

    private func pass(_ time: TimeAmount, _ server: TestServer) async {
        for loop in server.loops { await loop.advanceTime(by: time) }
        await server.settle()
    }

    // MARK: Errors (RFC 6120 section 10.4)

    @Test("The error about a message waits for its account, also over a crash")
    func returned() async throws {
        try await withServer("federation.policy=open") { server in
            let client = try await server.online("\(juliet)/phone")
            await client.send(message("m"))
            await server.settle()
            await client.drop()
            await server.settle()
            server.host.federation.start(FailingConnector(gone), server.host)
            try await server.wait { count("returned", server) == 1 }
            #expect(count("outgoing", server) == 0)
            await server.stop()

            let next = try TestServer(over: server)
            let other = try await next.online("\(juliet)/desk")
            let error = try await other.first { $0.name == "message" }
            #expect(error["type"] == "error" && error["id"] == "m" && error["to"] == juliet)
            #expect(error["from"] == "romeo@montague.example")
            #expect(error.condition == "remote-server-not-found")
            try await next.wait { count("returned", next) == 0 }
            #expect(try await other.pending().isEmpty, "it comes once")
            await next.stop()
        }
    }

    @Test("It goes to the account's other clients that are there, and to none without messages")
    func others() async throws {
        try await withServer("federation.policy=open") { server in
            let phone = try await server.online("\(juliet)/phone")
            let desk = try await server.online("\(juliet)/desk")
            let away = try await server.online("\(juliet)/away", priority: -1)
            await phone.send(message("m"))
            await server.settle()
            await phone.drop()
            await server.settle()
            server.host.federation.start(FailingConnector(gone), server.host)
            let error = try await desk.first { $0["type"] == "error" }
            #expect(error["id"] == "m")
            try await server.wait { count("returned", server) == 0 }
            #expect(try await away.pending().allSatisfy { $0["type"] != "error" })
        }
    }

    @Test("What waits for an account goes with it")
    func removedAccount() async throws {
        try await withServer("federation.policy=open") { server in
            let client = try await server.online("\(juliet)/phone")
            await client.send(message("m"))
            await server.settle()
            await client.drop()
            await server.settle()
            server.host.federation.start(FailingConnector(gone), server.host)
            try await server.wait { count("returned", server) == 1 }
            server.host.removeAccount(try BareJID(juliet)) { _ in }
            try await server.wait { count("returned", server) == 0 }
        }
    }

    // MARK: Attempts

    @Test("After a failure that lasts, stanzas go back at once; an administrator ends that")
    func refusal() async throws {
        try await withServer("federation.policy=open") { server in
            let connector = FailingConnector(gone)
            server.host.federation.start(connector, server.host)
            let client = try await server.online("\(juliet)/phone")
            for id in ["1", "2", "3"] {
                await client.send(message(id))
                #expect(try await client.first { $0["type"] == "error" }["id"] == id)
            }
            #expect(connector.count == 1)
            await pass(.seconds(2), server)
            await client.send(message("later"))
            #expect(try await client.first { $0["type"] == "error" }["id"] == "later")
            #expect(connector.count == 2, "it may have been mended meanwhile")
            server.host.federation.testSucceeded(key)
            await client.send(message("4"))
            #expect(try await client.first { $0["type"] == "error" }["id"] == "4")
            #expect(connector.count == 3)
        }
    }

    @Test("Presence alone makes no further attempt; who enters a room hears of it")
    func presence() async throws {
        try await withServer("federation.policy=open") { server in
            let connector = FailingConnector(silent)
            server.host.federation.start(connector, server.host)
            let client = try await server.online("\(juliet)/phone")
            let room = "feast@montague.example/juliet"
            await client.send("<presence to='\(room)' id='p'/>")
            let error = try await client.first { $0["type"] == "error" }
            #expect(error.name == "presence" && error["from"] == room && error["id"] == "p")
            #expect(error.condition == "remote-server-timeout")
            #expect(route(server).description.state == .idle)
            await pass(.seconds(300), server)
            #expect(connector.count == 1)
        }
    }

    @Test("Presence for a contact is lost in silence")
    func broadcast() async throws {
        try await withServer("federation.policy=open") { server in
            let client = try await server.online("\(juliet)/phone")
            await client.send("<presence to='romeo@montague.example'/>")
            await server.settle()
            server.host.federation.start(FailingConnector(gone), server.host)
            try await server.wait { route(server).description.failure != nil }
            #expect(try await client.pending().isEmpty)
        }
    }

    @Test("A domain that shows itself is tried at once, but not again and again")
    func hurry() async throws {
        try await withServer("federation.policy=open") { server in
            let (host, connector) = (server.host, FailingConnector(silent))
            host.federation.start(connector, host)
            let client = try await server.online("\(juliet)/phone")
            await client.send(message("m"))
            try await server.wait { route(server).description.state == .pausing }
            host.federation.isThere(EstablishedPeer.domain, host)
            try await server.wait {
                connector.count == 2 && route(server).description.state == .pausing
            }
            host.federation.isThere(EstablishedPeer.domain, host)
            #expect(route(server).description.state == .pausing)
            #expect(connector.count == 2)
        }
    }

    @Test("Where nothing waits any more, no attempt is due")
    func expiry() async throws {
        try await withServer("federation.policy=open") { server in
            server.host.federation.start(FailingConnector(silent), server.host)
            let client = try await server.online("\(juliet)/phone")
            await client.send(message("m"))
            try await server.wait { route(server).description.state == .pausing }
            route(server).expire(.distantFuture)
            #expect(route(server).description.state == .idle)
            #expect(try await client.first { $0["type"] == "error" }["id"] == "m")
        }
    }

    @Test("A route that was forgotten takes nothing, and another one takes its place")
    func forgotten() async throws {
        try await withServer("federation.policy=open") { server in
            let old = route(server)
            let later = server.host.loopTime + .hours(2)
            #expect(old.forget(later, unusedFor: .hours(1), keepsUntold: true))
            let client = try await server.online("\(juliet)/phone")
            await client.send(message("m"))
            await server.settle()
            let new = route(server)
            #expect(new !== old)
            #expect(new.description.queuedStanzas == 1)
            #expect(!new.forget(later, unusedFor: .hours(1), keepsUntold: true))
        }
    }

    // MARK: What is kept

    @Test(
        "What waited for a domain that is served here now is delivered; of one that is not, deleted"
    )
    func changedDomains() async throws {
        try await withServer("federation.policy=open") { server in
            try await server.addAccount("juliet")
            func insert(from: String, to: String) throws {
                let bytes = Array(
                    "<message from='\(from)' to='\(to)' type='chat'><body>hi</body></message>".utf8)
                try server.host.database.writeNow { connection in
                    _ = try OutgoingStore.insert(
                        connection, from: try JID(from).domain, to: try JID(to).domain,
                        kind: .message, addedAt: Clock.millisecondsSince1970(), bytes)
                }
            }
            try insert(from: "romeo@capulet.example", to: juliet)
            try insert(from: "romeo@former.example", to: "nurse@montague.example")
            await server.stop()
            let next = try TestServer(over: server, ["federation.policy=open"])
            try await next.wait { count("outgoing", next) == 1 }
            next.host.federation.start(FailingConnector(gone), next.host)
            try await next.wait { count("outgoing", next) == 0 }
            let client = try await next.online("\(juliet)/desk")
            #expect(try await client.first { $0.name == "message" }.body == "hi")
            let keepers = try next.host.database.readNow { connection in
                try connection.first("SELECT keepers FROM messages") { $0.integer(0) }
            }
            #expect(keepers == Keepers.receiver.rawValue, "its sender's archive has it already")
            await next.stop()
        }
    }

    // MARK: Streams

    @Test("A stanza that ends the stream each time goes back, and those behind it get there")
    func poison() async throws {
        try await withServer("federation.policy=open") { server in
            let client = try await server.online("\(juliet)/phone")
            for id in ["good", "bad", "behind"] { await client.send(message(id)) }
            await server.settle()
            let error =
                "<stream:error><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
                + "<text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>too odd</text></stream:error>"
            let first = try await EstablishedPeer(server)
            for id in ["good", "bad", "behind"] { #expect(try await first.next().body == id) }
            await first.acknowledge(1)
            await first.send(error)
            await server.settle()
            #expect(route(server).description.failure?.reason == .streamError)
            for _ in 0..<2 {
                let peer = try await EstablishedPeer(server)
                #expect(try await peer.next().body == "bad")
                await peer.send(error)
                await server.settle()
            }
            let answer = try await client.first { $0["type"] == "error" }
            #expect(answer["id"] == "bad")
            #expect(
                answer.child("error", Namespaces.client)?.elements.last?.text.contains("too odd")
                    == true)
            let last = try await EstablishedPeer(server)
            #expect(try await last.next().body == "behind")
            await last.acknowledge(1)
            try await server.wait { count("outgoing", server) == 0 }
            for id in ["4", "5"] {
                await client.send(message(id))
                #expect(try await last.next().body == id)
            }
        }
    }

    @Test("After such a stream one stanza goes at a time, then two, then four")
    func window() async throws {
        try await withServer("federation.policy=open") { server in
            let client = try await server.online("\(juliet)/phone")
            for number in 1...4 { await client.send(message("\(number)")) }
            await server.settle()
            let first = try await EstablishedPeer(server)
            _ = try await first.next()
            await first.send(
                "<stream:error><undefined-condition xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
                    + "</stream:error>")
            await server.settle()
            let peer = try await EstablishedPeer(server)
            #expect(try await peer.next().body == "1")
            #expect(peer.hasNothing)
            await peer.acknowledge(1)
            #expect(try await peer.next().body == "2")
            #expect(try await peer.next().body == "3")
            #expect(peer.hasNothing)
            await peer.acknowledge(3)
            #expect(try await peer.next().body == "4")
        }
    }

    // MARK: Without acknowledgements (XEP-0199 in place of XEP-0198)

    @Test("A server that has answered before and does not now has not got it")
    func silence() async throws {
        try await withServer("federation.policy=open") { server in
            let client = try await server.online("\(juliet)/phone")
            let peer = try await EstablishedPeer(server, isManaged: false)
            await client.send(message("1"))
            #expect(try await peer.next().body == "1")
            let ping = try await peer.next()
            await peer.send(
                "<iq type='result' id='\(ping["id"] ?? "")' from='montague.example'"
                    + " to='capulet.example'/>")
            try await server.wait { count("outgoing", server) == 0 }
            await client.send(message("2"))
            #expect(try await peer.next().body == "2")
            await pass(.seconds(61), server)
            #expect(count("outgoing", server) == 1)
            #expect(route(server).description.state != .open)
            let again = try await EstablishedPeer(server, isManaged: false)
            #expect(try await again.next().body == "2")
            // It goes once more, not again and again: the way of the answers may be what broke.
            await pass(.seconds(61), server)
            try await server.wait { count("outgoing", server) == 0 }
        }
    }

    @Test("A stream on which nothing was acknowledged makes the next attempt wait")
    func noUse() async throws {
        try await withServer("federation.policy=open") { server in
            let client = try await server.online("\(juliet)/phone")
            let peer = try await EstablishedPeer(server)
            await client.send(message("1"))
            #expect(try await peer.next().body == "1")
            await pass(.seconds(30), server)
            await peer.drop()
            await server.settle()
            #expect(route(server).description.state == .pausing)
        }
    }

    @Test("One that never answers and takes everything has it")
    func neverAnswering() async throws {
        try await withServer("federation.policy=open") { server in
            let client = try await server.online("\(juliet)/phone")
            let peer = try await EstablishedPeer(server, isManaged: false)
            await client.send(message("1"))
            #expect(try await peer.next().body == "1")
            await pass(.seconds(59), server)
            #expect(count("outgoing", server) == 1)
            await pass(.seconds(2), server)
            try await server.wait { count("outgoing", server) == 0 }
            #expect(route(server).description.state == .open)
        }
    }

    @Test("An answer to what was asked in a component's name comes to the server")
    func componentAnswer() async throws {
        let server = try TestServer(["federation.policy=open", TestComponent.setting])
        let peer = try await EstablishedPeer(server)
        let answer = Mutex<Stanza?>(nil)
        server.host.requests.expect(
            "q", from: try JID(EstablishedPeer.domain), within: .seconds(60), on: server.loops[0]
        ) { stanza in answer.withLock { $0 = stanza } }
        await peer.send(
            "<iq type='result' id='q' from='montague.example' to='\(TestComponent.domain)'/>")
        let id = answer.withLock { $0?.id }
        #expect(id == "q")
        await server.stop()
    }
}
