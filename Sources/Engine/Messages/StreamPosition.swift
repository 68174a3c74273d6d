// How far a client's stream is, in a form that survives it (XEP-0198 section 5).

internal import Addresses
internal import Logging
internal import Storage
internal import TLS
internal import XMPP

/// The stream of a message and the message's number in it.
struct StreamPosition: Sendable {
    /// Which stream, from the name under which it can be resumed.
    let stream: Int64
    /// How many of its stanzas are handled with this one.
    let handled: UInt32

    init(stream: Int64, handled: UInt32) {
        self.stream = stream
        self.handled = handled
    }

    /// The number of a stream by its name. Names are random, so their digests differ.
    static func stream(named id: String) -> Int64 {
        DigestAlgorithm.sha256.hash(Array(id.utf8)).prefix(8).reduce(0) { $0 << 8 | Int64($1) }
    }
}

extension Host {
    /// Has the position of a stream be known after it, for a client that comes back too late to
    /// resume it. What is still being stored comes with a position of its own.
    func note(_ position: StreamPosition, of account: BareJID) {
        // Its first stanzas came before it counted, and are not handled yet.
        guard Int32(bitPattern: position.handled) >= 0 else { return }
        database.writer.submit(
            size: 0,
            { connection in
                guard try Accounts.exists(account, in: connection) else { return }
                try MessageStore.note(
                    connection, position, of: account, now: Clock.secondsSince1970())
            },
            then: { result in
                if case .failure(let error) = result { self.log.error("stream position: \(error)") }
            })
    }
}
