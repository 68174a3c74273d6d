// Options that hold text: one text, a text that may be absent, lists of texts, and records.

/// A check of a text beyond its length: nil when it is good, else what is wrong.
typealias TextCheck = @Sendable (String) -> String?

/// The reading of one text, which all types in this file are made of.
struct TextReader: Sendable {
    var maximumLength = 1024
    var check: TextCheck?
    var secret = false

    /// The text of a node, or what is wrong with it. Lengths are in bytes of UTF-8.
    func read(_ node: ConfigurationNode) throws(ValueProblems) -> String {
        guard let text = node.scalar else {
            throw ValueProblems(node, expected: "one text", secret: secret)
        }
        guard text.utf8.count <= maximumLength else {
            throw ValueProblems(
                node,
                "expected at most \(maximumLength) bytes of text; found \(text.utf8.count) bytes")
        }
        // Escapes in double quotes can make any character; NUL ends a path in C.
        let control = text.unicodeScalars.first {
            $0.properties.generalCategory == .control && $0 != "\n" && $0 != "\t"
        }
        guard control == nil else {
            throw ValueProblems(
                node, expected: "text without control characters", secret: secret)
        }
        if let problem = check?(text) {
            throw ValueProblems(node, "\(problem); found \(node.found(secret: secret))")
        }
        return text
    }

    /// The texts of a list; a single scalar counts as a list of one.
    func readList(
        _ node: ConfigurationNode, maximumCount: Int
    ) throws(ValueProblems) -> [String] {
        let items: [ConfigurationNode]
        switch node.content {
        case .scalar: return [try read(node)]
        case .list(let list): items = list
        case .null: return []
        case .mapping:
            throw ValueProblems(node, expected: "a list of texts", secret: secret)
        }
        guard items.count <= maximumCount else {
            throw ValueProblems(
                node, "expected at most \(maximumCount) items; found \(items.count)")
        }
        var texts: [String] = []
        var problems: [ValueProblem] = []
        for (index, item) in items.enumerated() {
            do throws(ValueProblems) {
                texts.append(try read(item))
            } catch {
                problems += error.problems.map {
                    ValueProblem(
                        origin: $0.origin, problem: "item \(index + 1): \($0.problem)",
                        advice: $0.advice)
                }
            }
        }
        guard problems.isEmpty else { throw ValueProblems(problems) }
        return texts
    }
}

extension ValueType where Value == String {
    /// One text.
    static func text(_ reader: TextReader) -> Self {
        ValueType(name: "text", bounds: "at most \(reader.maximumLength) bytes") {
            node throws(ValueProblems) in
            try reader.read(node)
        } yaml: {
            YAMLText.scalar($0)
        }
    }
}

extension ValueType where Value == String? {
    /// A text or nothing.
    static func optionalText(_ reader: TextReader) -> Self {
        ValueType(name: "text", bounds: "at most \(reader.maximumLength) bytes") {
            node throws(ValueProblems) in
            try reader.read(node)
        } yaml: {
            $0.map(YAMLText.scalar) ?? ""
        }
    }
}

extension ValueType where Value == [String] {
    /// A list of texts.
    static func list(maximumCount: Int, _ reader: TextReader) -> Self {
        ValueType(name: "list of texts", bounds: "at most \(maximumCount)") {
            node throws(ValueProblems) in
            try reader.readList(node, maximumCount: maximumCount)
        } yaml: { texts in
            "[" + texts.map(YAMLText.scalar).joined(separator: ", ") + "]"
        }
    }
}

extension ValueType where Value == [ConfigurationRecord] {
    /// A list of mappings with declared fields. Its only default is the empty list, so that is
    /// all that has to be written as YAML; a change is reported by the number of entries.
    static func records(fields: [RecordField], maximumCount: Int) -> Self {
        // What stands in the wrong place may be what belongs into a secret field.
        let secret = fields.contains(where: \.secret)
        return ValueType(name: "list of entries", bounds: "at most \(maximumCount)") {
            node throws(ValueProblems) in
            guard case .list(let items) = node.content else {
                throw ValueProblems(
                    node, expected: "a list of entries, each beginning with \"- \"",
                    secret: secret)
            }
            guard items.count <= maximumCount else {
                throw ValueProblems(
                    node, "expected at most \(maximumCount) entries; found \(items.count)")
            }
            var records: [ConfigurationRecord] = []
            var problems: [ValueProblem] = []
            for (index, item) in items.enumerated() {
                let reading = RecordReading(fields: fields, item: item)
                records.append(reading.record)
                problems += reading.problems.map {
                    ValueProblem(
                        origin: $0.origin, problem: "entry \(index + 1): \($0.problem)",
                        advice: $0.advice)
                }
            }
            guard problems.isEmpty else { throw ValueProblems(problems) }
            return records
        } yaml: { records in
            switch records.count {
            case 0: "[]"
            case 1: "1 entry"
            default: "\(records.count) entries"
            }
        }
    }
}

/// One entry of a list of records, read against its fields.
private struct RecordReading {
    private(set) var problems: [ValueProblem] = []
    private(set) var record: ConfigurationRecord

    /// The most texts in one list field.
    private static let maximumCount = 100

    init(fields: [RecordField], item: ConfigurationNode) {
        record = ConfigurationRecord(line: item.origin.line, values: [:])
        guard let entries = item.entries else {
            let names = fields.map(\.name).joined(separator: ", ")
            problems =
                ValueProblems(
                    item, expected: "the keys \(names)", secret: fields.contains(where: \.secret)
                ).problems
            return
        }
        var values: [String: [String]] = [:]
        for entry in entries {
            guard let field = fields.first(where: { $0.name == entry.key }) else {
                problems.append(Self.unknown(entry, fields))
                continue
            }
            guard entry.value.content.isSet else { continue }
            do throws(ValueProblems) {
                values[field.name] = try Self.read(entry.value, as: field)
            } catch {
                problems += error.problems.map {
                    ValueProblem(
                        origin: $0.origin, problem: "\(field.name): \($0.problem)",
                        advice: $0.advice)
                }
            }
        }
        for field in fields where field.required && values[field.name, default: []].isEmpty {
            // A field with a problem of its own is not missing.
            let isSet = entries.contains { $0.key == field.name && $0.value.content.isSet }
            let isEmptyList = values[field.name] != nil
            if !isSet || isEmptyList {
                problems.append(
                    ValueProblem(
                        origin: item.origin, problem: "\(field.name) is missing",
                        advice: "add it"))
            }
        }
        record = ConfigurationRecord(line: item.origin.line, values: values)
    }

    private static func read(
        _ node: ConfigurationNode, as field: RecordField
    ) throws(ValueProblems) -> [String] {
        switch field.content {
        case .text: break
        case .duration(let bounds):
            _ = try ValueType.duration(in: bounds, example: bounds.upperBound).read(node)
            return [node.scalar ?? ""]
        case .size(let bounds):
            _ = try ValueType.size(in: bounds, example: bounds.upperBound).read(node)
            return [node.scalar ?? ""]
        case .integer(let bounds):
            _ = try ValueType.integer(in: bounds).read(node)
            return [node.scalar ?? ""]
        case .boolean:
            _ = try ValueType.boolean.read(node)
            return [node.scalar ?? ""]
        case .choice(let words):
            guard let text = node.scalar, words.contains(text) else {
                let near = node.scalar.flatMap {
                    NearestName.nearest(to: $0.lowercased(), among: words)
                }
                throw ValueProblems(
                    node, expected: "one of \(words.joined(separator: ", "))",
                    advice: near.map { "did you mean \($0)?" } ?? "", secret: field.secret)
            }
            return [text]
        }
        let reader = TextReader(secret: field.secret)
        return field.list
            ? try reader.readList(node, maximumCount: maximumCount) : [try reader.read(node)]
    }

    private static func unknown(
        _ entry: ConfigurationNode.Entry, _ fields: [RecordField]
    ) -> ValueProblem {
        let names = fields.map(\.name)
        let near = NearestName.nearest(to: entry.key, among: names)
        return ValueProblem(
            origin: entry.value.origin,
            problem: "unknown key \(Printable.key(entry.key))",
            advice: near.map { "did you mean \($0)?" }
                ?? "known are \(names.joined(separator: ", "))")
    }
}
