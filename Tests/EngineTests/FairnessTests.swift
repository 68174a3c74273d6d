import Dispatch
import NIOCore
import Synchronization
import Testing
import XML
import XMPP

@testable import Engine

@Suite("One client cannot take what belongs to all")
struct FairnessTests {
    private static let juliet = "juliet@capulet.example/balcony"
    private static let romeo = "romeo@capulet.example/orchard"

    private func ping(_ id: Int) -> String {
        "<iq type='get' id='\(id)'><ping xmlns='urn:xmpp:ping'/></iq>"
    }

    @Test("A bucket gives four seconds' worth at once, then its rate")
    func bucket() throws {
        let start = NIODeadline.uptimeNanoseconds(1_000_000_000)
        var bucket = TokenBucket(rate: 10, now: start)
        func take(_ count: Int, rate: Int = 10, now: NIODeadline) -> TimeAmount? {
            bucket.take(count, rate: rate, now: now)
        }
        #expect(take(40, now: start) == nil)
        #expect(take(1, now: start) == .milliseconds(100))
        #expect(take(1, now: start + .milliseconds(300)) == nil)
        #expect(take(2, now: start + .milliseconds(300)) == .milliseconds(100))
        let later = start + .hours(24 * 365)
        #expect(take(40, now: later) == nil, "no more than it holds")
        #expect(take(1, now: later) == .milliseconds(100))
        #expect(take(5, rate: 1_000_000, now: later + .seconds(1)) == nil, "a new rate")
    }

    @Test("A client with too many stanzas is read more slowly, and loses none")
    func stanzas() async throws {
        try await withServer("limits.stanza_rate=10") { server in
            let client = try await server.login(Self.juliet)
            await client.send((1...60).map(ping).joined())
            for id in 1...41 { #expect(try await client.next()["id"] == "\(id)") }
            #expect(client.hasNothing)
            #expect(await client.isPaused())
            #expect(server.refusals(.stanzaRate) == 1)
            await client.pass(.milliseconds(500))
            for id in 42...44 { #expect(try await client.next()["id"] == "\(id)") }
            await client.pass(.seconds(10))
            for id in 45...60 { #expect(try await client.next()["id"] == "\(id)") }
            #expect(await !client.isPaused())
        }
    }

    @Test("So is one with too many bytes, while another is served")
    func bytes() async throws {
        try await withServer("limits.byte_rate=1KiB") { server in
            let client = try await server.login(Self.juliet)
            let other = try await server.login(Self.romeo)
            let text = String(repeating: "x", count: 5000)
            await client.send("<message to='\(Self.romeo)'><body>\(text)</body></message>")
            #expect(try await other.next().body == text)
            #expect(await client.isPaused())
            #expect(server.refusals(.byteRate) == 1)
            await client.send(ping(1))
            #expect(client.hasNothing)
            await client.pass(.seconds(2))
            #expect(try await client.next()["id"] == "1")
            #expect(try await other.pending().isEmpty)
        }
    }

    @Test("A client whose writes wait for the disk is not read until half of them are stored")
    func unstored() async throws {
        try await withServer("limits.unstored=4") { server in
            try await server.addAccount("nurse")
            let client = try await server.login(Self.juliet)
            let other = try await server.login(Self.romeo)
            let gate = await server.holdWriter()
            let messages = (1...9).map {
                "<message to='nurse@capulet.example' id='\($0)'><body/></message>"
            }
            await client.send(messages.joined() + ping(10))
            #expect(await client.isPaused())
            #expect(server.refusals(.unstored) == 1)
            #expect(client.hasNothing)
            await other.send(ping(1))
            #expect(try await other.next()["id"] == "1", "others are served")
            gate.signal()
            #expect(try await client.next()["id"] == "10", "nothing is lost")
            #expect(await !client.isPaused())
            await server.settle()
            #expect(server.metric("kinglet_offline_messages") == 9)
        }
    }

    @Test("A paused client has its time to finish a stanza all the same")
    func deadline() async throws {
        try await withServer("limits.byte_rate=1KiB", "limits.negotiation=2s") { server in
            let client = try await server.login(Self.juliet)
            let text = String(repeating: "x", count: 8000)
            await client.send("<message to='\(Self.juliet)'><body>\(text)")
            #expect(await client.isPaused())
            await client.pass(.seconds(5))
            await client.send("</body></message>")
            #expect(try await client.next().body == text)
        }
    }

    @Test("What a slow client does not read waits, and comes in order when it reads again")
    func waiting() async throws {
        try await withServer { server in
            let slow = try await server.login(Self.juliet)
            let other = try await server.login(Self.romeo)
            await slow.setWritable(false)
            for number in 1...3 {
                await other.send(
                    "<message to='\(Self.juliet)'><body>\(number)</body></message>")
            }
            await server.settle()
            #expect(slow.hasNothing)
            await slow.setWritable(true)
            for number in 1...3 { #expect(try await slow.next().body == "\(number)") }
        }
    }

    @Test("Too much for a slow client ends it; its messages wait for its next login, in order")
    func slowReader() async throws {
        try await withServer("limits.outgoing_queue=64KiB") { server in
            let slow = try await server.online(Self.juliet)
            let other = try await server.online(Self.romeo)
            await slow.setWritable(false)
            let text = String(repeating: "x", count: 9000)
            for number in 1...8 {
                await other.send(
                    "<message type='chat' to='\(Self.juliet)' id='\(number)'>"
                        + "<body>\(text)</body></message>")
            }
            try await slow.expectStreamError(.resourceConstraint)
            #expect(server.refusals(.slowReader) == 1)
            #expect(try await other.pending().isEmpty)
            let back = try await server.login("juliet@capulet.example/garden")
            await back.send("<presence/>")
            for number in 1...8 {
                let message = try await back.first { $0.name == "message" }
                #expect(message["id"] == "\(number)")
            }
        }
    }

    @Test("A request that a slow client never read is answered for it when it goes")
    func requests() async throws {
        try await withServer { server in
            let slow = try await server.login(Self.juliet)
            let other = try await server.login(Self.romeo)
            await slow.setWritable(false)
            await other.send(
                "<iq type='get' id='1' to='\(Self.juliet)'><ping xmlns='urn:xmpp:ping'/></iq>")
            await server.settle()
            await slow.drop()
            let answer = try await other.next()
            #expect(answer["id"] == "1" && answer.condition == "service-unavailable")
        }
    }

    @Test("Above the memory limit nobody new comes in, and those who are in stay")
    func memory() async throws {
        let used = Value(0)
        try await withServer("limits.memory=100MiB", memoryInUse: { used.value }) { server in
            let client = try await server.login(Self.juliet)
            used.value = 101 * 1_048_576
            await client.pass(.seconds(2))
            #expect(server.host.admission.enter(address: "192.0.2.1", isLoopback: false) == .memory)
            #expect(server.refusals(.memory) == 1)
            #expect(try await client.pending().isEmpty)
            used.value = 99 * 1_048_576
            await client.pass(.seconds(2))
            #expect(server.host.admission.enter(address: "192.0.2.1", isLoopback: false) == nil)
            server.host.admission.leave(address: "192.0.2.1", wasAuthenticated: false)
            #expect(server.metric("kinglet_memory_limit_bytes") == 104_857_600)
        }
    }

    @Test("A server that moved sends its clients on (RFC 6120 section 4.9.3.19)")
    func seeOtherHost() async throws {
        try await withServer { server in
            let client = try await server.connect(redirection: "[2001:db8::1]:5222")
            await client.send(TestClient.header())
            _ = try await client.header()
            let error = try await client.next()
            #expect(
                error.child("see-other-host", Namespaces.streamErrors)?.text == "[2001:db8::1]:5222"
            )
            try await client.expectEnd()
        }
    }

    @Test("But not in clear, where anybody could send them anywhere")
    func seeOtherHostInClear() async throws {
        try await withServer { server in
            let client = try await server.connect(
                offersTLS: true, allowsPlaintext: false, redirection: "chat.example")
            let features = try await client.open()
            #expect(features.child("starttls", Namespaces.tls) != nil)
        }
    }
}

/// A number that a test and the server share.
private final class Value: Sendable {
    private let box: Mutex<Int>
    init(_ value: Int) { box = Mutex(value) }
    var value: Int {
        get { box.withLock { $0 } }
        set { box.withLock { $0 = newValue } }
    }
}
