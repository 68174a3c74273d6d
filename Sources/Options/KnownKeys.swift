// Which keys exist, and what to say about those that do not.

/// The keys of all declared options and of the sections that hold them.
struct KnownKeys: Sendable {
    private var options: [String] = []
    private var sections: [String] = []

    /// Adds an option. Traps when the key is an option or a section already.
    mutating func add(option key: String) {
        precondition(!options.contains(key), "option declared twice: \(key)")
        precondition(!sections.contains(key), "option is a section already: \(key)")
        options.append(key)
        if let end = key.lastIndex(of: ".") { add(section: String(key[..<end])) }
    }

    /// Adds a section and those above it. Traps when the key is an option already.
    mutating func add(section key: String) {
        precondition(!options.contains(key), "section is an option already: \(key)")
        if !sections.contains(key) { sections.append(key) }
        if let end = key.lastIndex(of: ".") { add(section: String(key[..<end])) }
    }

    /// The errors for what stands in a document without being declared.
    func unknown(in document: ConfigurationDocument) -> [ConfigurationError] {
        var errors: [ConfigurationError] = []
        search(document.root.entries ?? [], in: document, above: "", &errors)
        return errors
    }

    private func search(
        _ entries: [ConfigurationNode.Entry], in document: ConfigurationDocument,
        above: String, _ errors: inout [ConfigurationError]
    ) {
        for entry in entries {
            guard errors.count < ConfigurationErrors.collected else { return }
            let key = above.isEmpty ? entry.key : "\(above).\(entry.key)"
            // A key with a dot would look like a path; only whole names can be known.
            let isName = !entry.key.contains(".")
            if isName, options.contains(key) { continue }
            guard isName, sections.contains(key) else {
                errors.append(
                    document.error(
                        at: entry.value.origin, key: key, problem: "unknown key",
                        advice: advice(for: key, entry: entry.key)))
                continue
            }
            switch entry.value.content {
            case .mapping(let below): search(below, in: document, above: key, &errors)
            case .null: continue
            case .scalar, .list:
                errors.append(
                    document.error(
                        at: entry.value.origin, key: key,
                        problem: "expected keys below it\(example(in: key)); found "
                            + entry.value.found(secret: true)))
            }
        }
    }

    private func example(in section: String) -> String {
        options.first { $0.hasPrefix("\(section).") }.map { ", such as \($0)" } ?? ""
    }

    private func advice(for key: String, entry: String) -> String {
        if entry.contains("."), options.contains(key), let dot = entry.lastIndex(of: ".") {
            let name = entry[entry.index(after: dot)...]
            return "write \"\(name):\" indented below \"\(entry[..<dot]):\""
        }
        return NearestName.key(key, known: options + sections).map { "did you mean \($0)?" }
            ?? "kinglet config --reference lists all keys"
    }
}
