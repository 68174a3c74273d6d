// What an owner sees of sessions that wait, of archives and of stanzas that are kept back: every
// number goes up for its own reason alone, and gauges come back to where they began.

import Addresses
import Dispatch
import Engine
import NIOCore
import NIOEmbedded
import Testing
import XML
import XMPP

@Suite("Metrics of sessions, archives and held stanzas")
struct MetricsTests {
    private static let juliet = "juliet@capulet.example"
    private static let balcony = "juliet@capulet.example/balcony"
    private static let romeo = "romeo@capulet.example/orchard"
    private static let mam = "urn:xmpp:mam:2"

    private func messages(_ count: Int, to: String = balcony) -> String {
        (0..<count).map { "<message to='\(to)' type='chat'><body>\($0)</body></message>" }.joined()
    }

    // MARK: Stream management (XEP-0198)

    private func unacknowledged(_ server: TestServer) -> Double? {
        server.metric("kinglet_unacknowledged_stanzas")
    }

    private func resumptions(_ server: TestServer, _ result: ResumptionLabel) -> Double? {
        server.metric("kinglet_resumptions_total{result=\"\(result.rawValue)\"}")
    }

    @Test("A session hibernates, is resumed, and expires; a resumption of nothing fails")
    func hibernation() async throws {
        try await withServer(loops: 2) { server in
            let juliet = try await ResumingClient(
                try await server.online(Self.balcony), max: 60)
            func expect(
                hibernated: Double, now: Double, resumed: Double, expired: Double, failed: Double,
                sourceLocation: SourceLocation = #_sourceLocation
            ) async {
                await server.settle()
                let found = [
                    server.metric("kinglet_hibernations_total"),
                    server.metric("kinglet_sessions_hibernating"),
                    resumptions(server, .resumed), resumptions(server, .expired),
                    resumptions(server, .failed),
                ]
                #expect(
                    found == [hibernated, now, resumed, expired, failed],
                    sourceLocation: sourceLocation)
            }
            await expect(hibernated: 0, now: 0, resumed: 0, expired: 0, failed: 0)
            // From a stream that is still there, it does not wait for anybody.
            try await juliet.comeBack(to: server, loop: 1)
            await expect(hibernated: 0, now: 0, resumed: 1, expired: 0, failed: 0)
            await juliet.client.drop()
            await expect(hibernated: 1, now: 1, resumed: 1, expired: 0, failed: 0)
            try await juliet.comeBack(to: server)
            await expect(hibernated: 1, now: 0, resumed: 2, expired: 0, failed: 0)
            await juliet.client.drop()
            await expect(hibernated: 2, now: 1, resumed: 2, expired: 0, failed: 0)
            await server.loops[0].advanceTime(by: .seconds(61))
            await expect(hibernated: 2, now: 0, resumed: 2, expired: 1, failed: 0)
            try await juliet.comeBack(to: server)
            await expect(hibernated: 2, now: 0, resumed: 2, expired: 1, failed: 1)
        }
    }

    @Test("Nothing is unacknowledged once a client has acknowledged on another loop")
    func acknowledgedElsewhere() async throws {
        try await withServer(loops: 2) { server in
            let juliet = try await ResumingClient(try await server.online(Self.balcony))
            let romeo = try await server.online(Self.romeo, loop: 1)
            await romeo.send(messages(3))
            #expect(try await juliet.bodies().count == 3)
            await juliet.client.drop()
            await romeo.send(messages(2))
            await server.settle()
            #expect(unacknowledged(server) == 5)
            try await juliet.comeBack(to: server, loop: 1)
            #expect(try await juliet.bodies().count == 2)
            #expect(unacknowledged(server) == 2, "the resumption acknowledged three")
            try await juliet.comeBack(to: server)
            await juliet.acknowledge()
            await server.settle()
            #expect(unacknowledged(server) == 0)
        }
    }

    @Test("Nothing is unacknowledged once sessions have ended, whatever ended them")
    func ended() async throws {
        try await withServer("limits.unacknowledged=100", "limits.hibernation=60s", loops: 2) {
            server in
            let romeo = try await server.online(Self.romeo, loop: 1)
            for (turn, name) in ["hoarder", "leaver", "sleeper", "rebel"].enumerated() {
                let jid = "\(name)@capulet.example/phone"
                let client = try await ResumingClient(try await server.online(jid))
                await romeo.send(messages(100, to: jid))
                await server.settle()
                #expect(unacknowledged(server) == 100)
                switch turn {
                case 0:
                    await romeo.send(messages(1, to: jid))
                    await server.settle()
                    #expect(server.refusals(.unacknowledged) == 1)
                case 1:
                    await client.client.send("</stream:stream>")
                case 2:
                    await client.client.drop()
                    await server.loops[0].advanceTime(by: .seconds(61))
                    #expect(resumptions(server, .expired) == 1)
                default:
                    await client.client.drop()
                    let session = try #require(server.host.sessions.session(try JID(jid)))
                    session.terminate(StreamError(.policyViolation))
                }
                try await server.wait { server.host.sessions.all.count == 1 }
                await server.settle()
                #expect(unacknowledged(server) == 0, "\(name)")
            }
        }
    }

    @Test("What a session takes over a restart is counted where it is, until it is over")
    func restarted() async throws {
        try await withServer(loops: 2) { server in
            let tablet = "\(Self.juliet)/tablet"
            let lost = try await server.online(tablet, loop: 1)
            let juliet = try await ResumingClient(try await server.online(Self.balcony))
            _ = try await lost.pending()
            _ = try await ResumingClient(lost, max: 300)
            let romeo = try await server.online(Self.romeo)
            await romeo.send(messages(3) + messages(4, to: tablet))
            await server.settle()
            #expect(unacknowledged(server) == 7)
            let next = try await server.restart(loops: 2)
            #expect(unacknowledged(server) == 0)
            #expect(unacknowledged(next) == 7)
            #expect(next.metric("kinglet_hibernations_total") == 2)
            try await juliet.comeBack(to: next, loop: 1)
            #expect(try await juliet.bodies().count == 3)
            await juliet.acknowledge()
            await next.settle()
            #expect(unacknowledged(next) == 4)
            // Hers first: once she has something to acknowledge, no more time is to pass for her.
            for loop in next.loops.reversed() { await loop.advanceTime(by: .seconds(301)) }
            try await next.wait { next.host.sessions.all.count == 1 }
            // The tablet's go to the client that is there, which acknowledges them.
            _ = try await juliet.bodies()
            await juliet.acknowledge()
            await next.settle()
            #expect(unacknowledged(next) == 0)
            await next.stop()
        }
    }

    // MARK: Archives (XEP-0313)

    private func count(_ server: TestServer, _ kind: String) -> Double? {
        server.metric("kinglet_archive_query_seconds_count{kind=\"\(kind)\"}")
    }

    /// Lets the minute pass after which the archives are counted anew.
    private func passMinute(_ server: TestServer) async {
        await server.loops[0].advanceTime(by: .seconds(61))
    }

    @Test("Entries and bytes of all archives, settled or not, and what was removed")
    func archives() async throws {
        try await withServer { server in
            try await server.addAccount("nurse")
            let juliet = try await server.online(Self.balcony)
            let romeo = try await server.online(Self.romeo)
            await juliet.send(
                messages(2, to: Self.romeo) + messages(1, to: "nurse@capulet.example")
                    + messages(1, to: Self.juliet))
            await romeo.send(messages(1))
            await server.settle()
            func bytes() throws -> Double {
                try ["juliet", "romeo", "nurse"].reduce(0) { sum, name in
                    let jid = try BareJID("\(name)@capulet.example")
                    guard let sizes = try server.host.accountAndSizes(of: jid)?.sizes else {
                        return sum
                    }
                    let own = sizes.first { $0.name == "archive_bytes" }
                    return sum + Double(try #require(own).value)
                }
            }
            // One entry each of sender and receiver, and one of the note to oneself.
            await passMinute(server)
            try await server.wait { server.metric("kinglet_archive_messages") == 9 }
            #expect(server.metric("kinglet_archive_bytes") == (try bytes()))
            await withCheckedContinuation { continuation in
                server.host.settleAllMessages { continuation.resume() }
            }
            await romeo.send(messages(1))
            await server.settle()
            await passMinute(server)
            try await server.wait { server.metric("kinglet_archive_messages") == 11 }
            #expect(server.metric("kinglet_archive_bytes") == (try bytes()))

            #expect(server.metric("kinglet_archive_removed_total") == 0)
            let jid = try BareJID(Self.juliet)
            await withCheckedContinuation { continuation in
                server.host.removeAccount(jid) { _ in continuation.resume() }
            }
            try await server.wait { server.metric("kinglet_archive_messages") == 5 }
            #expect(server.metric("kinglet_archive_removed_total") == 6)
            #expect(server.metric("kinglet_archive_bytes") == (try bytes()))
        }
    }

    @Test("What is too much is removed, and counted")
    func retention() async throws {
        try await withServer("archive.max_size=1") { server in
            let juliet = try await server.online(Self.balcony)
            try await server.addAccount("romeo")
            await juliet.send(messages(3, to: "romeo@capulet.example"))
            await server.settle()
            await withCheckedContinuation { continuation in
                server.host.settleAllMessages { continuation.resume() }
            }
            await passMinute(server)
            try await server.wait { server.metric("kinglet_archive_removed_total") == 6 }
            try await server.wait { server.metric("kinglet_archive_messages") == 0 }
            #expect(server.metric("kinglet_archive_bytes") == 0)
        }
    }

    @Test("The time of a query is counted under what it was for")
    func queries() async throws {
        try await withServer { server in
            let juliet = try await server.online(Self.balcony)
            let form =
                "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>"
                + "<value>\(Self.mam)</value></field><field var='withtext'><value>rose</value>"
                + "</field></x>"
            let empty = "<set xmlns='http://jabber.org/protocol/rsm'><max>0</max></set>"
            let queries = [
                ("page", "set", "<query xmlns='\(Self.mam)'/>"),
                ("search", "set", "<query xmlns='\(Self.mam)'>\(form)</query>"),
                ("count", "set", "<query xmlns='\(Self.mam)'>\(empty)</query>"),
                ("metadata", "get", "<metadata xmlns='\(Self.mam)'/>"),
            ]
            for (kind, _, _) in queries { #expect(count(server, kind) == 0) }
            for (kind, type, query) in queries {
                #expect(try await juliet.request(type, query)["type"] == "result")
                #expect(count(server, kind) == 1, "\(kind)")
            }
            #expect(queries.reduce(0) { $0 + (count(server, $1.0) ?? 0) } == 4)
        }
    }

    @Test("More queries than may wait are refused, and counted")
    func refusedQueries() async throws {
        try await withServer { server in
            let juliet = try await server.online(Self.balcony)
            let gate = await server.holdWriter()
            let queries = (0..<30).map {
                "<iq type='set' id='q\($0)'><query xmlns='\(Self.mam)'/></iq>"
            }
            // The message has to be stored before they are answered.
            await juliet.send(messages(1, to: "romeo@capulet.example") + queries.joined())
            // One is at work, twenty wait.
            #expect(server.metric("kinglet_archive_queries_refused_total") == 9)
            gate.signal()
            _ = try await juliet.first { $0["id"] == "q20" && $0["type"] == "result" }
            #expect(count(server, "page") == 21)
            #expect(server.metric("kinglet_archive_queries_refused_total") == 9)
        }
    }

    // MARK: Client state indication (XEP-0352)

    private func held(_ server: TestServer, _ kind: String) -> Double? {
        server.metric("kinglet_csi_held_total{kind=\"\(kind)\"}")
    }

    private func flushed(_ server: TestServer, _ reason: HolderRelease) -> Double? {
        server.metric("kinglet_csi_flushed_total{reason=\"\(reason.rawValue)\"}")
    }

    private func show(_ text: String) -> String { "<presence><show>\(text)</show></presence>" }

    private let composing =
        "<message to='juliet@capulet.example/balcony' type='chat'>"
        + "<composing xmlns='http://jabber.org/protocol/chatstates'/></message>"

    @Test("What is kept back is counted by kind, and by why it was sent after all or never")
    func clientState() async throws {
        try await withServer { server in
            let juliet = try await server.online(Self.balcony)
            let romeo = try await server.online(Self.romeo)
            try await befriend(juliet, romeo)
            await juliet.send("<inactive xmlns='urn:xmpp:csi:0'/>")
            #expect(server.metric("kinglet_sessions_inactive") == 1)

            await romeo.send(show("away") + composing + show("xa"))
            await server.settle()
            #expect(held(server, "presence") == 2 && held(server, "chat_state") == 1)
            #expect(server.metric("kinglet_csi_superseded_total{kind=\"presence\"}") == 1)
            await romeo.send(messages(1))
            _ = try await juliet.first { $0.body == "0" }
            #expect(flushed(server, .overtaken) == 2)

            await romeo.send(show("dnd"))
            await server.settle()
            await juliet.send("<active xmlns='urn:xmpp:csi:0'/>")
            _ = try await juliet.first { $0.name == "presence" }
            #expect(flushed(server, .active) == 1)
            #expect(server.metric("kinglet_sessions_inactive") == 0)

            await juliet.send("<inactive xmlns='urn:xmpp:csi:0'/>")
            await romeo.send(show("chat"))
            await server.settle()
            await juliet.drop()
            try await server.wait { server.host.sessions.all.count == 1 }
            await server.settle()
            #expect(flushed(server, .streamEnd) == 1)
            #expect(server.metric("kinglet_sessions_inactive") == 0)
            #expect(held(server, "presence") == 4 && flushed(server, .overtaken) == 2)
            #expect(flushed(server, .full) == 0)
        }
    }

    @Test("As much as is kept back at most goes out because of that")
    func tooMuchHeld() async throws {
        try await withServer("limits.held_stanzas=2") { server in
            let juliet = try await server.online(Self.balcony)
            let romeo = try await server.online(Self.romeo)
            try await befriend(juliet, romeo)
            await juliet.send("<inactive xmlns='urn:xmpp:csi:0'/>")
            await romeo.send(show("away") + composing)
            _ = try await juliet.first { $0.name == "message" }
            #expect(flushed(server, .full) == 2)
            #expect(server.metric("kinglet_sessions_inactive") == 1)
        }
    }
}
