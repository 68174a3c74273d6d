// The runs of commands that wait for their next step (XEP-0050 section 3): each is known by a random
// id to the account that began it, for a while, and nobody can have many.

internal import Addresses
internal import NIOCore
internal import Synchronization
internal import TLS
internal import XMPP

/// Which commands are under way, and how far. Safe on any thread.
final class CommandRuns: Sendable {
    /// A form that somebody was shown, and who takes what is filled in.
    struct Stage: Sendable {
        let form: DataForm
        let isLast: Bool
        let handler: CommandHandler
    }

    /// What a request leads to.
    enum Move: Sendable {
        /// A step is to be taken, by the command's first handler if nil. What it leads to is told
        /// by `show`, `end` or `refuse`.
        case step(String, CommandHandler?)
        /// An earlier form is shown again.
        case shown(String, DataForm, Command.Actions)
        case cancelled(String)
    }

    private struct Run {
        let node: String
        let account: BareJID
        /// What was shown, the latest last.
        var stages: [Stage] = []
        var usedAt: NIODeadline
        /// A step is being taken.
        var isBusy = true

        var actions: Command.Actions {
            let next: Command.Action = stages.last?.isLast ?? true ? .complete : .next
            return Command.Actions(stages.count > 1 ? [.prev, next] : [next], execute: next)
        }
    }

    private struct State {
        var runs: [String: Run] = [:]
        /// Their ids, the oldest first.
        var ofAccount: [BareJID: [String]] = [:]
        var ofDomain: [String: Int] = [:]
        var purgedAt: NIODeadline?

        mutating func remove(_ id: String) {
            guard let run = runs.removeValue(forKey: id) else { return }
            ofAccount[run.account]?.removeAll { $0 == id }
            if ofAccount[run.account]?.isEmpty ?? false { ofAccount[run.account] = nil }
            let rest = (ofDomain[run.account.domain] ?? 1) - 1
            ofDomain[run.account.domain] = rest > 0 ? rest : nil
        }
    }

    /// A run waits so long for its next step.
    static let life = TimeAmount.minutes(10)
    /// So many one account may have; the oldest gives way.
    static let perAccount = 8
    /// So many the accounts of one domain may have.
    static let perDomain = 1024
    static let most = 4096
    /// So many forms back one may go.
    private static let longestHistory = 16

    private let state = Mutex(State())

    /// Begins a run or goes on with one, as a request wants.
    func move(
        _ command: Command, by account: BareJID, now: NIODeadline
    ) throws(StanzaError) -> Move {
        let result = state.withLock { state -> Result<Move, StanzaError> in
            do throws(StanzaError) {
                guard let id = command.sessionID else {
                    return .success(try Self.begin(command, account, now, &state))
                }
                return .success(try Self.goOn(id, command, account, now, &state))
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    private static func begin(
        _ command: Command, _ account: BareJID, _ now: NIODeadline, _ state: inout State
    ) throws(StanzaError) -> Move {
        guard command.action ?? .execute == .execute else {
            throw StanzaError(.badAction, "a command begins with execute")
        }
        guard command.form.map({ $0.kind == .submit }) ?? true else {
            throw StanzaError(.badPayload, "a form is submitted")
        }
        try makeRoom(for: account, now, &state)
        let id = SecureRandom.identifier(bytes: 18)
        state.runs[id] = Run(node: command.node, account: account, usedAt: now)
        state.ofAccount[account, default: []].append(id)
        state.ofDomain[account.domain, default: 0] += 1
        return .step(id, nil)
    }

    private static func makeRoom(
        for account: BareJID, _ now: NIODeadline, _ state: inout State
    ) throws(StanzaError) {
        func isFull() -> Bool {
            state.runs.count >= most || (state.ofDomain[account.domain] ?? 0) >= perDomain
        }
        let own = state.ofAccount[account] ?? []
        if own.count >= perAccount {
            guard let oldest = own.first(where: { isOver($0, now, state) || !isBusy($0, state) })
            else {
                throw StanzaError(
                    .resourceConstraint, "too many commands at once; try again later")
            }
            state.remove(oldest)
        }
        guard isFull() else { return }
        // Not with each request that finds it full.
        if state.purgedAt.map({ now - $0 >= .seconds(1) }) ?? true {
            state.purgedAt = now
            for id in state.runs.keys where isOver(id, now, state) { state.remove(id) }
        }
        guard !isFull() else {
            throw StanzaError(
                .resourceConstraint, "too many commands are under way; try again later",
                kind: .wait)
        }
    }

    private static func isOver(_ id: String, _ now: NIODeadline, _ state: State) -> Bool {
        state.runs[id].map { now - $0.usedAt >= life } ?? true
    }

    private static func isBusy(_ id: String, _ state: State) -> Bool {
        state.runs[id]?.isBusy ?? false
    }

    private static func goOn(
        _ id: String, _ command: Command, _ account: BareJID, _ now: NIODeadline,
        _ state: inout State
    ) throws(StanzaError) -> Move {
        guard let run = state.runs[id], run.account == account, run.node == command.node else {
            throw StanzaError(.badSessionID, "there is no such session")
        }
        guard !isOver(id, now, state) else {
            state.remove(id)
            throw StanzaError(.sessionExpired, "this has taken too long; begin again")
        }
        let wanted = command.action ?? .execute
        if wanted == .cancel {
            state.remove(id)
            return .cancelled(id)
        }
        guard !run.isBusy, let stage = run.stages.last else {
            throw StanzaError(.unexpectedRequest, "the step before is not done yet")
        }
        switch wanted {
        case .prev:
            guard run.stages.count > 1, let before = run.stages.dropLast().last else {
                throw StanzaError(.badAction, "there is nothing before this")
            }
            state.runs[id]?.stages.removeLast()
            state.runs[id]?.usedAt = now
            return .shown(id, before.form, state.runs[id]?.actions ?? run.actions)
        case .execute, .next, .complete, .cancel:
            guard wanted == .execute || run.actions.allowed.contains(wanted) else {
                throw StanzaError(.badAction, "this is not what comes next")
            }
            guard let form = command.form, form.kind == .submit else {
                throw StanzaError(.badPayload, "the form has to be filled in")
            }
            if let problem = stage.form.problem(with: form) {
                throw StanzaError(.badPayload, problem)
            }
            state.runs[id]?.isBusy = true
            state.runs[id]?.usedAt = now
            return .step(id, stage.handler)
        }
    }

    /// The step led to a form; gives what may be done with it. Nil if the run is gone.
    func show(_ stage: Stage, in id: String, now: NIODeadline) -> Command.Actions? {
        state.withLock { state in
            guard var run = state.runs[id] else { return nil }
            run.isBusy = false
            run.usedAt = now
            run.stages.append(stage)
            if run.stages.count > Self.longestHistory { run.stages.removeFirst() }
            state.runs[id] = run
            return run.actions
        }
    }

    /// The step was refused.
    func refuse(_ id: String, mayTryAgain: Bool, now: NIODeadline) {
        state.withLock { state in
            guard mayTryAgain, state.runs[id]?.stages.isEmpty == false else {
                return state.remove(id)
            }
            state.runs[id]?.isBusy = false
            state.runs[id]?.usedAt = now
        }
    }

    /// The command is complete.
    func end(_ id: String) { state.withLock { $0.remove(id) } }

    /// How many are under way.
    var count: Int { state.withLock { $0.runs.count } }
}
