// Stanzas of other domains that only the database can answer: who may know of an account that is
// offline, or does not exist.

import Testing
import XML

@testable import Engine

@Suite("Questions of other domains that the database answers")
struct LookupLimitTests {
    private let juliet = "juliet@capulet.example"
    private let nobody = "nobody@capulet.example"

    private func probe(_ sender: String, _ to: String) -> String {
        "<presence type='probe' from='\(sender)@montague.example/x' to='\(to)'/>"
    }

    private func request(_ number: Int, _ sender: String, _ payload: String) -> String {
        "<iq type='get' id='q\(number)' from='\(sender)@montague.example/x' to='\(nobody)'>"
            + "\(payload)</iq>"
    }

    private static let questions = [
        "", "<ping xmlns='urn:xmpp:ping'/>", "<query xmlns='jabber:iq:last'/>",
        "<query xmlns='http://jabber.org/protocol/disco#info'/>",
    ]

    @Test(
        "So many of a stream's are open at one time, each unhandled until then (XEP-0198 section 4)",
        arguments: questions)
    func held(payload: String) async throws {
        try await withPeer(
            "limits.unstored=4", "federation.stranger_rate=1000"
        ) { server, peer in
            let before = await peer.handled()
            let gate = await server.holdReaders()
            for number in 0..<20 {
                await peer.send(
                    payload.isEmpty
                        ? probe("m\(number)", nobody) : request(number, "m\(number)", payload))
            }
            #expect(await peer.handled() == before)
            #expect(await peer.isPaused())
            gate.open()
            for _ in 0..<20 { _ = try await peer.next() }
            await server.settle()
            #expect(await peer.isPaused() == false)
            #expect(await peer.handled() == before + 20)
        }
    }

    @Test("Strangers may ask so often a minute, whether the account exists or not (RFC 6121 8.5.1)")
    func strangers() async throws {
        try await withPeer("federation.stranger_rate=2") { server, peer in
            try await server.addAccount("tybalt")
            for to in [nobody, "tybalt@capulet.example"] {
                let sender = to == nobody ? "paris" : "mercutio"
                for _ in 0..<4 { await peer.send(probe(sender, to)) }
                let refusals = try await peer.pending()
                #expect(refusals.map { $0["type"] } == ["unsubscribed", "unsubscribed"])
                #expect(refusals.allSatisfy { $0["from"] == to })
            }
            for (index, payload) in Self.questions.dropFirst().enumerated() {
                for number in 0..<3 {
                    await peer.send(request(number, "m\(index)", payload))
                }
                let answers = try await peer.pending()
                #expect(answers.allSatisfy { $0["type"] == "error" })
                let refused = answers.filter { $0.condition == "resource-constraint" }
                #expect(refused.map { $0["id"] } == ["q2"])
                #expect(refused.first?.errorType == "wait")
            }
            #expect(server.metric("kinglet_server_refused_strangers_total") == 7)
        }
    }

    @Test("Contacts ask as often as they like; questions leave messages their allowance")
    func contacts() async throws {
        try await withPeer("federation.stranger_rate=2") { server, peer in
            let client = try await server.online("\(juliet)/balcony")
            try await befriend(client, "romeo@montague.example", at: peer)
            for _ in 0..<10 { await peer.send(probe("romeo", juliet)) }
            let answers = try await peer.pending()
            #expect(answers.count == 10)
            #expect(answers.allSatisfy { $0.isPresence(from: "\(juliet)/balcony") })

            for _ in 0..<10 { await peer.send(probe("paris", juliet)) }
            for body in ["1", "2"] {
                await peer.send(
                    "<message from='paris@montague.example/x' to='\(juliet)' type='chat'>"
                        + "<body>\(body)</body></message>")
            }
            #expect(try await client.pending().compactMap(\.body) == ["1", "2"])
        }
    }
}
