import NIOCore
import Testing
import XML
import XMPP

@testable import Engine

@Suite("Too much waits for another domain")
struct FullQueueTests {
    @Test("Its senders hear of it (RFC 6120 section 8.3.3.17), and it is counted")
    func refusal() async throws {
        try await withServer(
            "federation.policy=open", "federation.queue_stanzas=2"
        ) { server in
            let romeo = try await server.online("romeo@\(TestServer.domain)/orchard")
            // Nobody connects here: all of it waits.
            for number in 0..<4 {
                await romeo.send(
                    "<message to='benvolio@montague.example' id='m\(number)' type='chat'>"
                        + "<body>\(number)</body></message>")
                await server.settle()
                // Where much waits already, its sender is read once a second.
                await romeo.pass(.seconds(1))
            }
            for number in 2..<4 {
                let answer = try await romeo.next()
                #expect(answer["id"] == "m\(number)")
                #expect(answer.condition == "resource-constraint")
            }
            #expect(server.metric("kinglet_server_queue_stanzas") == 2)
            #expect(server.metric("kinglet_server_queue_refusals_total") == 2)
        }
    }
}
