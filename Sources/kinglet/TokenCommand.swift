// kinglet token …

internal import Administration
internal import ArgumentParser
internal import Engine
internal import Options
internal import PushRelay

struct TokenCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token",
        abstract: "Let programs send notifications by HTTP.",
        discussion: """
            A program shows its token to https://<domain>/api/v1/tasks; what it may ask there is \
            described at /api/openapi.json. Only a digest of a token is kept: it is shown once, when \
            it is made.
            """,
        subcommands: [Add.self, List.self, Revoke.self])

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a token.",
            discussion: """
                The token alone is written to standard output, so that it can be piped into a \
                file; what is said of it, to standard error. Scopes: send (to users, devices, tags and \
                aliases), broadcast (to everybody), devices (to see which there are).
                """)
        @OptionGroup var common: CommonArguments
        @Argument(help: "What it is called: 1 to 64 of A-Z, a-z, 0-9, ., _, : and -.")
        var name: String
        @Option(help: "What it allows; several are separated by commas (default: send).")
        var scope = "send"
        @Option(help: "For how long it is good, such as 90d, or never.") var expires = "365d"
        @Option(help: "Requests a minute.") var rate = 60
        @Flag(help: "One JSON document.") var json = false

        private struct Added: Encodable {
            var token: String
            var description: APITokenDescription
        }

        func run() async throws {
            try await reportingFailure {
                let new = NewAPIToken(
                    name: name, scopes: try scopes(), rate: rate, lifetime: try lifetime())
                let report = try await PushRequest(.addToken, PushWish(newToken: new))
                    .perform(common)
                guard let text = report.tokenText, let token = report.tokens?.first else {
                    throw Failure("the server does not say what it did")
                }
                if json { return try JSONOutput.print(Added(token: text, description: token)) }
                printError("made \(token.line); it is not shown again:")
                Terminal.say(text)
            }
        }

        private func scopes() throws -> [APIScope] {
            try scope.split(separator: ",", omittingEmptySubsequences: false).map { word in
                guard let scope = APIScope(rawValue: String(word)) else {
                    let known = APIScope.allCases.map(\.rawValue).joined(separator: ", ")
                    throw Failure("--scope: \(word) is none of \(known)")
                }
                return scope
            }
        }

        private func lifetime() throws -> Int64? {
            guard expires != "never" else { return nil }
            guard let time = DurationText.parse(expires), time >= .seconds(60),
                time <= .seconds(NewAPIToken.longestLife)
            else { throw Failure("--expires: expected a time such as 90d or 12h, or never") }
            return time.components.seconds
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the tokens, and when each was used last.")
        @OptionGroup var common: CommonArguments
        @Flag(help: "One JSON document.") var json = false

        func run() async throws {
            try await reportingFailure {
                let report = try await PushRequest(.listTokens).perform(common)
                let tokens = report.tokens ?? []
                if json { return try JSONOutput.print(tokens) }
                PushOutput.say(tokens.isEmpty ? ["no tokens"] : tokens.map(\.line))
            }
        }
    }

    struct Revoke: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take a token away.",
            discussion: """
                From then on whoever has it is refused. What it asked for before is still sent, \
                unless --cancel is given.
                """)
        @OptionGroup var common: CommonArguments
        @Argument(help: "Its name.") var name: String
        @Flag(help: "Send nothing more of what it asked for.") var cancel = false
        @Flag(help: "One JSON document.") var json = false

        private struct Revoked: Encodable {
            var result = "revoked"
            var token: APITokenDescription
            var cancelled: Int
        }

        func run() async throws {
            try await reportingFailure {
                let wish = PushWish(token: name, cancels: cancel)
                let report = try await PushRequest(.revokeToken, wish).perform(common)
                guard let token = report.tokens?.first else {
                    throw Failure("the server does not say what it did")
                }
                let count = report.cancelled ?? 0
                if json {
                    return try JSONOutput.print(Revoked(token: token, cancelled: count))
                }
                let tasks = count == 1 ? "1 task is" : "\(count) tasks are"
                PushOutput.say(["revoked \(token.name)" + (cancel ? "; \(tasks) cancelled" : "")])
            }
        }
    }
}

extension APITokenDescription {
    /// One line.
    fileprivate var line: String {
        let words = scopes.map(\.rawValue).joined(separator: ",")
        let end = expires.map { isOver ? "over since \($0)" : "until \($0)" } ?? "for ever"
        return "\(name): \(words), \(rate) requests a minute, \(end), "
            + (used.map { "used \($0)" } ?? "never used")
    }
}
