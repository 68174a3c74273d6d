// kinglet push …

internal import Administration
internal import ArgumentParser
internal import Engine
internal import PushRelay

struct PushCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "push",
        abstract: "See and mend the pushes that wake phones.",
        discussion: """
            A target is whom an account wants to be woken by: an app server that a client has \
            named (XEP-0357), or an own ntfy, Gotify or endpoint of UnifiedPush. Tokens and the secret \
            parts of URLs are never shown.
            """,
        subcommands: [
            List.self, Add.self, Remove.self, PushTestCommand.self, Queue.self, Dead.self,
            Redrive.self, Providers.self,
        ])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List targets, and what came of the last push to each.")
        @OptionGroup var common: CommonArguments
        @Argument(help: "Only this account's.") var jid: String?
        @Flag(help: "One JSON document.") var json = false

        func run() async throws {
            try await reportingFailure {
                let report = try await PushRequest(.listPush, jid: jid).perform(common)
                guard let list = report.targets else { throw Failure("the server gave no list") }
                if json { return try JSONOutput.print(list) }
                PushOutput.say(list.lines(now: Clock.secondsSince1970()))
            }
        }
    }

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Add a target of an account's own.",
            discussion: """
                One of the same URL gets the new values and is enabled again. A token is read from \
                standard input, for arguments are seen by everybody on this machine; so is a URL \
                that is given as -, in the line before.
                """)
        @OptionGroup var common: CommonArguments
        @Argument(help: "The account.") var jid: String
        @OptionGroup var target: NewTargetArguments
        @Flag(help: "One JSON document.") var json = false

        func run() async throws {
            try await reportingFailure {
                let wish = PushWish(new: try target.read())
                let report = try await PushRequest(.addPush, jid: jid, wish).perform(common)
                guard let added = report.target else {
                    throw Failure("the server does not say what it did")
                }
                let word = report.isReplaced == true ? "replaced" : "added"
                if json { return try JSONOutput.print(PushOutput.Change(word, added)) }
                PushOutput.say([
                    "\(word) target \(added.id) of \(added.jid ?? jid): \(added.way)",
                    "kinglet push test \(added.jid ?? jid) --target \(added.id) tries it",
                ])
            }
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove a target.",
            discussion: "What waits for it is dropped. A client may register again.")
        @OptionGroup var common: CommonArguments
        @Argument(help: "The account; or the domain, of a device of this server's app server.")
        var jid: String
        @Argument(help: "The target's number in the list.") var id: Int64
        @Flag(help: "One JSON document.") var json = false

        func run() async throws {
            try await reportingFailure {
                let report = try await PushRequest(.removePush, jid: jid, PushWish(target: id))
                    .perform(common)
                guard let removed = report.target else {
                    throw Failure("the server does not say what it did")
                }
                if json { return try JSONOutput.print(PushOutput.Change("removed", removed)) }
                PushOutput.say(["removed target \(id) of \(removed.jid ?? jid): \(removed.way)"])
            }
        }
    }

    struct Queue: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the pushes that wait.")
        @OptionGroup var common: CommonArguments
        @Option(help: "So many at most, the oldest first.") var limit = 100
        @Flag(help: "One JSON document.") var json = false

        func validate() throws { try PushOutput.check(limit) }

        func run() async throws {
            try await reportingFailure {
                let report = try await PushRequest(.showPushQueue, PushWish(limit: limit))
                    .perform(common)
                guard let queue = report.queue else { throw Failure("the server gave no list") }
                if json { return try JSONOutput.print(queue) }
                PushOutput.say(queue.lines(now: Clock.secondsSince1970()))
            }
        }
    }

    struct Dead: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the pushes that were given up, or forget them.",
            discussion: "kinglet push redrive tries them again.")
        @OptionGroup var common: CommonArguments
        @Option(help: "So many at most, the newest first.") var limit = 100
        @Option(help: "Forget this one.") var drop: Int64?
        @Flag(help: "Forget all.") var dropAll = false
        @Flag(help: "One JSON document.") var json = false

        func validate() throws {
            try PushOutput.check(limit)
            guard drop == nil || !dropAll else {
                throw ValidationError("--drop and --drop-all exclude each other")
            }
        }

        private struct Dropped: Encodable {
            var result = "dropped"
            var dropped: Int
        }

        func run() async throws {
            try await reportingFailure {
                if drop != nil || dropAll {
                    let report = try await PushRequest(.dropDeadPushes, PushWish(letter: drop))
                        .perform(common)
                    let count = report.dropped ?? 0
                    if json { return try JSONOutput.print(Dropped(dropped: count)) }
                    return PushOutput.say([
                        "\(count == 1 ? "1 push is" : "\(count) pushes are") forgotten"
                    ])
                }
                let report = try await PushRequest(.showDeadPushes, PushWish(limit: limit))
                    .perform(common)
                guard let dead = report.dead else { throw Failure("the server gave no list") }
                if json { return try JSONOutput.print(dead) }
                PushOutput.say(dead.lines(now: Clock.secondsSince1970()))
            }
        }
    }

    struct Redrive: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Try pushes again that were given up.",
            discussion: """
                Each is asked for anew and leaves the list. One whose target is gone or disabled, \
                or that was about a call, stays. The exit status is 1 if the one that is named stays.
                """)
        @OptionGroup var common: CommonArguments
        @Argument(help: "Its number in the list of kinglet push dead.") var id: Int64?
        @Flag(help: "All of them.") var all = false
        @Flag(help: "One JSON document.") var json = false

        func validate() throws {
            guard (id != nil) != all else { throw ValidationError("give a number, or --all") }
        }

        func run() async throws {
            try await reportingFailure {
                let report = try await PushRequest(.redrivePushes, PushWish(letter: id))
                    .perform(common)
                guard let result = report.redriven else {
                    throw Failure("the server does not say what it did")
                }
                if json {
                    try JSONOutput.print(result)
                } else {
                    PushOutput.say(result.lines)
                }
                guard id == nil || result.failed.isEmpty else { throw ExitCode(1) }
            }
        }
    }

    struct Providers: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show who delivers, how well, and what became of everything.",
            discussion: """
                A way is open while nothing is sent on it, for it has failed. In the books, all \
                that was requested is the sum of what was sent, collapsed, suppressed, given up, \
                dropped, passed on to a device's next token, and what waits.
                """)
        @OptionGroup var common: CommonArguments
        @Flag(help: "One JSON document.") var json = false

        func run() async throws {
            try await reportingFailure {
                let report = try await PushRequest(.showPushProviders).perform(common)
                guard let providers = report.providers else {
                    throw Failure("the server gave no list")
                }
                if json { return try JSONOutput.print(providers) }
                PushOutput.say(providers.lines(now: Clock.secondsSince1970()))
            }
        }
    }
}

/// What add takes.
struct NewTargetArguments: ParsableArguments {
    /// Bytes of a line of the standard input at most.
    private static let longest = 4096

    @Option(help: "A topic of ntfy, such as https://ntfy.example.org/topic; - for standard input.")
    var ntfy: String?
    @Option(help: "A server of Gotify, such as https://gotify.example.org.") var gotify: String?
    @Option(help: "An endpoint of UnifiedPush; - for standard input.") var unifiedpush: String?
    @Flag(
        help: """
            Read a line from standard input: the access token of ntfy (or user:password), the \
            application's token of Gotify, or the auth of an encrypted endpoint.
            """)
    var secretStdin = false
    @Option(help: "The public key of an encrypted endpoint, in base64url.") var p256dh: String?
    @Option(help: "The resource of the client whose messages it is for (default: all messages).")
    var device: String?
    @Flag(help: "Wake it though another client of the account is in use.") var always = false

    func validate() throws {
        guard [ntfy, gotify, unifiedpush].compactMap({ $0 }).count == 1 else {
            throw ValidationError("give one of --ntfy, --gotify and --unifiedpush")
        }
        guard unifiedpush != nil || p256dh == nil else {
            throw ValidationError("--p256dh is for --unifiedpush")
        }
        guard unifiedpush == nil || (p256dh != nil) == secretStdin else {
            throw ValidationError(
                "an encrypted endpoint has both --p256dh and an auth, on standard input with "
                    + "--secret-stdin")
        }
        guard gotify == nil || secretStdin else {
            throw ValidationError(
                "Gotify needs an application's token: give it on standard input with "
                    + "--secret-stdin")
        }
    }

    /// The target, with what standard input has of it.
    func read() throws -> NewPushTarget {
        let (kind, given): (ProviderKind, String) =
            if let ntfy {
                (.ntfy, ntfy)
            } else if let gotify {
                (.gotify, gotify)
            } else {
                (.unifiedPush, unifiedpush ?? "")
            }
        let url = given == "-" ? try Self.line("the URL") : given
        let secret = secretStdin ? try Self.line("the secret") : nil
        return NewPushTarget(
            kind, url: url, secret: secret, publicKey: p256dh, resource: device, isAlways: always)
    }

    private static func line(_ what: String) throws -> String {
        let line =
            Terminal.isInteractive
            ? try Terminal.askPassword(what.prefix(1).uppercased() + what.dropFirst())
            : readLine() ?? ""
        guard !line.isEmpty, line.utf8.count <= longest else {
            throw Failure("\(what) is expected on standard input, \(longest) bytes at most")
        }
        return line
    }
}

/// A request about pushes.
struct PushRequest {
    let request: AdministrationRequest

    init(
        _ operation: AdministrationRequest.Operation, jid: String? = nil,
        _ wish: PushWish = PushWish()
    ) {
        request = AdministrationRequest(operation, jid: jid, push: wish)
    }

    /// Performs it and gives the report.
    func perform(_ common: CommonArguments) async throws -> PushReport {
        let backend = try Backend(common)
        guard let report = try await backend.perform(request).push else {
            throw Failure("the server says nothing of pushes")
        }
        return report
    }
}

/// What the commands share.
enum PushOutput {
    /// A change of a target.
    struct Change: Encodable {
        var result: String
        var target: PushTargetDescription

        init(_ result: String, _ target: PushTargetDescription) {
            self.result = result
            self.target = target
        }
    }

    static func say(_ lines: [String]) {
        for line in lines { Terminal.say(Terminal.harmless(line)) }
    }

    static func check(_ limit: Int) throws {
        guard (1...10_000).contains(limit) else {
            throw ValidationError("--limit is 1 to 10000")
        }
    }
}
