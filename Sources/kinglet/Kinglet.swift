// The program: one subcommand per file, all of them listed here.

internal import ArgumentParser
internal import Features
internal import Glibc

@main
enum Program {
    static func main() async {
        // Whatever is written is its owner's, unless a mode says otherwise.
        umask(0o077)
        // A file that may not grow (LimitFSIZE=) is an error of one write, and no end of the server.
        signal(SIGXFSZ, SIG_IGN)
        await Kinglet.main()
    }
}

struct Kinglet: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kinglet",
        abstract: "An instant-messaging server for a small machine.",
        version: Software.version,
        subcommands: [
            Serve.self, Initialize.self, UserCommand.self, FederationCommand.self,
            PushCommand.self, TokenCommand.self, BackupCommand.self, StatusCommand.self,
            ConfigCommand.self,
            MetricsCommand.self,
        ])
}
