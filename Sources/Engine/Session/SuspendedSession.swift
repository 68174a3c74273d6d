// A session between two processes of the server: everything that its client, and those who see
// it, would miss.

internal import Addresses
internal import XMPP

/// What one process leaves to the next of a session that its client may resume.
struct SuspendedSession: Sendable {
    /// A restored session waits so long at least, in seconds, however long the server was down: a
    /// Pi has no clock when it boots, so the time that passed is a guess.
    static let leastTime = 60

    /// The name under which its client resumes it.
    let id: String
    let jid: JID
    let address: String
    /// When its client bound the resource, in seconds since 1970.
    let since: Int64
    let flags: UInt8
    /// The presence that it broadcasts, as routed; empty while it is unavailable.
    let presence: [UInt8]
    let priority: Int8
    /// Whom it sent directed presence.
    let directed: [JID]
    /// How many of the client's stanzas are handled, and how many it had sent before it counted.
    let handled: UInt32
    let base: UInt32
    /// The client's last `h`.
    let acknowledged: UInt32
    /// How many of the queue's stanzas were written to its last stream.
    let written: Int
    var queue: [OutboundStanza]
    /// Messages that wait until it has older ones; nil when none have to.
    var held: [OutboundStanza]?
    /// How long it may hibernate, and how long it still had, in seconds.
    let resumptionTime: Int
    let remaining: Int
    /// When that was, in seconds since 1970.
    let suspendedAt: Int64
}

extension SuspendedSession {
    /// Nil for a session that cannot be resumed.
    init?(_ session: Session, _ contents: SessionState.Contents, remaining: Int, _ host: Host) {
        guard let id = session.resumptionID, let management = contents.management,
            let resumptionTime = management.resumptionTime
        else { return nil }
        let availability = session.availability
        self.init(
            id: id, jid: session.jid, address: session.address, since: session.since,
            flags: session.flags.rawValue,
            presence: availability.presence?.routedBytes() ?? [],
            priority: availability.priority,
            directed: host.hooks.directedPresence?(session) ?? [],
            handled: contents.inbound.handled, base: management.base,
            acknowledged: contents.queue.acknowledged, written: contents.queue.writtenCount,
            queue: contents.queue.all, held: contents.held, resumptionTime: resumptionTime,
            remaining: max(0, remaining), suspendedAt: Clock.secondsSince1970())
    }

    /// How long it waits for its client from now on, in seconds.
    ///
    /// - Parameters:
    ///   - now: seconds since 1970, by a clock that may have jumped either way.
    ///   - longest: what the configuration allows.
    func time(now: Int64, longest: Int) -> Int {
        let (elapsed, overflow) = now.subtractingReportingOverflow(suspendedAt)
        let gone = overflow ? Int64.max : max(0, elapsed)
        let left = Int64(remaining) - min(gone, Int64(remaining))
        return min(resumptionTime, longest, max(Self.leastTime, Int(left)))
    }

    /// Whether it is available with a priority that takes messages (RFC 6121 section 8.5.2.1).
    var takesMessages: Bool { !presence.isEmpty && priority >= 0 }

    /// What its client has not acknowledged or not got.
    var allStanzas: [OutboundStanza] { queue + (held ?? []) }

    /// Messages of the offline store in its queue.
    var waiting: [Int64] { queue.compactMap(\.waiting) }

    /// How far its stream is, for a client that comes too late to resume it.
    var position: StreamPosition? {
        let count = handled &- base
        guard Int32(bitPattern: count) >= 0 else { return nil }
        return StreamPosition(stream: StreamPosition.stream(named: id), handled: count)
    }

    /// What the state of the session holds in its new process.
    var contents: SessionState.Contents {
        var contents = SessionState.Contents()
        contents.inbound = HandledStanzas(handled: handled)
        contents.management = StreamManagement(
            base: base, resumptionTime: resumptionTime,
            streamNumber: StreamPosition.stream(named: id))
        contents.queue = OutgoingQueue(queue, written: written, acknowledged: acknowledged)
        contents.held = held
        contents.heldBytes = held?.reduce(0) { $0 + $1.bytes.count } ?? 0
        contents.isWritten = true
        return contents
    }
}
