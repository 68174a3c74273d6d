// What an entity says of itself (XEP-0030 section 3), and the text that stands for all of it
// (XEP-0115 section 5.1).

public import XML

/// The answer to a `disco#info` request.
public struct DiscoveryInfo: Sendable, Equatable {
    /// `http://jabber.org/protocol/disco#info`.
    public static let namespace = "http://jabber.org/protocol/disco#info"

    /// What an entity is; the registry of categories and types is XEP-0030's.
    public struct Identity: Sendable, Equatable {
        /// Such as `server`.
        public var category: String
        /// Such as `im`.
        public var type: String
        /// For a person; "" for none.
        public var name: String

        /// Creates an identity.
        public init(category: String, type: String, name: String = "") {
            self.category = category
            self.type = type
            self.name = name
        }
    }

    /// What the entity is.
    public var identities: [Identity] = []
    /// What it can, as namespaces.
    public var features: Set<String> = []
    /// More about it (XEP-0128), each with a `FORM_TYPE`.
    public var forms: [DataForm] = []

    /// Nothing yet.
    public init() {}

    /// `<query/>`, with the node that was asked for.
    public func element(node: String? = nil) -> Element {
        let identities = identities.map { identity in
            Element(
                "identity", Self.namespace,
                [("category", identity.category), ("type", identity.type)]
                    + (identity.name.isEmpty ? [] : [("name", identity.name)]))
        }
        let features = Self.sorted(features).map {
            Element("feature", Self.namespace, [("var", $0)])
        }
        return Element(
            "query", Self.namespace, node.map { [("node", $0)] } ?? [],
            identities + features + forms.map(\.element))
    }

    /// The text that capabilities hash: `S` of XEP-0115 section 5.1.
    public var verificationText: String {
        let identities = Self.sorted(
            identities.map { "\($0.category)/\($0.type)//\($0.name)" })
        var parts = identities + Self.sorted(features)
        for form in forms.sorted(by: { Self.precedes($0.formType ?? "", $1.formType ?? "") }) {
            guard let formType = form.formType else { continue }
            parts.append(formType)
            let fields = form.fields.filter { $0.name != "FORM_TYPE" }
            for field in fields.sorted(by: { Self.precedes($0.name, $1.name) }) {
                parts.append(field.name)
                parts += Self.sorted(field.values)
            }
        }
        return parts.map { $0 + "<" }.joined()
    }

    /// By octets, unlike `<` of `String`, which compares what a person would call characters.
    private static func precedes(_ one: String, _ other: String) -> Bool {
        one.utf8.lexicographicallyPrecedes(other.utf8)
    }

    private static func sorted(_ texts: some Sequence<String>) -> [String] {
        texts.sorted(by: precedes)
    }
}
