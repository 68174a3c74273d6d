// Block lists on the wire (XEP-0191 section 3).

internal import Addresses
internal import XML
internal import XMPP

/// What a client wants of its block list.
enum BlockListChange: Equatable, Sendable {
    static let namespace = "urn:xmpp:blocking"

    /// At least one address.
    case block([JID])
    /// At least one address.
    case unblock([JID])
    case unblockAll

    /// Reads `<block/>` or `<unblock/>`.
    init(_ element: Element) throws(StanzaError) {
        var jids: [JID] = []
        for item in element.elements
        where item.name == "item" && item.namespace == Self.namespace {
            guard let address = item["jid"] else {
                throw StanzaError(.badRequest, "an item has a jid")
            }
            guard let jid = try? JID(address) else {
                throw StanzaError(.jidMalformed, "an item's address is malformed")
            }
            jids.append(jid)
        }
        switch (element.name, jids.isEmpty) {
        case ("block", false): self = .block(jids)
        case ("unblock", false): self = .unblock(jids)
        // Nobody is let in again because of a child that is not understood.
        case ("unblock", true) where element.elements.isEmpty: self = .unblockAll
        default: throw StanzaError(.badRequest, "there is no item")
        }
    }

    /// The addresses that it names.
    var jids: [JID] {
        switch self {
        case .block(let jids), .unblock(let jids): jids
        case .unblockAll: []
        }
    }

    /// As it is pushed.
    var element: Element {
        let name =
            switch self {
            case .block: "block"
            case .unblock, .unblockAll: "unblock"
            }
        return Element(name, Self.namespace, [], jids.map(Self.item))
    }

    fileprivate static func item(_ jid: JID) -> Element {
        Element("item", namespace, [("jid", jid.description)])
    }
}

extension BlockList {
    /// `<blocklist/>`, grouped by domain.
    var element: Element {
        let sorted = items.sorted { ($0.bare, $0.resource) < ($1.bare, $1.resource) }
        return Element("blocklist", BlockListChange.namespace, [], sorted.map(BlockListChange.item))
    }
}
