// A client that has logged in and bound a resource (RFC 6120 section 7).

public import Addresses
internal import NIOCore
internal import Synchronization
public import XML
public import XMPP

/// A resource of an account. Known to all threads; its state belongs to an event loop, which
/// changes when the client resumes its stream on another one (XEP-0198).
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

    /// Something for the session's state, which it gets on its loop, in the order of posting.
    enum Event: Sendable {
        case deliver(OutboundStanza)
        /// What held this stanza of the client's is done.
        case release(UInt32)
        /// With nil, and wherever it is posted from, once the session has ended.
        case run(@Sendable (SessionState?) -> Void)
    }

    /// Where the state is.
    enum Place: Sendable {
        case at(Loop, NIOLoopBound<SessionState>)
        /// On its way to another loop; what comes meanwhile waits.
        case moving([Event])
        case ended
    }

    private static let count = Atomic<Int64>(0)

    /// Which one it is of all that this process has had, from 1 on.
    public let number = Session.nextNumber()
    /// The full JID.
    public let jid: JID
    /// When the client bound its resource, seconds since 1970.
    public let since: Int64
    /// What the client asked for; features set and read their own flag.
    public let flags = SessionFlags()
    let host: Host
    let place = Mutex(Place.ended)
    private let availabilityState = Mutex(Availability())
    private let addressState: Mutex<String>
    private let resumption = Mutex<String?>(nil)
    private let hibernates = Atomic<Bool>(false)

    /// A number for an origin of stanzas.
    static func nextNumber() -> Int64 {
        count.wrappingAdd(1, ordering: .relaxed).newValue
    }

    init(
        _ jid: JID, address: String, since: Int64 = Clock.secondsSince1970(), host: Host
    ) {
        self.jid = jid
        self.since = since
        self.host = host
        addressState = Mutex(address)
    }

    /// Where the client connects from.
    public internal(set) var address: String {
        get { addressState.withLock { $0 } }
        set { addressState.withLock { $0 = newValue } }
    }

    /// The present availability; the presence feature sets it.
    public var availability: Availability {
        get { availabilityState.withLock { $0 } }
        set { availabilityState.withLock { $0 = newValue } }
    }

    /// The name under which the client may resume its stream (XEP-0198 section 5), or nil.
    var resumptionID: String? {
        get { resumption.withLock { $0 } }
        set { resumption.withLock { $0 = newValue } }
    }

    /// Whether the client's connection is gone and the session waits for it to come back.
    public internal(set) var isHibernating: Bool {
        get { hibernates.load(ordering: .acquiring) }
        set { hibernates.store(newValue, ordering: .releasing) }
    }

    /// Delivers a stanza to this client, from any thread. One thread's stanzas stay in order.
    public func deliver(_ stanza: OutboundStanza) {
        post(.deliver(stanza))
    }

    /// Answers a request of this client, from any thread.
    public func answer(_ request: IQRequest, _ result: Result<Element?, StanzaError>) {
        switch result {
        case .success(let payload): deliver(OutboundStanza(.iq, request.resultBytes(payload)))
        case .failure(let error): deliver(OutboundStanza(.iq, request.stanza.errorBytes(error)))
        }
        if let number = request.stanza.number { post(.release(number)) }
    }

    /// Hands an event to the state: at once on its own loop, else through that loop's mailbox.
    func post(_ event: Event) {
        enum Way {
            case here(NIOLoopBound<SessionState>)
            case posted, ended
        }
        let way: Way = place.withLock { place in
            switch place {
            case .at(let loop, let state):
                if loop.eventLoop.inEventLoop { return .here(state) }
                // Within the lock: what is posted before the state moves is in the old loop's
                // mailbox, and nothing that is posted afterwards.
                loop.post(event, to: self)
                return .posted
            case .moving(let events):
                place = .moving(events + [event])
                return .posted
            case .ended:
                return .ended
            }
        }
        switch way {
        case .posted: break
        case .here(let state): state.value.handle(event)
        case .ended:
            switch event {
            case .deliver(let stanza): host.redeliver(stanza)
            case .release: break
            case .run(let body): body(nil)
            }
        }
    }

    /// The state, if it is on the loop that asks.
    var stateHere: SessionState? {
        place.withLock { place in
            guard case .at(let loop, let state) = place, loop.eventLoop.inEventLoop else {
                return nil
            }
            return state.value
        }
    }

    /// Keeps a stanza that this client sent out of its `h` (XEP-0198) until `release`. Nil when
    /// it need not be: the client does not count, or the stanza was handled before.
    public func hold(_ stanza: Stanza) -> UInt32? {
        guard let number = stanza.number, let state = stateHere, state.inbound.hold(number)
        else { return nil }
        return number
    }

    /// What held a stanza is done. Any thread.
    public func release(_ number: UInt32) { post(.release(number)) }

    /// Keeps messages back until `releaseMessages`, so that none overtakes those that waited in
    /// the offline store. On the session's loop.
    public func holdMessages() { stateHere?.holdMessages() }

    /// Delivers messages ahead of those that are held, from any thread; not at all if the session
    /// has ended.
    public func deliverAheadOfHeld(_ stanzas: [OutboundStanza]) {
        post(.run { $0?.deliverAheadOfHeld(stanzas) })
    }

    /// Delivers what was held, from any thread.
    public func releaseMessages() {
        post(.run { $0?.releaseMessages() })
    }

    /// Has a holder decide from now on what its client, which is inactive, need not get yet; nil
    /// sends what was kept, for the client is active. On the session's loop.
    public func setHolder(_ holder: (any StanzaHolder)?) { stateHere?.setHolder(holder) }

    /// Whether a holder decides. On the session's loop.
    public var hasHolder: Bool { stateHere?.contents.holder != nil }

    /// Ends the stream because the server stops, from any thread. A session that its client may
    /// resume stays; any other ends.
    func stopStream(_ error: StreamError) {
        post(.run { $0?.stopStream(error) })
    }

    /// Asks the state something, from any thread; nil once the session has ended.
    func ask<Answer: Sendable>(
        _ question: @escaping @Sendable (SessionState) -> Answer
    ) async -> Answer? {
        await withCheckedContinuation { continuation in
            post(.run { continuation.resume(returning: $0.map(question)) })
        }
    }

    /// Ends the session with a stream error, from any thread; `then` is called on the session's
    /// loop once everybody has been told that the resource is gone.
    public func terminate(_ error: StreamError, then: @escaping @Sendable () -> Void = {}) {
        post(
            .run { state in
                state?.end(error)
                then()
            })
    }
}

/// What a client asked for, one bit each. Safe on any thread.
public final class SessionFlags: Sendable {
    /// One wish.
    public enum Flag: UInt8, Sendable {
        /// It requested its roster, so that it gets pushes (RFC 6121 section 2.1.6).
        case interestedInRoster
        /// It requested its block list, so that it gets pushes (XEP-0191 section 3.3).
        case interestedInBlockList
        /// It wants copies of what its account's other clients send and get (XEP-0280).
        case wantsCopies
        /// Nobody looks at it (XEP-0352): from when it says so until it says otherwise or its
        /// stream ends; a new stream begins active (section 5.2).
        case inactive
    }

    private let bits = Atomic<UInt8>(0)

    /// Whether the client asked for it.
    public func contains(_ flag: Flag) -> Bool {
        bits.load(ordering: .acquiring) & (1 << flag.rawValue) != 0
    }

    /// All of them, for a session that outlives the process.
    var rawValue: UInt8 {
        get { bits.load(ordering: .acquiring) }
        set { bits.store(newValue, ordering: .releasing) }
    }

    /// Notes that it did, or that it no longer does.
    public func set(_ flag: Flag, _ isSet: Bool = true) {
        let bit: UInt8 = 1 << flag.rawValue
        if isSet {
            bits.bitwiseOr(bit, ordering: .acquiringAndReleasing)
        } else {
            bits.bitwiseAnd(~bit, ordering: .acquiringAndReleasing)
        }
    }
}
