// One XML stream over one connection: reading within limits, input that waits, deadlines, and
// output that leaves as one write per tick. What its elements mean is for the subclasses:
// a client's stream, another server's, a component's.

internal import Logging
public import NIOCore
internal import Options
internal import Prometheus
internal import XML
internal import XMPP

/// A stream (RFC 6120 section 4). Owner: the connection's event loop; nothing here is touched by
/// another thread.
public class XMLStream {
    /// After the end, the last words get this long to arrive.
    private static let lingerTime = TimeAmount.seconds(3)
    /// A peer that sends to a domain for which much waits is not read for so long at most, for it
    /// may have to say something to others.
    private static let roomTime = TimeAmount.seconds(1)
    /// Bytes that are written at once to a peer that was slow.
    private static let piece = 65_536

    let host: Host
    let loop: Loop
    let transport: any StreamTransport
    private(set) var tls: TLSLabel = .none
    var reader: StreamReader
    /// Ends a pause: a login waits for its turn, or the peer was too fast.
    var pauseEnd: Scheduled<Void>?
    /// So many of the peer's stanzas wait for the disk that it is not read.
    var isWaitingForDisk = false
    /// It is not read until what waits for another domain has become less.
    private var isWaitingForRoom = false
    private var stanzaBucket: TokenBucket
    private var byteBucket: TokenBucket
    var hasEnded = false
    /// The peer is done or gone, and the end is due.
    private(set) var isEnding = false
    /// The peer said that it leaves (RFC 6120 section 4.4).
    var isLeaving = false
    private(set) var isClosed = false
    var hasSentHeader = false
    /// Input waits: the stream is being answered a question, or TLS begins.
    var isPaused = false
    /// The peer sends no more, and some of what it sent still waits.
    private var inputHasEnded = false
    /// Our side is closed in peace, and the peer's is awaited (RFC 6120 section 4.4).
    private(set) var isClosing = false
    /// A further answer is due, so the stream stays paused.
    var isWaiting = false
    var backlog = ByteBuffer()
    /// Bytes read together with `<starttls/>` are thrown away until TLS has begun.
    var isStartingTLS = false
    /// When the stream is ended, unless it has got on by then.
    private(set) var deadline: NIODeadline?
    private var isWatched = false

    var output = StreamOutput()
    /// Bytes of answers that were written since the socket took no more.
    private var unread = 0

    /// Whether the peer has proved who it is.
    public internal(set) var isAuthenticated = false {
        didSet { if isAuthenticated, !oldValue { admission?.authenticated() } }
    }

    init(
        host: Host, loop: Loop, transport: any StreamTransport, limits: ReaderLimits,
        mapping: NamespaceMapping? = nil
    ) {
        self.host = host
        self.loop = loop
        self.transport = transport
        reader = StreamReader(limits: limits, mapping: mapping)
        let now = loop.eventLoop.now
        stanzaBucket = TokenBucket(rate: host.limits.stanzaRate.value, now: now)
        byteBucket = TokenBucket(rate: host.limits.byteRate.value, now: now)
        countConnection(1)
        loop.countConnection(1)
        setDeadline(now + TimeAmount(host.limits.negotiation.value))
    }

    // MARK: What a kind of stream decides

    /// Handles a header, a first-level element or the stream's end.
    func handle(_ event: StreamEvent) {}

    /// Whether stanzas flow; before that, the whole negotiation has one deadline.
    var isNegotiated: Bool { false }

    /// Our header, for an error that comes before it.
    var openingBytes: [UInt8] { [] }

    /// Stanzas and bytes per second that the peer may send.
    var rates: (stanzas: Int, bytes: Int) {
        (host.limits.stanzaRate.value, host.limits.byteRate.value)
    }

    /// The TLS version changed, or the connection came or went: for the metrics.
    func countConnection(_ change: Int) {}

    /// Where the connection was admitted; nil for one that was opened from here.
    var admission: Admission? { nil }

    /// TLS is in force from here on.
    func tlsBegan() {}

    /// The deadline has passed.
    func timeIsUp() { end(StreamError(.connectionTimeout, "too slow")) }

    /// What the stream refused was broken in this way.
    func count(_ reason: RefusalReason) {
        host.metrics.refusals[reason].add(1, cell: loop.cell)
    }

    /// The connection is of no use any more.
    func lose() { end(nil) }

    /// The socket takes more.
    func writeWaiting() { flush() }

    /// The stream is about to be closed: last words.
    func willEnd() {}

    /// The stream is about to be closed by an error of ours.
    func willEnd(with error: StreamError) {}

    /// What follows from the end, once.
    func didEnd() {}

    /// The server stops.
    func stop(_ error: StreamError) { end(error) }

    // MARK: Events of the connection

    /// Puts TLS under the stream. What stands behind `<starttls/>` or `<proceed/>` was sent in clear
    /// and is not believed (RFC 6120 section 5.4.3.3).
    final func startTLS() {
        isStartingTLS = true
        backlog = ByteBuffer()
        reader.restart()
        hasSentHeader = false
        flush()
        isPaused = true
        transport.startTLS()
    }

    /// TLS is in force from here on.
    public final func didSecure(_ version: TLSLabel) {
        countConnection(-1)
        tls = version
        countConnection(1)
        let wasStarted = isStartingTLS
        isStartingTLS = false
        if wasStarted { isPaused = false }
        tlsBegan()
    }

    /// The TLS handshake failed; the connection is of no use.
    public func didFailToSecure(_ reason: String) {
        count(.tlsFailure)
    }

    /// Bytes came in.
    public final func receive(_ bytes: ByteBuffer) {
        // What comes between <starttls/> and TLS was sent in clear and is not believed.
        guard !hasEnded, !isEnding, !isStartingTLS else { return }
        let excess = byteBucket.take(
            bytes.readableBytes, rate: rates.bytes, now: loop.eventLoop.now)
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

    /// The peer sends no more; what it was sent reaches it before the end.
    public final func endOfInput() {
        guard isNegotiated, isPaused else { return endSoon() }
        inputHasEnded = true
    }

    /// The connection is gone.
    public final func didClose() {
        isClosed = true
        setDeadline(nil)
        countConnection(-1)
        loop.countConnection(-1)
        if isNegotiated { endSoon() } else { leave() }
    }

    /// Ends the stream if its time is up.
    final func checkDeadline(_ now: NIODeadline) {
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
        timeIsUp()
    }

    final func setDeadline(_ deadline: NIODeadline?) {
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
            switch error.condition {
            case .limit: count(.xmlLimit)
            case .restricted: count(.restrictedXML)
            case .notWellFormed, .unsupportedEncoding, .badFormat: count(.malformedXML)
            }
            end(StreamError(error))
        }
        guard isNegotiated, !hasEnded else { return }
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

    /// A stanza came; a peer that is too fast is read more slowly after it.
    final func takeStanza() -> TimeAmount? {
        stanzaBucket.take(1, rate: rates.stanzas, now: loop.eventLoop.now)
    }

    final func refuse(_ error: StreamError) {
        count(.streamError)
        end(error)
    }

    // MARK: Input that waits

    final func pause() {
        isPaused = true
        transport.setReading(false)
    }

    final func goOn() {
        isPaused = false
        guard !hasEnded else { return }
        transport.setReading(true)
        // Whole elements may also wait in the reader, behind the one that made the stream pause.
        if backlog.readableBytes > 0 || reader.isInsideElement { readBacklog() }
        if inputHasEnded, !isPaused { endSoon() }
    }

    /// The peer is too fast: its socket is not read for a while (nothing is refused or lost).
    final func throttle(_ time: TimeAmount, _ reason: RefusalReason) {
        guard !hasEnded, !isPaused else { return }
        count(reason)
        pause()
        // The time to finish a stanza does not run meanwhile; the time to log in does.
        if isNegotiated, let deadline { setDeadline(deadline + time) }
        pauseEnd = loop.eventLoop.assumeIsolated().scheduleTask(in: time) {
            self.endPause()
        }
    }

    private func endPause() {
        pauseEnd = nil
        isWaitingForRoom = false
        if !isWaitingForDisk { goOn() }
    }

    /// Much waits for the domain that the peer sends to: the rest stays in its socket.
    final func waitForRoom() {
        guard !hasEnded, !isPaused else { return }
        throttle(Self.roomTime, .remoteQueue)
        isWaitingForRoom = true
    }

    /// What waits for that domain has become less.
    final func roomIsThere() {
        guard isWaitingForRoom else { return }
        pauseEnd?.cancel()
        endPause()
    }

    /// One peer's writes must not make everybody else's wait: the rest stays in its socket.
    final func waitForDisk() {
        guard !hasEnded, !isWaitingForDisk else { return }
        count(.unstored)
        isWaitingForDisk = true
        if !isPaused { pause() }
    }

    /// Something that the peer sent is on the disk, and so many stanzas are not yet.
    final func didStore(openCount: Int) {
        guard isWaitingForDisk, openCount <= host.limits.unstored.value / 2 else { return }
        isWaitingForDisk = false
        if pauseEnd == nil { goOn() }
    }

    // MARK: Writing

    /// Whether stanzas may be written; else they wait.
    final var takesStanzas: Bool { !output.isCongested && !hasEnded && !isEnding && !isClosing }

    /// The socket takes more, or no more for now. On the loop.
    public final func setWritable(_ isWritable: Bool) {
        guard !hasEnded, !isEnding else { return }
        output.isCongested = !isWritable
        unread = 0
        if isWritable { writeWaiting() }
    }

    /// Writes what is queued when it is much, so that little is on its way when the peer stops
    /// reading.
    final func flushPiece() {
        if output.byteCount >= Self.piece { flush() }
    }

    final func send(_ bytes: [UInt8]) {
        guard !hasEnded, !isClosing else { return }
        output.append(bytes)
        scheduleFlush()
        guard output.isCongested else { return }
        // Stanzas wait in their queue; this is for who asks on and on and does not read.
        unread += bytes.count
        let limit = isNegotiated ? host.limits.outgoingQueue.value : Self.piece
        if unread > limit, !isEnding {
            count(.slowReader)
            endSoon()
        }
    }

    final func scheduleFlush() {
        guard !output.isFlushScheduled else { return }
        output.isFlushScheduled = true
        loop.flushAtEndOfTick(self)
    }

    /// Hands what is queued to the connection, as one write.
    final func flush() {
        output.isFlushScheduled = false
        guard let bytes = output.takeBytes() else { return }
        transport.write(bytes, then: output.takeWritten())
        output.takeArrivals { now, receivedAt in
            host.metrics.deliveryTime.observe((now - receivedAt).seconds, cell: loop.cell)
        }
    }

    // MARK: The end

    /// Ends the stream when its turn comes: many peers may leave at once, when an access point
    /// goes, and others want to be served meanwhile. What comes for this one goes elsewhere.
    final func endSoon() {
        guard !hasEnded, !isEnding else { return }
        isEnding = true
        output.isCongested = true
        loop.endSoon(self)
    }

    /// Its turn to end has come.
    final func endNow() {
        if isLeaving { end(nil) } else { lose() }
    }

    /// Closes our side in peace. What the peer sent before it heard of that is taken, until it has
    /// closed its side or its time is up.
    final func close() {
        guard !hasEnded, !isEnding, !isClosing else { return }
        willEnd()
        send(Array("</stream:stream>".utf8))
        isClosing = true
        loop.eventLoop.assumeIsolated().scheduleTask(in: Self.lingerTime) { self.end(nil) }
    }

    /// Ends the stream, with an error or in peace (RFC 6120 section 4.4).
    final func end(_ error: StreamError?) {
        guard !hasEnded else { return }
        if let error { willEnd(with: error) }
        if hasSentHeader { willEnd() }
        if let error {
            if !hasSentHeader { send(openingBytes) }
            send(error.bytes)
        }
        if hasSentHeader || error != nil { send(Array("</stream:stream>".utf8)) }
        finish()
    }

    final func finish() {
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
        didEnd()
    }
}
