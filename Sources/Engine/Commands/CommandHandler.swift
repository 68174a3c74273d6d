// What a part of the program declares of a command (XEP-0050): who may run it, and what it does
// step by step.

public import Addresses
public import XMPP

/// Who may run a command.
public enum CommandAudience: Sendable {
    /// Anybody who can ask, on other servers, too.
    case everybody
    /// The accounts of this server.
    case accounts
    /// Those of them that may administrate it.
    case administrators
}

/// A step of a command that somebody takes.
public struct CommandStep: Sendable {
    /// Who takes it.
    public let requester: JID
    /// What was filled in. The first step has none, unless a program that knows the form sent it
    /// at once. In every other it is complete by `DataForm.problem(with:)`.
    public let form: DataForm?

    /// Whose step it is.
    public var account: BareJID { requester.bare }
}

/// What a step leads to.
public enum CommandAnswer: Sendable {
    /// A form to fill in. Who submits it takes the next step, which `then` handles, or the handler
    /// that gave the form if nil; `isLast` says whether the command is to be complete then.
    case form(DataForm, isLast: Bool = true, then: CommandHandler? = nil)
    /// The end, with what there is to say and to show.
    case completed(Command.Note? = nil, DataForm? = nil)
    /// The step is refused. If its `kind` is `modify`, the same form may be submitted again.
    case failed(StanzaError)
}

/// Takes a step and calls back with what it leads to, once and on any thread. Must not block.
public typealias CommandHandler =
    @Sendable (CommandStep, Host, @escaping @Sendable (CommandAnswer) -> Void) -> Void
