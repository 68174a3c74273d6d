// A configuration file after parsing, with what the command line put over it. Which keys exist
// and what they mean is not known here; `OptionSet` judges that.

/// A parsed configuration file, or an empty one.
///
/// A key whose value is left empty (`stanza:`, `~` or `null`) counts as not set, so the default
/// applies; this makes it harmless to comment out a value or everything in a section.
public struct ConfigurationDocument: Sendable {
    /// The file as it was named, for messages.
    public let file: String
    var root: ConfigurationNode

    /// The longest file or assignment that is read.
    static let maximumBytes = 1 << 20
    /// How deep keys may be nested: `section.section.option`.
    static let maximumKeyDepth = 3

    init(file: String, root: ConfigurationNode) {
        self.file = file
        self.root = root
    }

    /// A configuration in which every option has its default.
    public static let empty = ConfigurationDocument(
        file: "configuration", root: .init(content: .mapping([]), origin: .file(line: 1)))

    /// Whether no key has a value.
    public var isEmpty: Bool { root.isUnset }

    /// Reads and parses a file of at most 1 MiB of UTF-8.
    /// - Throws: the first reason why it cannot be read, or what is wrong with its YAML.
    public static func load(
        file: String
    ) throws(ConfigurationErrors) -> ConfigurationDocument {
        try parse(ConfigurationFile.read(file), file: file)
    }

    /// Parses YAML. Refused are: anything but a mapping at the top, a key given twice, aliases,
    /// anchors, tags, explicit (`?`) keys, a second document and nesting past 16 levels.
    /// - Parameters:
    ///   - text: the YAML, at most 1 MiB of it.
    ///   - file: its name for messages.
    public static func parse(
        _ text: String, file: String
    ) throws(ConfigurationErrors) -> ConfigurationDocument {
        let root = try YAMLReader(text: text, file: file).read()
        switch root.content {
        case .mapping:
            return ConfigurationDocument(file: file, root: root)
        case .null:
            return ConfigurationDocument(
                file: file, root: .init(content: .mapping([]), origin: root.origin))
        case .scalar, .list:
            // The scalar is not repeated: with no key beside it, it may well be a secret.
            let found = root.scalar == nil ? "a list" : "a single value"
            throw ConfigurationErrors(
                ConfigurationError(
                    file: file, line: root.origin.line, key: "",
                    problem: "expected keys such as \"domain: example.org\"; found \(found)"))
        }
    }

    /// Puts an assignment from the command line over the file: `limits.stanza=512KiB`.
    ///
    /// A value that begins with `[`, `{`, `"` or `'` is read as YAML, so lists work:
    /// `domains=[a.example, b.example]`. Everything else is taken as it stands, `#`, `*` and `: `
    /// included. An empty value, `~` or `null` brings back the default. After a reload of the
    /// file the caller applies its assignments again.
    public mutating func override(_ assignment: String) throws(ConfigurationErrors) {
        let equals = assignment.firstIndex(of: "=")
        let key = String(assignment[..<(equals ?? assignment.endIndex)])
        guard let equals, Self.isKey(key) else {
            throw ConfigurationErrors(
                ConfigurationError(
                    file: ConfigurationError.commandLine, line: nil, key: "",
                    problem: "expected KEY=VALUE, such as limits.stanza=512KiB; found "
                        + Printable.quoted(key)))
        }
        let value = try Self.value(
            of: String(assignment[assignment.index(after: equals)...]), key: key)
        try set(value, at: key.split(separator: ".")[...], of: key, in: &root)
    }

    /// The node at a dotted path, null included; nil when the path is not in the document.
    func node(at key: String) -> ConfigurationNode? {
        root.node(at: key.split(separator: "."))
    }

    /// The error for a problem with what stands at `origin`.
    func error(
        at origin: Origin?, key: String, problem: String, advice: String = ""
    ) -> ConfigurationError {
        ConfigurationError(
            file: origin == .commandLine ? ConfigurationError.commandLine : file,
            line: origin?.line, key: Printable.key(key), problem: problem, advice: advice)
    }

    /// Whether a text can be the path of an option: one to three names of lower-case letters,
    /// digits and underscores, joined by dots.
    static func isKey(_ text: String) -> Bool {
        let names = text.split(separator: ".", omittingEmptySubsequences: false)
        return names.count <= maximumKeyDepth
            && names.allSatisfy { name in
                guard let first = name.utf8.first, name.utf8.count <= 64 else { return false }
                return UInt8(ascii: "a")...UInt8(ascii: "z") ~= first
                    && name.utf8.allSatisfy {
                        UInt8(ascii: "a")...UInt8(ascii: "z") ~= $0
                            || UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0
                            || $0 == UInt8(ascii: "_")
                    }
            }
    }

    private static func value(
        of text: String, key: String
    ) throws(ConfigurationErrors) -> ConfigurationNode {
        func failure(_ problem: String, _ advice: String = "") -> ConfigurationErrors {
            ConfigurationErrors(
                ConfigurationError(
                    file: ConfigurationError.commandLine, line: nil, key: key, problem: problem,
                    advice: advice))
        }
        guard text.utf8.count <= maximumBytes else { throw failure("the value is too long") }
        guard let first = text.first, "[{\"'".contains(first) else {
            let content: ConfigurationNode.Content =
                YAMLReader.isNull(text) ? .null : .scalar(text)
            return ConfigurationNode(content: content, origin: .commandLine)
        }
        let node: ConfigurationNode
        do {
            node = try YAMLReader(text: text, file: ConfigurationError.commandLine).read()
        } catch {
            // Only the first: the others follow from it, and the text is one line.
            let first = error.errors.first
            throw failure(first?.problem ?? "not YAML", first?.advice ?? "")
        }
        if case .mapping = node.content {
            throw failure(
                "expected one value or a list; found a group of keys",
                "use one --set for each key")
        }
        return node
    }

    private func set(
        _ value: ConfigurationNode, at path: ArraySlice<Substring>, of key: String,
        in node: inout ConfigurationNode
    ) throws(ConfigurationErrors) {
        guard let name = path.first else {
            node = value
            return
        }
        var entries: [ConfigurationNode.Entry]
        switch node.content {
        case .mapping(let existing): entries = existing
        case .null: entries = []
        case .scalar, .list:
            // Replacing it silently would hide what is wrong in the file.
            let place = node.origin.line.map { "\(file):\($0)" } ?? ConfigurationError.commandLine
            throw ConfigurationErrors(
                error(
                    at: .commandLine, key: key,
                    problem: "the key above it already has a value of its own at \(place)"))
        }
        let index = entries.firstIndex { $0.key == name } ?? entries.count
        if index == entries.count {
            let unset = ConfigurationNode(content: .null, origin: .commandLine)
            entries.append(.init(key: String(name), value: unset))
        }
        try set(value, at: path.dropFirst(), of: key, in: &entries[index].value)
        node.content = .mapping(entries)
    }
}
