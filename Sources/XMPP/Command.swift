// Ad-hoc commands on the wire (XEP-0050): a request to run one or to go on with it, and the answer.

public import XML

/// `<command/>`, in a request or its answer.
public struct Command: Sendable, Equatable {
    /// `http://jabber.org/protocol/commands`.
    public static let namespace = "http://jabber.org/protocol/commands"
    /// Longest node and session id, in bytes.
    public static let longestName = 1024

    /// What is to be done (XEP-0050 section 3.3).
    public enum Action: String, Sendable, CaseIterable {
        case cancel, complete, execute, next, prev
    }

    /// How far the command is.
    public enum Status: String, Sendable, CaseIterable {
        case canceled, completed, executing
    }

    /// What may be done next, beside `cancel` and `execute`.
    public struct Actions: Sendable, Equatable {
        /// What `execute` stands for.
        public var execute: Action?
        /// Any of `prev`, `next` and `complete`.
        public var allowed: Set<Action>

        /// Creates them.
        public init(_ allowed: Set<Action>, execute: Action? = nil) {
            self.allowed = allowed
            self.execute = execute
        }
    }

    /// Something to tell the person.
    public struct Note: Sendable, Equatable {
        /// How serious it is.
        public enum Kind: String, Sendable, CaseIterable {
            case info, warn, error
        }

        /// How serious it is.
        public var kind: Kind
        /// The text.
        public var text: String

        /// Creates a note.
        public init(_ text: String, kind: Kind = .info) {
            self.kind = kind
            self.text = text
        }
    }

    /// What is wrong with a request, beyond the stanza error's condition (section 4.4).
    public enum Failure: String, Sendable, CaseIterable {
        case badAction = "bad-action"
        case badPayload = "bad-payload"
        case badSessionID = "bad-sessionid"
        case malformedAction = "malformed-action"
        case sessionExpired = "session-expired"
    }

    /// The command's name.
    public var node: String
    /// Which run of it; nil to begin one.
    public var sessionID: String?
    /// What is to be done; nil is `execute`.
    public var action: Action?
    /// How far it is; answers have it.
    public var status: Status?
    /// What may be done next.
    public var actions: Actions?
    /// Forms to fill in or filled in, or a result.
    public var form: DataForm?
    /// What the person is told.
    public var notes: [Note]

    /// Creates one.
    public init(
        _ node: String, sessionID: String? = nil, action: Action? = nil, status: Status? = nil,
        actions: Actions? = nil, form: DataForm? = nil, notes: [Note] = []
    ) {
        self.node = node
        self.sessionID = sessionID
        self.action = action
        self.status = status
        self.actions = actions
        self.form = form
        self.notes = notes
    }

    /// Reads `<command/>`.
    ///
    /// - Throws: the error to answer with.
    public init(_ element: Element) throws(StanzaError) {
        guard element.name == "command", element.namespace == Self.namespace else {
            throw StanzaError(.badRequest, "this is no command")
        }
        guard let node = element["node"], !node.isEmpty, node.utf8.count <= Self.longestName else {
            throw StanzaError(.badRequest, "a command has a node")
        }
        self.node = node
        sessionID = element["sessionid"]
        guard (sessionID?.utf8.count ?? 0) <= Self.longestName else {
            throw StanzaError(.badSessionID, "there is no such session")
        }
        action = try Self.value(
            element["action"], else: StanzaError(.malformedAction, "there is no such action"))
        status = try Self.value(
            element["status"], else: StanzaError(.badRequest, "there is no such status"))
        actions = try Self.actions(in: element)
        form = try Self.form(in: element)
        notes = try Self.notes(in: element)
    }

    private static func value<Value: RawRepresentable<String>>(
        _ text: String?, else error: @autoclosure () -> StanzaError
    ) throws(StanzaError) -> Value? {
        guard let text else { return nil }
        guard let value = Value(rawValue: text) else { throw error() }
        return value
    }

    private static func actions(in element: Element) throws(StanzaError) -> Actions? {
        let all = element.elements.filter { $0.name == "actions" && $0.namespace == namespace }
        guard let actions = all.first else { return nil }
        let allowed = actions.elements.filter { $0.namespace == namespace }.map {
            Action(rawValue: $0.name)
        }
        let choices: Set<Action> = [.prev, .next, .complete]
        let execute = actions["execute"].map { Action(rawValue: $0) }
        guard all.count == 1, allowed.allSatisfy({ $0.map(choices.contains) ?? false }),
            execute.map({ $0.map(choices.contains) ?? false }) ?? true
        else { throw StanzaError(.badRequest, "these are no actions") }
        return Actions(Set(allowed.compactMap { $0 }), execute: execute ?? nil)
    }

    private static func form(in element: Element) throws(StanzaError) -> DataForm? {
        let all = element.elements.filter { $0.namespace == DataForm.namespace }
        guard let first = all.first else { return nil }
        guard all.count == 1, let form = DataForm(first) else {
            throw StanzaError(.badPayload, "a command has one form at most")
        }
        return form
    }

    private static func notes(in element: Element) throws(StanzaError) -> [Note] {
        var notes: [Note] = []
        for note in element.elements where note.name == "note" && note.namespace == namespace {
            guard let kind = Note.Kind(rawValue: note["type"] ?? "info") else {
                throw StanzaError(.badRequest, "there is no such note")
            }
            notes.append(Note(note.text, kind: kind))
        }
        return notes
    }

    /// `<command/>`.
    public var element: Element {
        var element = Element("command", Self.namespace, [("node", node)])
        element["sessionid"] = sessionID
        element["action"] = action?.rawValue
        element["status"] = status?.rawValue
        var children: [Element] = []
        if let actions {
            let allowed = [Action.prev, .next, .complete].filter(actions.allowed.contains)
            children.append(
                Element(
                    "actions", Self.namespace,
                    actions.execute.map { [("execute", $0.rawValue)] } ?? [],
                    allowed.map { Element($0.rawValue, Self.namespace) }))
        }
        if let form { children.append(form.element) }
        children += notes.map {
            Element("note", Self.namespace, [("type", $0.kind.rawValue)], text: $0.text)
        }
        element.children = children.map { .element($0) }
        return element
    }
}

extension StanzaError {
    /// An error of a command's (XEP-0050 section 4.4).
    public init(_ failure: Command.Failure, _ text: String? = nil) {
        self.init(
            failure == .sessionExpired ? .notAllowed : .badRequest, text,
            application: Element(failure.rawValue, Command.namespace))
    }
}
