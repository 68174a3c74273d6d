// What a stream has to write, and the messages that wait for older ones.

internal import NIOCore

/// A stream's outgoing bytes. Empty, it owns no memory.
struct StreamOutput {
    private var bytes = ByteBuffer()
    /// Arrival times of the messages among the bytes.
    private var arrivals: [NIODeadline] = []
    /// Messages kept back while older ones come from the offline store; nil when none are.
    private var held: [OutboundStanza]?
    private(set) var heldBytes = 0
    var isFlushScheduled = false

    var isHolding: Bool { held != nil }

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
        heldBytes += stanza.bytes.count
        held?.append(stanza)
    }

    mutating func stopHolding() -> [OutboundStanza] {
        defer {
            held = nil
            heldBytes = 0
        }
        return held ?? []
    }
}
