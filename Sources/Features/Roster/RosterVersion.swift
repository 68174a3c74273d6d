// Roster versions (RFC 6121 section 2.6): derived from what clients see of the roster, so nothing
// needs to be stored, and a roster restored from a backup has the version that it had.

internal import TLS
internal import XML
internal import XMPP

/// The sum of the digests of a roster's listed items, in any order. A change is a subtraction and
/// an addition, whatever the roster's length.
struct RosterVersion: Equatable, Sendable, CustomStringConvertible {
    private var high: UInt64 = 0
    private var low: UInt64 = 0

    init() {}

    init(_ items: some Sequence<RosterItem>) {
        for item in items { add(item) }
    }

    mutating func add(_ item: RosterItem) {
        guard let digest = Self(digestOf: item) else { return }
        high &+= digest.high
        low &+= digest.low
    }

    mutating func remove(_ item: RosterItem) {
        guard let digest = Self(digestOf: item) else { return }
        high &-= digest.high
        low &-= digest.low
    }

    private init?(digestOf item: RosterItem) {
        guard item.isListed else { return nil }
        let bytes = DigestAlgorithm.sha256.hash(
            XMLWriter.bytes(item.element, contentNamespace: Namespaces.client))
        for byte in bytes.prefix(8) { high = high << 8 | UInt64(byte) }
        for byte in bytes.dropFirst(8).prefix(8) { low = low << 8 | UInt64(byte) }
    }

    /// As clients keep it: 32 hexadecimal digits.
    var description: String {
        [high, low].map { number in
            let digits = String(number, radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }.joined()
    }
}
