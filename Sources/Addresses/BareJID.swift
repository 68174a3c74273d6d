// The address of an account, a room or a server (RFC 7622), without a resource.

/// An address without resource: `local@domain`, or a `domain` alone.
///
/// The parts are stored prepared, so that equality of values is equality of addresses.
public struct BareJID: Hashable, Sendable {
    /// The prepared localpart; empty when the address is a domain alone.
    public let local: String
    /// The prepared domainpart: lower-case U-labels, or an address literal.
    public let domain: String

    /// Makes an address of parts that are known to be prepared, unchecked: constants, columns of
    /// the database, results of ``Preparation``.
    public init(preparedLocal: String = "", preparedDomain: String) {
        local = preparedLocal
        domain = preparedDomain
    }

    /// Parses and prepares `local@domain` or `domain`.
    ///
    /// - Throws: ``JIDError``; also for a resource, even an empty one.
    public init(_ text: some StringProtocol) throws(JIDError) {
        self = try withUTF8Bytes(of: text) { bytes throws(JIDError) in try BareJID(utf8: bytes) }
    }

    /// Parses and prepares `local@domain` or `domain` from raw bytes.
    ///
    /// - Throws: ``JIDError``; also for a resource, even an empty one.
    public init(utf8 bytes: UnsafeBufferPointer<UInt8>) throws(JIDError) {
        let slices = try JIDSlices(bytes)
        guard slices.resource == nil else {
            throw JIDError(part: .address, reason: .unexpectedResource, subject: bytes)
        }
        try self.init(slices)
    }

    /// Prepares the parts of a sliced address.
    init(_ slices: JIDSlices) throws(JIDError) {
        // The domain first: where it is wrong, the rest has no meaning.
        domain = try Preparation.domain(utf8: slices.domain)
        local =
            if let slice = slices.local {
                try Preparation.local(utf8: slice)
            } else {
                ""
            }
    }

    /// Whether this is the address of a domain, without a localpart.
    public var isDomain: Bool { local.isEmpty }
}

extension BareJID: CustomStringConvertible {
    /// The address as it goes on the wire: `local@domain` or `domain`.
    public var description: String { local.isEmpty ? domain : "\(local)@\(domain)" }
}

extension BareJID: Comparable {
    /// Orders by domain, then by localpart, so that a list is grouped by domain.
    public static func < (left: BareJID, right: BareJID) -> Bool {
        (left.domain, left.local) < (right.domain, right.local)
    }
}
