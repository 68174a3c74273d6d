import Addresses
import Dispatch
import Engine
import NIOCore
import NIOEmbedded
import Storage
import Testing
import XML
import XMPP

@Suite("A planned restart keeps sessions (XEP-0198 section 5)")
struct SuspendedSessionTests {
    private static let juliet = "juliet@capulet.example"
    private static let balcony = "juliet@capulet.example/balcony"
    private static let romeo = "romeo@capulet.example/orchard"

    private func message(_ text: String, to: String = balcony) -> String {
        "<message to='\(to)' type='chat' id='\(text)'><body>\(text)</body></message>"
    }

    private func rows(_ server: TestServer) throws -> Int64? {
        try server.host.database.readNow { connection in
            try connection.first(
                """
                SELECT (SELECT count(*) FROM suspended_sessions)
                    + (SELECT count(*) FROM suspended_stanzas)
                """
            ) { $0.integer(0) }
        }
    }

    private func waiting(_ server: TestServer) throws -> Int64? {
        try server.host.database.readNow { connection in
            try connection.first("SELECT count(*) FROM offline_messages") { $0.integer(0) }
        }
    }

    /// Logs in anew and gives the bodies of what waited.
    private func stored(
        _ server: TestServer, _ address: String = "\(juliet)/new"
    ) async throws -> [String] {
        let client = try await server.login(address)
        await client.send("<presence/>")
        return try await client.pending().compactMap(\.body)
    }

    // MARK: Nothing lost, nothing twice

    @Test("What was not acknowledged comes again, then what came since", arguments: [0, 1])
    func retransmission(_ loop: Int) async throws {
        try await withServer(loops: 2) { server in
            let juliet = try await ResumingClient(try await server.online(Self.balcony))
            let romeo = try await ResumingClient(try await server.online(Self.romeo, loop: 1))
            await romeo.client.send(message("1") + message("2"))
            #expect(try await juliet.bodies() == ["1", "2"])
            await juliet.acknowledge(1)
            await romeo.client.send(message("3"))

            // Of the third she reads nothing, and of the second the server does not know.
            let next = try await server.restart(loops: 2)
            try await romeo.expectShutdown()
            #expect(next.host.sessions.all.count == 2)
            #expect(next.metric("kinglet_suspensions_total{result=\"restored\"}") == 2)
            #expect(next.metric("kinglet_sessions_hibernating") == 2)
            let answer = try await romeo.comeBack(to: next, loop: loop)
            #expect(answer.name == "resumed" && answer["h"] == "3")
            await romeo.client.send(message("4"))
            #expect(try await romeo.handled() == "4")
            #expect(try await juliet.comeBack(to: next).name == "resumed")
            #expect(try await juliet.bodies() == ["3", "4"])
            #expect(juliet.received == 4)
            #expect(try await romeo.stanzas().isEmpty)
            #expect(next.metric("kinglet_sessions_hibernating") == 0)
            await next.settle()
            #expect(try rows(next) == 0)
            #expect(try waiting(next) == 0)
            await next.stop()
        }
    }
    @Test("What a client sent as the server stopped counts once it is stored")
    func storedAtTheStop() async throws {
        try await withServer { server in
            try await server.addAccount("juliet")
            let romeo = try await ResumingClient(try await server.online(Self.romeo))
            let gate = await server.holdWriter()
            await romeo.client.send(message("1", to: Self.juliet))
            async let restarted = server.restart()
            try await romeo.expectShutdown()
            gate.signal()
            let next = try await restarted
            let answer = try await romeo.comeBack(to: next)
            #expect(answer.name == "resumed" && answer["h"] == "1")
            #expect(try await stored(next) == ["1"])
            await next.stop()
        }
    }

    @Test("Who comes for it while the server stops is told so, and gets it afterwards")
    func comingWhileStopping() async throws {
        try await withServer { server in
            let juliet = try await ResumingClient(try await server.online(Self.balcony))
            await juliet.client.drop()
            try await server.addAccount("romeo")
            server.host.endAllStreams()
            let answer = try await juliet.comeBack(to: server)
            #expect(answer.elements.first?.name == "system-shutdown")
            let late = try await server.connect()
            try await late.open()
            _ = try await late.scram(SCRAMClient(username: "romeo"))
            try await late.open()
            #expect(try await late.bind("orchard")["type"] == "result")
            try await late.expectStreamError(.systemShutdown)

            let next = try await server.restart()
            #expect(next.host.sessions.all.count == 1)
            #expect(try await juliet.comeBack(to: next).name == "resumed")
            await next.stop()
        }
    }

    @Test("What waited offline and was handed over in part comes once, and in order")
    func offlineMessages() async throws {
        try await withServer { server in
            let juliet = try await servedInPart(server)
            let next = try await server.restart()
            #expect(try waiting(next) == 60, "those that she has are deleted")
            try await juliet.comeBack(to: next)
            #expect(try await juliet.bodies() == (190..<200).map(String.init))
            await juliet.acknowledge()
            #expect(try await juliet.bodies() == (200..<250).map(String.init))
            await juliet.acknowledge()
            #expect(try await juliet.bodies() == ["live"])
            #expect(try waiting(next) == 0)
            #expect(next.metric("kinglet_offline_messages") == 0)
            await next.stop()
        }
    }

    @Test("Should its client not come back, the rest waits offline again")
    func offlineMessagesOfTheLost() async throws {
        try await withServer { server in
            _ = try await servedInPart(server)
            let next = try await server.restart()
            await next.loops[0].advanceTime(by: .seconds(601))
            await next.settle()
            #expect(next.host.sessions.all.isEmpty)
            let expected = (190..<250).map(String.init) + ["live"]
            #expect(try await stored(next) == expected)
            await next.stop()
        }
    }

    /// A client that has 190 of 250 messages that waited for it, and for which one more came.
    private func servedInPart(_ server: TestServer) async throws -> ResumingClient {
        try await server.addAccount("juliet")
        let romeo = try await server.online(Self.romeo)
        let messages = (0..<250).map { message("\($0)", to: Self.juliet) }
        await romeo.send(messages.joined())
        _ = try await romeo.pending()
        let juliet = try await ResumingClient(try await server.login(Self.balcony))
        await juliet.client.send("<presence/>")
        #expect(try await juliet.bodies() == (0..<200).map(String.init))
        await romeo.send(message("live"))
        #expect(try await juliet.bodies().isEmpty, "it must not overtake the others")
        await juliet.acknowledge(juliet.received - 10)
        _ = try await juliet.handled()
        juliet.forget(10)
        return juliet
    }

    // MARK: What others see

    @Test("Contacts and one's own clients hear nothing of it, and newcomers see who is there")
    func presence() async throws {
        try await withServer { server in
            let juliet = try await server.online(Self.balcony)
            let romeo = try await server.online(Self.romeo, priority: 3)
            try await befriend(juliet, romeo)
            let tablet = try await server.online("\(Self.juliet)/tablet", priority: -2)
            _ = try await juliet.pending()
            _ = try await romeo.pending()
            let clients = [
                try await ResumingClient(juliet), try await ResumingClient(romeo),
                try await ResumingClient(tablet),
            ]
            let next = try await server.restart(loops: 2)
            for client in clients {
                #expect(try await client.comeBack(to: next).name == "resumed")
                #expect(try await client.stanzas().isEmpty)
            }
            let newcomer = try await next.login("romeo@capulet.example/home")
            await newcomer.send("<presence/>")
            let seen = try await newcomer.pending().filter { $0.name == "presence" }
            let tablets = try #require(seen.first { $0["from"] == "\(Self.juliet)/tablet" })
            #expect(tablets.child("priority")?.text == "-2")
            #expect(
                Set(seen.compactMap { $0["from"] })
                    == [
                        Self.balcony, "\(Self.juliet)/tablet", Self.romeo,
                        "romeo@capulet.example/home",
                    ])
            await next.stop()
        }
    }

    @Test("A session that cannot be resumed ends, and those that can hear of it")
    func othersEnd() async throws {
        try await withServer { server in
            let juliet = try await server.online(Self.balcony)
            let nurse = try await server.online("nurse@capulet.example/kitchen")
            try await befriend(juliet, nurse)
            let resuming = try await ResumingClient(juliet)
            let next = try await server.restart()
            try await nurse.expectStreamError(.systemShutdown)
            #expect(next.host.sessions.all.count == 1)
            try await resuming.comeBack(to: next)
            let seen = try await resuming.stanzas()
            #expect(seen.count == 1)
            #expect(
                seen.first?.isPresence(from: "nurse@capulet.example/kitchen", "unavailable")
                    == true)
            await next.stop()
        }
    }

    @Test("A restored session that ends is gone for all who saw it, and its messages wait offline")
    func expiry() async throws {
        try await withServer { server in
            let juliet = try await server.online(Self.balcony)
            let romeo = try await server.online(Self.romeo)
            let nurse = try await server.online("nurse@capulet.example/kitchen")
            try await befriend(juliet, romeo)
            await juliet.send("<presence to='nurse@capulet.example/kitchen'/>")
            _ = try await juliet.pending()
            _ = try await nurse.pending()
            let lost = try await ResumingClient(juliet, max: 300)
            let resuming = [try await ResumingClient(romeo), try await ResumingClient(nurse)]
            await romeo.send(message("1"))
            _ = try await resuming[0].handled()
            let next = try await server.restart()
            for client in resuming { try await client.comeBack(to: next) }
            await resuming[0].client.send(message("2"))
            _ = try await resuming[0].handled()
            await next.loops[0].advanceTime(by: .seconds(200))
            for client in resuming { #expect(try await client.stanzas().isEmpty) }
            await next.loops[0].advanceTime(by: .seconds(101))
            for client in resuming {
                let seen = try await client.stanzas()
                #expect(seen.count == 1)
                #expect(
                    seen.first?.isPresence(from: Self.balcony, "unavailable") == true,
                    "RFC 6121 sections 4.5.2 and 4.6.3")
            }
            #expect(try rows(next) == 0)
            let answer = try await lost.comeBack(to: next)
            #expect(answer.name == "failed" && answer["h"] == "0")
            #expect(try await stored(next) == ["1", "2"])
            await next.stop()
        }
    }

    @Test(
        "Two that were to get the same message: it waits offline when both are gone, and only then",
        arguments: [false, true])
    func shared(_ isTaken: Bool) async throws {
        try await withServer { server in
            let romeo = try await server.online(Self.romeo)
            let balcony = try await ResumingClient(try await server.online(Self.balcony), max: 300)
            let chamber = try await ResumingClient(
                try await server.onlineWithCarbons("\(Self.juliet)/chamber"), max: 400)
            await romeo.send(
                "<message to='\(Self.balcony)' type='chat'><body>1</body></message>")
            await server.settle()
            let next = try await server.restart()
            if isTaken {
                try await balcony.comeBack(to: next)
                #expect(try await balcony.bodies() == ["1"])
                await balcony.acknowledge()
            }
            await next.loops[0].advanceTime(by: .seconds(301))
            await next.settle()
            #expect(try waiting(next) == 0, "another may yet get it")
            await next.loops[0].advanceTime(by: .seconds(100))
            await next.settle()
            #expect(try waiting(next) == (isTaken ? 0 : 1))
            #expect(chamber.received == 0)
            if !isTaken {
                #expect(try await stored(next) == ["1"], "the message, not the copy of it")
            }
            await next.stop()
        }
    }

    @Test("It gets what it asked for before the restart: pushes of the roster")
    func flags() async throws {
        try await withServer { server in
            let juliet = try await ResumingClient(try await server.online(Self.balcony))
            let next = try await server.restart()
            try await juliet.comeBack(to: next)
            let tablet = try await next.login("\(Self.juliet)/tablet")
            _ = try await tablet.request(
                "set",
                "<query xmlns='jabber:iq:roster'><item jid='nurse@capulet.example'/></query>")
            let push = try #require(try await juliet.stanzas().first)
            #expect(push.child("query", "jabber:iq:roster")?.elements.count == 1)
            await next.stop()
        }
    }

    @Test("It is as old as it was, and comes from where it did")
    func age() async throws {
        try await withServer { server in
            let juliet = try await ResumingClient(try await server.online(Self.balcony))
            let session = try #require(server.host.sessions.session(try JID(Self.balcony)))
            let since = session.since - 86_400
            let next = try await server.restart { stopped in
                try stopped.host.database.writeNow { connection in
                    let written = try connection.first(
                        "SELECT since FROM suspended_sessions"
                    ) { $0.integer(0) }
                    #expect(written == session.since)
                    try connection.execute(
                        "UPDATE suspended_sessions SET since = ?", .integer(since))
                }
            }
            let restored = try #require(next.host.sessions.session(try JID(Self.balcony)))
            #expect(restored.since == since && restored.address == session.address)
            try await juliet.comeBack(to: next)
            let again = try await next.restart()
            #expect(again.host.sessions.all.map(\.since) == [since])
            for server in [again, next] { await server.stop() }
        }
    }

    // MARK: Crashes, and restarts in a row

    @Test("After a crash nothing is restored: its messages wait offline, once")
    func crash() async throws {
        try await withServer { server in
            let romeo = try await server.online(Self.romeo)
            let juliet = try await ResumingClient(try await server.online(Self.balcony))
            await romeo.send(message("1"))
            _ = try await romeo.pending()
            await juliet.client.send("<presence/>")
            #expect(try await juliet.handled() == "1")
            let restarted = try await server.restart()
            let crashed = try TestServer(over: restarted)
            await crashed.host.restoreSessions()
            #expect(crashed.host.sessions.all.isEmpty)
            #expect(crashed.metric("kinglet_suspensions_total{result=\"dropped\"}") == 1)
            #expect(try rows(crashed) == 0)
            let answer = try await juliet.comeBack(to: crashed)
            #expect(answer.name == "failed" && answer["h"] == "1")
            let again = try TestServer(over: crashed)
            await again.host.restoreSessions()
            #expect(try await stored(again) == ["1"])
            for server in [again, crashed, restarted] { await server.stop() }
        }
    }

    @Test("After a crash what was handed over from the offline store is still there, once")
    func crashAmongOfflineMessages() async throws {
        try await withServer { server in
            _ = try await servedInPart(server)
            let restarted = try await server.restart()
            let crashed = try TestServer(over: restarted)
            await crashed.host.restoreSessions()
            #expect(try await stored(crashed) == (190..<250).map(String.init) + ["live"])
            for server in [crashed, restarted] { await server.stop() }
        }
    }

    @Test("Once it is resumed, nothing of it is restored again")
    func crashAfterResumption() async throws {
        try await withServer { server in
            let romeo = try await server.online(Self.romeo)
            let juliet = try await ResumingClient(try await server.online(Self.balcony))
            await romeo.send(message("1"))
            _ = try await romeo.pending()
            let restarted = try await server.restart()
            try await juliet.comeBack(to: restarted)
            #expect(try await juliet.bodies() == ["1"])
            await juliet.acknowledge()
            _ = try await juliet.handled()
            let crashed = try TestServer(over: restarted)
            await crashed.host.restoreSessions()
            #expect(crashed.metric("kinglet_suspensions_total{result=\"dropped\"}") == 0)
            #expect(try await stored(crashed).isEmpty)
            for server in [crashed, restarted] { await server.stop() }
        }
    }

    @Test("It outlives several restarts in a row, with what came between them")
    func severalRestarts() async throws {
        try await withServer { first in
            let juliet = try await ResumingClient(try await first.online(Self.balcony))
            let romeo = try await ResumingClient(try await first.online(Self.romeo))
            await romeo.client.send(message("0"))
            _ = try await romeo.handled()
            var server = first
            for number in 1...3 {
                server = try await server.restart()
                #expect(try await romeo.comeBack(to: server)["h"] == "\(number)")
                await romeo.client.send(message("\(number)"))
                _ = try await romeo.handled()
            }
            #expect(try await juliet.comeBack(to: server).name == "resumed")
            #expect(try await juliet.bodies() == ["0", "1", "2", "3"])
            await server.stop()
        }
    }

    // MARK: Time

    @Test(
        "It waits for the rest of its time, whatever the clock did",
        arguments: [
            // Asked for, hibernating before the stop, the clock's way until the start, the rest.
            (600, 0, 100, 500), (600, 400, 100, 100), (600, 400, 190, 60), (600, 0, 300_000, 60),
            (600, 0, -300_000, 600), (10, 0, 5, 10), (600, 0, 0, 600),
        ])
    func time(_ wanted: Int, _ hibernating: Int, _ away: Int64, _ rest: Int64) async throws {
        try await withServer { server in
            let juliet = try await ResumingClient(
                try await server.online(Self.balcony), max: wanted)
            if hibernating > 0 {
                await juliet.client.drop()
                await server.loops[0].advanceTime(by: .seconds(Int64(hibernating)))
            }
            let next = try await server.restart { stopped in
                try stopped.host.database.writeNow { connection in
                    try connection.execute(
                        "UPDATE suspended_sessions SET suspended = ?",
                        .integer(Clock.secondsSince1970() - away))
                }
            }
            // The test itself takes time.
            await next.loops[0].advanceTime(by: .seconds(max(0, rest - 20)))
            #expect(next.host.sessions.all.count == 1)
            await next.loops[0].advanceTime(by: .seconds(21))
            #expect(next.host.sessions.all.isEmpty)
            await next.stop()
        }
    }

    // MARK: Bounds

    @Test("An account that is removed while the server is down leaves nothing")
    func removed() async throws {
        try await withServer { server in
            let romeo = try await ResumingClient(try await server.online(Self.romeo))
            let juliet = try await ResumingClient(try await server.online(Self.balcony))
            await romeo.client.send(message("1"))
            _ = try await romeo.handled()
            let next = try await server.restart { stopped in
                let jid = try BareJID(Self.juliet)
                try await withCheckedThrowingContinuation { continuation in
                    stopped.host.removeAccount(jid) { continuation.resume(with: $0.map { _ in }) }
                }
            }
            #expect(next.host.sessions.all.map(\.jid.description) == [Self.romeo])
            try await next.addAccount("juliet")
            #expect(try await juliet.comeBack(to: next).name == "failed")
            #expect(try await stored(next).isEmpty)
            #expect(try await romeo.comeBack(to: next).name == "resumed")
            await next.settle()
            #expect(try rows(next) == 0)
            await next.stop()
        }
    }

    @Test("The sessions of an account that is disabled meanwhile end, and contacts hear of it")
    func disabled() async throws {
        try await withServer { server in
            let juliet = try await server.online(Self.balcony)
            let romeo = try await server.online(Self.romeo)
            try await befriend(juliet, romeo)
            _ = try await ResumingClient(juliet)
            let resuming = try await ResumingClient(romeo)
            await romeo.send(message("1"))
            _ = try await resuming.handled()
            let next = try await server.restart { try await $0.disable(Self.juliet) }
            #expect(next.host.sessions.all.count == 1)
            try await resuming.comeBack(to: next)
            let seen = try await resuming.stanzas()
            #expect(seen.count == 1)
            #expect(seen.first?.isPresence(from: Self.balcony, "unavailable") == true)
            #expect(try waiting(next) == 1)
            await next.stop()
        }
    }

    @Test("What is too much to write ends, the largest first, and its messages wait offline")
    func limit() async throws {
        try await withServer("limits.suspended_sessions=4KiB") { server in
            let juliet = try await ResumingClient(try await server.online(Self.balcony))
            let nurse = try await ResumingClient(
                try await server.online("nurse@capulet.example/kitchen"))
            let romeo = try await server.online(Self.romeo)
            let long = String(repeating: "x", count: 5000)
            await romeo.send(message(long))
            _ = try await romeo.pending()
            let next = try await server.restart()
            #expect(server.refusals(.suspendedSessions) == 1)
            #expect(try await juliet.comeBack(to: next).name == "failed")
            #expect(try await nurse.comeBack(to: next).name == "resumed")
            #expect(try await stored(next) == [long])
            await next.stop()
        }
    }

    @Test("A session that has no place any more ends, and another of its user gets its messages")
    func noPlace() async throws {
        try await withServer { server in
            let juliet = try await ResumingClient(try await server.online(Self.balcony))
            let tablet = try await ResumingClient(
                try await server.online("\(Self.juliet)/tablet"))
            let romeo = try await server.online(Self.romeo)
            await romeo.send(message("1", to: "\(Self.juliet)/tablet"))
            _ = try await romeo.pending()
            let next = try await server.restart("limits.resources=1")
            #expect(next.metric("kinglet_suspensions_total{result=\"dropped\"}") == 1)
            #expect(try await tablet.comeBack(to: next).name == "failed")
            try await juliet.comeBack(to: next)
            #expect(try await juliet.bodies() == ["1"])
            #expect(try rows(next) == 0)
            await next.stop()
        }
    }

    @Test("A disk that takes nothing: the server stops all the same")
    func diskFull() async throws {
        try await withServer { server in
            let juliet = try await ResumingClient(try await server.online(Self.balcony))
            try server.refuse("INSERT", on: "suspended_sessions")
            let next = try await server.restart()
            #expect(next.host.sessions.all.isEmpty)
            #expect(try await juliet.comeBack(to: next).name == "failed")
            await next.stop()
        }
    }
}
