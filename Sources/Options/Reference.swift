// Writes the commented reference of the configuration from the declarations.

/// The reference as YAML. A comment is `# text`, a key with its default `#key: value`: sections
/// stay live and empty, which is the same as not setting anything, so one character is all that
/// has to go to set an option.
struct Reference {
    /// A section, or the whole file.
    private struct Group {
        var help = ""
        var members: [Member] = []
    }

    private enum Member {
        case group(name: String, Group)
        case option(name: String, OptionDescription)
    }

    /// The width at which help is wrapped, indentation included.
    private static let columns = 90

    private var root = Group()

    init(_ items: [OptionSet.Item]) {
        for item in items {
            switch item {
            case .section(let key, let help):
                Self.update(&root, at: key.split(separator: ".")[...]) { $0.help = help }
            case .option(let option):
                let path = option.key.split(separator: ".")
                Self.update(&root, at: path.dropLast()) {
                    $0.members.append(.option(name: String(path[path.count - 1]), option))
                }
            }
        }
    }

    /// The file.
    var text: String {
        var lines = [
            "# Every option with its default. To change one, remove the \"#\" before its key.",
            "# A key without a value has its default.",
        ]
        write(root, indentation: "", to: &lines)
        return lines.joined(separator: "\n") + "\n"
    }

    /// The same as a Markdown table, shorter: key, default and help.
    var table: String {
        var lines = ["| key | default | |", "| --- | --- | --- |"]
        writeRows(root, path: "", to: &lines)
        return lines.joined(separator: "\n") + "\n"
    }

    private func writeRows(_ group: Group, path: String, to lines: inout [String]) {
        for member in group.members {
            switch member {
            case .group(let name, let below):
                if !below.help.isEmpty {
                    lines.append("| **\(path)\(name)** | | \(Self.cell(below.help)) |")
                }
                writeRows(below, path: "\(path)\(name).", to: &lines)
            case .option(let name, let option):
                let value = option.defaultText.isEmpty ? "" : " `\(Self.cell(option.defaultText))`"
                lines.append("| `\(path)\(name)` |\(value) | \(Self.cell(option.help)) |")
            }
        }
    }

    /// A text as one line that ends no cell and opens no tag.
    private static func cell(_ text: String) -> String {
        var cell = ""
        for character in text {
            switch character {
            case "|": cell += "\\|"
            case "<": cell += "&lt;"
            case _ where character.isNewline: cell += " "
            default: cell.append(character)
            }
        }
        return cell
    }

    /// Changes the group at a path, which is made where it first appears.
    private static func update(
        _ group: inout Group, at path: ArraySlice<Substring>, _ change: (inout Group) -> Void
    ) {
        guard let name = path.first.map(String.init) else { return change(&group) }
        for index in group.members.indices {
            guard case .group(name, var below) = group.members[index] else { continue }
            update(&below, at: path.dropFirst(), change)
            group.members[index] = .group(name: name, below)
            return
        }
        var below = Group()
        update(&below, at: path.dropFirst(), change)
        group.members.append(.group(name: name, below))
    }

    private func write(_ group: Group, indentation: String, to lines: inout [String]) {
        for member in group.members {
            lines.append("")
            switch member {
            case .group(let name, let below):
                lines += comment(below.help, indentation)
                lines.append("\(indentation)\(name):")
                write(below, indentation: indentation + "  ", to: &lines)
            case .option(let name, let option):
                lines += comment(option.help, indentation)
                lines += comment(facts(of: option), indentation)
                for field in option.fields {
                    lines += comment(description(of: field), indentation, hanging: "  ")
                }
                if !option.example.isEmpty {
                    lines.append("\(indentation)# For example:")
                    lines += option.example.split(separator: "\n").map { "\(indentation)#   \($0)" }
                }
                let value = option.defaultText.isEmpty ? "" : " \(option.defaultText)"
                lines.append("\(indentation)#\(name):\(value)")
            }
        }
    }

    /// Type, bounds, default and what a change needs, in one sentence.
    private func facts(of option: OptionDescription) -> String {
        let type = option.type.prefix(1).uppercased() + option.type.dropFirst()
        let bounds = option.bounds.isEmpty ? type : "\(type), \(option.bounds)"
        let defaultText =
            option.secret
            ? "secret" : option.defaultText.isEmpty ? "no default" : "default \(option.defaultText)"
        let change = option.reloadable ? "reloads" : "changes need a restart"
        let sentence = "\(bounds); \(defaultText); \(change)."
        return option.fields.isEmpty ? sentence : "\(sentence) The keys of an entry:"
    }

    private func description(of field: RecordField) -> String {
        let content =
            switch field.content {
            case .text: field.list ? "list of texts" : "text"
            case .duration: "duration"
            case .size: "size"
            case .integer: "whole number"
            case .boolean: "boolean"
            case .choice(let words): words.joined(separator: ", ")
            }
        var traits = [content]
        if field.required { traits.append("required") }
        if field.secret { traits.append("secret") }
        return "\(field.name) (\(traits.joined(separator: ", "))): \(field.help)"
    }

    /// Comment lines for a text, broken at spaces; its own line breaks stay.
    private func comment(
        _ text: String, _ indentation: String, hanging: String = ""
    ) -> [String] {
        guard !text.isEmpty else { return [] }
        return text.split(omittingEmptySubsequences: false) { $0.isNewline }.flatMap { paragraph in
            var lines: [String] = []
            var line = "\(indentation)# \(hanging)"
            var isFresh = true
            for word in paragraph.split(separator: " ") {
                if !isFresh, line.count + 1 + word.count > Self.columns {
                    lines.append(line)
                    line = "\(indentation)# \(hanging)\(hanging)"
                    isFresh = true
                }
                line += isFresh ? "\(word)" : " \(word)"
                isFresh = false
            }
            return lines + [isFresh ? "\(indentation)#" : line]
        }
    }
}
