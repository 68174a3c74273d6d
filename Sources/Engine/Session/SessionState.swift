// The half of a session that belongs to an event loop: what came from the client, what goes to
// it, and the stream to it while there is one. Without a stream it hibernates (XEP-0198 section 5)
// and keeps what its client is to get.

internal import Addresses
internal import NIOCore
internal import Options
internal import Prometheus
internal import Synchronization
internal import XMPP

/// A session's state. Owner: its loop; it moves as `Contents`.
final class SessionState {
    /// What moves when the client resumes on another loop.
    struct Contents: Sendable {
        /// What the client sent since it has a session.
        var inbound = HandledStanzas()
        /// What goes to it.
        var queue = OutgoingQueue()
        /// The client counts (XEP-0198).
        var management: StreamManagement?
        /// Messages kept back while older ones come from the offline store; nil when none are.
        var held: [OutboundStanza]?
        var heldBytes = 0
        /// Decides what an inactive client need not get now (XEP-0352); nil while it is active.
        var holder: (any StanzaHolder)?
        /// The session comes from an earlier process, and is still written down as it was then.
        var isWritten = false
        /// A message of its client's was stored, and might be sent again.
        var hasStored = false
        /// How many of the queue's stanzas the metric counts.
        var counted = 0
    }

    let session: Session
    let host: Host
    let loop: Loop
    var contents: Contents
    private(set) weak var stream: ClientStream?
    private(set) var hasEnded = false
    private var hibernationEnd: Scheduled<Void>?
    /// When the session ends unless its client comes back, while it hibernates.
    private(set) var hibernatesUntil = NIODeadline.distantPast
    /// Called once everything that the client sent is handled, or the session has ended.
    private var awaitingHandled: [() -> Void] = []
    /// The loop asks once a second what the client got.
    private var isAwaiting = false

    init(_ session: Session, _ contents: Contents = Contents(), host: Host, loop: Loop) {
        self.session = session
        self.contents = contents
        self.host = host
        self.loop = loop
    }

    var inbound: HandledStanzas {
        _read { yield contents.inbound }
        _modify { yield &contents.inbound }
    }

    var management: StreamManagement? {
        _read { yield contents.management }
        _modify { yield &contents.management }
    }

    /// Whether the client may come back for this session.
    var isResumable: Bool { !hasEnded && session.resumptionID != nil }

    // MARK: To the client

    func handle(_ event: Session.Event) {
        switch event {
        case .deliver(let stanza): deliver(stanza)
        case .release(let number): release(number)
        case .run(let body): body(self)
        }
    }

    /// Delivers a stanza to the client, now or when it can be.
    func deliver(_ stanza: OutboundStanza) {
        guard !hasEnded else { return host.redeliver(stanza) }
        if contents.held != nil, stanza.kind == .message, !stanza.isReply {
            contents.held?.append(stanza)
            contents.heldBytes += stanza.bytes.count
            if contents.heldBytes > host.limits.outgoingQueue.value {
                overflow(.heldMessages, "too many messages at once")
            }
        } else if stanza.onDelivery == nil, !stanza.isReply, contents.holder?.hold(stanza) == true {
            guard contents.holder?.isFull == true else { return }
            releaseHolder(.full)
            limitQueue()
        } else {
            releaseHolder(.overtaken)
            send(stanza)
            limitQueue()
        }
    }

    private func limitQueue() {
        if contents.queue.bytes > host.limits.outgoingQueue.value {
            overflow(.slowReader, "the client does not read")
        } else if contents.queue.count - contents.queue.replies
            > host.limits.unacknowledged.value,
            contents.queue.isManaged
        {
            overflow(.unacknowledged, "the client does not acknowledge")
        }
    }

    private func overflow(_ reason: RefusalReason, _ text: String) {
        host.metrics.refusals[reason].add(1, cell: loop.cell)
        end(StreamError(.resourceConstraint, text))
    }

    /// Writes the stanza, or queues it behind those that wait.
    private func send(_ stanza: OutboundStanza) {
        defer { countUnacknowledged() }
        guard let stream, stream.takesStanzas, !contents.queue.hasUnwritten else {
            return contents.queue.append(
                stream == nil ? stanza.delayed(by: session.jid.domain) : stanza)
        }
        guard contents.queue.isManaged else { return stream.write(stanza) }
        contents.queue.append(stanza)
        _ = contents.queue.takeUnwritten()
        stream.write(stanza)
        awaitAcknowledgement()
    }

    /// Tells the metric how many stanzas the client has not acknowledged.
    func countUnacknowledged() {
        let count = contents.queue.isManaged ? contents.queue.count : 0
        guard count != contents.counted else { return }
        host.metrics.unacknowledged.add(count - contents.counted, cell: loop.cell)
        contents.counted = count
    }

    /// The stream takes stanzas again.
    func writeQueue() {
        guard let stream else { return }
        while stream.takesStanzas, let stanza = contents.queue.takeUnwritten() {
            stream.write(stanza)
            stream.flushPiece()
        }
        stream.flush()
        awaitAcknowledgement()
    }

    // MARK: Messages that wait for older ones

    func holdMessages() { if contents.held == nil { contents.held = [] } }

    /// Not a slow reader's fault: what waited is as much as others sent, and more of it comes only
    /// when the client has this.
    func deliverAheadOfHeld(_ stanzas: [OutboundStanza]) {
        // They are still in the offline store.
        guard !hasEnded else { return }
        releaseHolder(.overtaken)
        var older = takeHeld(before: stanzas.compactMap(\.waiting).max() ?? 0)[...]
        for stanza in stanzas {
            while let first = older.first, first.storedAs < stanza.waiting ?? 0 {
                send(first)
                older.removeFirst()
            }
            send(stanza)
        }
        if contents.queue.isManaged { stream?.requestAcknowledgement() }
    }

    /// Takes what is older than a stored message out of what is held, in its order. What was sent
    /// to a session's full address before it announced itself did not wait with the others.
    private func takeHeld(before number: Int64) -> [OutboundStanza] {
        let older = (contents.held ?? []).filter { $0.storedAs < number }
        guard !older.isEmpty else { return [] }
        contents.held?.removeAll { $0.storedAs < number }
        contents.heldBytes -= older.reduce(0) { $0 + $1.bytes.count }
        return older.sorted { $0.storedAs < $1.storedAs }
    }

    func releaseMessages() {
        let held = contents.held ?? []
        contents.held = nil
        contents.heldBytes = 0
        for stanza in held { deliver(stanza) }
    }

    // MARK: An inactive client (XEP-0352)

    /// Lets a holder decide from now on, or sends what it kept and asks it no more.
    func setHolder(_ holder: (any StanzaHolder)?) {
        let wasInactive = session.flags.contains(.inactive)
        endHolder(.active)
        contents.holder = holder
        session.flags.set(.inactive, holder != nil)
        if wasInactive, holder == nil { noteActive() }
    }

    private func endHolder(_ reason: HolderRelease) {
        releaseHolder(reason)
        contents.holder = nil
        session.flags.set(.inactive, false)
    }

    /// Somebody looks at the client again, or it is there again.
    func noteActive() {
        guard !hasEnded else { return }
        for hook in host.hooks.sessionActive { hook(session, host) }
    }

    private func releaseHolder(_ reason: HolderRelease) {
        guard let stanzas = contents.holder?.release(reason) else { return }
        for stanza in stanzas { send(stanza) }
    }

    // MARK: Acknowledgements (XEP-0198 section 4)

    /// What held a stanza of the client's is done.
    private func release(_ number: UInt32) {
        let isHeard = inbound.release(number)
        if inbound.openCount == 0 { didHandleAll() }
        guard let stream else { return }
        if isHeard { stream.acknowledge() }
        stream.didStore(openCount: inbound.openCount)
    }

    /// Waits for what the client sent and is not handled yet, or for the session's end.
    func whenHandled(_ then: @escaping () -> Void) { awaitingHandled.append(then) }

    private func didHandleAll() {
        let waiting = awaitingHandled
        awaitingHandled = []
        for then in waiting { then() }
    }

    /// A stanza that waited behind others was handled, but for what holds it now.
    func finish(_ number: UInt32) {
        if inbound.finishResumed(number) { release(number) }
    }

    /// What a crash must not make the client's resend forget; nil if nobody could resume.
    func position(of number: UInt32) -> StreamPosition? {
        guard let management, let stream = management.streamNumber else { return nil }
        return StreamPosition(stream: stream, handled: number &- management.base)
    }

    /// The client has everything up to `h`.
    func acknowledge(_ h: UInt32) -> OutgoingQueue.Acknowledgement {
        let result = contents.queue.acknowledge(h) { $0.onDelivery?() }
        countUnacknowledged()
        management?.requestedAt = nil
        if contents.queue.writtenCount == 0 { stopAwaiting() }
        return result
    }

    /// Sees to it that the client is asked what it got: soon, or at once when it is much.
    private func awaitAcknowledgement() {
        guard contents.queue.writtenCount > 0, management != nil else { return }
        if !isAwaiting {
            isAwaiting = true
            loop.awaitAcknowledgement(of: self)
        }
        management?.unrequested += 1
        if let management, management.unrequested >= StreamManagement.requestAfter,
            management.requestedAt == nil
        {
            stream?.requestAcknowledgement()
        }
    }

    private func stopAwaiting() {
        guard isAwaiting else { return }
        isAwaiting = false
        loop.stopAwaiting(self)
    }

    /// Once a second, while something is not acknowledged.
    func checkAcknowledgement(_ now: NIODeadline) {
        guard let stream, let management else { return }
        guard let requestedAt = management.requestedAt else {
            return stream.requestAcknowledgement()
        }
        if now - requestedAt > TimeAmount(host.limits.acknowledgement.value) {
            host.metrics.refusals[.acknowledgementTimeout].add(1, cell: loop.cell)
            stream.lose()
        }
    }

    // MARK: The stream comes and goes

    func attach(_ stream: ClientStream) {
        self.stream = stream
        hibernationEnd?.cancel()
        hibernationEnd = nil
        isHibernating = false
        forgetWritten()
    }

    /// The stream is gone, the session stays for a while.
    ///
    /// - Parameter time: for how long, in seconds; nil for as long as its client was told.
    func hibernate(for time: Int? = nil) {
        stream = nil
        // A new stream begins active (XEP-0352 section 5.2).
        endHolder(.streamEnd)
        contents.queue.delay(by: session.jid.domain)
        management?.requestedAt = nil
        management?.unrequested = 0
        stopAwaiting()
        let wasHibernating = isHibernating
        isHibernating = true
        let length = time ?? management?.resumptionTime ?? 0
        hibernatesUntil = loop.eventLoop.now + .seconds(Int64(length))
        hibernationEnd = loop.eventLoop.assumeIsolated().scheduleTask(deadline: hibernatesUntil) {
            self.hibernationEnd = nil
            self.host.metrics.resumptions[.expired].add(1, cell: self.loop.cell)
            self.end(nil)
        }
        // What an earlier process left lost its connection there.
        if !wasHibernating, time == nil { tellOfHibernation() }
    }

    private func tellOfHibernation() {
        guard !host.hooks.sessionHibernated.isEmpty else { return }
        let messages = (contents.queue.all + (contents.held ?? [])).filter {
            $0.kind == .message && !$0.isReply
        }
        for hook in host.hooks.sessionHibernated { hook(session, messages, host) }
    }

    private var isHibernating: Bool {
        get { session.isHibernating }
        set {
            guard newValue != isHibernating else { return }
            session.isHibernating = newValue
            host.metrics.hibernating.add(newValue ? 1 : -1)
            if newValue { host.metrics.hibernations.add(1, cell: loop.cell) }
        }
    }

    /// The server stops. What the client may resume waits for `suspend`.
    func stopStream(_ error: StreamError) {
        guard !hasEnded else { return }
        if let stream { stream.stop(error) } else if !isResumable { leave() }
    }

    /// Takes the state out of this process for the next one, and nobody hears of it. Nil if the
    /// session cannot go on, or has a stream.
    func suspend() -> SuspendedSession? {
        guard isResumable, stream == nil else { return nil }
        for hook in host.hooks.sessionSuspended { hook(session, host) }
        let remaining = (hibernatesUntil - loop.eventLoop.now).nanoseconds / 1_000_000_000
        guard let suspended = SuspendedSession(session, contents, remaining: Int(remaining), host)
        else { return nil }
        host.sessions.remove(session)
        host.metrics.sessions.add(-1)
        isHibernating = false
        _ = depart()
        _ = contents.queue.removeAll()
        countUnacknowledged()
        // What comes now goes where it would go without the session.
        session.place.withLock { $0 = .ended }
        didHandleAll()
        return suspended
    }

    /// The session is not any more what was written of it.
    private func forgetWritten() {
        guard contents.isWritten, let id = session.resumptionID else { return }
        contents.isWritten = false
        host.forgetSuspended(id)
    }

    /// Takes the state apart for its way to another loop.
    func depart() -> Contents {
        hibernationEnd?.cancel()
        hibernationEnd = nil
        stopAwaiting()
        stream = nil
        hasEnded = true
        contents.queue.rewind()
        endHolder(.streamEnd)
        return contents
    }

    // MARK: The end

    /// Ends the session, with an error or in peace, and its stream with it.
    func end(_ error: StreamError?) {
        guard !hasEnded else { return }
        guard let stream else { return leave() }
        stream.end(error)
    }

    /// Takes the session out of the world, once.
    ///
    /// - Parameter isOver: its client said so, and will not ask for it.
    func leave(isOver: Bool = false) {
        guard !hasEnded else { return }
        if isResumable, !isOver, let position = position(of: inbound.handled) {
            host.note(position, of: session.jid.bare)
        }
        if isOver, contents.hasStored { host.forgetMessages(of: session) }
        hasEnded = true
        session.flags.set(.inactive, false)
        stream = nil
        hibernationEnd?.cancel()
        hibernationEnd = nil
        stopAwaiting()
        let late: [Session.Event] = session.place.withLock { place in
            defer { place = .ended }
            guard case .moving(let events) = place else { return [] }
            return events
        }
        host.sessions.remove(session)
        host.metrics.sessions.add(-1)
        isHibernating = false
        for hook in host.hooks.sessionEnded.reversed() { hook(session.jid.bare, session, host) }
        let rest = contents.queue.removeAll() + (contents.holder?.release(.streamEnd) ?? [])
        countUnacknowledged()
        for stanza in rest + (contents.held ?? []) { host.redeliver(stanza) }
        // After that, or a crash in between would lose them.
        forgetWritten()
        contents = Contents()
        for event in late { handle(event) }
        didHandleAll()
    }
}
