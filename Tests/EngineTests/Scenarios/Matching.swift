// How what came is compared with what a scenario expects.

import XML
import XMPP

extension Element {
    private static let anything = "{any}"

    /// Whether this is what was expected: all attributes and children, in order. `{any}` stands
    /// for any value or content; `id`, `xml:lang` and the `<text/>` of an error count only where
    /// they are expected, white space between elements never.
    func matches(_ expected: Element) -> Bool {
        guard name == expected.name, namespace == expected.namespace else { return false }
        var unexpected = attributes
        for attribute in expected.attributes {
            let found = unexpected.firstIndex {
                $0.name == attribute.name && $0.namespace == attribute.namespace
                    && (attribute.value == Self.anything || $0.value == attribute.value)
            }
            guard let found else { return false }
            unexpected.remove(at: found)
        }
        guard unexpected.allSatisfy({ ["id", "lang"].contains($0.name) }) else { return false }
        if expected.children == [.text(Self.anything)] { return true }
        guard elements.isEmpty == expected.elements.isEmpty else { return false }
        if elements.isEmpty { return text == expected.text }
        let ignoresText = !expected.elements.contains(where: \.isErrorText)
        let nodes = contentNodes.filter {
            if case .element(let element) = $0, element.isErrorText { !ignoresText } else { true }
        }
        let wanted = expected.contentNodes
        return nodes.count == wanted.count
            && zip(nodes, wanted).allSatisfy { node, wanted in
                switch (node, wanted) {
                case (.element(let element), .element(let wanted)): element.matches(wanted)
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

    private var isErrorText: Bool {
        name == "text"
            && [Namespaces.stanzaErrors, "urn:ietf:params:xml:ns:xmpp-streams"].contains(namespace)
    }

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
