// Whether a stanza can wait while nobody looks at its client (XEP-0352): what a person is to
// notice goes at once, and so does everything that is not known here.

internal import Addresses
internal import Engine
internal import Prometheus
internal import XML
internal import XMPP

/// What can wait.
enum HeldKind: String, MetricLabel {
    case presence
    case chatState = "chat_state"
    /// Something published (XEP-0060).
    case event
    /// Receipts, markers, and copies of the account's own messages.
    case message
    static var labelName: String { "kind" }
}

/// When an inactive client is to get a stanza.
enum Urgency: Equatable {
    case now
    /// It can wait, and nothing replaces it.
    case later(HeldKind)
    /// It can wait, and a later one of the same key takes its place.
    case latest(HeldKind, key: [String])

    /// Reads the stanza, which is done for inactive clients only.
    init(of stanza: OutboundStanza, for client: JID) {
        guard stanza.kind != .iq, let stanza = Stanza(routed: stanza.bytes) else {
            self = .now
            return
        }
        self =
            stanza.kind == .presence
            ? Self.presence(stanza, client) : Self.message(stanza, client.bare)
    }

    /// Somebody comes, goes or changes. Not requests and their answers, errors, what the client's
    /// own presence brings back, and what a room has to say of a presence (XEP-0045 section 15.6).
    private static func presence(_ stanza: Stanza, _ client: JID) -> Urgency {
        guard stanza.fragment.type == nil || stanza.isType("unavailable"), stanza.from != client
        else { return .now }
        let fragment = stanza.fragment
        for child in fragment.children
        where fragment.child(child, isNamed: "x", "http://jabber.org/protocol/muc#user") {
            if fragment.element(child).child("status") != nil { return .now }
        }
        return .latest(.presence, key: ["presence", stanza.from.description])
    }

    private static func message(_ stanza: Stanza, _ account: BareJID) -> Urgency {
        guard !stanza.isError else { return .now }
        let children = stanza.fragment.element().elements
        // Only one's own server speaks for one's account (XEP-0280 section 12).
        if stanza.from == JID(bare: account),
            let copy = children.first(where: { $0.namespace == "urn:xmpp:carbons:2" })
        {
            return Self.copy(copy)
        }
        return Self.content(children, from: stanza.from.description, "message")
    }

    /// A copy (XEP-0280) waits if the message would. What the user wrote on another device waits,
    /// too; that a call was taken there must be known at once.
    private static func copy(_ copy: Element) -> Urgency {
        guard
            let message = copy.child("forwarded", "urn:xmpp:forward:0")?.child(
                "message", Namespaces.client), message["type"] != "error"
        else { return .now }
        let content = Self.content(
            message.elements, from: message["from"] ?? "", copy.name, message["to"] ?? "")
        guard copy.name == "sent", content == .now else { return content }
        let isCall = message.elements.contains { $0.namespace == "urn:xmpp:jingle-message:0" }
        return isCall ? .now : .later(.message)
    }

    /// By what a message holds. Chat states alone go by their way and their sender.
    private static func content(
        _ children: [Element], from sender: String, _ way: String...
    ) -> Urgency {
        var hasChatState = false
        var hasNotice = false
        var event: Element?
        for child in children {
            switch (child.namespace, child.name) {
            case ("http://jabber.org/protocol/chatstates", _): hasChatState = true
            case ("urn:xmpp:receipts", "received"): hasNotice = true
            case ("urn:xmpp:chat-markers:0", "markable"): break
            case ("urn:xmpp:chat-markers:0", _): hasNotice = true
            case ("http://jabber.org/protocol/pubsub#event", "event"): event = child
            case ("urn:xmpp:receipts", "request"), (Namespaces.client, "thread"): break
            default: if !accompaniments.contains(child.namespace) { return .now }
            }
        }
        switch (hasChatState, hasNotice, event) {
        case (true, false, nil): return .latest(.chatState, key: way + [sender])
        case (false, false, let event?): return published(event, sender)
        case (false, false, nil): return .now
        default: return .later(.message)
        }
    }

    /// What says nothing by itself.
    private static let accompaniments: Set<String> = [
        "urn:xmpp:hints", "urn:xmpp:sid:0", "urn:xmpp:delay", "jabber:x:delay",
        "urn:xmpp:occupant-id:0", "http://jabber.org/protocol/address",
        "http://jabber.org/protocol/shim",
    ]

    /// One item of a node, published or retracted (XEP-0060 section 7.1.2); everything else that
    /// befalls a node keeps its place among them.
    private static func published(_ event: Element, _ sender: String) -> Urgency {
        guard event.elements.count == 1, let items = event.elements.first, items.name == "items",
            items.elements.count == 1, let node = items["node"],
            let item = items.elements.first?["id"]
        else { return .later(.event) }
        return .latest(.event, key: ["event", sender, node, item])
    }
}
