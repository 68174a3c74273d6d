// From YAML text to configuration nodes: the only file beside YAMLSyntaxError.swift that knows
// Yams. Of YAML it takes what a configuration needs (mappings, lists, scalars, comments) and
// refuses what makes documents ambiguous or explosive (aliases, tags, collections as keys).

import Yams

/// Reads one YAML document.
struct YAMLReader {
    private let text: String
    private let file: String

    /// How deep collections may be nested. Options need four levels, with a list in a record.
    static let maximumDepth = 16

    init(text: String, file: String) {
        self.text = text
        self.file = file
    }

    /// The document's root; null for a document without content.
    func read() throws(ConfigurationErrors) -> ConfigurationNode {
        guard text.utf8.count <= ConfigurationDocument.maximumBytes else {
            throw ConfigurationFile.tooLong(file)
        }
        if let error = YAMLScan(text).refused(file: file) {
            throw ConfigurationErrors(error)
        }
        // Yams hands libYAML a pointer into the string and uses it after the scope in which it is
        // valid. That holds for a string on the heap; one of up to 15 bytes lives inside its
        // variable, so a comment line makes it long enough for the heap.
        let heaped = text.utf8.count < 16 ? text + "\n# end of document" : text
        let parser: Parser
        let root: Node?
        do {
            // No resolver rules: scalars stay text, and no regular expression runs over them.
            // The encoding is named because its default is looked up in the environment.
            parser = try Parser(yaml: heaped, resolver: .basic, encoding: .utf8)
            root = try parser.singleRoot()
        } catch {
            throw ConfigurationErrors(YAMLSyntaxError.error(for: error, text: text, file: file))
        }
        guard let root else { return ConfigurationNode(content: .null, origin: origin(line: 1)) }
        var conversion = Conversion(file: file)
        // The nodes refer weakly to their anchors, which the parser owns.
        let node = withExtendedLifetime(parser) {
            conversion.node(root, line: root.mark?.line ?? 1, path: "", depth: 0)
        }
        guard conversion.errors.isEmpty else { throw ConfigurationErrors(conversion.errors) }
        return node
    }

    /// Whether a scalar without quotes stands for "not set".
    static func isNull(_ text: String) -> Bool {
        ["", "~", "null", "Null", "NULL"].contains(text)
    }

    private func origin(line: Int) -> Origin {
        file == ConfigurationError.commandLine ? .commandLine : .file(line: line)
    }
}

/// Walks the Yams tree, collecting what it refuses.
private struct Conversion {
    let file: String
    var errors: [ConfigurationError] = []

    mutating func node(_ node: Node, line: Int, path: String, depth: Int) -> ConfigurationNode {
        let origin: Origin =
            file == ConfigurationError.commandLine ? .commandLine : .file(line: line)
        if depth > YAMLReader.maximumDepth {
            refuse(line, path, "nested more than \(YAMLReader.maximumDepth) levels deep")
            return ConfigurationNode(content: .null, origin: origin)
        }
        if node.anchor != nil {
            refuse(
                line, path, "YAML anchors (&) are not used here",
                "put a value that begins with \"&\" in quotes")
        }
        let plainTags = [Tag.Name.str, .seq, .map].map(\.rawValue)
        if !plainTags.contains(node.tag.rawValue) {
            refuse(
                line, path, "YAML tags (!) are not used here",
                "put a value that begins with \"!\" in quotes")
        }
        switch node {
        case .scalar(let scalar):
            let isNull = scalar.style == .plain && YAMLReader.isNull(scalar.string)
            return ConfigurationNode(
                content: isNull ? .null : .scalar(scalar.string), origin: origin)
        case .sequence(let sequence):
            let items = sequence.map { item in
                self.node(item, line: item.mark?.line ?? line, path: path, depth: depth + 1)
            }
            return ConfigurationNode(content: .list(items), origin: origin)
        case .mapping(let mapping):
            let entries = mapping.map { entry(key: $0.key, $0.value, line, path, depth) }
            return ConfigurationNode(content: .mapping(entries), origin: origin)
        case .alias:
            // Yams puts the anchor's node in the place of an alias, so none is left; refused all
            // the same in case that changes.
            refuse(line, path, "YAML aliases (*) are not used here")
            return ConfigurationNode(content: .null, origin: origin)
        }
    }

    private mutating func entry(
        key: Node, _ value: Node, _ line: Int, _ path: String, _ depth: Int
    ) -> ConfigurationNode.Entry {
        let line = key.mark?.line ?? line
        guard case .scalar(let scalar) = key, key.anchor == nil else {
            refuse(line, path, "a key must be a plain word")
            return .init(key: "", value: .init(content: .null, origin: .file(line: line)))
        }
        // The path is for messages only; bounded, so that deep keys do not add up.
        let name = Printable.key(scalar.string)
        let path = path.isEmpty ? name : path.utf8.count > 256 ? path : "\(path).\(name)"
        return .init(
            key: scalar.string, value: node(value, line: line, path: path, depth: depth + 1))
    }

    private mutating func refuse(
        _ line: Int, _ path: String, _ problem: String, _ advice: String = ""
    ) {
        guard errors.count < ConfigurationErrors.collected else { return }
        errors.append(
            ConfigurationError(
                file: file, line: line, key: path, problem: problem, advice: advice))
    }
}
