// What a stream has to write.

internal import NIOCore

/// A stream's outgoing bytes. Empty, it owns no memory.
struct StreamOutput {
    private var bytes = ByteBuffer()
    /// Arrival times of the messages among the bytes.
    private var arrivals: [NIODeadline] = []
    /// What is to be called once the bytes are in the socket.
    private var written: [@Sendable () -> Void] = []
    /// The socket takes no more for now.
    var isCongested = false
    var isFlushScheduled = false

    /// Bytes that the next flush writes.
    var byteCount: Int { bytes.readableBytes }

    mutating func append(_ more: [UInt8]) { bytes.writeBytes(more) }

    mutating func append(_ stanza: OutboundStanza, hasItOnceWritten: Bool) {
        bytes.writeBytes(stanza.bytes)
        if let receivedAt = stanza.receivedAt { arrivals.append(receivedAt) }
        if hasItOnceWritten, let onDelivery = stanza.onDelivery { written.append(onDelivery) }
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

    /// What is to be called once the queued bytes are in the socket; nil when nothing is.
    mutating func takeWritten() -> (() -> Void)? {
        guard !written.isEmpty else { return nil }
        let callbacks = written
        written = []
        return { for callback in callbacks { callback() } }
    }
}
