// How what came is compared with what a scenario expects.

import XML
import XMPP

/// What a scenario gives names to: `{name}` stands for any value where it is met first, and for that
/// value from then on.
struct NamedValues {
    private var values: [String: String] = [:]

    /// Whether a value is the one that was expected. `{any}` stands for any.
    mutating func accept(_ value: String, _ expected: String) -> Bool {
        guard expected.hasPrefix("{"), expected.hasSuffix("}") else { return value == expected }
        if expected == Element.anything { return true }
        if let known = values[expected] { return value == known }
        values[expected] = value
        return true
    }

    /// A text with the values in place of the names.
    func fill(_ text: String) -> String {
        values.reduce(text) { $0.replacing($1.key, with: $1.value) }
    }
}

extension Element {
    fileprivate static let anything = "{any}"

    /// Whether this is what was expected: all attributes and children, in order. `{any}` stands
    /// for any value or content, another name in braces for one value; `id`, `xml:lang`, the
    /// `<text/>` of an error and `<stanza-id/>` count only where they are expected, white space
    /// between elements never.
    func matches(_ expected: Element, _ named: inout NamedValues) -> Bool {
        guard name == expected.name, namespace == expected.namespace else { return false }
        var unexpected = attributes
        for attribute in expected.attributes {
            let found = unexpected.firstIndex {
                $0.name == attribute.name && $0.namespace == attribute.namespace
                    && named.accept($0.value, attribute.value)
            }
            guard let found else { return false }
            unexpected.remove(at: found)
        }
        guard unexpected.allSatisfy({ ["id", "lang"].contains($0.name) }) else { return false }
        if expected.children == [.text(Self.anything)] { return true }
        let isEmpty = elements.allSatisfy(\.isOptional)
        if expected.elements.isEmpty { return isEmpty && named.accept(text, expected.text) }
        let nodes = contentNodes.filter { node in
            guard case .element(let element) = node, element.isOptional else { return true }
            return expected.elements.contains { $0.isOptional && $0.name == element.name }
        }
        let wanted = expected.contentNodes
        return nodes.count == wanted.count
            && zip(nodes, wanted).allSatisfy { node, wanted in
                switch (node, wanted) {
                case (.element(let element), .element(let wanted)):
                    element.matches(wanted, &named)
                default: node == wanted
                }
            }
    }

    /// The children without white space that only sets elements apart.
    private var contentNodes: [Node] {
        children.filter {
            if case .text(let text) = $0 { !text.allSatisfy(\.isWhitespace) } else { true }
        }
    }

    private var isOptional: Bool {
        switch name {
        case "text":
            [Namespaces.stanzaErrors, "urn:ietf:params:xml:ns:xmpp-streams"].contains(namespace)
        case "stanza-id": namespace == "urn:xmpp:sid:0"
        default: false
        }
    }

    /// The server asks what its client got, which depends on the time.
    var isRequestForAcknowledgement: Bool { name == "r" && namespace == "urn:xmpp:sm:3" }

    /// As it could be written, for a message to a person.
    var readable: String {
        let attributes = attributes.map { " \($0.name)='\($0.value)'" }.joined()
        let content = children.map {
            switch $0 {
            case .element(let element): element.readable
            case .text(let text): text
            }
        }.joined()
        return "<\(name) xmlns='\(namespace)'\(attributes)>\(content)</\(name)>"
    }
}
