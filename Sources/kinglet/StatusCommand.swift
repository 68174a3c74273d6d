// kinglet status

internal import Administration
internal import ArgumentParser
internal import Backup
internal import Engine
internal import Foundation

struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Show whether the server runs, and how.")
    @OptionGroup var common: CommonArguments
    @Flag(help: "One JSON document.") var json = false

    func run() async throws {
        try await reportingFailure {
            let backend = try Backend(common)
            guard let status = try await backend.perform(AdministrationRequest(.status)).status
            else { throw Failure("the server gave no status") }
            if json { return try JSONOutput.print(status) }
            Terminal.say(status.running ? "running since \(status.started ?? "?")" : "not running")
            if let process = status.processID { Terminal.say("process   \(process)") }
            Terminal.say("version   \(status.version)")
            Terminal.say("domains   \(status.domains.joined(separator: ", "))")
            for listener in status.listeners {
                Terminal.say(
                    "listens   \(listener.name) on \(listener.address) port \(listener.port)")
            }
            Terminal.say("users     \(status.users)")
            if let sessions = status.sessions { Terminal.say("sessions  \(sessions)") }
            for certificate in status.certificates {
                Terminal.say(
                    "certificate for \(certificate.domains.joined(separator: ", ")) until "
                        + certificate.notAfter)
            }
            if let federation = status.federation {
                Terminal.say("others    \(federation.line)")
            }
            if let push = status.push { Terminal.say("push      \(push.line)") }
            for line in status.backup?.lines(now: Clock.secondsSince1970()) ?? [] {
                Terminal.say(line)
            }
            let problems =
                status.problems + (status.federation?.problems ?? [])
                + (status.backup?.problems ?? [])
            for problem in problems {
                Terminal.say("problem   \(problem)")
            }
        }
    }
}

/// `--json` output.
enum JSONOutput {
    static func print(_ value: some Encodable) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        Terminal.say(String(decoding: try encoder.encode(value), as: UTF8.self))
    }
}
