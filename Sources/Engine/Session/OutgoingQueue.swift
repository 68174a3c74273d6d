// What a session has for its client and the client may not have yet (XEP-0198 section 4): pure
// counting, no I/O.

internal import NIOCore

/// Stanzas on their way to a client, oldest first: those that were written and not acknowledged,
/// if the client acknowledges, and behind them those that wait to be written.
struct OutgoingQueue: Sendable {
    enum Acknowledgement: Equatable {
        case accepted
        /// More than was sent: the number that was.
        case tooHigh(sent: UInt32)
    }

    private var stanzas = CircularBuffer<OutboundStanza>()
    /// How many of them were written to the present stream.
    private(set) var writtenCount = 0
    /// Bytes of all of them.
    private(set) var bytes = 0
    /// The last `h` of the client.
    private(set) var acknowledged: UInt32 = 0
    /// Stanzas that are parts of answers to its own requests.
    private(set) var replies = 0
    /// The client acknowledges, so what is written is kept until then.
    var isManaged = false

    init() {}

    /// The queue of a client that acknowledges, as it was.
    init(_ stanzas: [OutboundStanza], written: Int, acknowledged: UInt32) {
        for stanza in stanzas { append(stanza) }
        writtenCount = max(0, min(written, stanzas.count))
        self.acknowledged = acknowledged
        isManaged = true
    }

    /// Stanzas written since the count began, modulo 2^32.
    var sent: UInt32 { acknowledged &+ UInt32(truncatingIfNeeded: writtenCount) }

    /// Everything in it.
    var all: [OutboundStanza] { Array(stanzas) }

    /// Written or not.
    var count: Int { stanzas.count }

    /// Whether something waits to be written.
    var hasUnwritten: Bool { stanzas.count > writtenCount }

    /// Adds a stanza that waits to be written.
    mutating func append(_ stanza: OutboundStanza) {
        stanzas.append(stanza)
        bytes += stanza.bytes.count
        if stanza.isReply { replies += 1 }
    }

    /// The next stanza to write, which is written from now on.
    mutating func takeUnwritten() -> OutboundStanza? {
        guard hasUnwritten else { return nil }
        guard isManaged else { return removeFirst() }
        let stanza = stanzas[stanzas.index(stanzas.startIndex, offsetBy: writtenCount)]
        writtenCount += 1
        return stanza
    }

    /// The client has everything up to `h`; `each` gets what it has now and had not before.
    mutating func acknowledge(_ h: UInt32, each: (OutboundStanza) -> Void) -> Acknowledgement {
        // Half of the circle ahead is behind (section 4): an old one, which says nothing new.
        guard Int32(bitPattern: h &- acknowledged) > 0 else { return .accepted }
        guard h &- acknowledged <= UInt32(truncatingIfNeeded: writtenCount) else {
            return .tooHigh(sent: sent)
        }
        while acknowledged != h {
            each(removeFirst())
            writtenCount -= 1
            acknowledged &+= 1
        }
        return .accepted
    }

    /// The stream is gone: all that was not acknowledged is to be written again.
    mutating func rewind() { writtenCount = 0 }

    /// What was not acknowledged comes late.
    mutating func delay(by domain: String) {
        for index in stanzas.indices {
            let stanza = stanzas[index].delayed(by: domain)
            bytes += stanza.bytes.count - stanzas[index].bytes.count
            stanzas[index] = stanza
        }
    }

    /// Empties the queue.
    mutating func removeAll() -> [OutboundStanza] {
        defer {
            stanzas = CircularBuffer()
            writtenCount = 0
            bytes = 0
            replies = 0
        }
        return Array(stanzas)
    }

    private mutating func removeFirst() -> OutboundStanza {
        let stanza = stanzas.removeFirst()
        bytes -= stanza.bytes.count
        if stanza.isReply { replies -= 1 }
        return stanza
    }
}
