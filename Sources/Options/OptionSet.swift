// The set of all options of the program: who declares one gets a setting, `finish` tells the
// operator what is wrong, `reload` changes what can change.

import Synchronization

/// What is known of one option, for documentation and tests.
public struct OptionDescription: Sendable, Equatable {
    /// The dotted path, such as `limits.stanza`.
    public let key: String
    /// The type in words, such as `size`.
    public let type: String
    /// The default as YAML; empty when there is none and for secrets.
    public let defaultText: String
    /// What is allowed, such as `1KiB to 16MiB`; empty when everything of the type is.
    public let bounds: String
    /// What the option does.
    public let help: String
    /// Whether a reload changes it; otherwise it needs a restart.
    public let reloadable: Bool
    /// Whether its value is never shown.
    public let secret: Bool
    /// The fields of the entries of a list of records; empty for other types.
    public let fields: [RecordField]
    /// Entries of a list of records, as YAML; may be empty.
    public let example: String
}

/// The options of the program.
///
/// The parts of the program declare their options while they are built, each key once; what is
/// wrong in the configuration is only collected then, and the setting has its default. `finish`
/// is called when all have declared theirs and reports everything at once, unknown keys
/// included. Whatever a declaration itself does wrong (the same key twice, a default out of
/// bounds) is an error of the program and traps.
///
/// The declarations and the current document are behind a lock, so the set may be used on any
/// thread.
public final class OptionSet: Sendable {
    /// One declared option, its value type erased.
    struct Declaration: Sendable {
        let description: OptionDescription
        /// Reads the option in a new document: the change to make, nil for no change.
        let prepare: @Sendable (ConfigurationNode?) throws(ValueProblems) -> PreparedChange?
    }

    /// A change that a reload found and has not made.
    struct PreparedChange: Sendable {
        let from: String
        let to: String
        /// Changes the setting and gives what tells its observers.
        let apply: @Sendable () -> @Sendable () -> Void
    }

    /// What was declared, in its order; the order of the reference.
    enum Item: Sendable {
        case section(key: String, help: String)
        case option(OptionDescription)
    }

    struct State {
        var document: ConfigurationDocument
        var declarations: [Declaration] = []
        var items: [Item] = []
        var keys: KnownKeys = KnownKeys()
        var errors: [ConfigurationError] = []
        /// What several lists of records have to say about each other, by the keys of the lists.
        var judges: [(keys: [String], judge: RecordJudge)] = []
        /// How the lists of records are read.
        var records: [String: @Sendable (ConfigurationNode) -> [ConfigurationRecord]?] = [:]
    }

    /// Judges the records of some options together.
    public typealias RecordJudge =
        @Sendable (_ records: [String: [ConfigurationRecord]]) -> [RecordProblem]

    let state: Mutex<State>

    /// Starts a set without options over a document.
    public init(_ document: ConfigurationDocument) {
        state = Mutex(State(document: document))
    }

    /// The options declared so far, in the order of their declaration.
    public var declared: [OptionDescription] {
        state.withLock { $0.declarations.map(\.description) }
    }

    /// Describes a group of keys in the reference, such as `limits`. Groups need not be declared.
    public func section(_ key: String, help: String) {
        precondition(ConfigurationDocument.isKey(key), "not a section: \(key)")
        state.withLock { state in
            state.keys.add(section: key)
            state.items.append(.section(key: key, help: help))
        }
    }

    /// Reports a problem that a single option cannot see, such as two options that exclude each
    /// other. It appears in the errors of `finish`, at the line of the key. A reload does not
    /// look at such problems: what is checked so should not be reloadable.
    /// - Parameters:
    ///   - key: the option to change.
    ///   - text: what is wrong.
    ///   - advice: what to do.
    ///   - line: the place in the file, where that is not the line of the key: of one record.
    public func problem(key: String, _ text: String, advice: String = "", line: Int? = nil) {
        state.withLock { state in
            let origin = line.map { .file(line: $0) } ?? state.document.node(at: key)?.origin
            state.errors.append(
                state.document.error(at: origin, key: key, problem: text, advice: advice))
        }
    }

    /// Has lists of records judged together, at the start and at each reload: names given twice,
    /// one record that names another. Lists that cannot be read are empty then. `judge` is called
    /// within the set's lock and must not use the set.
    public func judgeRecords(_ keys: [String], _ judge: @escaping RecordJudge) {
        state.withLock { $0.judges.append((keys, judge)) }
    }

    /// To be called when all options are declared: throws everything that is wrong with the
    /// configuration, in file order. May be called again after further declarations.
    public func finish() throws(ConfigurationErrors) {
        let errors = state.withLock { state in
            state.errors + state.keys.unknown(in: state.document)
                + state.judged(state.document)
        }
        guard errors.isEmpty else { throw ConfigurationErrors(errors) }
    }

    /// The commented reference of all options: YAML in which every key stands with its default,
    /// commented out, so that it can serve as a first configuration file.
    public func reference() -> String {
        Reference(state.withLock { $0.items }).text
    }

    /// All options as a Markdown table: key, default, help.
    public func table() -> String {
        Reference(state.withLock { $0.items }).table
    }

    /// Declares an option of any type: reads it now, and again at each reload.
    func declare<Value>(
        _ key: String, _ type: ValueType<Value>, default defaultValue: Value,
        reloadable: Bool, secret: Bool = false, fields: [RecordField] = [], example: String = "",
        help: String
    ) -> Setting<Value> {
        precondition(ConfigurationDocument.isKey(key), "not a key: \(key)")
        let read: @Sendable (ConfigurationNode?) throws(ValueProblems) -> Value = {
            node throws(ValueProblems) in
            // Null counts as not set; see ConfigurationDocument.
            guard let node, node.content.isSet else { return defaultValue }
            return try type.read(node)
        }
        let description = OptionDescription(
            key: key, type: type.name, defaultText: secret ? "" : type.yaml(defaultValue),
            bounds: type.bounds, help: help, reloadable: reloadable, secret: secret,
            fields: fields, example: example)
        let document = state.withLock { $0.document }
        let setting: Setting<Value>
        var errors: [ConfigurationError] = []
        do throws(ValueProblems) {
            setting = Setting(try read(document.node(at: key)))
        } catch {
            setting = Setting(defaultValue)
            errors = error.problems.map { document.error(for: $0, key: key) }
        }
        let declaration = Declaration(description: description) { node throws(ValueProblems) in
            let new = try read(node)
            let old = setting.value
            if new == old { return nil }
            return PreparedChange(
                from: secret ? "(secret)" : type.yaml(old),
                to: secret ? "(secret)" : type.yaml(new), apply: { setting.set(new) })
        }
        state.withLock { state in
            state.keys.add(option: key)
            state.declarations.append(declaration)
            state.items.append(.option(description))
            state.errors += errors
        }
        return setting
    }
}

extension OptionSet.State {
    /// What the judges say of a document.
    func judged(_ document: ConfigurationDocument) -> [ConfigurationError] {
        judges.flatMap { keys, judge in
            var lists: [String: [ConfigurationRecord]] = [:]
            for key in keys {
                guard let node = document.node(at: key), node.content.isSet else { continue }
                lists[key] = records[key]?(node)
            }
            return judge(lists).map { problem in
                document.error(
                    at: problem.line.map { .file(line: $0) }
                        ?? document.node(at: problem.key)?.origin,
                    key: problem.key, problem: problem.text, advice: problem.advice)
            }
        }
    }
}

extension ConfigurationDocument {
    /// The error for a problem with the value of an option.
    func error(for problem: ValueProblem, key: String) -> ConfigurationError {
        error(at: problem.origin, key: key, problem: problem.problem, advice: problem.advice)
    }
}

extension ConfigurationNode.Content {
    /// Whether there is a value.
    var isSet: Bool {
        if case .null = self { false } else { true }
    }
}
