// What the streams of other servers and of components have in common: stanzas to the router with
// their addresses checked, stanzas out of a queue, and the acknowledgements of XEP-0198.

internal import Addresses
internal import Glibc
internal import Logging
internal import NIOCore
internal import Options
internal import Prometheus
internal import XML
internal import XMPP

/// A stream to or from another domain. Owner: the connection's event loop.
public class PeerStream: XMLStream {
    /// What the router knows of it.
    let origin: PeerOrigin
    /// What the peer sent since it counts.
    var inbound = HandledStanzas()
    /// What writes to this stream; nil for a stream that only receives.
    var outlet: (any StreamOutlet)?
    /// The peer counts what it gets and sends (XEP-0198).
    var isManaged = false
    /// Its stanzas before it began to count.
    var countBase: UInt32 = 0
    /// Why the peer ended the stream, if that may be for what was written to it.
    private(set) var complaint: FederationFailure?
    /// When the peer was asked what it got, or last answered with less; nil once it has said that
    /// it has all of that.
    private var requestedAt: NIODeadline?
    /// Stanzas sent to it until it was asked.
    private var requested: UInt32 = 0
    /// Asks again a peer that answered with less.
    private var repeatTimer: Scheduled<Void>?
    /// Looks whether the answer has come; runs only while one is due.
    private var answerTimer: Scheduled<Void>?
    /// Looks whether the stream is still of use.
    private var idleTimer: Scheduled<Void>?
    /// The `h` that the peer heard last.
    private var acknowledged: UInt32 = 0
    /// The stream ends in peace, and the peer has heard of all that it sent.
    private var endsInPeace = false
    /// The server stops, and the last acknowledgement is awaited.
    private var stopError: StreamError?
    /// When a stanza last came or went.
    private(set) var lastUsed: NIODeadline

    /// After the server was told to stop, a peer gets this long to say what it has.
    private static let lastAnswerTime = TimeAmount.seconds(1)
    /// A peer that counts a stanza only once it is on its disk says so by itself; should it not, it
    /// is asked again after this time.
    private static let repeatTime = TimeAmount.seconds(1)

    override init(
        host: Host, loop: Loop, transport: any StreamTransport, limits: ReaderLimits,
        mapping: NamespaceMapping? = nil
    ) {
        origin = PeerOrigin(loop)
        lastUsed = loop.eventLoop.now
        super.init(
            host: host, loop: loop, transport: transport, limits: limits, mapping: mapping)
        origin.streamHere = self
        host.peers.insert(origin)
    }

    /// Whether the peer may send a stanza from one domain to another; else why the stream ends.
    func refusal(from sender: String, to receiver: String) -> StreamError? { nil }

    /// Whether the peer sends again what it did not hear of before a stream broke.
    var sendsAgain: Bool { true }

    /// Counts a stanza for the metrics.
    func count(_ kind: Stanza.Kind, _ direction: Direction) {}

    override func didEnd() {
        origin.streamHere = nil
        // What looks like a resend from here on is meant.
        if endsInPeace || !sendsAgain { host.forgetMessages(of: origin) }
        host.peers.remove(origin)
        answerTimer?.cancel()
        answerTimer = nil
        repeatTimer?.cancel()
        repeatTimer = nil
        idleTimer?.cancel()
        idleTimer = nil
        host.federation.openStreams.forget(origin)
        let outlet = outlet
        self.outlet = nil
        outlet?.detach(self)
    }

    /// One stream bears what all users of a server send.
    override var rates: (stanzas: Int, bytes: Int) {
        guard isNegotiated else { return super.rates }
        return (host.limits.serverStanzaRate.value, host.limits.serverByteRate.value)
    }

    // MARK: From the peer

    /// Handles a first-level element of a peer that may send stanzas.
    func receive(_ fragment: Fragment) {
        lastUsed = loop.eventLoop.now
        defer { takeElement() }
        guard let kind = Stanza.kind(of: fragment) else {
            if manage(fragment) { return }
            return refuse(StreamError(.unsupportedStanzaType))
        }
        count(kind, .received)
        let number = inbound.receive()
        defer {
            inbound.didHandle()
            if inbound.openCount >= host.limits.unstored.value { waitForDisk() }
        }
        // Both addresses are there (RFC 6120 sections 8.1.1.2 and 8.1.2.2).
        guard let sender = fragment.from, let receiver = fragment.to else {
            return refuse(
                StreamError(.improperAddressing, "a stanza between servers has both addresses"))
        }
        guard let from = try? JID(fragment.value(sender)) else {
            return refuse(StreamError(.invalidFrom))
        }
        let address = fragment.value(receiver)
        let to: JID
        do throws(JIDError) {
            to = try JID(address)
        } catch {
            guard refusal(from: from.bare.domain, to: "") == nil else {
                return refuse(StreamError(.invalidFrom))
            }
            let stanza = Stanza(fragment, kind, from: from, to: nil)
            return host.bounce(stanza, StanzaError(.jidMalformed, error.message))
        }
        if let error = refusal(from: from.bare.domain, to: to.bare.domain) { return refuse(error) }
        host.handle(
            Stanza(
                fragment, kind, from: from, to: to, streamLanguage: peerLanguage,
                receivedAt: NIODeadline.now().uptimeNanoseconds, number: number),
            from: origin)
    }

    /// What is no stanza makes work, too.
    final func takeElement() {
        if let excess = takeStanza() { throttle(excess, .stanzaRate) }
    }

    /// The language of the peer's stream header.
    var peerLanguage: String? { nil }

    /// What held a stanza of the peer's is done.
    func release(_ number: UInt32) {
        if inbound.release(number), isManaged { acknowledge() }
        didStore(openCount: inbound.openCount)
        if isLeaving, inbound.openCount == 0 { endSoon() }
    }

    // MARK: To the peer

    /// Queues a stanza for the next flush.
    func write(_ stanza: OutboundStanza) {
        lastUsed = loop.eventLoop.now
        count(stanza.kind, .sent)
        output.append(Self.withoutOurNamespace(stanza.bytes))
        scheduleFlush()
    }

    /// A child that declares `jabber:client` itself would be a stranger in a stream with another
    /// content namespace. Such a stanza is written anew; there, as everywhere in this server, it
    /// declares a namespace only where it changes.
    private static func withoutOurNamespace(_ bytes: [UInt8]) -> [UInt8] {
        guard namesOurNamespace(bytes),
            let element = try? Element(parsing: bytes, contentNamespace: Namespaces.client)
        else { return bytes }
        return XMLWriter.bytes(element, contentNamespace: Namespaces.client)
    }

    private static func namesOurNamespace(_ bytes: [UInt8]) -> Bool {
        let name: StaticString = "jabber:client"
        let colon = 6
        return bytes.withUnsafeBytes { bytes in
            guard let start = bytes.baseAddress else { return false }
            var position = 0
            while let found = memchr(start + position, 0x3A, bytes.count - position) {
                let index = start.distance(to: UnsafeRawPointer(found))
                position = index + 1
                let end = index - colon + name.utf8CodeUnitCount
                if index >= colon, end <= bytes.count,
                    memcmp(start + (index - colon), name.utf8Start, name.utf8CodeUnitCount) == 0
                {
                    return true
                }
            }
            return false
        }
    }

    override func writeWaiting() {
        outlet?.drain(into: self)
        flush()
    }

    // MARK: Stream management (XEP-0198)

    /// Handles `<enable/>`, `<r/>` and `<a/>`; a stream between servers is not resumed. False if it
    /// is none of these.
    func manage(_ fragment: Fragment) -> Bool {
        guard fragment.namespace == StreamManagement.namespace else { return false }
        switch fragment.text(fragment.name) {
        case "enable":
            // What was written before would not count the same here and there.
            guard !isManaged, outlet == nil else {
                send(StreamManagement.failed(.unexpectedRequest))
                return true
            }
            beginCounting()
            send(Array("<enabled xmlns='urn:xmpp:sm:3'/>".utf8))
        case "resume":
            send(StreamManagement.failed(.featureNotImplemented))
        case "r":
            guard isManaged else { return false }
            acknowledge()
        case "a":
            guard isManaged, let handled = fragment.element()["h"].flatMap({ UInt32($0) }) else {
                end(StreamError(.badFormat, "an <a/> has an h"))
                return true
            }
            noteAnswer(handled)
            // Where nothing is sent, nothing can have been handled.
            let sent = outlet.map { $0.acknowledge(handled, on: self) } ?? (handled > 0 ? 0 : nil)
            if let sent {
                end(StreamManagement.tooHigh(handled, sent: sent))
            } else if let stopError, requestedAt == nil {
                end(stopError)
            }
        default: return false
        }
        return true
    }

    /// Counts from here on.
    func beginCounting() {
        isManaged = true
        countBase = inbound.received
    }

    private func acknowledge() {
        acknowledged = inbound.request(since: countBase)
        send(Array("<a xmlns='urn:xmpp:sm:3' h='\(acknowledged)'/>".utf8))
    }

    /// The peer is to acknowledge what was written, so many stanzas in all: it is asked at the end of
    /// what is written now, unless an answer is due.
    func requestAcknowledgement(of sent: UInt32) {
        guard isManaged, requestedAt == nil else { return }
        requestedAt = loop.eventLoop.now
        requested = sent
        send(Array("<r xmlns='urn:xmpp:sm:3'/>".utf8))
        if answerTimer == nil { awaitAnswer(TimeAmount(host.limits.acknowledgement.value)) }
    }

    /// To ask again at once whoever has only a part would keep both sides busy for as long as the
    /// peer's disk takes.
    private func noteAnswer(_ handled: UInt32) {
        guard requestedAt != nil else { return }
        guard Int32(bitPattern: handled &- requested) < 0 else {
            requestedAt = nil
            return
        }
        requestedAt = loop.eventLoop.now
        guard repeatTimer == nil else { return }
        repeatTimer = loop.eventLoop.assumeIsolated().scheduleTask(in: Self.repeatTime) {
            self.repeatTimer = nil
            if self.requestedAt != nil { self.send(Array("<r xmlns='urn:xmpp:sm:3'/>".utf8)) }
        }
    }

    private func awaitAnswer(_ time: TimeAmount) {
        answerTimer = loop.eventLoop.assumeIsolated().scheduleTask(in: time) {
            self.answerTimer = nil
            self.checkAcknowledgement(self.loop.eventLoop.now)
        }
    }

    /// A peer that does not answer is taken for dead.
    private func checkAcknowledgement(_ now: NIODeadline) {
        guard let requestedAt, !hasEnded else { return }
        let due = requestedAt + TimeAmount(host.limits.acknowledgement.value)
        guard now >= due else { return awaitAnswer(due - now) }
        count(.acknowledgementTimeout)
        end(StreamError(.connectionTimeout, "no acknowledgement"))
    }

    // MARK: The end

    /// Whether this was a stream error of the peer's, with which it leaves.
    func takesError(_ fragment: Fragment) -> Bool {
        guard fragment.isNamed("error", "http://etherx.jabber.org/streams") else { return false }
        let element = fragment.element()
        if !element.elements.contains(where: { Self.conditionsOfItsOwn.contains($0.name) }) {
            complaint = OutgoingNegotiation.failure(of: element, isAuthenticated: true)
        }
        return true
    }

    /// What makes a server end a stream whatever is sent on it (RFC 6120 section 4.9.3).
    private static let conditionsOfItsOwn: Set<String> = [
        "system-shutdown", "reset", "connection-timeout", "conflict", "resource-constraint",
        "see-other-host", "host-gone", "host-unknown", "remote-connection-failed",
    ]

    /// The peer has closed its side. It hears what became of its stanzas before this side closes.
    func peerLeaves(inPeace: Bool = true) {
        if !isLeaving { endsInPeace = inPeace && hasToldAll }
        isLeaving = true
        if inbound.openCount == 0 { endSoon() }
    }

    /// The peer has heard of all that it sent, or does not ask.
    private var hasToldAll: Bool {
        inbound.received > 0 && (!isManaged || inbound.received &- countBase == acknowledged)
    }

    override func willEnd() {
        // XEP-0198 section 4: the last acknowledgement comes before the stream's end.
        guard isManaged, inbound.handled &- countBase != acknowledged else { return }
        acknowledge()
    }

    override func stop(_ error: StreamError) {
        guard requestedAt != nil, !hasEnded else { return end(error) }
        stopError = error
        // A request that is under way may have been answered by half.
        send(Array("<r xmlns='urn:xmpp:sm:3'/>".utf8))
        loop.eventLoop.assumeIsolated().scheduleTask(in: Self.lastAnswerTime) { self.end(error) }
    }

    /// Ends the stream in peace after so long without stanzas.
    func endWhenIdle(after time: TimeAmount) {
        scheduleIdle(lastUsed + time, time)
    }

    private func scheduleIdle(_ due: NIODeadline, _ time: TimeAmount) {
        idleTimer = loop.eventLoop.assumeIsolated().scheduleTask(deadline: due) {
            self.idleTimer = nil
            guard !self.hasEnded else { return }
            let now = self.loop.eventLoop.now
            let due = self.lastUsed + time
            if due > now { return self.scheduleIdle(due, time) }
            let isBusy =
                self.requestedAt != nil || self.inbound.openCount > 0
                || self.outlet?.isWaiting == true
            if isBusy { return self.scheduleIdle(now + time, time) }
            self.endsInPeace = self.hasToldAll
            // With acknowledgements (XEP-0198), it sends again what was on its way.
            if self.isManaged { self.end(nil) } else { self.close() }
        }
    }
}

/// What has stanzas for a stream: a route to another domain, or a component's queue. Any thread may
/// add to it; these functions are called on the stream's loop.
protocol StreamOutlet: AnyObject, Sendable {
    /// Writes what waits, as long as the stream takes it.
    func drain(into stream: PeerStream)
    /// The peer has everything up to `h`; gives what was sent if that is less.
    func acknowledge(_ h: UInt32, on stream: PeerStream) -> UInt32?
    /// Something waits to be written or acknowledged.
    var isWaiting: Bool { get }
    /// The stream has ended.
    func detach(_ stream: PeerStream)
}

extension StreamOutlet {
    /// Only streams between servers are closed when they are idle.
    var isWaiting: Bool { false }
}
