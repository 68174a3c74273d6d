// Stanzas of other domains that only the database can answer: who may know of an account that is
// offline, or does not exist.

import Testing
import XML

@testable import Engine

@Suite("Questions of other domains that the database answers")
struct LookupLimitTests {
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
}
