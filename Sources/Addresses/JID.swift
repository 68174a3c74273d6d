// XMPP addresses (RFC 7622): how a text is sliced into its parts, and the full address.

/// An XMPP address: `local@domain/resource`, where all but the domain may be missing.
///
/// The parts are stored prepared, so that equality of values is equality of addresses.
public struct JID: Hashable, Sendable {
    /// The address without its resource.
    public let bare: BareJID
    /// The prepared resourcepart; empty when there is none.
    public let resource: String

    /// The prepared localpart; empty when there is none.
    public var local: String { bare.local }
    /// The prepared domainpart.
    public var domain: String { bare.domain }
    /// Whether the address has no resource.
    public var isBare: Bool { resource.isEmpty }

    /// Makes an address of a bare one and a resource that is known to be prepared, unchecked.
    public init(bare: BareJID, preparedResource: String = "") {
        self.bare = bare
        resource = preparedResource
    }

    /// Parses and prepares `local@domain/resource`, where all but the domain may be missing.
    ///
    /// - Throws: ``JIDError``; also for a delimiter with nothing before or after it.
    public init(_ text: some StringProtocol) throws(JIDError) {
        self = try withUTF8Bytes(of: text) { bytes throws(JIDError) in try JID(utf8: bytes) }
    }

    /// Parses and prepares an address from raw bytes, as they stand in a stanza.
    ///
    /// - Throws: ``JIDError``; also for a delimiter with nothing before or after it.
    public init(utf8 bytes: UnsafeBufferPointer<UInt8>) throws(JIDError) {
        let slices = try JIDSlices(bytes)
        bare = try BareJID(slices)
        resource =
            if let slice = slices.resource {
                try Preparation.resource(utf8: slice)
            } else {
                ""
            }
    }
}

extension JID: CustomStringConvertible {
    /// The address as it goes on the wire.
    public var description: String { isBare ? bare.description : "\(bare)/\(resource)" }
}

/// The unprepared parts of an address; nil where the delimiter is missing, which differs from an
/// empty part.
struct JIDSlices {
    /// The greatest length of an address in bytes: three parts and the two delimiters.
    ///
    /// It holds for the text as given, too, although preparation may shorten that: nobody sends
    /// kilobytes to mean an address, and it bounds the work.
    static let limit = 3 * Preparation.limit + 2

    let local: UnsafeBufferPointer<UInt8>?
    let domain: UnsafeBufferPointer<UInt8>
    let resource: UnsafeBufferPointer<UInt8>?

    /// Slices in the order of RFC 7622 section 3.1: the first '/' begins the resource, whatever
    /// follows; the first '@' before that ends the localpart.
    init(_ bytes: UnsafeBufferPointer<UInt8>) throws(JIDError) {
        guard !bytes.isEmpty else {
            throw JIDError(part: .address, reason: .empty, subject: bytes)
        }
        guard bytes.count <= Self.limit else {
            throw JIDError(part: .address, reason: .tooLong, subject: bytes)
        }
        var bareEnd = bytes.count
        var domainStart = 0
        scan: for (index, byte) in bytes.enumerated() {
            switch byte {
            case UInt8(ascii: "/"):
                bareEnd = index
                break scan
            case UInt8(ascii: "@") where domainStart == 0:
                domainStart = index + 1
            default:
                break
            }
        }
        local =
            domainStart == 0 ? nil : UnsafeBufferPointer(rebasing: bytes[..<(domainStart - 1)])
        domain = UnsafeBufferPointer(rebasing: bytes[domainStart..<bareEnd])
        resource =
            bareEnd == bytes.count
            ? nil : UnsafeBufferPointer(rebasing: bytes[(bareEnd + 1)...])
    }
}

/// Lends the UTF-8 bytes of a text, without a copy where the text has them in one piece (every
/// native string has).
func withUTF8Bytes<Value>(
    of text: some StringProtocol,
    _ body: (UnsafeBufferPointer<UInt8>) throws(JIDError) -> Value
) throws(JIDError) -> Value {
    // The standard library's functions rethrow untyped, so the error travels as a value.
    func outcome(_ bytes: UnsafeBufferPointer<UInt8>) -> Result<Value, JIDError> {
        Result { () throws(JIDError) in try body(bytes) }
    }
    let result =
        text.utf8.withContiguousStorageIfAvailable(outcome)
        ?? Array(text.utf8).withUnsafeBufferPointer(outcome)
    return try result.get()
}
