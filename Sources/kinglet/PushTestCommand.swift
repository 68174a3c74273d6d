// kinglet push test …

internal import Administration
internal import ArgumentParser
internal import PushRelay

struct PushTestCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "test",
        abstract: "Send a notification to an account's targets, step by step.",
        discussion: """
            The running server sends a real one to each target, past the queue and without \
            changing anything: registration, credential, request, answer. Each step is shown with the time \
            that it took. The exit status is 1 if any target did not get it.
            """)
    @OptionGroup var common: CommonArguments
    @Argument(help: "The account.") var jid: String
    @Option(help: "Only the target of this number.") var target: Int64?
    @Flag(help: "One JSON document.") var json = false

    func run() async throws {
        try await reportingFailure {
            try await PushTestRun(backend: Backend(common), jid: jid, target: target, json: json)
                .perform()
        }
    }
}

/// A test, from its start to its last step.
private struct PushTestRun: ~Copyable {
    let backend: Backend
    let jid: String
    let target: Int64?
    let json: Bool

    init(backend: consuming Backend, jid: String, target: Int64?, json: Bool) {
        self.backend = backend
        self.jid = jid
        self.target = target
        self.json = json
    }

    private struct Output: Encodable {
        struct Target: Encodable {
            var id: Int64
            var provider: ProviderKind
            var ok: Bool
            var reason: PushReason?
            var code, advice: String?
            var steps: [PushTestStep]
        }
        var jid: String
        var ok: Bool
        var milliseconds: Int
        var targets: [Target]
    }

    func perform() async throws {
        let started = try await backend.perform(
            AdministrationRequest(.testPush, jid: jid, push: PushWish(target: target)))
        guard let number = started.run else { throw Failure("the server gave no number") }
        var steps: [PushTestStep] = []
        var pause = 20
        while true {
            let answer = try await backend.perform(
                AdministrationRequest(.showPushTest, run: number, known: steps.count))
            guard let progress = answer.push?.test else {
                throw Failure("the server does not say how far the test is")
            }
            steps += progress.steps
            if !json {
                for step in progress.steps { PushOutput.say(step.lines) }
            }
            if progress.hasEnded { return try conclude(steps, progress) }
            // The server tells nobody: it is asked.
            try await Task.sleep(for: .milliseconds(pause))
            pause = min(2 * pause, 200)
        }
    }

    private func conclude(_ steps: [PushTestStep], _ progress: PushTestProgress) throws {
        if json {
            try JSONOutput.print(
                Output(
                    jid: progress.jid, ok: progress.isGood, milliseconds: progress.milliseconds,
                    targets: targets(steps, progress)))
        } else if progress.isGood {
            PushOutput.say([
                "\(progress.jid) is woken through "
                    + "\(counted(progress.targets, "target")): \(progress.milliseconds) ms in all"
            ])
        }
        guard progress.isGood else {
            let missed = progress.targets - progress.reached.count
            printError(
                Terminal.harmless(
                    "kinglet: \(missed) of \(counted(progress.targets, "target")) of "
                        + "\(progress.jid) did not get it; \(progress.milliseconds) ms in all"))
            throw ExitCode(1)
        }
    }

    private func targets(
        _ steps: [PushTestStep], _ progress: PushTestProgress
    ) -> [Output.Target] {
        Dictionary(grouping: steps, by: \.target).sorted { $0.key < $1.key }.map { id, steps in
            let isReached = progress.reached.contains(id)
            let failed = isReached ? nil : steps.last { !$0.ok }
            return Output.Target(
                id: id, provider: steps.last?.provider ?? .xmpp, ok: isReached,
                reason: failed?.reason, code: failed?.code, advice: failed?.advice, steps: steps)
        }
    }
}
