// kinglet backup target …

internal import ArgumentParser
internal import Backup
internal import Foundation

struct BackupTargetCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "target", abstract: "List, prepare and check places for backups.",
        subcommands: [List.self, Add.self, Check.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List targets.")
        @OptionGroup var common: CommonArguments
        @Flag(help: "One JSON document.") var json = false

        func run() async throws {
            try await reportingFailure {
                let work = try BackupWork(common, showsProgress: false)
                let targets = try work.commands.list(outlook: [:]).targets
                if json { return try JSONOutput.print(targets) }
                for target in targets { Terminal.say(target.line) }
            }
        }
    }

    struct Check: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Open a target as a run would.")
        @OptionGroup var common: CommonArguments
        @Argument(help: "Its name.") var name: String
        @Flag(help: "One JSON document.") var json = false

        func run() async throws {
            try await reportingFailure {
                let work = try BackupWork(common, showsProgress: false)
                let target = try work.commands.check(target: name)
                if json { return try JSONOutput.print(target) }
                Terminal.say(target.line)
            }
        }
    }

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make the key for a target behind SSH, and say what to do there.",
            discussion: "The target is in the configuration already (backup.targets).")
        @OptionGroup var common: CommonArguments
        @Argument(help: "Its name.") var name: String
        @Flag(help: "Trust the other machine's keys without asking.") var yes = false

        func run() async throws {
            try await reportingFailure {
                let work = try BackupWork(common, showsProgress: false)
                let access = try work.commands.access(target: name)
                let key = try access.makeKey()
                let hostKeys = try access.scanHostKeys()
                for hostKey in hostKeys {
                    Terminal.say("\(hostKey.type) \(hostKey.fingerprint)")
                }
                if !yes {
                    guard Terminal.isInteractive else {
                        throw Failure("compare these with the other machine's, then say --yes")
                    }
                    let answer = try Terminal.ask(
                        "Are these the other machine's keys", suggestion: "no")
                    guard answer.lowercased().hasPrefix("y") else {
                        throw Failure("nothing is trusted")
                    }
                }
                try access.trust(hostKeys)
                Terminal.say("Add this line to ~/.ssh/authorized_keys there:")
                Terminal.say(access.authorizedKeysLine(publicKey: key))
                Terminal.say("The key can remove nothing. This line in the crontab there does:")
                Terminal.say(access.pruningLine(days: 90))
            }
        }
    }
}
