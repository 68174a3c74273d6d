// kinglet backup target …

internal import ArgumentParser
internal import Backup
internal import Engine
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
                let now = Clock.secondsSince1970()
                for target in targets { Terminal.say(target.line(now: now)) }
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
                Terminal.say(target.line(now: Clock.secondsSince1970()))
            }
        }
    }

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make the key for a target behind SSH, and say what to do there.",
            discussion: """
                The target is in the configuration already (backup.targets). Doing it again is \
                harmless: the same key stays.
                """)
        @OptionGroup var common: CommonArguments
        @Argument(help: "Its name.") var name: String
        @Flag(help: "Trust the other machine's keys without asking.") var yes = false

        func run() async throws {
            try await reportingFailure {
                let work = try BackupWork(common, showsProgress: false)
                let access = try work.commands.access(target: name)
                let key = try access.makeKey()
                let hostKeys = try access.scanHostKeys()
                explain("\(access.host) shows these host keys:")
                for hostKey in hostKeys {
                    explain("  \(hostKey.type) \(hostKey.fingerprint)")
                }
                explain("Type there, and compare:")
                explain(
                    "  for key in /etc/ssh/ssh_host_*_key.pub; do ssh-keygen -lf $key; done")
                if !yes {
                    guard Terminal.isInteractive else {
                        throw Failure("nothing is trusted; when they are the same, say --yes")
                    }
                    let answer = try Terminal.ask(
                        "Are these the other machine's keys", suggestion: "no")
                    guard answer.lowercased().hasPrefix("y") else {
                        throw Failure("nothing is trusted; run this again to change your mind")
                    }
                }
                try access.trust(hostKeys)
                explain(
                    """

                    On the other machine, as \(access.user): install rsync (with rrsync, which \
                    needs python3), and
                      mkdir -p -m 700 ~/.ssh \(access.quotedPath)
                    The key can add snapshots and read them, not delete or change them. So that the \
                    disk there does not fill, add this line to its crontab (crontab -e); it removes \
                    what is older than half a year, never the last seven:

                    \(access.pruningLine(days: 183))

                    At last add the one line below to ~/.ssh/authorized_keys there (mode 600), and \
                    try it here: kinglet backup target check \(name)

                    """)
                // The only line of the output, for scripts.
                Terminal.say(access.authorizedKeysLine(publicKey: key))
            }
        }

        /// Words for a person, beside the output.
        private func explain(_ text: String) { printError(text) }
    }
}
