// XEP-0357 section 7: a notification to another app server is an item that is published to the node
// which its client has there.

internal import Addresses
internal import Engine
internal import NIOCore
internal import XML
internal import XMPP

/// Publishes notifications for local accounts.
struct Publication: Sendable {
    static let pubsub = "http://jabber.org/protocol/pubsub"
    static let namespace = "urn:xmpp:push:0"
    static let summary = "urn:xmpp:push:summary"
    static let publishOptions = "http://jabber.org/protocol/pubsub#publish-options"
    /// Under which a target keeps the form that its client gave, as XML.
    static let optionsParameter = "options"
    /// The same of the node.
    static let nodeParameter = "node"
    /// Says that there is a text, and not which: what app servers show an alert for.
    static let anyText = "New message"
    /// How long an answer is waited for.
    private static let patience = TimeAmount.seconds(30)

    let host: Host

    /// Publishes; `then` gets what became of it, once, on any thread.
    func publish(
        _ notification: PushNotification, _ item: DeliveryItem, _ target: PushTarget,
        then: @escaping @Sendable (PushAnswer) -> Void
    ) {
        guard let account = item.account, let service = try? JID(item.service),
            let loop = host.loops.first
        else { return then(PushAnswer(.rejected, .request, code: "jid-malformed")) }
        let id = host.nextIdentifier()
        let from = JID(bare: account)
        let request = Self.request(
            id: id, from: from, to: service, notification, target)
        host.requests.expect(id, from: service, within: Self.patience, on: loop.eventLoop) {
            then($0.map(Self.answer) ?? PushAnswer(.retry(.circuit, after: nil), .noAnswer))
        }
        host.sendAway(OutboundStanza(.iq, request), from: from, to: service)
    }

    static func request(
        id: String, from: JID, to: JID, _ notification: PushNotification, _ target: PushTarget
    ) -> [UInt8] {
        let node = target.parameters[nodeParameter] ?? ""
        var fields: [DataForm.Field] = []
        if let unread = notification.unread {
            fields.append(DataForm.Field("message-count", ["\(unread)"]))
        }
        if let sender = notification.sender {
            fields.append(DataForm.Field("last-message-sender", [sender]))
        }
        if notification.isVisible {
            fields.append(
                DataForm.Field("last-message-body", [notification.body ?? anyText]))
        }
        let form = DataForm(.submit, formType: summary, fields)
        let item = Element(
            "item", pubsub, [], [Element("notification", namespace, [], [form.element])])
        var children = [Element("publish", pubsub, [("node", node)], [item])]
        if let text = target.parameters[optionsParameter],
            let options = try? Element(parsing: Array(text.utf8), contentNamespace: pubsub)
        {
            children.append(Element("publish-options", pubsub, [], [options]))
        }
        let iq = Element(
            "iq", Namespaces.client,
            [
                ("type", "set"), ("id", id), ("from", from.description),
                ("to", to.description),
            ], [Element("pubsub", pubsub, [], children)])
        return XMLWriter.bytes(iq, contentNamespace: Namespaces.client)
    }

    /// What an answer means (XEP-0357 section 7; servers take `wait` for temporary, others for
    /// final).
    static func answer(_ stanza: Stanza) -> PushAnswer {
        guard stanza.isError else { return PushAnswer(.accepted, .accepted) }
        let error = stanza.fragment.element().child("error", Namespaces.client)
        let condition =
            error?.elements.first { $0.namespace == Namespaces.stanzaErrors && $0.name != "text" }?
            .name ?? "undefined-condition"
        switch (condition, error?["type"]) {
        case ("remote-server-timeout", _), ("remote-server-not-found", _):
            return PushAnswer(.retry(.circuit, after: nil), .unavailable, code: condition)
        case ("item-not-found", _):
            return PushAnswer(.rejected, .unregistered, code: condition)
        case ("resource-constraint", "wait"), ("policy-violation", "wait"):
            return PushAnswer(.retry(.device, after: nil), .rate, code: condition)
        // A component of theirs that is not attached just now answers the same.
        case (_, "wait"), ("service-unavailable", _), ("recipient-unavailable", _),
            ("internal-server-error", _):
            return PushAnswer(.retry(.device, after: nil), .unavailable, code: condition)
        case ("forbidden", _), ("not-authorized", _), ("not-allowed", _):
            return PushAnswer(.rejected, .credentialRefused, code: condition)
        default:
            return PushAnswer(.rejected, .request, code: condition)
        }
    }
}
