// Sameness by character. `==` on Swift's strings also takes canonically equivalent ones for equal.

import XML

func isSame(_ one: String, _ other: String) -> Bool { one.utf8.elementsEqual(other.utf8) }

func isSame(_ one: String?, _ other: String?) -> Bool {
    guard let one, let other else { return one == nil && other == nil }
    return isSame(one, other)
}

func isSame(_ one: Element?, _ other: Element) -> Bool {
    guard let one else { return false }
    return isSame(one.name, other.name) && isSame(one.namespace, other.namespace)
        && one.attributes.count == other.attributes.count
        && zip(one.attributes, other.attributes).allSatisfy {
            isSame($0.name, $1.name) && isSame($0.namespace, $1.namespace)
                && isSame($0.value, $1.value)
        }
        && one.children.count == other.children.count
        && zip(one.children, other.children).allSatisfy {
            switch ($0, $1) {
            case (.text(let one), .text(let other)): isSame(one, other)
            case (.element(let one), .element(let other)): isSame(one, other)
            default: false
            }
        }
}
