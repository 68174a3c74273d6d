// What a stream has to write, what waits for the socket, and the messages that wait for older
// ones.

internal import NIOCore

/// A stream's outgoing bytes. Empty, it owns no memory.
struct StreamOutput {
    private var bytes = ByteBuffer()
    /// Arrival times of the messages among the bytes.
    private var arrivals: [NIODeadline] = []
    /// Messages kept back while older ones come from the offline store; nil when none are.
    private var held: [OutboundStanza]?
    /// Stanzas for a client that does not read fast enough; they stay what they are, so that they
    /// can go elsewhere should it never read them.
    private var waiting: [OutboundStanza] = []
    /// Bytes of what is held or waits.
    private(set) var keptBytes = 0
    /// The socket takes no more for now.
    var isCongested = false
    var isFlushScheduled = false

    var isHolding: Bool { held != nil }

    /// Bytes that the next flush writes.
    var byteCount: Int { bytes.readableBytes }

    mutating func append(_ more: [UInt8]) { bytes.writeBytes(more) }

    mutating func append(_ stanza: OutboundStanza) {
        bytes.writeBytes(stanza.bytes)
        if let receivedAt = stanza.receivedAt { arrivals.append(receivedAt) }
    }

    /// The queued bytes, nil when there are none.
    mutating func takeBytes() -> ByteBuffer? {
        guard bytes.readableBytes > 0 else { return nil }
        var taken = ByteBuffer()
        swap(&taken, &bytes)
        return taken
    }

    /// Hands out the arrival time of each message that was just written.
    mutating func takeArrivals(_ each: (_ now: NIODeadline, _ receivedAt: NIODeadline) -> Void) {
        guard !arrivals.isEmpty else { return }
        let now = NIODeadline.now()
        for receivedAt in arrivals { each(now, receivedAt) }
        arrivals.removeAll(keepingCapacity: arrivals.count <= 16)
    }

    mutating func startHolding() { if held == nil { held = [] } }

    mutating func hold(_ stanza: OutboundStanza) {
        keptBytes += stanza.bytes.count
        held?.append(stanza)
    }

    mutating func stopHolding() -> [OutboundStanza] {
        defer { held = nil }
        return release(held ?? [])
    }

    mutating func wait(_ stanza: OutboundStanza) {
        keptBytes += stanza.bytes.count
        waiting.append(stanza)
    }

    mutating func takeWaiting() -> [OutboundStanza] {
        defer { waiting = [] }
        return release(waiting)
    }

    private mutating func release(_ stanzas: [OutboundStanza]) -> [OutboundStanza] {
        keptBytes -= stanzas.reduce(0) { $0 + $1.bytes.count }
        return stanzas
    }
}
