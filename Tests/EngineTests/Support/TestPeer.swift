// Another server that speaks to a `TestServer`: text in, elements out.

import Engine
import NIOCore
import NIOEmbedded
import Synchronization
import TLS
import Testing
import XML
import XMPP

/// A connection that another server has opened. Used by one task.
final class TestPeer: Sendable {
    let server: TestServer
    let domain: String
    private let inbox = Inbox()
    private let loop: NIOAsyncTestingEventLoop
    private let stream: NIOLoopBound<IncomingServerStream>
    private let transport: NIOLoopBound<TestTransport>

    /// - Parameter verdicts: what its certificate proves.
    init(
        _ server: TestServer, _ domain: String = "montague.example",
        verdicts: [String: CertificateVerdict]? = nil
    ) async throws {
        self.server = server
        self.domain = domain
        loop = try #require(server.loops.first)
        let loop = loop
        let host = server.host
        let inbox = inbox
        let engineLoop = try #require(host.loop(of: loop))
        (stream, transport) = await loop.call {
            let transport = TestTransport(inbox)
            transport.verdicts = verdicts ?? [domain: .valid]
            let stream = IncomingServerStream(
                host: host, loop: engineLoop, transport: transport, address: "192.0.2.7")
            transport.onClose = { [weak stream] in stream?.didClose() }
            return (
                NIOLoopBound(stream, eventLoop: loop), NIOLoopBound(transport, eventLoop: loop)
            )
        }
    }

    func send(_ text: String) async { await send(Array(text.utf8)) }

    func send(_ bytes: [UInt8]) async {
        await loop.call { self.stream.value.receive(ByteBuffer(bytes: bytes)) }
    }

    /// The connection breaks.
    func drop() async {
        await loop.call {
            self.transport.value.onClose?()
            self.transport.value.onClose = nil
        }
    }

    func secure() async { await loop.call { self.stream.value.didSecure(.tls13) } }

    func event() async throws -> ClientEvent { try await inbox.next() }

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

    /// Opens a stream and gives the server's header and features.
    @discardableResult
    func open(
        from: String? = "montague.example", to: String? = "capulet.example",
        extra: String = "xmlns:db='jabber:server:dialback'",
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> (header: StreamHeader, features: Element) {
        var opening = "<?xml version='1.0'?><stream:stream xmlns='jabber:server' \(extra)"
        opening += " xmlns:stream='http://etherx.jabber.org/streams' version='1.0'"
        if let from { opening += " from='\(from)'" }
        if let to { opening += " to='\(to)'" }
        await send(opening + ">")
        let event = try await inbox.next()
        guard case .header(let header) = event else {
            Issue.record("no header but \(event)", sourceLocation: sourceLocation)
            throw Inbox.Missing()
        }
        return (header, try await next(sourceLocation: sourceLocation))
    }

    /// Begins TLS and opens the stream again; gives the features.
    @discardableResult
    func openSecurely(
        to: String? = "capulet.example", sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> (header: StreamHeader, features: Element) {
        try await open(from: domain, to: to, sourceLocation: sourceLocation)
        await send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        #expect(try await next().name == "proceed", sourceLocation: sourceLocation)
        guard case .startTLS = try await event() else { throw Inbox.Missing() }
        await secure()
        return try await open(from: domain, to: to, sourceLocation: sourceLocation)
    }

    /// Everything up to the stream that takes stanzas, by SASL EXTERNAL.
    func authenticate(
        isBidirectional: Bool = false, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        try await openSecurely(sourceLocation: sourceLocation)
        if isBidirectional { await send("<bidi xmlns='urn:xmpp:bidi'/>") }
        await auth("=")
        #expect(try await next().name == "success", sourceLocation: sourceLocation)
        try await open(from: domain, sourceLocation: sourceLocation)
    }

    func auth(_ text: String, mechanism: String = "EXTERNAL") async {
        await send(
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='\(mechanism)'>\(text)</auth>"
        )
    }

    /// Expects a stream error, the stream's end, and nothing more; gives the error.
    @discardableResult
    func expectStreamError(
        _ condition: StreamError.Condition, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> Element {
        let element = try await next(sourceLocation: sourceLocation)
        #expect(
            element.elements.first?.name == condition.rawValue, sourceLocation: sourceLocation)
        guard case .end = try await event(), case .closed = try await event() else {
            Issue.record("no end", sourceLocation: sourceLocation)
            throw Inbox.Missing()
        }
        return element
    }
}
