// How far a client's stream is, in a form that survives it (XEP-0198 section 5).

internal import TLS

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
