// What the writer remembers of messages beside the database: the next number, the numbers of
// addresses, and the fingerprints of the latest messages, by which a resend is recognised. If a
// transaction fails, so does what was remembered in it.

internal import Addresses
internal import NIOCore
internal import Storage
internal import Synchronization
internal import XML
internal import XMPP

/// Memory of the writer. Used within transactions, on the writer's thread.
final class RecentMessages: Sendable {
    /// A resend is recognised among so many messages, and so long, in milliseconds.
    private static let count = 4096
    private static let time: Int64 = 3_600_000
    /// The same for what other servers send again; some count their ids from 1 again and again.
    static let resendTime: Int64 = 900_000
    private static let addressCount = 16_384

    private struct State {
        var stamp: TransactionStamp?
        var next: Int64?
        var addresses: [BareJID: Int64] = [:]
        /// Addresses and fingerprints of the transaction that runs.
        var newAddresses: [BareJID] = []
        var newFingerprints: [Int64] = []
        var fingerprints: [Int64: Origin] = [:]
        var order = CircularBuffer<Int64>()

        mutating func add(_ fingerprint: Int64, _ origin: Origin) {
            // One that is known is too old, and stays where it is.
            if fingerprints.updateValue(origin, forKey: fingerprint) == nil {
                order.append(fingerprint)
            }
            while order.count > RecentMessages.count {
                fingerprints[order.removeFirst()] = nil
            }
        }

        mutating func remove(_ gone: Set<Int64>) {
            guard !gone.isEmpty else { return }
            for fingerprint in gone { fingerprints[fingerprint] = nil }
            order.removeAll { gone.contains($0) }
        }
    }

    private struct Origin: Sendable {
        /// The number of its session; 0 for one of an earlier process.
        let session: Int64
        /// In milliseconds since 1970.
        let receivedAt: Int64
    }

    private let state = Mutex(State())

    /// A transaction failed: what was remembered in it is not so.
    func didRollBack(_ stamp: TransactionStamp) {
        state.withLock { state in
            guard state.stamp == stamp else { return }
            for address in state.newAddresses { state.addresses[address] = nil }
            state.remove(Set(state.newFingerprints))
            state.newAddresses = []
            state.newFingerprints = []
            state.next = nil
        }
    }

    /// Begins a piece of work.
    func begin(_ connection: Connection) throws {
        try state.withLock { state in
            guard state.stamp != connection.stamp else { return }
            state.newAddresses = []
            state.newFingerprints = []
            if state.next == nil {
                if state.stamp == nil {
                    for (fingerprint, receivedAt) in try MessageStore.fingerprints(
                        connection, count: Self.count)
                    {
                        state.add(fingerprint, Origin(session: 0, receivedAt: receivedAt))
                    }
                }
                state.next = try MessageStore.nextNumber(connection)
            }
            state.stamp = connection.stamp
        }
    }

    /// A number for a message.
    func nextNumber() -> Int64 {
        state.withLock { state in
            let next = state.next ?? 1
            state.next = next + 1
            return next
        }
    }

    /// The number of an address, nil if nothing is stored for it.
    func existingNumber(of jid: BareJID, _ connection: Connection) throws -> Int64? {
        if let known = state.withLock({ $0.addresses[jid] }) { return known }
        guard let number = try MessageStore.existingNumber(of: jid, in: connection) else {
            return nil
        }
        return remember(number, of: jid)
    }

    /// The number of an address, which it gets if it has none.
    func number(of jid: BareJID, _ connection: Connection) throws -> Int64 {
        if let known = state.withLock({ $0.addresses[jid] }) { return known }
        return remember(try MessageStore.number(of: jid, in: connection), of: jid)
    }

    private func remember(_ number: Int64, of jid: BareJID) -> Int64 {
        state.withLock { state in
            if state.addresses.count >= Self.addressCount { state.addresses = [:] }
            state.addresses[jid] = number
            state.newAddresses.append(jid)
        }
        return number
    }

    /// Whether a message was seen before.
    ///
    /// - Parameter stream: the number of another server's stream, which carries nothing twice.
    func contains(_ fingerprint: Int64, now: Int64, beside stream: Int64? = nil) -> Bool {
        state.withLock { state in
            guard let origin = state.fingerprints[fingerprint], origin.session != stream else {
                return false
            }
            // A clock that was set back makes none older than it is.
            return now - origin.receivedAt < (stream == nil ? Self.time : Self.resendTime)
        }
    }

    /// Remembers a message.
    func insert(_ fingerprint: Int64, of session: Int64, receivedAt: Int64) {
        state.withLock { state in
            state.add(fingerprint, Origin(session: session, receivedAt: receivedAt))
            state.newFingerprints.append(fingerprint)
        }
    }

    /// Forgets the messages of a session or a stream that ended in peace: nothing is sent again, and
    /// what looks like it is meant (RFC 6120 section 8.1.3: an id need only be unique within
    /// its stream).
    func forget(_ session: Int64) {
        state.withLock { state in
            state.remove(Set(state.fingerprints.filter { $0.value.session == session }.keys))
        }
    }

    /// What a resend of a message has in common with it: sender, receiver, origin-id or id
    /// (XEP-0359), and the content, for some clients count their ids from 1 in each stream. Nil for
    /// a message without an id, and for what a room tells whoever enters of what was said before
    /// (XEP-0045 section 7.2.13). A resend may say that it is late (XEP-0203). A client may resend
    /// from another resource, a server does not, and those of a room are its occupants.
    static func fingerprint(_ stanza: Stanza, to receiver: JID, isFromAway: Bool) -> Int64? {
        let fragment = stanza.fragment
        let origin = fragment.children.first {
            fragment.child($0, isNamed: "origin-id", "urn:xmpp:sid:0")
        }
        guard let id = origin?.range ?? fragment.id?.range, !isHistory(stanza) else { return nil }
        var hash = FNV1a()
        hash.add((isFromAway ? stanza.from : JID(bare: stanza.from.bare)).description.utf8)
        hash.add(receiver.description.utf8)
        hash.add(fragment.bytes[id.indices])
        for child in fragment.children
        where !fragment.child(child, isNamed: "delay", "urn:xmpp:delay") {
            hash.add(fragment.bytes[child.range.indices])
        }
        return hash.value
    }

    private static func isHistory(_ stanza: Stanza) -> Bool {
        guard stanza.isType("groupchat") else { return false }
        let room = stanza.from.bare.description
        let fragment = stanza.fragment
        return fragment.children.contains { child in
            fragment.child(child, isNamed: "delay", "urn:xmpp:delay")
                && fragment.element(child)["from"] == room
        }
    }
}

/// The hash of Fowler, Noll and Vo, 64 bits: the same in every process. Never 0.
private struct FNV1a {
    private var state: UInt64 = 0xCBF2_9CE4_8422_2325

    var value: Int64 { state == 0 ? 1 : Int64(bitPattern: state) }

    mutating func add(_ bytes: some Sequence<UInt8>) {
        for byte in bytes { step(byte) }
        // No byte of UTF-8, so that parts cannot run into each other.
        step(0xFF)
    }

    private mutating func step(_ byte: UInt8) {
        state = (state ^ UInt64(byte)) &* 0x100_0000_01B3
    }
}
