// A client that speaks to a `TestServer`: text in, elements out.

import Addresses
import Engine
import NIOCore
import NIOEmbedded
import SASL
import Synchronization
import Testing
import XML
import XMPP

/// One connection and the client at its other end. Used by one task.
final class TestClient: Sendable {
    let server: TestServer
    private let inbox = Inbox()
    private let loop: NIOAsyncTestingEventLoop
    private let description: ConnectionDescription
    private let stream: NIOLoopBound<ClientStream>
    private let transport: NIOLoopBound<TestTransport>
    private let counter = Mutex(0)
    private let bound = Mutex<JID?>(nil)

    init(
        _ server: TestServer, _ loop: NIOAsyncTestingEventLoop,
        _ description: ConnectionDescription
    ) async throws {
        self.server = server
        self.loop = loop
        self.description = description
        let host = server.host
        let inbox = inbox
        let engineLoop = try #require(host.loop(of: loop))
        (stream, transport) = await loop.call {
            let transport = TestTransport(inbox)
            let stream = ClientStream(
                host: host, loop: engineLoop, transport: transport, description: description)
            transport.onClose = { [weak stream] in
                guard let stream else { return }
                stream.didClose()
                host.admission.leave(
                    address: description.address, wasAuthenticated: stream.isAuthenticated)
            }
            return (
                NIOLoopBound(stream, eventLoop: loop), NIOLoopBound(transport, eventLoop: loop)
            )
        }
    }

    /// The full JID that was bound.
    var jid: JID {
        get throws { try #require(bound.withLock { $0 }) }
    }

    // MARK: The connection

    /// Sends text as one chunk.
    func send(_ text: String) async { await send(Array(text.utf8)) }

    /// Sends bytes as one chunk.
    func send(_ bytes: [UInt8]) async {
        await loop.call { self.stream.value.receive(ByteBuffer(bytes: bytes)) }
    }

    /// The connection breaks.
    func drop() async {
        await loop.call {
            let transport = self.transport.value
            transport.onClose?()
            transport.onClose = nil
        }
    }

    /// The TLS handshake is over, with these channel bindings.
    func secure(_ bindings: [String: [UInt8]] = [:]) async {
        await loop.call {
            self.transport.value.channelBindings = ChannelBindings(offered: bindings)
            self.stream.value.didSecure(.tls13)
        }
    }

    /// The client's socket takes no more, or takes more again.
    func setWritable(_ isWritable: Bool) async {
        await loop.call { self.stream.value.setWritable(isWritable) }
    }

    /// Lets time go by on the client's loop, whose tick looks at the deadlines.
    func pass(_ time: TimeAmount) async { await loop.advanceTime(by: time) }

    /// Whether the stream keeps the socket from being read.
    func isPaused() async -> Bool {
        await loop.call { self.transport.value.isReading == false }
    }

    // MARK: What the server says

    func event() async throws -> ClientEvent { try await inbox.next() }

    /// Whether everything that has come so far was looked at.
    var hasNothing: Bool { inbox.isEmpty }

    /// The next thing, which has to be an element.
    func next(sourceLocation: SourceLocation = #_sourceLocation) async throws -> Element {
        let event = try await inbox.next()
        guard case .element(let element) = event else {
            Issue.record("no element but \(event)", sourceLocation: sourceLocation)
            throw Inbox.Missing()
        }
        return element
    }

    /// The next thing, which has to be a stream header.
    func header(sourceLocation: SourceLocation = #_sourceLocation) async throws -> StreamHeader {
        let event = try await inbox.next()
        guard case .header(let header) = event else {
            Issue.record("no header but \(event)", sourceLocation: sourceLocation)
            throw Inbox.Missing()
        }
        return header
    }

    /// The next element that fits; those before it are dropped.
    func first(
        sourceLocation: SourceLocation = #_sourceLocation, where fits: (Element) -> Bool
    ) async throws -> Element {
        while true {
            let element = try await next(sourceLocation: sourceLocation)
            if fits(element) { return element }
        }
    }

    /// Expects that the server ends the stream in peace and closes.
    func expectEnd(sourceLocation: SourceLocation = #_sourceLocation) async throws {
        for wanted in ["end", "closed"] {
            let event = try await inbox.next()
            switch (event, wanted) {
            case (.end, "end"), (.closed, "closed"): break
            default: Issue.record("no \(wanted) but \(event)", sourceLocation: sourceLocation)
            }
        }
        #expect(inbox.isEmpty, sourceLocation: sourceLocation)
    }

    /// Expects a stream error, the stream's end, and nothing more.
    func expectStreamError(
        _ condition: StreamError.Condition, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let element = try await next(sourceLocation: sourceLocation)
        #expect(
            element.name == "error" && element.namespace == Namespaces.streams,
            sourceLocation: sourceLocation)
        #expect(
            element.elements.first?.name == condition.rawValue, sourceLocation: sourceLocation)
        try await expectEnd(sourceLocation: sourceLocation)
    }

    /// Everything that the server has said and will say about what has happened so far.
    func pending(sourceLocation: SourceLocation = #_sourceLocation) async throws -> [Element] {
        await server.settle()
        let id = nextID()
        await send("<iq type='get' id='\(id)'><ping xmlns='urn:xmpp:ping'/></iq>")
        var elements: [Element] = []
        while true {
            let element = try await next(sourceLocation: sourceLocation)
            if element.name == "iq", element["id"] == id { return elements }
            elements.append(element)
        }
    }

    // MARK: Requests

    func nextID() -> String {
        counter.withLock { counter in
            counter += 1
            return "test-\(counter)"
        }
    }

    /// Sends a request and gives its answer; what comes before it is dropped.
    func request(
        _ type: String, _ payload: String, to: String? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> Element {
        let id = nextID()
        let address = to.map { " to='\($0)'" } ?? ""
        await send("<iq type='\(type)' id='\(id)'\(address)>\(payload)</iq>")
        return try await first(sourceLocation: sourceLocation) {
            $0.name == "iq" && $0["id"] == id
        }
    }

    @discardableResult
    func getRoster() async throws -> [Element] {
        let result = try await request("get", "<query xmlns='jabber:iq:roster'/>")
        #expect(result["type"] == "result")
        return result.child("query", "jabber:iq:roster")?.elements ?? []
    }

    /// Sends initial presence and waits until the server has taken it in.
    func announce(priority: Int = 0) async throws {
        let own = try jid.description
        await send("<presence><priority>\(priority)</priority></presence>")
        _ = try await first { $0.name == "presence" && $0["from"] == own }
    }

    /// Remembers what was bound.
    func didBind(_ jid: JID) { bound.withLock { $0 = jid } }
}
