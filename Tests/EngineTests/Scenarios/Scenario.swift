// Scenario scripts: what people send each other and what they see, one file per rule. The same
// files run here without a socket and in Tests/Clients over TLS. CONTRIBUTING.md has the format.

import Foundation
import XML
import XMPP

/// One file of `Tests/Scenarios`.
struct Scenario: Sendable {
    enum Action: Sendable {
        /// The account exists, and nobody is logged in.
        case exists
        /// Logged in with a resource; has its roster and has announced itself.
        case online(resource: String)
        /// Logged in with a resource, and nothing else.
        case connected(resource: String)
        case sends(String)
        case receives(Element)
        case receivesNothing
        /// Reads what came and does not look at it.
        case ignores
        /// Ends its stream.
        case leaves
        /// Its connection breaks.
        case vanishes
    }

    struct Step: Sendable {
        let line: Int
        /// `romeo`, or `romeo/orchard` for one of several.
        let actor: String
        let action: Action
    }

    struct Malformed: Error, CustomStringConvertible {
        let description: String
    }

    let name: String
    let steps: [Step]

    static let folder = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("Scenarios")

    static func names() -> [String] {
        let files = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
        return files.filter { $0.hasSuffix(".scenario") }.sorted()
    }

    init(file name: String) throws {
        self.name = name
        let text = try String(
            contentsOf: Self.folder.appendingPathComponent(name), encoding: .utf8)
        var steps: [Step] = []
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        var index = 0
        while index < lines.count {
            let line = lines[index]
            index += 1
            guard !line.isEmpty, !line.hasPrefix("#") else { continue }
            let number = index
            var block: [Substring] = []
            while index < lines.count, lines[index].hasPrefix("  ") {
                block.append(lines[index].drop { $0 == " " })
                index += 1
            }
            let words = line.split(separator: " ").map(String.init)
            let action = try Self.action(
                Array(words.dropFirst()), block.joined(), "\(name):\(number)")
            steps.append(Step(line: number, actor: words[0], action: action))
        }
        self.steps = steps
    }

    private static func action(
        _ words: [String], _ block: String, _ place: String
    ) throws -> Action {
        switch (words.first, words.count) {
        case ("exists", 1): return .exists
        case ("online", 2): return .online(resource: words[1])
        case ("connected", 2): return .connected(resource: words[1])
        case ("sends", 1): return .sends(block)
        case ("receives", 1):
            return .receives(
                try Element(parsing: Array(block.utf8), contentNamespace: Namespaces.client))
        case ("receives", 2) where words[1] == "nothing": return .receivesNothing
        case ("ignores", 1): return .ignores
        case ("leaves", 1): return .leaves
        case ("vanishes", 1): return .vanishes
        default: throw Malformed(description: "\(place): \(words.joined(separator: " "))?")
        }
    }
}

extension Element {
    /// Why this is not what a scenario expects, nil if it is. `{any}` stands for any value; `id`
    /// and `xml:lang` matter only where they are expected.
    func difference(from expected: Element) -> String? {
        guard name == expected.name, namespace == expected.namespace else {
            return "<\(name) xmlns='\(namespace)'/> instead of <\(expected.name)/>"
        }
        for wanted in expected.attributes {
            let found = attributes.first {
                $0.name == wanted.name && $0.namespace == wanted.namespace
            }
            guard let found else { return "no \(wanted.name) in <\(name)/>" }
            guard wanted.value == "{any}" || wanted.value == found.value else {
                return "\(wanted.name)='\(found.value)' instead of '\(wanted.value)'"
            }
        }
        for found in attributes where found.name != "id" && found.name != "lang" {
            guard expected.attributes.contains(where: { $0.name == found.name }) else {
                return "\(found.name)='\(found.value)' in <\(name)/>"
            }
        }
        guard elements.count == expected.elements.count else {
            return
                "\(elements.map(\.name)) in <\(name)/> instead of \(expected.elements.map(\.name))"
        }
        if expected.elements.isEmpty, expected.text != "{any}", text != expected.text {
            return "'\(text)' in <\(name)/> instead of '\(expected.text)'"
        }
        for (child, wanted) in zip(elements, expected.elements) {
            if let difference = child.difference(from: wanted) { return difference }
        }
        return nil
    }
}
