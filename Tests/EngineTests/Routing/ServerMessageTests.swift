// The server's own messages take the way of every other message.

import Addresses
import Engine
import Testing
import XML
import XMPP

@Suite("What the server tells its administrators")
struct ServerMessageTests {
    private func addAdministrator(_ local: String, to server: TestServer) async throws {
        let jid = BareJID(preparedLocal: local, preparedDomain: TestServer.domain)
        let keys = try PasswordKeys(
            password: TestServer.password, iterations: TestServer.iterations)
        try await withCheckedThrowingContinuation { continuation in
            server.host.accounts.create(jid, keys, isAdministrator: true, now: 0) {
                continuation.resume(with: $0)
            }
        }
    }

    @Test("Every administrator gets it, nobody else, as text that cannot break the stream")
    func online() async throws {
        try await withServer { server in
            try await addAdministrator("juliet", to: server)
            let juliet = try await server.online("juliet@capulet.example/balcony")
            let romeo = try await server.online("romeo@capulet.example/orchard")
            try server.host.notifyAdministrators("the disk <is> full & gone\u{1}")
            await server.settle()
            let message = try await juliet.next()
            #expect(message.name == "message" && message["type"] == "chat")
            #expect(message["from"] == "capulet.example")
            #expect(message.body == "the disk <is> full & gone\u{FFFD}")
            #expect(try await romeo.pending().isEmpty)
        }
    }

    @Test("It waits for one who is away; a disabled administrator gets none")
    func offline() async throws {
        try await withServer { server in
            try await addAdministrator("juliet", to: server)
            try await addAdministrator("nurse", to: server)
            try await server.disable("nurse@capulet.example")
            try server.host.notifyAdministrators("the backup failed")
            await server.settle()
            #expect(server.metric("kinglet_offline_messages") == 1)
            let juliet = try await server.login("juliet@capulet.example/balcony")
            await juliet.send("<presence/>")
            let bodies = try await juliet.pending().filter { $0.name == "message" }.map(\.body)
            #expect(bodies == ["the backup failed"])
        }
    }
}
