// kinglet user …

internal import Administration
internal import ArgumentParser
internal import Foundation
internal import Glibc

struct UserCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "user", abstract: "Manage users.",
        subcommands: [
            Add.self, Remove.self, Password.self, Disable.self, Enable.self, List.self, Show.self,
            Sessions.self, Import.self,
        ])

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Add a user; the password is asked for.")
        @OptionGroup var common: CommonArguments
        @Argument(help: "The address, such as alice@example.org.") var jid: String
        @Flag(help: "Read the password from the first line of standard input.")
        var passwordStdin = false
        @Flag(help: "Make the user an administrator.") var admin = false
        @Flag(help: "One JSON document.") var json = false

        func run() async throws {
            try await reportingFailure {
                let backend = try Backend(common)
                let password = try PasswordInput.read(fromStandardInput: passwordStdin)
                let answer = try await backend.perform(
                    AdministrationRequest(
                        .addUser, jid: jid, password: password, isAdministrator: admin))
                try UserCommand.say("added", answer.jid ?? jid, json: json)
            }
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove a user and everything that is theirs.")
        @OptionGroup var common: CommonArguments
        @Argument(help: "The address.") var jid: String

        @Flag(help: "One JSON document.") var json = false

        func run() async throws {
            try await UserCommand.change(common, .removeUser, jid, "removed", json: json)
        }
    }

    struct Password: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Give a user a new password.")
        @OptionGroup var common: CommonArguments
        @Argument(help: "The address.") var jid: String
        @Flag(help: "Read the password from the first line of standard input.")
        var passwordStdin = false
        @Flag(help: "One JSON document.") var json = false

        func run() async throws {
            try await reportingFailure {
                let backend = try Backend(common)
                let password = try PasswordInput.read(fromStandardInput: passwordStdin)
                let answer = try await backend.perform(
                    AdministrationRequest(.setPassword, jid: jid, password: password))
                try UserCommand.say("changed the password of", answer.jid ?? jid, json: json)
            }
        }
    }

    struct Disable: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Refuse a user's logins and end their sessions; nothing is deleted.")
        @OptionGroup var common: CommonArguments
        @Argument(help: "The address.") var jid: String

        @Flag(help: "One JSON document.") var json = false

        func run() async throws {
            try await UserCommand.change(common, .disableUser, jid, "disabled", json: json)
        }
    }

    struct Enable: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Allow a user's logins again.")
        @OptionGroup var common: CommonArguments
        @Argument(help: "The address.") var jid: String

        @Flag(help: "One JSON document.") var json = false

        func run() async throws {
            try await UserCommand.change(common, .enableUser, jid, "enabled", json: json)
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List users.")
        @OptionGroup var common: CommonArguments
        @Argument(help: "Only this domain.") var domain: String?
        @Flag(help: "One JSON document.") var json = false

        func run() async throws {
            try await reportingFailure {
                let backend = try Backend(common)
                let answer = try await backend.perform(
                    AdministrationRequest(.listUsers, domain: domain))
                try UserCommand.show(answer.users ?? [], json: json)
            }
        }
    }

    struct Import: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Add users from a file.",
            discussion: """
                One user per line: the address (or only the name, in the first domain), white \
                space, and the password, which goes to the end of the line. Empty lines and \
                lines that begin with # are passed over. Users that exist stay as they are.
                """)
        @OptionGroup var common: CommonArguments
        @Argument(help: "The file; - for standard input.") var file: String
        @Flag(help: "One JSON document.") var json = false

        func run() async throws {
            try await reportingFailure {
                let backend = try Backend(common)
                let lines = try ImportFile.read(file)
                let isShown = isatty(STDERR_FILENO) == 1
                let errors = await backend.performAll(lines.map(\.request)) { done in
                    guard isShown, done % 50 == 0 || done == lines.count else { return }
                    writeError("\r\(done) of \(lines.count)")
                }
                if isShown, !lines.isEmpty { printError("") }
                var problems: [String] = []
                for (line, error) in zip(lines, errors) {
                    if let error { problems.append("\(file):\(line.number): \(error)") }
                }
                let added = lines.count - problems.count
                if json {
                    try JSONOutput.print(ImportResult(added: added, problems: problems))
                } else {
                    for problem in problems { printError(problem) }
                    Terminal.say("added \(added) of \(lines.count) users")
                }
                if !problems.isEmpty { throw ExitCode(1) }
            }
        }
    }

    fileprivate static func change(
        _ common: CommonArguments, _ operation: AdministrationRequest.Operation, _ jid: String,
        _ done: String, json: Bool
    ) async throws {
        try await reportingFailure {
            let backend = try Backend(common)
            let answer = try await backend.perform(AdministrationRequest(operation, jid: jid))
            try say(done, answer.jid ?? jid, json: json)
        }
    }

    fileprivate static func say(_ done: String, _ jid: String, json: Bool) throws {
        if json { return try JSONOutput.print(ChangeResult(jid: jid, result: done)) }
        Terminal.say("\(done) \(jid)")
    }

    static func show(_ users: [UserDescription], json: Bool) throws {
        if json { return try JSONOutput.print(users) }
        for user in users {
            var notes: [String] = []
            if user.administrator { notes.append("administrator") }
            if user.disabled { notes.append("disabled") }
            if let online = user.online, !online.isEmpty {
                notes.append("online: \(online.joined(separator: ", "))")
            } else if let last = user.lastLogin {
                notes.append("last login \(last)")
            } else {
                notes.append("never logged in")
            }
            Terminal.say("\(user.jid)  \(notes.joined(separator: ", "))")
        }
    }
}

private struct ChangeResult: Codable {
    var jid: String
    var result: String
}

private struct ImportResult: Codable {
    var added: Int
    var problems: [String]
}

/// A file of names and passwords.
enum ImportFile {
    struct Line {
        let number: Int
        let request: AdministrationRequest
    }

    /// A hundred thousand users fit.
    private static let largest = 64 * 1_048_576

    static func read(_ file: String) throws -> [Line] {
        let handle: FileHandle
        if file == "-" {
            handle = .standardInput
        } else {
            guard let opened = FileHandle(forReadingAtPath: file) else {
                throw Failure("\(file): \(systemError())")
            }
            handle = opened
        }
        guard let data = try handle.read(upToCount: largest + 1) else { return [] }
        guard data.count <= largest else { throw Failure("\(file): larger than 64 MiB") }
        guard let text = String(data: data, encoding: .utf8) else {
            throw Failure("\(file): not UTF-8")
        }
        var lines: [Line] = []
        // By any line end: to Swift, carriage return and line feed are one character.
        for (index, line) in text.split(
            omittingEmptySubsequences: false, whereSeparator: \.isNewline
        )
        .enumerated() {
            let start = line.drop { $0 == " " || $0 == "\t" }
            guard !start.isEmpty, !start.hasPrefix("#") else { continue }
            let name = start.prefix { $0 != " " && $0 != "\t" }
            let password = start.dropFirst(name.count).drop { $0 == " " || $0 == "\t" }
            guard !password.isEmpty else {
                throw Failure(
                    "\(file):\(index + 1): no password; a line is an address, a space, and a "
                        + "password; nothing was added")
            }
            lines.append(
                Line(
                    number: index + 1,
                    request: AdministrationRequest(
                        .addUser, jid: String(name), password: String(password))))
        }
        return lines
    }
}
