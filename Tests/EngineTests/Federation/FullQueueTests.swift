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

    private func message(_ number: Int) -> String {
        "<message to='benvolio@montague.example' id='m\(number)' type='chat'>"
            + "<body>\(number)</body></message>"
    }

    @Test("While the domain takes stanzas, who sends more is read more slowly, and nothing is lost")
    func slowly() async throws {
        try await withPeer("federation.queue_stanzas=8") { server, peer in
            let romeo = try await server.online("romeo@\(TestServer.domain)/orchard")
            func send(_ numbers: ClosedRange<Int>) async {
                for number in numbers {
                    await romeo.send(message(number))
                    await server.settle()
                }
            }
            await send(1...5)
            #expect(await !romeo.isPaused())
            // More than half of what may wait does.
            await send(6...16)
            #expect(await romeo.isPaused())
            #expect(server.refusals(.remoteQueue) == 1)
            #expect(server.metric("kinglet_server_queue_stanzas") == 6)
            for number in 1...6 { #expect(try await peer.next().body == "\(number)") }
            await peer.acknowledge(3)
            #expect(await romeo.isPaused())
            await peer.acknowledge(4)
            await server.settle()
            for number in 7...16 {
                #expect(try await peer.next().body == "\(number)")
                await peer.acknowledge(number)
                // Whoever has something to say to others must not wait long for this domain.
                await romeo.pass(.seconds(1))
                await server.settle()
            }
            #expect(try await romeo.pending().isEmpty)
            #expect(server.metric("kinglet_server_queue_refusals_total") == 0)
        }
    }

    @Test("A component is not held up by one domain: its stream bears what all its users say")
    func component() async throws {
        let server = try TestServer([
            "federation.policy=open", "federation.queue_stanzas=2", TestComponent.setting,
        ])
        let component = try await TestComponent.attached(to: server)
        let peer = try await EstablishedPeer(server, from: TestComponent.domain)
        for number in 1...6 {
            await component.send(
                "<message from='nurse@\(TestComponent.domain)' type='headline'"
                    + " to='benvolio@montague.example'><body>\(number)</body></message>")
        }
        for number in 1...6 { #expect(try await peer.next().body == "\(number)") }
        #expect(await !component.isPaused())
        #expect(server.refusals(.remoteQueue) == 0)
        await server.stop()
    }

    @Test("Nobody waits longer than a second for a domain that acknowledges nothing")
    func oneSecond() async throws {
        try await withPeer("federation.queue_stanzas=2") { server, peer in
            let romeo = try await server.online("romeo@\(TestServer.domain)/orchard")
            for number in 1...4 {
                await romeo.send(message(number))
                await server.settle()
            }
            #expect(await romeo.isPaused())
            await romeo.pass(.seconds(1))
            await server.settle()
            for number in 1...4 { #expect(try await peer.next().body == "\(number)") }
        }
    }
}
