// What has to go to another domain, oldest first: those that were written and not acknowledged,
// and behind them those that wait to be written. Pure counting, no I/O.

internal import NIOCore
internal import XMPP

/// A stanza for another domain.
struct QueuedStanza: Sendable {
    let stanza: OutboundStanza
    /// Its number in the database; nil if it is not kept.
    let id: Int64?
    /// Milliseconds since 1970.
    let arrivedAt: Int64
    /// When it goes back to its sender.
    let expiresAt: NIODeadline
}

/// The queue of a route.
struct RouteQueue: Sendable {
    private var entries = Self.empty
    /// How many of them were written to the present stream.
    private(set) var writtenCount = 0
    /// Bytes of all of them.
    private(set) var bytes = 0
    /// Stanzas and bytes taken out by `remove` since that was last asked.
    private var removedStanzas = 0, removedBytes = 0
    /// The last `h` of the other side.
    private var acknowledged: UInt32 = 0
    /// How often the other side ended a stream while the first entry was the first that it had not
    /// acknowledged.
    private var complaints = 0

    /// Stanzas written to the present stream, modulo 2^32.
    var sent: UInt32 { acknowledged &+ UInt32(truncatingIfNeeded: writtenCount) }

    var count: Int { entries.count }

    var hasUnwritten: Bool { entries.count > writtenCount }

    /// What was not written to the present stream, the oldest first.
    var waiting: CircularBuffer<QueuedStanza> { entries.dropFirst(writtenCount) }

    /// When the oldest came, milliseconds since 1970.
    var oldest: Int64? { entries.first?.arrivedAt }

    mutating func append(_ entry: QueuedStanza) {
        entries.append(entry)
        bytes += entry.stanza.bytes.count
    }

    /// The next stanza to write, which is written from now on.
    mutating func takeUnwritten() -> QueuedStanza? {
        guard hasUnwritten else { return nil }
        let entry = entries[entries.index(entries.startIndex, offsetBy: writtenCount)]
        writtenCount += 1
        return entry
    }

    enum Acknowledgement {
        /// What the other side has now and had not before.
        case accepted([QueuedStanza])
        case tooHigh(sent: UInt32)
    }

    /// The other side has everything up to `h`.
    mutating func acknowledge(_ h: UInt32) -> Acknowledgement {
        // Half of the circle ahead is behind (XEP-0198 section 4): an old one.
        guard Int32(bitPattern: h &- acknowledged) > 0 else { return .accepted([]) }
        guard h &- acknowledged <= UInt32(truncatingIfNeeded: writtenCount) else {
            return .tooHigh(sent: sent)
        }
        var confirmed: [QueuedStanza] = []
        while acknowledged != h {
            confirmed.append(removeFirst())
            writtenCount -= 1
            acknowledged &+= 1
        }
        return .accepted(confirmed)
    }

    /// A new stream begins: all that was not acknowledged is written again.
    mutating func rewind() {
        writtenCount = 0
        acknowledged = 0
    }

    /// The other side ended the stream over what was written. Takes out the first of that once this
    /// has happened `limit` times with it in front.
    mutating func takeUnacceptable(after limit: Int) -> QueuedStanza? {
        guard writtenCount > 0 else { return nil }
        complaints += 1
        guard complaints >= limit else { return nil }
        let entry = removeFirst()
        writtenCount -= 1
        removedStanzas += 1
        removedBytes += entry.stanza.bytes.count
        return entry
    }

    /// Whether something waits that is kept in the database.
    var hasKept: Bool { entries.contains { $0.id != nil } }

    /// Takes out those that the function names, which must not be written to a stream.
    mutating func remove(where isUnwanted: (QueuedStanza) -> Bool) -> [QueuedStanza] {
        guard entries.dropFirst(writtenCount).contains(where: isUnwanted) else { return [] }
        if writtenCount == 0, let first = entries.first, isUnwanted(first) { complaints = 0 }
        var removed: [QueuedStanza] = []
        var kept = CircularBuffer<QueuedStanza>()
        for (index, entry) in entries.enumerated() {
            if index >= writtenCount, isUnwanted(entry) {
                removed.append(entry)
                bytes -= entry.stanza.bytes.count
            } else {
                kept.append(entry)
            }
        }
        entries = kept
        removedStanzas += removed.count
        removedBytes += removed.reduce(0) { $0 + $1.stanza.bytes.count }
        return removed
    }

    /// How much `remove` has taken out since the last time.
    mutating func takeRemoved() -> (stanzas: Int, bytes: Int) {
        defer { (removedStanzas, removedBytes) = (0, 0) }
        return (removedStanzas, removedBytes)
    }

    /// Without room: a route that has nothing to do lives as long as its stream.
    private static var empty: CircularBuffer<QueuedStanza> { CircularBuffer(initialCapacity: 1) }

    private mutating func removeFirst() -> QueuedStanza {
        let entry = entries.removeFirst()
        if entries.isEmpty { entries = Self.empty }
        complaints = 0
        bytes -= entry.stanza.bytes.count
        return entry
    }
}
