// kinglet federation …

internal import Administration
internal import ArgumentParser
internal import Engine

struct FederationCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "federation",
        abstract: "See and decide which other servers this one talks to.",
        discussion: """
            Who may be talked to is decided by the rules given with allow and deny, then by \
            federation.deny and federation.allow, then by federation.policy. A rule for the very \
            domain goes before one for all below another.
            """,
        subcommands: [List.self, Test.self, Allow.self, Deny.self, Forget.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List rules, connections, and what waits for other servers.",
            discussion: """
                Shown are domains that are connected, that something waits for, or that could \
                not be reached lately.
                """)
        @OptionGroup var common: CommonArguments
        @Flag(help: "One JSON document.") var json = false

        func run() async throws {
            try await reportingFailure {
                let backend = try Backend(common)
                let answer = try await backend.perform(AdministrationRequest(.listFederation))
                guard let federation = answer.federation else {
                    throw Failure("the server gave no list")
                }
                if json { return try JSONOutput.print(federation) }
                for line in federation.lines(now: Clock.secondsSince1970()) {
                    Terminal.say(Terminal.harmless(line))
                }
            }
        }
    }

    struct Allow: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Allow stanzas to and from a domain.",
            discussion: """
                What waits for it is tried at once. The rule stays until deny or forget.
                """)
        @OptionGroup var common: CommonArguments
        @OptionGroup var rule: RuleArguments

        func run() async throws { try await rule.perform(.allow, common) }
    }

    struct Deny: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Forbid stanzas to and from a domain.",
            discussion: """
                Its streams end, and what waits for it goes back to its senders. The rule stays \
                until allow or forget.
                """)
        @OptionGroup var common: CommonArguments
        @OptionGroup var rule: RuleArguments

        func run() async throws { try await rule.perform(.deny, common) }
    }

    struct Forget: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove what was said of a domain by allow or deny.",
            discussion: "The configuration decides again.")
        @OptionGroup var common: CommonArguments
        @OptionGroup var rule: RuleArguments

        func run() async throws { try await rule.perform(.forget, common) }
    }

    struct Test: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Try the way to another domain and back, step by step.",
            discussion: """
                The running server opens a connection for the purpose: policy, DNS, addresses, \
                connection, TLS, certificate, authentication, and a ping, whose answer takes the \
                other server's way to this one. Nothing that waits is sent over it. Each step is \
                shown with the time that it took. The exit status is 1 if the ping was not \
                answered.
                """)
        @OptionGroup var common: CommonArguments
        @Argument(help: "The other domain.") var domain: String
        @Option(help: "The domain of this server to come from (default: the first).")
        var from: String?
        @Flag(help: "One JSON document.") var json = false

        func run() async throws {
            try await reportingFailure {
                try await FederationTestRun(
                    backend: Backend(common), domain: domain, from: from, json: json
                ).perform()
            }
        }
    }
}

/// What allow, deny and forget take.
struct RuleArguments: ParsableArguments {
    @Argument(help: "The domain, or *.example.org for all below example.org.")
    var domain: String
    @Flag(name: .customLong("in"), help: "Only stanzas from there.") var incoming = false
    @Flag(
        name: .customLong("out"),
        help: """
            Only stanzas to there. Dialback needs both ways: their server has to come and ask \
            about our key.
            """)
    var outgoing = false
    @Flag(help: "One JSON document.") var json = false

    private struct Output: Encodable {
        var result: String
        var direction: String
        var change: FederationChangeResult
    }

    func perform(_ change: FederationRuleChange, _ common: CommonArguments) async throws {
        try await reportingFailure {
            let backend = try Backend(common)
            let direction: FederationDirection? =
                incoming == outgoing ? nil : incoming ? .incoming : .outgoing
            let answer = try await backend.perform(
                AdministrationRequest(
                    .changeFederation, domain: domain, change: change, direction: direction))
            guard let result = answer.federationChange else {
                throw Failure("the server does not say what it did")
            }
            if json {
                return try JSONOutput.print(
                    Output(
                        result: change.done, direction: direction?.rawValue ?? "both",
                        change: result))
            }
            for line in result.lines(change, direction, isRunning: backend.isRunning) {
                Terminal.say(line)
            }
        }
    }
}

/// A test, from its start to its last step.
private struct FederationTestRun: ~Copyable {
    let backend: Backend
    let domain: String
    let from: String?
    let json: Bool

    init(backend: consuming Backend, domain: String, from: String?, json: Bool) {
        self.backend = backend
        self.domain = domain
        self.from = from
        self.json = json
    }

    private struct Output: Encodable {
        struct Step: Encodable {
            var step: String
            var ok: Bool
            var milliseconds: Int
            var detail: String
            var reason: String?
        }
        var domain, from: String
        var ok: Bool
        var milliseconds: Int
        var steps: [Step]
        var reason, text, advice: String?
    }

    func perform() async throws {
        let started = try await backend.perform(
            AdministrationRequest(.testFederation, domain: domain, local: from))
        guard let number = started.run else { throw Failure("the server gave no number") }
        var steps: [FederationTestStep] = []
        var pause = 20
        while true {
            let answer = try await backend.perform(
                AdministrationRequest(.showFederationTest, run: number, known: steps.count))
            guard let progress = answer.federationTest else {
                throw Failure("the server does not say how far the test is")
            }
            steps += progress.steps
            if !json { for step in progress.steps { show(step, progress) } }
            if progress.hasEnded { return try conclude(steps, progress) }
            // The server tells nobody: it is asked.
            try await Task.sleep(for: .milliseconds(pause))
            pause = min(2 * pause, 200)
        }
    }

    private func show(_ step: FederationTestStep, _ progress: FederationTestProgress) {
        Terminal.say(Terminal.harmless(step.line))
        if let advice = step.advice(progress) {
            Terminal.say(Terminal.harmless("        \(advice)"))
        }
    }

    private func conclude(
        _ steps: [FederationTestStep], _ progress: FederationTestProgress
    ) throws {
        let failed = progress.failure
        if json {
            try JSONOutput.print(
                Output(
                    domain: progress.domain, from: progress.local, ok: progress.isGood,
                    milliseconds: progress.milliseconds,
                    steps: steps.map {
                        Output.Step(
                            step: $0.step.rawValue, ok: $0.ok, milliseconds: $0.milliseconds,
                            detail: $0.detail, reason: $0.reason)
                    },
                    reason: failed?.reason, text: failed?.text,
                    advice: failed?.advice(progress)))
        } else if progress.isGood {
            Terminal.say(
                "\(progress.domain) and \(progress.local) reach each other: "
                    + "\(progress.milliseconds) ms in all")
        }
        guard progress.isGood else {
            printError(
                Terminal.harmless(
                    "kinglet: \(progress.domain) cannot be reached: "
                        + "\(failed?.text ?? "the test failed") (\(failed?.reason ?? "unknown")); "
                        + "\(progress.milliseconds) ms in all"))
            throw ExitCode(1)
        }
    }
}
