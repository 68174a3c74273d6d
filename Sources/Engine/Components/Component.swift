// A component as the router sees it: what waits for it, and its stream while it has one. There are
// no acknowledgements in XEP-0114, so what was handed to the socket counts as delivered, and what
// was not when the component leaves goes back to its senders. A part of this program may be one: it
// has no stream, and is handed what comes on a loop of its own.

internal import Addresses
internal import NIOCore
internal import Options
internal import Prometheus
internal import Synchronization
internal import TLS
internal import XMPP

/// A component, attached or not. Safe on any thread: its state is behind a lock, and its stream
/// takes from the queue on the stream's own loop.
public final class Component: StreamOutlet {
    private struct State {
        /// The stream that stanzas go to.
        var origin: PeerOrigin?
        var queue = CircularBuffer<OutboundStanza>()
        var bytes = 0
        /// The stream was told that there is something to write.
        var isWoken = false
        /// A wrong secret was logged, and no right one has come since.
        var hasLoggedRefusal = false
    }

    /// So many stanzas are taken out of the queue at a time.
    private static let batch = 64

    let domain: String
    private let secret: [UInt8]
    private let metrics: ComponentMetrics
    private let limits: Limits
    private let state = Mutex(State())
    /// What answers for the domain within this process.
    private let service: (service: any LocalService, origin: ServiceOrigin)?

    init(_ domain: String, _ secret: [UInt8], _ metrics: ComponentMetrics, _ limits: Limits) {
        self.domain = domain
        self.secret = secret
        self.metrics = metrics
        self.limits = limits
        service = nil
    }

    /// A domain that a part of this program answers for.
    ///
    /// - Parameter loop: where it is asked.
    init(_ service: any LocalService, on loop: Loop, _ metrics: ComponentMetrics, _ limits: Limits)
    {
        domain = service.domain
        secret = []
        self.metrics = metrics
        self.limits = limits
        self.service = (service, ServiceOrigin(loop))
    }

    /// Whether a program may attach: not where this one answers.
    var isAttachable: Bool { service == nil }

    /// The source of a service's stanzas; nil for another service than this domain's.
    func origin(of other: any LocalService) -> ServiceOrigin? {
        service.flatMap { $0.service === other ? $0.origin : nil }
    }

    // MARK: Authentication

    /// Whether a handshake proves knowledge of the secret on the stream with this id: SHA-1 of
    /// both, in lower-case hexadecimal.
    func accepts(_ handshake: String, streamID: String) -> Bool {
        guard !secret.isEmpty else { return false }
        let hex = Array("0123456789abcdef".utf8)
        let digest = DigestAlgorithm.sha1.hash(Array(streamID.utf8) + secret)
        let wanted = digest.flatMap { [hex[Int($0 >> 4)], hex[Int($0 & 15)]] }
        return constantTimeEqual(Array(handshake.utf8), wanted)
    }

    /// Whether a wrong secret is to be logged: the first since a right one.
    func shouldLogRefusal() -> Bool {
        state.withLock { state in
            defer { state.hasLoggedRefusal = true }
            return !state.hasLoggedRefusal
        }
    }

    // MARK: The stream

    /// The component has proved itself on this stream, which takes the place of one that it may
    /// have: who holds the secret is trusted, and after a broken connection the server may take
    /// the old one for good much longer than the component waits before it comes back. On the
    /// stream's loop.
    func attach(_ stream: PeerStream) {
        let old = state.withLock { state in
            let old = state.origin
            state.origin = stream.origin
            state.isWoken = false
            state.hasLoggedRefusal = false
            return old
        }
        stream.outlet = self
        if let old {
            metrics.refusals[.replaced].add()
            old.run { old.streamHere?.end(StreamError(.conflict, "replaced by a new connection")) }
        } else {
            metrics.connections.add(1)
        }
        drain(into: stream)
    }

    /// Ends its stream, if it has one.
    func end(_ error: StreamError) {
        guard let origin = state.withLock({ $0.origin }) else { return }
        origin.run { origin.streamHere?.stop(error) }
    }

    // MARK: To the component

    /// Why nothing may go to it; nil when it is attached and has room.
    var refusal: StanzaError? {
        state.withLock { refusal(of: 0, $0)?.error }
    }

    private func refusal(
        of bytes: Int, _ state: State
    ) -> (reason: ComponentRefusal, error: StanzaError)? {
        guard service != nil || state.origin != nil else { return (.notConnected, notConnected) }
        // One stanza has room in any case: what waits is bounded by the limit and one more.
        guard state.bytes == 0 || state.bytes + bytes <= limits.outgoingQueue.value else {
            return (
                .queueFull,
                StanzaError(
                    .resourceConstraint, "too much waits for \(domain) already; try again later")
            )
        }
        return nil
    }

    private var notConnected: StanzaError {
        StanzaError(.serviceUnavailable, "\(domain) is not connected")
    }

    /// Hands it a stanza; if it is not attached or too slow, the sender hears of that.
    func deliver(_ stanza: OutboundStanza, _ host: Host) {
        enum Next {
            case none
            case wake(PeerOrigin)
            case hand(any LocalService, ServiceOrigin)
            case refuse(ComponentRefusal, StanzaError)
        }
        let next: Next = state.withLock { state in
            if let refusal = refusal(of: stanza.bytes.count, state) {
                return .refuse(refusal.reason, refusal.error)
            }
            state.bytes += stanza.bytes.count
            // Within the lock, so that the gauge is never changed for what has left already.
            metrics.queued.add(1)
            if let service { return .hand(service.service, service.origin) }
            state.queue.append(stanza)
            guard !state.isWoken, let origin = state.origin else { return .none }
            state.isWoken = true
            return .wake(origin)
        }
        switch next {
        case .none: break
        case .refuse(let reason, let error): giveBack([stanza], reason, error, host)
        case .wake(let origin):
            origin.loop.post {
                if let stream = origin.streamHere { self.drain(into: stream) }
            }
        case .hand(let service, let origin):
            // Never at once: who sends it may be in the middle of something.
            origin.post {
                self.state.withLock { $0.bytes -= stanza.bytes.count }
                self.metrics.queued.add(-1)
                host.hand(stanza, to: service, origin)
            }
        }
    }

    /// Tells the senders; lost presence is nobody's concern.
    private func giveBack(
        _ stanzas: some Collection<OutboundStanza>, _ reason: ComponentRefusal,
        _ error: StanzaError, _ host: Host
    ) {
        metrics.refusals[reason].add(stanzas.count)
        for stanza in stanzas where stanza.kind != .presence {
            guard let source = Stanza(routed: stanza.bytes) else { continue }
            guard stanza.kind == .iq, source.from.isBare, host.isLocal(source.from.domain) else {
                host.bounce(source, error)
                continue
            }
            // The server's own request, maybe in an account's name.
            if let answer = Stanza(routed: source.errorBytes(error)) {
                _ = host.requests.answer(answer)
            }
        }
    }

    // MARK: StreamOutlet

    func drain(into stream: PeerStream) {
        while stream.takesStanzas {
            let batch = state.withLock { state -> [OutboundStanza] in
                guard state.origin === stream.origin else { return [] }
                state.isWoken = false
                let batch = Array(state.queue.prefix(Self.batch))
                state.queue.removeFirst(batch.count)
                state.bytes -= batch.reduce(0) { $0 + $1.bytes.count }
                metrics.queued.add(Double(-batch.count))
                return batch
            }
            guard !batch.isEmpty else { return }
            for stanza in batch { stream.write(stanza) }
            stream.flushPiece()
        }
    }

    /// There is no stream management (XEP-0198) in XEP-0114.
    func acknowledge(_ h: UInt32, on stream: PeerStream) -> UInt32? { nil }

    func detach(_ stream: PeerStream) {
        let left = state.withLock { state -> CircularBuffer<OutboundStanza> in
            // A newer stream has all of it.
            guard state.origin === stream.origin else { return [] }
            metrics.connections.add(-1)
            let left = state.queue
            metrics.queued.add(Double(-left.count))
            state.queue = []
            state.bytes = 0
            state.origin = nil
            state.isWoken = false
            return left
        }
        guard !left.isEmpty else { return }
        giveBack(left, .notConnected, notConnected, stream.host)
    }
}
