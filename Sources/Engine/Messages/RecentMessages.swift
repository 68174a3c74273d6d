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
    /// A resend is recognised among so many messages.
    private static let count = 16_384
    /// So many are remembered across a restart.
    private static let countAtStart = 4096
    private static let addressCount = 16_384

    private struct State {
        var stamp: TransactionStamp?
        var next: Int64?
        var addresses: [BareJID: Int64] = [:]
        /// Addresses and fingerprints of the transaction that runs.
        var newAddresses: [BareJID] = []
        var newFingerprints: [Int64] = []
        var fingerprints: Set<Int64> = []
        var order = CircularBuffer<Int64>()

        mutating func add(_ fingerprint: Int64) {
            fingerprints.insert(fingerprint)
            order.append(fingerprint)
        }
    }

    private let state = Mutex(State())

    /// Begins a piece of work: forgets what a transaction that failed has left.
    func begin(_ connection: Connection) throws {
        try state.withLock { state in
            guard state.stamp != connection.stamp else { return }
            if let stamp = state.stamp, stamp.rollbacks != connection.stamp.rollbacks {
                for address in state.newAddresses { state.addresses[address] = nil }
                for fingerprint in state.newFingerprints {
                    state.fingerprints.remove(fingerprint)
                }
                state.next = nil
            }
            state.newAddresses = []
            state.newFingerprints = []
            if state.next == nil {
                if state.stamp == nil {
                    for fingerprint in try MessageStore.fingerprints(
                        connection, count: Self.countAtStart)
                    {
                        state.add(fingerprint)
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

    /// The number of an address.
    func number(of jid: BareJID, _ connection: Connection) throws -> Int64 {
        if let known = state.withLock({ $0.addresses[jid] }) { return known }
        let number = try MessageStore.number(of: jid, in: connection)
        state.withLock { state in
            if state.addresses.count >= Self.addressCount { state.addresses = [:] }
            state.addresses[jid] = number
            state.newAddresses.append(jid)
        }
        return number
    }

    /// Remembers a message; false if it was seen before.
    func insert(_ fingerprint: Int64) -> Bool {
        state.withLock { state in
            guard !state.fingerprints.contains(fingerprint) else { return false }
            state.add(fingerprint)
            state.newFingerprints.append(fingerprint)
            if state.order.count > Self.count {
                state.fingerprints.remove(state.order.removeFirst())
            }
            return true
        }
    }

    /// What a resend of a message has in common with it: sender, receiver, origin-id or id
    /// (XEP-0359), and the body, for some clients count their ids from 1 in each stream. Nil for
    /// a message without an id.
    static func fingerprint(_ stanza: Stanza, to receiver: BareJID) -> Int64? {
        let fragment = stanza.fragment
        let origin = fragment.children.first {
            fragment.child($0, isNamed: "origin-id", "urn:xmpp:sid:0")
        }
        guard let id = origin?.range ?? fragment.id?.range else { return nil }
        var hash = FNV1a()
        hash.add(stanza.from.bare.description.utf8)
        hash.add(receiver.description.utf8)
        hash.add(fragment.bytes[id.indices])
        for child in fragment.children
        where fragment.child(child, isNamed: "body", "jabber:client") {
            hash.add(fragment.bytes[child.range.indices])
        }
        return hash.value
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
