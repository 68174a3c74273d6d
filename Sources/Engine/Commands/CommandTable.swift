// The commands of one address (XEP-0050): this server's, or a service's within this program. They
// are listed, described, run, and gone on with.

internal import Addresses
internal import NIOCore
internal import Prometheus
internal import Storage
internal import Synchronization
public import XML
public import XMPP

/// Commands, and the runs of them that are under way. Safe on any thread.
public final class CommandTable: Sendable {
    private struct Entry {
        let node: String
        let name: String
        let audience: CommandAudience
        let handler: CommandHandler
    }

    private let entries = Mutex<[Entry]>([])
    private let runs = CommandRuns()

    /// Creates a table without commands.
    public init() {}

    /// Adds a command, before the server starts.
    ///
    /// - Parameters:
    ///   - node: its name for programs.
    ///   - name: its name for people.
    ///   - audience: who sees it and may run it.
    public func add(
        node: String, name: String, for audience: CommandAudience,
        _ handler: @escaping CommandHandler
    ) {
        entries.withLock { entries in
            precondition(!entries.contains { $0.node == node }, "two commands are \(node)")
            entries.append(Entry(node: node, name: name, audience: audience, handler: handler))
        }
    }

    private func entry(_ node: String) -> Entry? {
        entries.withLock { $0.first { $0.node == node } }
    }

    // MARK: Requests

    /// Whether `answer` has an answer to a request: to run a command or go on with it, or about the
    /// list of commands or one of them (XEP-0030). Any other is somebody else's.
    public func concerns(_ request: IQRequest) -> Bool {
        switch (request.payload.namespace, request.payload.name) {
        case (Command.namespace, "command"): return true
        case (DiscoveryInfo.namespace, "query"), (DiscoveryItems.namespace, "query"):
            guard let node = request.payload["node"] else { return false }
            return node == Command.namespace || entry(node) != nil
        default: return false
        }
    }

    /// Answers a request that concerns commands, whoever sent it; `then` is called once, on any
    /// thread.
    public func answer(
        _ request: IQRequest, _ host: Host,
        then: @escaping @Sendable (Result<Element?, StanzaError>) -> Void
    ) {
        whetherAdministrator(request.stanza.from.bare, host) { isAdministrator in
            do throws(StanzaError) {
                if request.payload.namespace == Command.namespace {
                    try self.perform(request, isAdministrator, host, then)
                } else {
                    then(.success(try self.describe(request, isAdministrator, host)))
                }
            } catch {
                if error.condition == .resourceConstraint { host.metrics.refusals[.commands].add() }
                then(.failure(error))
            }
        }
    }

    /// Asks the database only where the answer matters.
    private func whetherAdministrator(
        _ account: BareJID, _ host: Host, then: @escaping @Sendable (Bool) -> Void
    ) {
        let matters = entries.withLock { $0.contains { $0.audience == .administrators } }
        guard matters, host.isLocal(account.domain), !account.isDomain else { return then(false) }
        host.database.read({ try AccountStore.find($0, account)?.0 }) { result in
            let found = (try? result.get()) ?? nil
            then(found.map { $0.isAdministrator && !$0.isDisabled } ?? false)
        }
    }

    private func mayRun(
        _ entry: Entry, _ requester: JID, _ isAdministrator: Bool, _ host: Host
    ) -> Bool {
        switch entry.audience {
        case .everybody: true
        case .accounts: host.isLocal(requester.domain) && !requester.bare.isDomain
        case .administrators: isAdministrator
        }
    }

    // MARK: The list (XEP-0050 section 2)

    private func describe(
        _ request: IQRequest, _ isAdministrator: Bool, _ host: Host
    ) throws(StanzaError) -> Element {
        guard !request.isSet else { throw StanzaError(.notAllowed, "this can be read only") }
        let requester = request.stanza.from
        let visible = entries.withLock { $0 }.filter {
            mayRun($0, requester, isAdministrator, host)
        }
        let node = request.payload["node"] ?? ""
        let isList = node == Command.namespace
        let entry = visible.first { $0.node == node }
        guard isList || entry != nil else { throw StanzaError(.itemNotFound) }
        guard request.payload.namespace == DiscoveryInfo.namespace else {
            let address = (request.stanza.to ?? JID(bare: requester.bare)).description
            let items = visible.map {
                DiscoveryItems.Item(jid: address, node: $0.node, name: $0.name)
            }
            return DiscoveryItems(isList ? items : []).element(node: node)
        }
        var info = DiscoveryInfo()
        info.identities = [
            .init(
                category: "automation", type: isList ? "command-list" : "command-node",
                name: entry?.name ?? "")
        ]
        info.features = [Command.namespace]
        if !isList { info.features.insert(DataForm.namespace) }
        return info.element(node: node)
    }

    // MARK: Running (XEP-0050 section 3)

    private func perform(
        _ request: IQRequest, _ isAdministrator: Bool, _ host: Host,
        _ then: @escaping @Sendable (Result<Element?, StanzaError>) -> Void
    ) throws(StanzaError) {
        guard request.isSet else {
            throw StanzaError(.badRequest, "a command is run with an IQ of type set")
        }
        let command = try Command(request.payload)
        let requester = request.stanza.from
        guard let entry = entry(command.node) else { throw StanzaError(.itemNotFound) }
        guard mayRun(entry, requester, isAdministrator, host) else {
            throw StanzaError(.forbidden, "you may not run this command")
        }
        let now = host.loopTime
        let move = try runs.move(command, by: requester.bare, now: now)
        switch move {
        case .cancelled(let id):
            then(
                .success(
                    Command(command.node, sessionID: id, status: .canceled).element))
        case .shown(let id, let form, let actions):
            then(.success(Self.executing(command.node, id, form, actions)))
        case .step(let id, let handler):
            let handler = handler ?? entry.handler
            let once = AtomicOnce()
            handler(CommandStep(requester: requester, form: command.form), host) { answer in
                guard once.isFirst() else { return }
                then(self.conclude(command.node, id, answer, handler, now: host.loopTime))
            }
        }
    }

    /// What a step has led to.
    private func conclude(
        _ node: String, _ id: String, _ answer: CommandAnswer, _ handler: @escaping CommandHandler,
        now: NIODeadline
    ) -> Result<Element?, StanzaError> {
        switch answer {
        case .form(let form, let isLast, let next):
            let stage = CommandRuns.Stage(form: form, isLast: isLast, handler: next ?? handler)
            guard let actions = runs.show(stage, in: id, now: now) else {
                return .failure(StanzaError(.sessionExpired, "this has taken too long"))
            }
            return .success(Self.executing(node, id, form, actions))
        case .completed(let note, let form):
            runs.end(id)
            return .success(
                Command(
                    node, sessionID: id, status: .completed, form: form,
                    notes: note.map { [$0] } ?? []
                ).element)
        case .failed(let error):
            runs.refuse(id, mayTryAgain: error.kind == .modify, now: now)
            return .failure(error)
        }
    }

    private static func executing(
        _ node: String, _ id: String, _ form: DataForm, _ actions: Command.Actions
    ) -> Element {
        Command(node, sessionID: id, status: .executing, actions: actions, form: form).element
    }
}

/// Whether something happens for the first time. Safe on any thread.
private final class AtomicOnce: Sendable {
    private let hasHappened = Atomic<Bool>(false)

    func isFirst() -> Bool { !hasHappened.exchange(true, ordering: .acquiringAndReleasing) }
}
