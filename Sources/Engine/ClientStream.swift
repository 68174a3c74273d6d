// One client connection: bytes in, stanzas to the router; stanzas in, bytes out. Negotiation is
// decided in `ClientNegotiation` and carried out in the extensions of this class. Owner: the connection's event
// loop; nothing here is touched by another thread.

internal import Addresses
internal import Logging
public import NIOCore
internal import Options
internal import Prometheus
internal import SASL
internal import TLS
internal import XML
internal import XMPP

/// A client's stream (RFC 6120 section 4).
public final class ClientStream {
    static let specifications = [
        Specification(
            "RFC 4616", "The PLAIN Simple Authentication and Security Layer (SASL) Mechanism"),
        Specification(
            "RFC 5802", "Salted Challenge Response Authentication Mechanism (SCRAM) for SASL"),
        Specification("RFC 5929", "Channel Bindings for TLS"),
        Specification("RFC 6120", "XMPP: Core"),
        Specification("RFC 6121", "XMPP: Instant Messaging and Presence"),
        Specification("RFC 7590", "Use of TLS in XMPP"),
        Specification("RFC 7622", "XMPP: Address Format"),
        Specification("RFC 7677", "SCRAM-SHA-256 and SCRAM-SHA-256-PLUS SASL Mechanisms"),
        Specification("RFC 8265", "PRECIS: Usernames and Passwords"),
        Specification("RFC 9266", "Channel Bindings for TLS 1.3"),
        Specification("XEP-0082", version: "1.1.1", "XMPP Date and Time Profiles"),
        Specification("XEP-0198", version: "1.6.3", "Stream Management"),
        Specification("XEP-0368", version: "1.1.0", "SRV records for XMPP over TLS"),
        Specification("XEP-0440", version: "1.0.0", "SASL Channel-Binding Type Capability"),
    ]

    /// After the end, the last words get this long to arrive.
    private static let lingerTime = TimeAmount.seconds(3)
    /// Bytes that are written at once to a client that was slow.
    private static let piece = 65_536

    let host: Host
    let loop: Loop
    let transport: any StreamTransport
    let description: ConnectionDescription
    private(set) var tls: TLSLabel = .none
    var reader: StreamReader
    var negotiation: ClientNegotiation
    /// What the client is once it has bound a resource; it may outlive this stream.
    var state: SessionState?
    var session: Session? { state?.session }
    /// Ends a pause: a login waits for its turn, or the client was too fast.
    var pauseEnd: Scheduled<Void>?
    /// So many of its stanzas wait for the disk that it is not read.
    var isWaitingForDisk = false
    private var stanzaBucket: TokenBucket
    private var byteBucket: TokenBucket
    /// When the client proved who it is.
    var loggedInAt = NIODeadline.distantPast
    /// The account's last login before this one, seconds since 1970.
    var lastLogin: Int64?
    /// The account of a stream whose `prepareSession` hooks were run.
    var preparedAccount: BareJID?
    var hasEnded = false
    /// The peer is done or gone, and the end is due.
    private var isEnding = false
    /// The client said that it leaves (RFC 6120 section 4.4), so its session ends, too.
    private var isLeaving = false
    private var isClosed = false
    var hasSentHeader = false
    /// Input waits: the stream is being answered a question, or TLS begins.
    var isPaused = false
    /// A further answer is due, so the stream stays paused.
    var isWaiting = false
    var backlog = ByteBuffer()
    /// Bytes read together with `<starttls/>` are thrown away until TLS has begun.
    var isStartingTLS = false
    /// When the stream is ended, unless it has got on by then.
    private var deadline: NIODeadline?
    private var isWatched = false

    var output = StreamOutput()

    /// Whether the client has proved who it is.
    public internal(set) var isAuthenticated = false

    /// Creates the stream of a connection that was admitted.
    public init(
        host: Host, loop: Loop, transport: any StreamTransport,
        description: ConnectionDescription
    ) {
        self.host = host
        self.loop = loop
        self.transport = transport
        self.description = description
        reader = StreamReader(limits: host.limits.unauthenticatedReader)
        let now = loop.eventLoop.now
        stanzaBucket = TokenBucket(rate: host.limits.stanzaRate.value, now: now)
        byteBucket = TokenBucket(rate: host.limits.byteRate.value, now: now)
        negotiation = ClientNegotiation(
            security: TransportSecurity(
                offersTLS: description.offersTLS, allowsPlaintext: description.allowsPlaintext),
            domains: host.domains, isLocal: { host.isLocal($0) },
            redirection: description.redirection,
            maximumFailures: host.limits.loginAttempts.value, fake: host.fakeCredentials,
            identifier: { SecureRandom.identifier(bytes: 18) })
        host.metrics.connections[description.type, tls].add(1)
        loop.countConnection(1)
        setDeadline(now + TimeAmount(host.limits.negotiation.value))
    }

    // MARK: Events of the connection

    /// TLS is in force from here on.
    public func didSecure(_ version: TLSLabel) {
        host.metrics.connections[description.type, tls].add(-1)
        tls = version
        host.metrics.connections[description.type, tls].add(1)
        negotiation.security.isSecure = true
        negotiation.security.bindings = transport.channelBindings
        guard isStartingTLS else { return }
        isStartingTLS = false
        isPaused = false
    }

    /// The TLS handshake failed; the connection is of no use.
    public func didFailToSecure() {
        host.metrics.refusals[.tlsFailure].add(1, cell: loop.cell)
    }

    /// Bytes came in.
    public func receive(_ bytes: ByteBuffer) {
        // What comes between <starttls/> and TLS was sent in clear and is not believed.
        guard !hasEnded, !isEnding, !isStartingTLS else { return }
        let excess =
            state == nil
            ? nil
            : byteBucket.take(
                bytes.readableBytes, rate: host.limits.byteRate.value, now: loop.eventLoop.now)
        defer { if let excess { throttle(excess, .byteRate) } }
        if isPaused || backlog.readableBytes > 0 {
            backlog.writeImmutableBuffer(bytes)
            if !isPaused { readBacklog() }
            return
        }
        var bytes = bytes
        read(&bytes)
        if bytes.readableBytes > 0, !hasEnded, !isStartingTLS { backlog.writeBuffer(&bytes) }
    }

    /// The client sends no more; what it was sent reaches it before the end.
    public func endOfInput() {
        endSoon()
    }

    /// The connection is gone.
    public func didClose() {
        isClosed = true
        setDeadline(nil)
        host.metrics.connections[description.type, tls].add(-1)
        loop.countConnection(-1)
        if state == nil { leave() } else { endSoon() }
    }

    /// Ends the stream if its time is up.
    func checkDeadline(_ now: NIODeadline) {
        guard let deadline, now >= deadline else { return }
        guard !hasEnded else {
            // Its last words had their time to arrive.
            setDeadline(nil)
            return transport.abort()
        }
        // It is the disk that takes its time.
        guard !isWaitingForDisk else {
            return setDeadline(now + TimeAmount(host.limits.negotiation.value))
        }
        let isLate = state == nil
        host.metrics.refusals[isLate ? .negotiationTimeout : .stanzaTimeout].add(cell: loop.cell)
        end(StreamError(isLate ? .connectionTimeout : .policyViolation, "too slow"))
    }

    func setDeadline(_ deadline: NIODeadline?) {
        self.deadline = deadline
        if deadline != nil, !isWatched {
            isWatched = true
            loop.watch(self)
        } else if deadline == nil, isWatched {
            isWatched = false
            loop.unwatch(self)
        }
    }

    // MARK: Reading

    private func readBacklog() {
        var bytes = ByteBuffer()
        swap(&bytes, &backlog)
        read(&bytes)
        guard bytes.readableBytes > 0, !hasEnded, !isStartingTLS else { return }
        bytes.writeBuffer(&backlog)
        backlog = bytes
    }

    private func read(_ bytes: inout ByteBuffer) {
        var gotOn = false
        do throws(XMLError) {
            while !isPaused, !hasEnded, !isEnding, let event = try next(&bytes) {
                gotOn = true
                handle(event)
            }
        } catch {
            count(error)
            end(StreamError(error))
        }
        guard state != nil, !hasEnded else { return }
        // A stanza that was begun has to be finished in time; each one has a time of its own.
        if reader.isInsideElement {
            if deadline == nil || gotOn {
                setDeadline(loop.eventLoop.now + TimeAmount(host.limits.negotiation.value))
            }
        } else if deadline != nil {
            setDeadline(nil)
        }
    }

    private func next(_ bytes: inout ByteBuffer) throws(XMLError) -> StreamEvent? {
        // The closure of ByteBuffer is untyped in what it throws, so the result carries it.
        let result: Result<StreamEvent?, XMLError> = bytes.readWithUnsafeReadableBytes { raw in
            var offset = 0
            do throws(XMLError) {
                let buffer = raw.bindMemory(to: UInt8.self)
                let event = try reader.next(in: buffer.span, at: &offset)
                return (offset, .success(event))
            } catch {
                return (raw.count, .failure(error))
            }
        }
        return try result.get()
    }

    private func count(_ error: XMLError) {
        let reason: RefusalReason =
            switch error.condition {
            case .limit: .xmlLimit
            case .restricted: .restrictedXML
            case .notWellFormed, .unsupportedEncoding, .badFormat: .malformedXML
            }
        host.metrics.refusals[reason].add(1, cell: loop.cell)
    }

    private func handle(_ event: StreamEvent) {
        switch event {
        case .header(let header):
            perform(negotiation.receive(header)[...])
        case .end:
            isLeaving = true
            endSoon()
        case .element(let fragment):
            guard let state else { return perform(negotiation.receive(fragment)[...]) }
            receive(fragment, state)
        }
    }

    /// A stanza of a client that has a session.
    private func receive(_ fragment: Fragment, _ state: SessionState) {
        let session = state.session
        defer {
            if let excess = stanzaBucket.take(
                1, rate: host.limits.stanzaRate.value, now: loop.eventLoop.now)
            {
                throttle(excess, .stanzaRate)
            }
        }
        guard let kind = Stanza.kind(of: fragment) else {
            if manage(fragment, state) { return }
            guard let handler = host.streamElements[fragment.namespace], handler(fragment, session)
            else { return refuse(StreamError(.unsupportedStanzaType)) }
            return
        }
        host.metrics.stanzas[StanzaKindLabel(kind), .received].add(1, cell: loop.cell)
        let number = state.inbound.receive()
        defer {
            state.inbound.didHandle()
            if state.inbound.openCount >= host.limits.unstored.value { waitForDisk() }
        }
        if let from = fragment.from, !isSender(fragment.value(from), session) {
            return refuse(StreamError(.invalidFrom))
        }
        var to: JID?
        if let address = fragment.to {
            do throws(JIDError) {
                to = try JID(fragment.value(address))
            } catch {
                let stanza = Stanza(fragment, kind, from: session.jid, to: nil)
                return host.bounce(stanza, StanzaError(.jidMalformed, error.message))
            }
        }
        host.handle(
            Stanza(
                fragment, kind, from: session.jid, to: to, streamLanguage: negotiation.language,
                receivedAt: NIODeadline.now().uptimeNanoseconds, number: number),
            from: session)
    }

    /// RFC 6120 section 8.1.2.1: the bare or the full JID of the client, if anything.
    private func isSender(_ text: String, _ session: Session) -> Bool {
        guard let jid = try? JID(text) else { return false }
        return jid.bare == session.jid.bare && (jid.isBare || jid == session.jid)
    }

    private func refuse(_ error: StreamError) {
        host.metrics.refusals[.streamError].add(1, cell: loop.cell)
        end(error)
    }

    // MARK: Input that waits

    func pause() {
        isPaused = true
        transport.setReading(false)
    }

    func goOn() {
        isPaused = false
        guard !hasEnded else { return }
        transport.setReading(true)
        // Whole elements may also wait in the reader, behind the one that made the stream pause.
        if backlog.readableBytes > 0 || reader.isInsideElement { readBacklog() }
    }

    /// The client is too fast: its socket is not read for a while (nothing is refused or lost).
    private func throttle(_ time: TimeAmount, _ reason: RefusalReason) {
        guard !hasEnded, !isPaused else { return }
        host.metrics.refusals[reason].add(1, cell: loop.cell)
        pause()
        // The time to finish a stanza does not run meanwhile.
        if let deadline { setDeadline(deadline + time) }
        pauseEnd = loop.eventLoop.assumeIsolated().scheduleTask(in: time) {
            self.pauseEnd = nil
            if !self.isWaitingForDisk { self.goOn() }
        }
    }

    /// One client's writes must not make everybody else's wait: the rest stays in its socket.
    private func waitForDisk() {
        guard !hasEnded, !isWaitingForDisk else { return }
        host.metrics.refusals[.unstored].add(1, cell: loop.cell)
        isWaitingForDisk = true
        if !isPaused { pause() }
    }

    // MARK: Writing

    /// Whether stanzas may be written; else they wait.
    var takesStanzas: Bool { !output.isCongested && !hasEnded && !isEnding }

    /// Queues a stanza for the next flush.
    func write(_ stanza: OutboundStanza) {
        host.metrics.stanzas[StanzaKindLabel(stanza.kind), .sent].add(1, cell: loop.cell)
        // A client that acknowledges has it only then.
        output.append(stanza, hasItOnceWritten: state?.management == nil)
        scheduleFlush()
    }

    /// The socket takes more, or no more for now. On the loop.
    public func setWritable(_ isWritable: Bool) {
        guard !hasEnded, !isEnding else { return }
        output.isCongested = !isWritable
        guard isWritable else { return }
        if state?.management?.owesAnswer == true { acknowledge() }
        if let state { state.writeQueue() } else { flush() }
    }

    /// Writes what is queued when it is much, so that little is on its way when the client stops
    /// reading.
    func flushPiece() {
        if output.byteCount >= Self.piece { flush() }
    }

    func send(_ bytes: [UInt8]) {
        guard !hasEnded else { return }
        output.append(bytes)
        scheduleFlush()
    }

    private func scheduleFlush() {
        guard !output.isFlushScheduled else { return }
        output.isFlushScheduled = true
        loop.flushAtEndOfTick(self)
    }

    /// Hands what is queued to the connection, as one write.
    func flush() {
        output.isFlushScheduled = false
        guard let bytes = output.takeBytes() else { return }
        transport.write(bytes, then: output.takeWritten())
        output.takeArrivals { now, receivedAt in
            host.metrics.deliveryTime.observe((now - receivedAt).seconds, cell: loop.cell)
        }
    }

    // MARK: The end

    /// Ends the stream when its turn comes: many clients may leave at once, when an access point
    /// goes, and others want to be served meanwhile. What comes for this one goes elsewhere.
    private func endSoon() {
        guard !hasEnded, !isEnding else { return }
        isEnding = true
        output.isCongested = true
        loop.endSoon(self)
    }

    /// Its turn to end has come.
    func endNow() {
        if isLeaving { end(nil) } else { lose() }
    }

    /// The connection is of no use any more. A session that its client may resume stays.
    func lose() {
        guard !hasEnded else { return }
        guard let state, state.isResumable else { return end(nil) }
        self.state = nil
        finish()
        state.hibernate()
    }

    /// The client took its session to another stream (XEP-0198 section 5).
    func giveUpSession() {
        state = nil
        end(StreamError(.conflict, "resumed by a new connection"))
    }

    /// The server stops. A session that its client may resume stays.
    func stop(_ error: StreamError) {
        guard let state, state.isResumable, !isLeaving else { return end(error) }
        self.state = nil
        end(error)
        state.hibernate()
    }

    /// Ends the stream, with an error or in peace (RFC 6120 section 4.4), and the session with it.
    func end(_ error: StreamError?) {
        guard !hasEnded else { return }
        if let error {
            if !hasSentHeader { send(negotiation.openingBytes(nil)) }
            send(error.bytes)
        }
        if hasSentHeader || error != nil { send(Array("</stream:stream>".utf8)) }
        finish()
    }

    private func finish() {
        hasEnded = true
        flush()
        leave()
        guard !isClosed else { return }
        setDeadline(loop.eventLoop.now + Self.lingerTime)
        transport.close()
    }

    /// Gives up everything that the stream has.
    private func leave() {
        hasEnded = true
        setDeadline(nil)
        pauseEnd?.cancel()
        pauseEnd = nil
        backlog = ByteBuffer()
        discardPreparation()
        guard let state else { return }
        self.state = nil
        state.leave(isOver: isLeaving)
    }
}
