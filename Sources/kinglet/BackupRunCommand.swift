// kinglet backup run: in the running server, or here when none runs.

internal import Administration
internal import ArgumentParser
internal import Backup
internal import Engine
internal import Foundation
internal import Glibc
internal import Listeners
internal import Logging
internal import NIOPosix
internal import Storage

struct BackupRunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Make a backup now.")
    @OptionGroup var common: CommonArguments
    @Argument(help: "The job (default: the first one).") var job: String?
    @Option(help: "Only this target.") var target: String?
    @Flag(help: "Changes that look like a mistake are right this time.")
    var acceptChanges = false
    @Flag(help: "One JSON document.") var json = false
    @Flag(help: "Progress as JSON lines on stderr.") var progress = false

    func run() async throws {
        try await reportingFailure {
            Interruption.watch()
            let declared = try DeclaredProgram(common)
            let program = declared.options
            try program.requireDomain()
            guard program.files.exist else {
                throw Failure(
                    "there is no data in \(program.dataDirectory); run kinglet init first, or"
                        + " kinglet backup restore --replace")
            }
            try program.files.becomeOwner()
            let wish = BackupService.Wish(
                job: job, target: target, acceptsChanges: acceptChanges)
            let outcome: RunOutcome
            let shown = Shown(asLines: progress, isQuiet: json)
            if let lock = try DataLock(program.files) {
                outcome = try here(declared, wish, shown)
                _ = consume lock
            } else {
                outcome = try await inServer(program, wish, shown)
            }
            shown.end()
            try say(outcome)
        }
    }

    private func say(_ outcome: RunOutcome) throws {
        if json {
            try JSONOutput.print(outcome)
        } else {
            for target in outcome.targets {
                var text = "\(target.target): \(target.result.rawValue)"
                if let id = target.snapshot { text += ", snapshot \(id)" }
                text += ", \(ProgressLine.size(Double(target.transfer.bytesSent))) sent"
                Terminal.say(text)
            }
            for warning in outcome.warnings { Terminal.say("warning: \(warning)") }
            if outcome.isProtected == false { Terminal.say("warning: \(RunOutcome.unprotected)") }
        }
        guard outcome.result.isGood else {
            printError("kinglet: \(outcome.summary)")
            throw ExitCode(1)
        }
    }

    /// Opens the data itself.
    private func here(
        _ declared: DeclaredProgram, _ wish: BackupService.Wish, _ shown: Shown
    ) throws -> RunOutcome {
        let program = declared.options
        let host = try openHost(
            program, declared.builder, eventLoops: [],
            log: Logger(label: "kinglet") { _ in SwiftLogNoOpLogHandler() })
        defer { try? host.database.close() }
        let backups = program.backupProgram(host.database)
        if try backups.makeKey() {
            printError("kinglet: a recovery key was made: \(backups.keyFile); write it down")
        }
        let meter = ProgressMeter()
        return try BackupCommands(
            backups, cancellation: Interruption.cancellation,
            progress: { progress in
                meter.report(progress)
                if let latest = meter.latest { shown.show(latest) }
            }, warn: { _ in }
        ).run(wish)
    }

    /// Asks the running server, and looks how far it is.
    private func inServer(
        _ program: ProgramOptions, _ wish: BackupService.Wish, _ shown: Shown
    ) async throws -> RunOutcome {
        Interruption.leaveToServer()
        let client = ControlClient(
            file: program.files.controlSocket, group: MultiThreadedEventLoopGroup.singleton)
        func send(_ request: AdministrationRequest) async throws -> AdministrationAnswer {
            let answer = try await client.send(request)
            if let error = answer.error { throw Failure(error) }
            return answer
        }
        let answer = try await send(AdministrationRequest(.runBackup, backup: wish))
        guard let number = answer.run else { throw Failure("the server gave no number") }
        var isCancelled = false
        var pause = 20
        while true {
            let activity = try await send(AdministrationRequest(.showBackup)).activity
            if let last = activity?.lastRun, last >= number {
                guard last == number else {
                    throw Failure(
                        "it has ended, and another run after it; kinglet backup list shows more")
                }
                if let outcome = activity?.outcome { return outcome }
                throw Failure(activity?.refusal ?? "the run gave no outcome")
            }
            if let latest = activity?.progress { shown.show(latest) }
            if Interruption.cancellation.reason != nil, !isCancelled {
                isCancelled = true
                _ = try await send(AdministrationRequest(.cancelBackup, run: number))
            }
            // The server tells nobody: it is asked.
            try await Task.sleep(for: .milliseconds(pause))
            pause = min(2 * pause, 250)
        }
    }
}

/// How progress is shown.
struct Shown: Sendable {
    private let line: ProgressLine?
    private let asLines: Bool

    init(asLines: Bool, isQuiet: Bool) {
        self.asLines = asLines
        line = !asLines && !isQuiet && isatty(STDERR_FILENO) == 1 ? ProgressLine() : nil
    }

    func show(_ progress: Backup.Progress) {
        line?.show(progress)
        if asLines, let data = try? JSONEncoder().encode(progress) {
            printError(String(decoding: data, as: UTF8.self))
        }
    }

    func end() { line?.end() }
}
