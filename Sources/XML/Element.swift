// A tree for what a feature looks into or builds. Messages that only pass through never become
// one.

/// An attribute; `namespace` is "" for one without a prefix.
public struct Attribute: Sendable, Equatable, Hashable {
    /// Local name.
    public var name: String
    /// Namespace, "" when the name has no prefix.
    public var namespace: String
    /// Decoded value.
    public var value: String

    /// Creates an attribute.
    public init(_ name: String, _ value: String, namespace: String = "") {
        self.name = name
        self.namespace = namespace
        self.value = value
    }
}

/// What stands between two tags.
public enum Node: Sendable, Equatable {
    /// A child element.
    case element(Element)
    /// Character data, decoded.
    case text(String)
}

/// An XML element with its namespace resolved.
public struct Element: Sendable, Equatable {
    /// Local name.
    public var name: String
    /// Namespace, "" for none.
    public var namespace: String
    /// In the order in which they were written; declarations are not among them.
    public var attributes: [Attribute]
    /// In order.
    public var children: [Node]

    /// Creates an element.
    public init(
        _ name: String, _ namespace: String, _ attributes: [(String, String)] = [],
        _ children: [Element] = [], text: String? = nil
    ) {
        self.name = name
        self.namespace = namespace
        self.attributes = attributes.map { Attribute($0.0, $0.1) }
        self.children = children.map { .element($0) }
        if let text { self.children.append(.text(text)) }
    }

    /// The unprefixed attribute of this name; nil removes it.
    public subscript(_ attribute: String) -> String? {
        get { attributes.first { $0.name == attribute && $0.namespace.isEmpty }?.value }
        set {
            attributes.removeAll { $0.name == attribute && $0.namespace.isEmpty }
            if let newValue { attributes.append(Attribute(attribute, newValue)) }
        }
    }

    /// The child elements in order.
    public var elements: [Element] {
        children.compactMap { if case .element(let element) = $0 { element } else { nil } }
    }

    /// The first child of this name, in this element's namespace unless another is given.
    public func child(_ name: String, _ namespace: String? = nil) -> Element? {
        elements.first { $0.name == name && $0.namespace == namespace ?? self.namespace }
    }

    /// The character data directly inside.
    public var text: String {
        var text = ""
        for case .text(let part) in children { text += part }
        return text
    }
}
