// A connection to a `DryServer` and what the server says on it, which has to be well-formed.

import Addresses
import Engine
import NIOCore
import NIOEmbedded
import SASL
import Synchronization
import XML
import XMPP

/// A client. Used by one thread.
final class DryClient: Sendable {
    private let server: DryServer
    private let stream: NIOLoopBound<ClientStream>
    private let transport: NIOLoopBound<DryTransport>
    let account: String

    /// On the loop.
    init(
        _ server: DryServer, _ host: Host, _ engineLoop: Loop, _ loop: any EventLoop,
        account: String
    ) {
        self.server = server
        self.account = account
        let transport = DryTransport()
        let description = ConnectionDescription(
            address: "192.0.2.1", type: .starttls, offersTLS: true, allowsPlaintext: true)
        let stream = ClientStream(
            host: host, loop: engineLoop, transport: transport, description: description)
        transport.onClose = { [weak stream] in
            guard let stream else { return }
            stream.didClose()
            host.admission.leave(
                address: description.address, wasAuthenticated: stream.isAuthenticated)
        }
        self.stream = NIOLoopBound(stream, eventLoop: loop)
        self.transport = NIOLoopBound(transport, eventLoop: loop)
    }

    func send(_ bytes: [UInt8]) {
        server.onLoop {
            guard self.transport.value.onClose != nil else { return }
            self.stream.value.receive(ByteBuffer(bytes: bytes))
            if self.transport.value.isStartingTLS {
                self.transport.value.isStartingTLS = false
                self.stream.value.didSecure(.tls13)
            }
        }
    }

    func send(_ text: String) { send(Array(text.utf8)) }

    /// The connection breaks, if it still stands.
    func drop() {
        server.onLoop { self.transport.value.hangUp() }
    }

    /// What the server has said since the last time.
    func received() throws -> [Element] {
        let (elements, error) = server.onLoop {
            let transport = self.transport.value
            defer { transport.elements = [] }
            return (transport.elements, transport.error)
        }
        if let error { throw Violation("\(account) got what is no stream: \(error)") }
        return elements
    }

    // MARK: Negotiation

    func open() {
        send(
            "<?xml version='1.0'?><stream:stream xmlns='jabber:client' version='1.0'"
                + " xmlns:stream='http://etherx.jabber.org/streams' to='\(DryServer.domain)'>")
    }

    func logIn() throws {
        open()
        let message = Base64.encode(Array("\0\(account)\0\(DryServer.password(of: account))".utf8))
        send(
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>\(message)</auth>")
        try expectAnswer("success")
        open()
    }

    func bind(_ resource: String) throws {
        send(
            "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
                + "<resource>\(resource)</resource></bind></iq>")
        try expectAnswer("iq")
    }

    /// Waits for what other threads work on, key stretching among them.
    private func expectAnswer(_ name: String) throws {
        for _ in 0..<1_000_000 {
            let answer = try received().first { $0.name == name || $0.name == "failure" }
            if let answer {
                return try expect(
                    answer.name == name && answer["type"] != "error",
                    "\(account) is refused: \(answer)")
            }
        }
        throw Violation("\(account) gets no answer")
    }

    /// A session is answered, whatever others do.
    func ping(_ id: String) throws -> [Element] {
        send("<iq type='get' id='\(id)'><ping xmlns='urn:xmpp:ping'/></iq>")
        let elements = try received()
        guard let last = elements.last, last["id"] == id, last["type"] == "result" else {
            throw Violation("\(account)'s ping is not answered but by \(elements)")
        }
        return elements.dropLast()
    }
}

/// The connection under a stream. Owner: its loop.
final class DryTransport: StreamTransport {
    var elements: [Element] = []
    var error: String?
    var isStartingTLS = false
    var onClose: (() -> Void)?
    let channelBindings = ChannelBindings(offered: [ChannelBindings.tlsExporter: [1, 2, 3]])
    private var reader = StreamReader(limits: ReaderLimits(elementBytes: 1 << 24, depth: 1024))
    private var hasEnded = false

    func write(_ bytes: ByteBuffer, then: (() -> Void)?) {
        defer { then?() }
        guard onClose != nil else { return }
        let chunk = Array(bytes.readableBytesView)
        if hasEnded, error == nil { error = "more after the end: \(shown(chunk))" }
        var offset = 0
        do throws(XMLError) {
            while let event = try reader.next(in: chunk.span, at: &offset) { take(event) }
        } catch {
            if self.error == nil { self.error = "\(error.detail) in \(shown(chunk))" }
        }
    }

    private func take(_ event: StreamEvent) {
        switch event {
        case .header: break
        case .end: hasEnded = true
        case .element(let fragment):
            // Both are followed by a new stream.
            if fragment.isNamed("success", "urn:ietf:params:xml:ns:xmpp-sasl")
                || fragment.isNamed("proceed", "urn:ietf:params:xml:ns:xmpp-tls")
            {
                reader.restart()
            }
            elements.append(fragment.element())
        }
    }

    func abort() { close() }

    func close() {
        if reader.isInsideElement, error == nil { error = "closed within an element" }
        hangUp()
    }

    func hangUp() {
        let onClose = onClose
        self.onClose = nil
        onClose?()
    }

    func startTLS() { isStartingTLS = true }

    func setReading(_ isReading: Bool) {}
}
