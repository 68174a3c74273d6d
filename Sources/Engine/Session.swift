// A client that has logged in and bound a resource (RFC 6120 section 7).

public import Addresses
internal import NIOCore
internal import Synchronization
public import XML
public import XMPP

/// A connected resource. Known to all threads; its stream belongs to its event loop.
public final class Session: Sendable {
    /// What others may know of a session's presence.
    public struct Availability: Sendable {
        /// The last available presence without a `to`, as broadcast; nil while unavailable.
        public var presence: Stanza?
        /// The priority of that presence (RFC 6121 section 4.7.2.3).
        public var priority: Int8

        /// Whether the session has announced itself.
        public var isAvailable: Bool { presence != nil }

        /// Available with this presence, or unavailable.
        public init(presence: Stanza? = nil, priority: Int8 = 0) {
            self.presence = presence
            self.priority = priority
        }
    }

    /// The full JID.
    public let jid: JID
    /// Where the client connects from.
    public let address: String
    let loop: Loop
    let stream: NIOLoopBound<ClientStream>
    private let state = Mutex(Availability())
    private let interest = Atomic<Bool>(false)

    init(_ jid: JID, address: String, loop: Loop, stream: ClientStream) {
        self.jid = jid
        self.address = address
        self.loop = loop
        self.stream = NIOLoopBound(stream, eventLoop: loop.eventLoop)
    }

    /// The present availability; the presence feature sets it.
    public var availability: Availability {
        get { state.withLock { $0 } }
        set { state.withLock { $0 = newValue } }
    }

    /// Whether the client asked for its roster, so that it gets pushes (RFC 6121 section 2.1.6).
    public var isInterestedInRoster: Bool {
        get { interest.load(ordering: .acquiring) }
        set { interest.store(newValue, ordering: .releasing) }
    }

    /// The counter cell of the session's loop.
    public var cell: Int { loop.cell }

    /// Delivers a stanza to this client, from any thread. One thread's stanzas stay in order.
    public func deliver(_ stanza: OutboundStanza) {
        loop.deliver(stanza, to: self)
    }

    /// Answers a request of this client, from any thread.
    public func answer(_ request: IQRequest, _ result: Result<Element?, StanzaError>) {
        switch result {
        case .success(let payload): deliver(OutboundStanza(.iq, request.resultBytes(payload)))
        case .failure(let error): deliver(OutboundStanza(.iq, request.stanza.errorBytes(error)))
        }
        if let number = request.stanza.number { loop.release(number, of: self) }
    }

    /// Keeps a stanza that this client sent out of its `h` (XEP-0198) until `release`. Nil when
    /// it need not be: the client does not count, or the stanza was handled before.
    func hold(_ stanza: Stanza) -> UInt32? {
        guard let number = stanza.number, loop.eventLoop.inEventLoop, stream.value.hold(number)
        else { return nil }
        return number
    }

    /// Keeps messages back until `releaseMessages`, so that none overtakes those that waited in
    /// the offline store. On the session's loop.
    public func holdMessages() { stream.value.holdMessages() }

    /// Delivers messages ahead of those that are held, from any thread, and calls back on the
    /// loop when they were handed to the socket; not at all if the session has ended.
    public func deliverAheadOfHeld(
        _ stanzas: [OutboundStanza], thenWritten: @escaping @Sendable () -> Void
    ) {
        loop.eventLoop.execute {
            self.stream.value.deliverAheadOfHeld(stanzas, thenWritten: thenWritten)
        }
    }

    /// Delivers what was held, from any thread.
    public func releaseMessages() {
        loop.eventLoop.execute { self.stream.value.releaseMessages() }
    }

    /// Ends the stream with an error, from any thread; `then` is called on the session's loop
    /// once everybody has been told that the resource is gone.
    public func terminate(_ error: StreamError, then: @escaping @Sendable () -> Void = {}) {
        loop.eventLoop.execute {
            self.stream.value.end(error)
            then()
        }
    }
}
