// XEP-0050: what users can do about their own targets with any client: list them, add ntfy, Gotify
// or an endpoint of UnifiedPush, remove one, and try them. The checks are the administrator's.

internal import Addresses
internal import Engine
internal import XMPP

/// The commands of an account, at its server's address. Safe on any thread.
struct PushCommands: Sendable {
    /// So many accounts try their targets at one time.
    private static let mostTests = 8

    let service: PushService
    private let tests = RunningTests(most: mostTests)

    init(in host: HostBuilder, _ service: PushService) {
        self.service = service
        let commands = self
        host.command(node: "push-targets", name: "Push: targets", for: .accounts) {
            step, _, then in commands.list(step, then)
        }
        host.command(node: "push-add", name: "Push: add a target", for: .accounts) {
            step, _, then in commands.add(step, then)
        }
        host.command(node: "push-remove", name: "Push: remove a target", for: .accounts) {
            step, _, then in commands.remove(step, then)
        }
        host.command(node: "push-test", name: "Push: try the targets", for: .accounts) {
            step, _, then in commands.test(step, then)
        }
    }

    typealias Answer = @Sendable (CommandAnswer) -> Void

    private static let none = Command.Note("You have no push targets.")

    // MARK: List

    private func list(_ step: CommandStep, _ then: @escaping Answer) {
        service.targets(of: step.account) { targets in
            guard !targets.isEmpty else { return then(.completed(Self.none)) }
            let fields = targets.map {
                DataForm.Field(
                    "\($0.id)", type: "text-single", label: Self.name($0), [Self.state($0)])
            }
            then(.completed(nil, DataForm(.result, title: "Push targets", fields)))
        }
    }

    private static func name(_ target: PushTargetDescription) -> String {
        let parts = [
            target.provider.rawValue, target.server ?? target.service,
            target.device.map { "(\($0))" },
        ]
        return parts.compactMap { $0 }.joined(separator: " ")
    }

    private static func state(_ target: PushTargetDescription) -> String {
        var parts: [String] = []
        if let disabled = target.disabled { parts.append("disabled since \(disabled)") }
        if let waiting = target.waiting { parts.append("a \(waiting.kind) waits") }
        if let reason = target.reason {
            parts.append(
                reason.rawValue.replacing("_", with: " ") + (target.code.map { " (\($0))" } ?? ""))
        }
        if let sent = target.lastSent { parts.append("last sent \(sent)") }
        return parts.isEmpty ? "nothing sent yet" : parts.joined(separator: ", ")
    }

    // MARK: Add

    private static let form = DataForm(
        .form, title: "Add a push target",
        instructions: [
            "This server tells the target when there is something for you and no client of yours "
                + "is in use."
        ],
        [
            .init(
                "type", type: "list-single", label: "Type", isRequired: true,
                options: [
                    .init("ntfy", label: "ntfy"), .init("gotify", label: "Gotify"),
                    .init("unifiedpush", label: "UnifiedPush"),
                ], ["ntfy"]),
            .init(
                "url", type: "text-single", label: "URL of the topic, server or endpoint",
                isRequired: true, []),
            .init(
                "secret", type: "text-private",
                label: "Access token (ntfy), application token (Gotify) or auth (UnifiedPush)", []),
            .init(
                "p256dh", type: "text-single", label: "Public key (encrypted UnifiedPush)", []),
            .init(
                "always", type: "boolean", label: "Even if another client is in use", ["0"]),
        ])

    private func add(_ step: CommandStep, _ then: @escaping Answer) {
        guard let form = step.form else { return then(.form(Self.form)) }
        func text(_ name: String) -> String? { form.value(name).flatMap { $0.isEmpty ? nil : $0 } }
        let kinds: [String: ProviderKind] = [
            "ntfy": .ntfy, "gotify": .gotify, "unifiedpush": .unifiedPush,
        ]
        guard let kind = text("type").flatMap({ kinds[$0] }), let url = text("url") else {
            return then(.failed(StanzaError(.badPayload, "a type and a URL are needed")))
        }
        let new = NewPushTarget(
            kind, url: url, secret: text("secret"), publicKey: text("p256dh"),
            isAlways: ["1", "true"].contains(text("always")))
        service.add(new, for: step.account) { result in
            switch result {
            case .success(let id):
                then(.completed(Command.Note("Target \(id) is added; “try the targets” tries it.")))
            case .failure(let refusal):
                then(.failed(StanzaError(.badPayload, refusal.description)))
            }
        }
    }

    // MARK: Remove

    private func remove(_ step: CommandStep, _ then: @escaping Answer) {
        let account = step.account
        guard let form = step.form else {
            return service.targets(of: account) { targets in
                guard !targets.isEmpty else { return then(.completed(Self.none)) }
                let options = targets.map {
                    DataForm.Option("\($0.id)", label: "\($0.id): \(Self.name($0))")
                }
                let field = DataForm.Field(
                    "target", type: "list-single", label: "Target", isRequired: true,
                    options: options, [])
                then(.form(DataForm(.form, title: "Remove a push target", [field])))
            }
        }
        guard let id = form.value("target").flatMap(Int64.init) else {
            return then(.failed(StanzaError(.badPayload, "a target is needed")))
        }
        service.remove(id, of: account) { result in
            switch result {
            case .success(true): then(.completed(Command.Note("Target \(id) is removed.")))
            case .success(false):
                then(.failed(StanzaError(.itemNotFound, "you have no target \(id)")))
            case .failure(let refusal):
                then(.failed(StanzaError(.internalServerError, refusal.description)))
            }
        }
    }

    // MARK: Test

    private func test(_ step: CommandStep, _ then: @escaping Answer) {
        let account = step.account
        guard tests.begin(account) else {
            return then(
                .failed(
                    StanzaError(
                        .resourceConstraint, "your targets are being tried; wait a moment",
                        kind: .wait)))
        }
        service.makeTest(of: account) { test in
            guard let test else {
                tests.end(account)
                return then(.completed(Self.none))
            }
            Task {
                await test.run()
                tests.end(account)
                then(Self.answer(test.progress(known: 0)))
            }
        }
    }

    private static func answer(_ progress: PushTestProgress) -> CommandAnswer {
        let ids = Set(progress.steps.map(\.target)).sorted()
        let fields = ids.map { id in
            let steps = progress.steps.filter { $0.target == id }
            let isReached = progress.reached.contains(id)
            let failed = isReached ? nil : steps.last { !$0.ok }
            let why = failed?.reason.map { ": \($0.rawValue.replacing("_", with: " "))" } ?? ""
            let code = failed?.code.map { " (\($0))" } ?? ""
            return DataForm.Field(
                "\(id)", type: "text-single",
                label: "\(id): \(steps.last?.provider.rawValue ?? "")",
                [isReached ? "accepted" : "failed\(why)\(code)"])
        }
        let note =
            progress.isGood
            ? Command.Note("A notification is on its way to all targets.")
            : Command.Note("Some targets did not get it.", kind: .warn)
        return .completed(note, DataForm(.result, title: "Push targets", fields))
    }
}
