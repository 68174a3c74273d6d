// A message that goes to several clients of an account is safe as long as one of them has it or
// may yet get it; when none is left, it goes where it would have gone without them.

import NIOCore
import Testing
import XML
import XMPP

@testable import Engine

@Suite("Sessions that end before their clients have a message that went to several")
struct CopyLossTests {
    private static let orchard = "romeo@capulet.example/orchard"
    private static let names = ["balcony", "chamber", "garden"]

    private func message(_ body: String, to: String = "juliet@capulet.example") -> String {
        "<message id='\(body)' to='\(to)' type='chat'><body>\(body)</body></message>"
    }

    /// Juliet's clients, which take what goes to the account and read nothing.
    private func silent(
        _ server: TestServer, _ count: Int, loops: Int = 1
    ) async throws -> [TestClient] {
        var clients: [TestClient] = []
        for (index, name) in Self.names.prefix(count).enumerated() {
            clients.append(
                try await server.online("juliet@capulet.example/\(name)", loop: index % loops))
        }
        for client in clients {
            _ = try await client.pending()
            await client.setWritable(false)
        }
        return clients
    }

    /// What waits for Juliet, by the way that she takes.
    private func waiting(_ server: TestServer) async throws -> [String] {
        await server.settle()
        let client = try await server.login("juliet@capulet.example/later")
        await client.send("<presence/>")
        await server.settle()
        return try await client.pendingBodies()
    }

    @Test(
        "All of several receivers go without it: it waits for the account, once", arguments: [2, 3])
    func allLost(_ count: Int) async throws {
        try await withServer(loops: 2) { server in
            let clients = try await silent(server, count, loops: 2)
            let romeo = try await server.online(Self.orchard)
            await romeo.send(message("1") + message("2"))
            await server.settle()
            for client in clients.dropLast() {
                await client.drop()
                await server.settle()
                #expect(server.metric("kinglet_offline_messages") == 0, "one may yet get it")
            }
            await clients.last?.drop()
            #expect(try await waiting(server) == ["1", "2"])
        }
    }

    @Test("One of several has it: the others' ends change nothing")
    func oneHasIt() async throws {
        try await withServer { server in
            let clients = try await silent(server, 3)
            await clients[1].setWritable(true)
            let romeo = try await server.online(Self.orchard)
            await romeo.send(message("1"))
            #expect(try await clients[1].pendingBodies() == ["1"])
            for client in clients { await client.drop() }
            #expect(try await waiting(server) == [])
        }
    }

    @Test("With acknowledgements it is the acknowledgement that counts, not the writing")
    func acknowledged() async throws {
        for acknowledges in [false, true] {
            try await withServer { server in
                let clients = try await silent(server, 2)
                await clients[0].setWritable(true)
                await clients[0].send("<enable xmlns='urn:xmpp:sm:3'/>")
                _ = try await clients[0].first { $0.name == "enabled" }
                let romeo = try await server.online(Self.orchard)
                await romeo.send(message("1"))
                _ = try await clients[0].first { $0.name == "message" }
                if acknowledges { await clients[0].send("<a xmlns='urn:xmpp:sm:3' h='1'/>") }
                for client in clients { await client.drop() }
                #expect(try await waiting(server) == (acknowledges ? [] : ["1"]))
            }
        }
    }

    @Test("A client that hibernates may yet get it; when its time is up, it waits")
    func hibernating() async throws {
        try await withServer { server in
            let clients = try await silent(server, 2)
            await clients[0].setWritable(true)
            await clients[0].send("<enable xmlns='urn:xmpp:sm:3' resume='true' max='30'/>")
            _ = try await clients[0].first { $0.name == "enabled" }
            let romeo = try await server.online(Self.orchard)
            await romeo.send(message("1"))
            await server.settle()
            for client in clients { await client.drop() }
            await server.settle()
            #expect(server.metric("kinglet_offline_messages") == 0)
            await clients[0].pass(.seconds(31))
            #expect(try await waiting(server) == ["1"])
        }
    }

    @Test("A receiver and the client with a copy go without it: the message waits, not the copy")
    func copiesCount() async throws {
        try await withServer { server in
            let balcony = try await server.online("juliet@capulet.example/balcony")
            let chamber = try await server.onlineWithCarbons("juliet@capulet.example/chamber")
            for client in [balcony, chamber] {
                _ = try await client.pending()
                await client.setWritable(false)
            }
            let romeo = try await server.online(Self.orchard)
            let home = try await server.onlineWithCarbons("romeo@capulet.example/home")
            await romeo.send(message("1", to: "juliet@capulet.example/balcony"))
            await server.settle()
            await balcony.drop()
            await server.settle()
            #expect(server.metric("kinglet_offline_messages") == 0)
            await chamber.drop()
            await server.settle()
            let later = try await server.login("juliet@capulet.example/later")
            await later.send("<presence/>")
            await server.settle()
            let seen = try #require(try await later.pendingMessages().first)
            #expect(seen.body == "1" && seen["from"] == Self.orchard)
            #expect(seen["to"] == "juliet@capulet.example/balcony")
            #expect(try await home.pendingBodies() == ["sent 1"], "not once more")
        }
    }

    @Test("The copy alone is enough")
    func copyIsEnough() async throws {
        try await withServer { server in
            let balcony = try await server.online("juliet@capulet.example/balcony")
            let chamber = try await server.onlineWithCarbons("juliet@capulet.example/chamber")
            _ = try await chamber.pending()
            await balcony.setWritable(false)
            let romeo = try await server.online(Self.orchard)
            await romeo.send(message("1", to: "juliet@capulet.example/balcony"))
            #expect(try await chamber.pendingBodies() == ["received 1"])
            await balcony.drop()
            await chamber.drop()
            #expect(try await waiting(server) == [])
        }
    }

    @Test("A sender's client that goes without its copy makes nothing come again")
    func sentCopies() async throws {
        try await withServer { server in
            let romeo = try await server.online(Self.orchard)
            let home = try await server.onlineWithCarbons("romeo@capulet.example/home")
            await home.setWritable(false)
            let balcony = try await server.online("juliet@capulet.example/balcony")
            await romeo.send(message("1"))
            #expect(try await balcony.pendingBodies() == ["1"])
            await home.drop()
            await server.settle()
            #expect(try await balcony.pendingBodies() == [])
            #expect(try await romeo.pendingBodies() == [])
        }
    }

    @Test("What was lost goes to a client that came meanwhile, and as a copy to another one")
    func newcomers() async throws {
        try await withServer { server in
            let clients = try await silent(server, 2)
            let romeo = try await server.online(Self.orchard)
            let home = try await server.onlineWithCarbons("romeo@capulet.example/home")
            await romeo.send(message("1"))
            await server.settle()
            let one = try await server.onlineWithCarbons("juliet@capulet.example/one", priority: 1)
            let two = try await server.onlineWithCarbons("juliet@capulet.example/two")
            #expect(try await one.pendingBodies() == [])
            for client in clients { await client.drop() }
            await server.settle()
            #expect(try await one.pendingBodies() == ["1"])
            #expect(try await two.pendingBodies() == ["received 1"])
            #expect(try await home.pendingBodies() == ["sent 1"])
        }
    }

    @Test("The last of all is one, whoever of many threads it is")
    func race() async {
        for _ in 0..<50 {
            let shared = SharedDelivery([], count: 8)
            let lasts = await withTaskGroup(of: Bool.self) { group in
                for _ in 0..<8 { group.addTask { shared.isLostByAll() } }
                return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
            }
            #expect(lasts == 1)
        }
        let kept = SharedDelivery([], count: 3)
        #expect(!kept.isLostByAll())
        #expect(!kept.isLostByAll(), "the third has it")
    }
}
