// A component that speaks to a `TestServer`: text in, elements out.

import Engine
import NIOCore
import NIOEmbedded
import Synchronization
import TLS
import Testing
import XML
import XMPP

/// One connection and the component at its other end. Used by one task.
final class TestComponent: Sendable {
    static let domain = "bridge.capulet.example"
    static let secret = "a secret of the bridge"
    static let otherDomain = "pubsub.example"
    static let otherSecret = "a secret of another one"
    /// Two components, as on the command line.
    static let setting = """
        components=[{domain: \(domain), secret: \(secret)}, \
        {domain: \(otherDomain), secret: \(otherSecret)}]
        """

    let server: TestServer
    private let inbox = Inbox()
    private let loop: NIOAsyncTestingEventLoop
    private let stream: NIOLoopBound<ComponentStream>
    private let transport: NIOLoopBound<TestTransport>

    /// A connection on which nothing was said yet.
    init(_ server: TestServer, loop index: Int = 0, from address: String = "127.0.0.1") async throws
    {
        self.server = server
        let loop = server.loops[index]
        self.loop = loop
        let host = server.host
        let inbox = inbox
        let engineLoop = try #require(host.loop(of: loop))
        #expect(host.admission.enter(address: address, isLoopback: true) == nil)
        (stream, transport) = await loop.call {
            let transport = TestTransport(inbox)
            let stream = ComponentStream(
                host: host, loop: engineLoop, transport: transport, address: address,
                network: address)
            transport.onClose = { [weak stream] in
                guard let stream else { return }
                stream.didClose()
                host.admission.leave(
                    address: address, wasAuthenticated: stream.isAuthenticated)
            }
            return (
                NIOLoopBound(stream, eventLoop: loop), NIOLoopBound(transport, eventLoop: loop)
            )
        }
    }

    /// A component that is attached.
    static func attached(
        to server: TestServer, loop: Int = 0, domain: String = domain, secret: String = secret,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> TestComponent {
        let component = try await TestComponent(server, loop: loop)
        let id = try await component.open(domain, sourceLocation: sourceLocation)
        await component.shake(id, secret)
        let answer = try await component.next(sourceLocation: sourceLocation)
        try #require(
            answer.name == "handshake" && answer.children.isEmpty, sourceLocation: sourceLocation)
        return component
    }

    // MARK: The connection

    func send(_ text: String) async {
        await loop.call { self.stream.value.receive(ByteBuffer(string: text)) }
    }

    static func header(to domain: String, content: String = "jabber:component:accept") -> String {
        "<stream:stream xmlns='\(content)' xmlns:stream='http://etherx.jabber.org/streams' "
            + "to='\(domain)'>"
    }

    /// Opens the stream and gives its id.
    func open(
        _ domain: String = domain, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> String {
        await send(Self.header(to: domain))
        let header = try await header(sourceLocation: sourceLocation)
        #expect(header.contentNamespace == "jabber:component:accept")
        #expect(header.from == domain && header.version == nil)
        return try #require(header.id, sourceLocation: sourceLocation)
    }

    /// Sends the handshake that belongs to an id and a secret.
    func shake(_ id: String, _ secret: String = secret) async {
        let digest = DigestAlgorithm.sha1.hash(Array((id + secret).utf8))
        let text = digest.map { byte in
            let hex = String(byte, radix: 16)
            return hex.count == 1 ? "0" + hex : hex
        }
        await send("<handshake>\(text.joined())</handshake>")
    }

    /// The connection breaks.
    func drop() async {
        await loop.call {
            let transport = self.transport.value
            transport.onClose?()
            transport.onClose = nil
        }
        await server.settle()
    }

    /// The component's socket takes no more, or takes more again.
    func setWritable(_ isWritable: Bool) async {
        await loop.call { self.stream.value.setWritable(isWritable) }
    }

    func pass(_ time: TimeAmount) async { await loop.advanceTime(by: time) }

    /// Whether the stream keeps the socket from being read.
    func isPaused() async -> Bool {
        await loop.call { self.transport.value.isReading == false }
    }

    // MARK: What the server says

    func next(sourceLocation: SourceLocation = #_sourceLocation) async throws -> Element {
        let event = try await inbox.next()
        guard case .element(let element) = event else {
            Issue.record("no element but \(event)", sourceLocation: sourceLocation)
            throw Inbox.Missing()
        }
        return element
    }

    func header(sourceLocation: SourceLocation = #_sourceLocation) async throws -> StreamHeader {
        let event = try await inbox.next()
        guard case .header(let header) = event else {
            Issue.record("no header but \(event)", sourceLocation: sourceLocation)
            throw Inbox.Missing()
        }
        return header
    }

    /// Whether everything that has come so far was looked at.
    func hasNothing() async -> Bool {
        await server.settle()
        return inbox.isEmpty
    }

    /// Expects a stream error, the stream's end, and nothing more.
    func expectStreamError(
        _ condition: StreamError.Condition, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let error = try await next(sourceLocation: sourceLocation)
        #expect(error.condition == condition.rawValue, sourceLocation: sourceLocation)
        for wanted in ["end", "closed"] {
            let event = try await inbox.next()
            switch (event, wanted) {
            case (.end, "end"), (.closed, "closed"): break
            default: Issue.record("no \(wanted) but \(event)", sourceLocation: sourceLocation)
            }
        }
    }
}
