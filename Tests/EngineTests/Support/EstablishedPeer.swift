// Another server at the end of a stream that is negotiated: what it sends is believed, and what
// leaves for its domain comes to it.

import Addresses
import NIOCore
import NIOEmbedded
import Testing
import XML
import XMPP

@testable import Engine

/// Another domain. Used by one task.
final class EstablishedPeer: Sendable {
    static let domain = "montague.example"

    private let server: TestServer
    let domain: String
    private let inbox = Inbox()
    private let loop: NIOAsyncTestingEventLoop
    private let stream: NIOLoopBound<EstablishedStream>
    private let transport: NIOLoopBound<TestTransport>

    /// - Parameters:
    ///   - takes: whether stanzas for the domain come over this stream.
    ///   - local: of which domain of ours.
    ///   - isManaged: whether both sides count (XEP-0198).
    init(
        _ server: TestServer, _ domain: String = EstablishedPeer.domain, loop index: Int = 0,
        takes: Bool = true, from local: String = TestServer.domain, isManaged: Bool = true
    ) async throws {
        self.server = server
        self.domain = domain
        let loop = server.loops[index]
        self.loop = loop
        let host = server.host
        let inbox = inbox
        let engineLoop = try #require(host.loop(of: loop))
        let header = TestClient.header(to: TestServer.domain)
        (stream, transport) = await loop.call {
            let transport = TestTransport(inbox)
            let stream = EstablishedStream(
                host: host, loop: engineLoop, transport: transport, limits: ReaderLimits())
            transport.onClose = { [weak stream] in stream?.didClose() }
            stream.isManaged = isManaged
            stream.hasSentHeader = true
            stream.send(Array(header.utf8))
            if takes {
                let key = RouteKey(local: local, remote: domain)
                #expect(host.federation.route(key, host).attach(stream))
            }
            return (
                NIOLoopBound(stream, eventLoop: loop), NIOLoopBound(transport, eventLoop: loop)
            )
        }
        await send(header)
    }

    /// Sends text as one chunk.
    func send(_ text: String) async {
        await loop.call { self.stream.value.receive(ByteBuffer(string: text)) }
    }

    /// The peer sends no more.
    func endInput() async { await loop.call { self.stream.value.endOfInput() } }

    /// Has the stream close after so long without stanzas.
    func closeWhenIdle(after time: TimeAmount) async {
        await loop.call { self.stream.value.endWhenIdle(after: time) }
        await loop.advanceTime(by: time)
    }

    /// Lets time go by on the stream's loop.
    func pass(_ time: TimeAmount) async { await loop.advanceTime(by: time) }

    /// Waits for the end of the server's side, or of the connection.
    func ends(_ isEnd: (ClientEvent) -> Bool) async throws {
        while !isEnd(try await inbox.next()) {}
    }

    /// How many of its stanzas are handled (XEP-0198).
    func handled() async -> UInt32 {
        await loop.call { self.stream.value.inbound.handled }
    }

    /// Whether the stream keeps the socket from being read.
    func isPaused() async -> Bool {
        await loop.call { self.transport.value.isReading == false }
    }

    /// Says that it has so many stanzas.
    func acknowledge(_ count: Int) async { await send("<a xmlns='urn:xmpp:sm:3' h='\(count)'/>") }

    /// The connection breaks.
    func drop() async {
        await loop.call {
            let transport = self.transport.value
            transport.onClose?()
            transport.onClose = nil
        }
    }

    /// The next stanza.
    func next(sourceLocation: SourceLocation = #_sourceLocation) async throws -> Element {
        while true {
            guard case .element(let element) = try await inbox.next() else { continue }
            if element.namespace != "urn:xmpp:sm:3" { return element }
        }
    }

    /// Whether no stanza has come that was not looked at.
    var hasNothing: Bool {
        !inbox.contains {
            if case .element(let element) = $0 {
                element.namespace != "urn:xmpp:sm:3"
            } else {
                false
            }
        }
    }

    /// The next stanza that fits; those before it are dropped.
    func first(where fits: (Element) -> Bool) async throws -> Element {
        while true {
            let element = try await next()
            if fits(element) { return element }
        }
    }

    /// Everything that has come and will come about what has happened so far.
    func pending() async throws -> [Element] {
        await server.settle()
        let id = "peer-\(UInt32.random(in: 0...(.max)))"
        await send(
            "<iq type='get' id='\(id)' from='\(domain)' to='\(TestServer.domain)'>"
                + "<ping xmlns='urn:xmpp:ping'/></iq>")
        var elements: [Element] = []
        while true {
            let element = try await next()
            if element["id"] == id { return elements }
            elements.append(element)
        }
    }

    /// Sends a request as somebody and gives its answer.
    func request(
        from: String, to: String, _ payload: String
    ) async throws -> Element {
        await send("<iq type='get' id='asked' from='\(from)' to='\(to)'>\(payload)</iq>")
        return try await first { $0.name == "iq" && $0["id"] == "asked" }
    }
}

/// A stream after its negotiation.
final class EstablishedStream: PeerStream {
    override var isNegotiated: Bool { true }

    override func handle(_ event: StreamEvent) {
        switch event {
        case .element(let fragment):
            if takesError(fragment) { return peerLeaves(inPeace: false) }
            receive(fragment)
        case .end: peerLeaves()
        case .header: break
        }
    }
}

/// Runs a test against a server that talks to `EstablishedPeer.domain`, and a peer there.
func withPeer(
    _ settings: String..., sourceLocation: SourceLocation = #_sourceLocation,
    _ body: (TestServer, EstablishedPeer) async throws -> Void
) async throws {
    let server = try TestServer(["federation.policy=open"] + settings)
    do {
        try await body(server, try await EstablishedPeer(server))
    } catch {
        await server.stop(sourceLocation: sourceLocation)
        throw error
    }
    await server.stop(sourceLocation: sourceLocation)
}

/// Makes a local user and one of another domain contacts of each other, and leaves nothing to read.
func befriend(_ local: TestClient, _ remote: String, at peer: EstablishedPeer) async throws {
    let account = try local.jid.bare.description
    await local.send("<presence type='subscribe' to='\(remote)'/>")
    _ = try await peer.first { $0.isPresence(from: account, "subscribe") }
    await peer.send("<presence type='subscribed' from='\(remote)' to='\(account)'/>")
    _ = try await local.first { $0.isPresence(from: remote, "subscribed") }
    await peer.send("<presence type='subscribe' from='\(remote)' to='\(account)'/>")
    _ = try await local.first { $0.isPresence(from: remote, "subscribe") }
    await local.send("<presence type='subscribed' to='\(remote)'/>")
    _ = try await peer.first { $0.isPresence(from: account, "subscribed") }
    _ = try await local.pending()
    _ = try await peer.pending()
}
