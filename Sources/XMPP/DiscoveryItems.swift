// What an entity lists (XEP-0030 section 4).

public import XML

/// The answer to a `disco#items` request.
public struct DiscoveryItems: Sendable, Equatable {
    /// `http://jabber.org/protocol/disco#items`.
    public static let namespace = "http://jabber.org/protocol/disco#items"

    /// An entity, or a node of one.
    public struct Item: Sendable, Equatable {
        /// Its address.
        public var jid: String
        /// The node, or nil for the entity itself.
        public var node: String?
        /// For a person, or nil.
        public var name: String?

        /// Creates an item.
        public init(jid: String, node: String? = nil, name: String? = nil) {
            self.jid = jid
            self.node = node
            self.name = name
        }
    }

    /// In order.
    public var items: [Item]

    /// Creates a list.
    public init(_ items: [Item]) { self.items = items }

    /// `<query/>`, with the node that was asked for.
    public func element(node: String? = nil) -> Element {
        Element(
            "query", Self.namespace, node.map { [("node", $0)] } ?? [],
            items.map { item in
                var element = Element("item", Self.namespace, [("jid", item.jid)])
                element["node"] = item.node
                element["name"] = item.name
                return element
            })
    }
}
