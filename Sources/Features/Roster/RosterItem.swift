// One contact of one account, and its form on the wire (RFC 6121 section 2.1).

internal import Addresses
internal import XML
internal import XMPP

struct RosterItem: Equatable, Sendable {
    static let namespace = "jabber:iq:roster"

    let contact: BareJID
    var name = ""
    var groups: [String] = []
    var state = SubscriptionState()
    /// Whether clients see it: a request that nobody answered is kept, but not listed.
    var isListed = false
    /// The request that waits for an answer, as it is delivered.
    var request: [UInt8] = []

    init(_ contact: BareJID) { self.contact = contact }

    /// The same contact after the end of both subscriptions.
    var withoutSubscription: RosterItem {
        var item = self
        item.state = SubscriptionState()
        item.request = []
        return item
    }

    /// Nothing is left to remember.
    var isEmpty: Bool { !isListed && state == SubscriptionState() }

    /// Nothing but a request that nobody has answered.
    var isRequest: Bool { !isListed && state == SubscriptionState(pendingIn: true) }

    /// `<item/>` as clients get it.
    var element: Element {
        var item = Element("item", Self.namespace, [("jid", contact.description)])
        if !name.isEmpty { item["name"] = name }
        item["subscription"] = state.subscription
        if state.pendingOut { item["ask"] = "subscribe" }
        if state.isApproved { item["approved"] = "true" }
        for group in groups {
            item.children.append(.element(Element("group", Self.namespace, text: group)))
        }
        return item
    }

    /// `<item/>` of a contact that was removed.
    static func removal(_ contact: BareJID) -> Element {
        Element(
            "item", namespace, [("jid", contact.description), ("subscription", "remove")])
    }
}

/// What a client wants of its roster (RFC 6121 section 2.1.5).
enum RosterChange: Sendable {
    case set(BareJID, name: String, groups: [String])
    case remove(BareJID)

    /// Reads the payload of a roster set.
    init(_ query: Element) throws(StanzaError) {
        let items = query.elements.filter { $0.name == "item" }
        guard items.count == 1, let item = items.first else {
            throw StanzaError(.badRequest, "a roster set has exactly one item")
        }
        guard let address = item["jid"] else {
            throw StanzaError(.badRequest, "a roster item has a jid")
        }
        guard let jid = try? JID(address) else {
            throw StanzaError(.jidMalformed, "the contact's address is malformed")
        }
        if item["subscription"] == "remove" {
            self = .remove(jid.bare)
            return
        }
        let name = item["name"] ?? ""
        guard name.utf8.count <= 1023 else {
            throw StanzaError(.notAcceptable, "a name has at most 1023 bytes")
        }
        var groups: [String] = []
        for group in item.elements where group.name == "group" {
            let text = group.text
            guard !text.isEmpty, text.utf8.count <= 1023 else {
                throw StanzaError(.notAcceptable, "a group's name has 1 to 1023 bytes")
            }
            guard !groups.contains(text) else {
                throw StanzaError(.badRequest, "a group is given twice")
            }
            guard groups.count < 100 else {
                throw StanzaError(.notAcceptable, "a contact is in at most 100 groups")
            }
            groups.append(text)
        }
        self = .set(jid.bare, name: name, groups: groups)
    }
}
