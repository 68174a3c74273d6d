// What a user's server publishes to a node of the app server (XEP-0357 section 7).

internal import XML
internal import XMPP

/// A notification for a node.
struct PublishRequest: Sendable, Equatable {
    var node: String
    /// `message-count`; nil if it is not said.
    var unread: Int?
    var sender: String?
    var body: String?
    /// The fields of the form with publish options, without `FORM_TYPE`.
    var options: [String: String] = [:]

    /// Reads an IQ's children. The options stand beside `<publish/>`; some servers put them inside it,
    /// or beside `<pubsub/>`.
    init(_ children: [Element]) throws(StanzaError) {
        guard let pubsub = children.first(where: { $0.name == "pubsub" }),
            pubsub.namespace == Publication.pubsub,
            let publish = pubsub.child("publish", Publication.pubsub)
        else { throw StanzaError(.featureNotImplemented, "only publishing is possible here") }
        guard let node = publish["node"], !node.isEmpty, node.utf8.count <= 1023 else {
            throw StanzaError(.badRequest, "a publish names a node")
        }
        self.node = node
        let places = [pubsub, publish].flatMap(\.elements) + children
        if let options = places.first(where: { $0.name == "publish-options" }),
            let form = options.elements.lazy.compactMap({ DataForm($0) }).first
        {
            for field in form.fields where field.name != "FORM_TYPE" {
                self.options[field.name] = field.values.first ?? ""
            }
        }
        guard let item = publish.child("item", Publication.pubsub),
            let notification = item.child("notification", Publication.namespace)
        else { throw StanzaError(.badRequest, "an item with a notification is missing") }
        guard let form = notification.elements.lazy.compactMap({ DataForm($0) }).first else {
            return
        }
        unread = form.value("message-count").flatMap { Int($0) }.map { min(max(0, $0), 1_000_000) }
        sender = form.value("last-message-sender").flatMap { $0.isEmpty ? nil : $0 }
        body = form.value("last-message-body").flatMap { $0.isEmpty ? nil : $0 }
    }
}
