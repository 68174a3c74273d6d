// Requests and answers (RFC 6120 section 8.2.3).

internal import Addresses
public import XML

/// What an IQ stanza asks or answers.
public enum IQType: String, Sendable, CaseIterable {
    case get, set, result, error
}

/// A request with its one payload, taken apart.
public struct IQRequest: Sendable {
    /// The stanza as received.
    public let stanza: Stanza
    /// Whether something is to change.
    public let isSet: Bool
    /// The request itself.
    public let payload: Element

    /// Reads a get or set; nil for answers.
    ///
    /// - Throws: `bad-request` for an unknown type, a missing id, or anything but one child
    ///   (RFC 6120 section 8.2.3).
    public init?(_ stanza: Stanza) throws(StanzaError) {
        let type = try Self.check(stanza)
        switch type {
        case .result, .error: return nil
        case .get, .set: break
        }
        self.stanza = stanza
        isSet = type == .set
        payload = stanza.fragment.element(stanza.fragment.children[0])
    }

    /// Whether an IQ is what it must be, without a tree; a router asks that, too.
    @discardableResult
    public static func check(_ stanza: Stanza) throws(StanzaError) -> IQType {
        guard let type = stanza.type.flatMap(IQType.init(rawValue:)) else {
            throw StanzaError(.badRequest, "an IQ is of type get, set, result or error")
        }
        switch type {
        case .result, .error: break
        case .get, .set:
            guard stanza.fragment.id != nil else {
                throw StanzaError(.badRequest, "an IQ has an id")
            }
            guard stanza.fragment.children.count == 1 else {
                throw StanzaError(.badRequest, "a request has exactly one child element")
            }
        }
        return type
    }

    /// The answer to this request.
    public func resultBytes(_ payload: Element? = nil) -> [UInt8] {
        var attributes: [(String, String)] = []
        if let to = stanza.to { attributes.append(("from", to.description)) }
        attributes.append(("to", stanza.from.description))
        attributes.append(("type", "result"))
        if let id = stanza.id { attributes.append(("id", id)) }
        let iq = Element("iq", Namespaces.client, attributes, payload.map { [$0] } ?? [])
        return XMLWriter.bytes(iq, contentNamespace: Namespaces.client)
    }
}
