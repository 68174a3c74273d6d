// The configuration as a tree of values that know where they were written. Scalars stay text:
// the declaration of an option decides what `off` or `1.10` means, not YAML's guess.

/// Where a value was written.
enum Origin: Sendable, Equatable {
    case file(line: Int)
    case commandLine

    /// The line in the file; nil on the command line.
    var line: Int? {
        if case .file(let line) = self { line } else { nil }
    }
}

/// One value of the configuration.
struct ConfigurationNode: Sendable {
    /// What was written.
    enum Content: Sendable {
        /// Nothing, `~` or `null`: the key counts as not set.
        case null
        case scalar(String)
        case list([ConfigurationNode])
        case mapping([Entry])
    }

    /// A key of a mapping with its value.
    struct Entry: Sendable {
        let key: String
        var value: ConfigurationNode
    }

    var content: Content
    /// In a mapping the line of the key, because that is what a reader looks for; in a list the
    /// line of the item.
    var origin: Origin

    /// The text of a scalar; nil for everything else.
    var scalar: String? {
        if case .scalar(let text) = content { text } else { nil }
    }

    /// The entries of a mapping; nil for everything else.
    var entries: [Entry]? {
        if case .mapping(let entries) = content { entries } else { nil }
    }

    /// Whether nothing is set here: null, or a mapping in which nothing is set.
    var isUnset: Bool {
        switch content {
        case .null: true
        case .mapping(let entries): entries.allSatisfy(\.value.isUnset)
        case .scalar, .list: false
        }
    }

    /// The node below this one at `path`; nil when there is none.
    func node(at path: some Collection<Substring>) -> ConfigurationNode? {
        guard let name = path.first else { return self }
        return entries?.first { $0.key == name }?.value.node(at: path.dropFirst())
    }

    /// What was found, for an error message. A secret is never repeated.
    func found(secret: Bool = false) -> String {
        switch content {
        case .null: "nothing"
        case .scalar(let text): secret ? "a value that is not shown" : Printable.quoted(text)
        case .list: "a list"
        case .mapping: "a group of keys"
        }
    }
}

/// Text from the file, made safe to repeat in a message of one line.
enum Printable {
    /// The text in double quotes, control characters escaped, at most 60 characters of it.
    static func quoted(_ text: String) -> String {
        "\"\(escaped(text, quotes: true))\""
    }

    /// The text as a key in a message: as `quoted`, but without quotes.
    static func key(_ text: String) -> String {
        escaped(text, quotes: false)
    }

    private static func escaped(_ text: String, quotes: Bool) -> String {
        var result = ""
        var count = 0
        for scalar in text.unicodeScalars {
            // Counted in scalars: one character may carry any number of combining marks.
            count += 1
            if count > 60 { return result + "…" }
            switch scalar {
            case "\"" where quotes: result += "\\\""
            case "\\" where quotes: result += "\\\\"
            case "\n": result += "\\n"
            case "\t": result += "\\t"
            default:
                // Cc, Cf (bidirectional overrides among them), Zl and Zp would disturb the line.
                switch scalar.properties.generalCategory {
                case .control, .format, .lineSeparator, .paragraphSeparator:
                    result += "\\u{\(String(scalar.value, radix: 16))}"
                default: result.unicodeScalars.append(scalar)
                }
            }
        }
        return result
    }
}
