// kinglet backup …

internal import Administration
internal import ArgumentParser
internal import Backup
internal import Dispatch
internal import Engine
internal import Foundation
internal import Glibc
internal import Listeners
internal import NIOPosix
internal import Synchronization

struct BackupCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backup", abstract: "Make, list, check and prune backups.",
        subcommands: [
            BackupRunCommand.self, List.self, Verify.self, Prune.self, Pin.self, Unpin.self,
            BackupRestoreCommand.self, BackupTargetCommand.self,
        ])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List targets with their snapshots, and jobs with their next runs.")
        @OptionGroup var common: CommonArguments
        @Option(help: "A location, whatever the configuration says; needs the recovery key.")
        var from: String?
        @OptionGroup var place: LocationArguments
        @Flag(help: "One JSON document.") var json = false

        func validate() throws {
            guard from != nil || (!place.areGiven && place.keyFile == nil) else {
                throw ValidationError(
                    "--key-file, --password-file and --ssh-config need --from with a location")
            }
        }

        func run() async throws {
            try await reportingFailure {
                if let from { return try list(from) }
                let work = try BackupWork(common, showsProgress: false)
                let server = await work.askServer()
                var listing = try work.commands.list(outlook: server?.outlook ?? [:])
                listing.running = server?.activity?.job
                listing.progress = server?.activity?.progress
                if json { return try JSONOutput.print(listing) }
                for line in listing.lines(now: Clock.secondsSince1970()) { Terminal.say(line) }
                if server == nil, listing.jobs.contains(where: { $0.schedule != nil }) {
                    Terminal.say("no server runs, so no job runs by itself")
                }
            }
        }

        private func list(_ text: String) throws {
            guard let access = try place.access(text) else {
                throw Failure("\(text): this is no location: expected \(BackupLocation.forms)")
            }
            Interruption.watch()
            let shown = CommandProgress(isShown: !json)
            let listing = try LocationReader(
                access, key: try place.key(common), cancellation: Interruption.cancellation,
                progress: shown.report, warn: shown.warn
            ).list()
            shown.end()
            if json { return try JSONOutput.print(listing) }
            for line in listing.lines(now: Clock.secondsSince1970()) { Terminal.say(line) }
        }
    }

    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Read snapshots back and compare every file.")
        @OptionGroup var common: CommonArguments
        @Argument(help: "The snapshot (default: the newest of each target).")
        var snapshot: String?
        @Option(help: "Only this target.") var target: String?
        @Flag(help: "All snapshots.") var all = false
        @Flag(help: "Test a restore of the newest snapshot instead.") var restore = false
        @Flag(help: "One JSON document.") var json = false

        func validate() throws {
            if restore, all || snapshot != nil {
                throw ValidationError("--restore takes the newest snapshot")
            }
        }

        func run() async throws {
            try await reportingFailure {
                // Programs that were started have to end with this one.
                Interruption.watch()
                let id = try snapshot.map(BackupWork.snapshotID)
                let work = try BackupWork(common, showsProgress: !json)
                if restore {
                    let id = try work.commands.testRestore(target: target)
                    work.endProgress()
                    if json { return try JSONOutput.print(["restored": id]) }
                    return Terminal.say(
                        "snapshot \(id) restores: a server started on it and let somebody in")
                }
                let outcomes = try work.commands.verify(id, target: target, all: all)
                work.endProgress()
                if json { try JSONOutput.print(outcomes) }
                for outcome in outcomes where !json {
                    if let id = outcome.snapshot {
                        Terminal.say(
                            "\(id) on \(outcome.target): \(counted(outcome.files, "file")), "
                                + "\(ProgressLine.size(Double(outcome.bytes))) read back, "
                                + (outcome.faults.isEmpty ? "good" : "NOT good"))
                    } else {
                        Terminal.say("\(outcome.target): nothing could be read back")
                    }
                    for fault in outcome.faults { Terminal.say("  \(fault)") }
                }
                guard outcomes.allSatisfy({ $0.faults.isEmpty }) else { throw ExitCode(1) }
            }
        }
    }

    struct Prune: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove snapshots that need not be kept.")
        @OptionGroup var common: CommonArguments
        @Option(help: "Only this target.") var target: String?
        @Flag(help: "Only say what would be removed.") var dryRun = false
        @Flag(help: "One JSON document.") var json = false

        func run() async throws {
            try await reportingFailure {
                Interruption.watch()
                let work = try BackupWork(common, showsProgress: !json)
                let outcomes = try work.commands.prune(target: target, isDryRun: dryRun)
                work.endProgress()
                if json { return try JSONOutput.print(outcomes) }
                for outcome in outcomes {
                    Terminal.say(
                        "\(outcome.target), job \(outcome.job): \(outcome.kept.count) stay, "
                            + "\(outcome.removed.count) \(dryRun ? "would go" : "removed")")
                    for id in outcome.removed { Terminal.say("  \(id)") }
                }
            }
        }
    }

    struct Pin: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Keep a snapshot from being pruned.")
        @OptionGroup var common: CommonArguments
        @Argument(help: "The snapshot.") var snapshot: String
        @Option(help: "Only this target.") var target: String?
        @Flag(help: "One JSON document.") var json = false

        func run() async throws {
            try await BackupWork.setPin(common, snapshot, true, target, json: json)
        }
    }

    struct Unpin: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Let a pinned snapshot be pruned again.")
        @OptionGroup var common: CommonArguments
        @Argument(help: "The snapshot.") var snapshot: String
        @Option(help: "Only this target.") var target: String?
        @Flag(help: "One JSON document.") var json = false

        func run() async throws {
            try await BackupWork.setPin(common, snapshot, false, target, json: json)
        }
    }
}

/// What every command that works on backups in its own process has.
struct BackupWork {
    let program: ProgramOptions
    let commands: BackupCommands
    private let shown: CommandProgress

    /// - Parameter needsData: whether there has to be an installation already.
    init(_ common: CommonArguments, showsProgress: Bool, needsData: Bool = true) throws {
        let declared = try DeclaredProgram(common)
        program = declared.options
        try program.requireDomain()
        if needsData {
            guard program.files.exist else {
                throw Failure(
                    "there is no data in \(program.dataDirectory); run kinglet init first, or"
                        + " kinglet backup restore --replace")
            }
            try program.files.becomeOwner()
        } else {
            try program.files.prepare()
        }
        let backups = program.backupProgram(nil)
        if needsData { _ = try backups.makeKey() }
        shown = CommandProgress(isShown: showsProgress)
        commands = BackupCommands(
            backups, cancellation: Interruption.cancellation, progress: shown.report,
            warn: shown.warn)
    }

    func endProgress() { shown.end() }

    /// What the running server plans and is at; nil when none runs.
    func askServer() async -> AdministrationAnswer? {
        let client = ControlClient(
            file: program.files.controlSocket, group: MultiThreadedEventLoopGroup.singleton)
        return try? await client.send(AdministrationRequest(.showBackup))
    }

    static func snapshotID(_ text: String) throws -> SnapshotID {
        guard let id = SnapshotID(text) else {
            throw Failure(
                "\(text) is not the name of a snapshot, such as 20261121T030000Z-000017; "
                    + "kinglet backup list shows them")
        }
        return id
    }

    static func setPin(
        _ common: CommonArguments, _ snapshot: String, _ isPinned: Bool, _ target: String?,
        json: Bool
    ) async throws {
        try await reportingFailure {
            let id = try snapshotID(snapshot)
            let work = try BackupWork(common, showsProgress: false)
            let targets = try work.commands.setPin(id, isPinned, target: target)
            if json { return try JSONOutput.print(["targets": targets]) }
            Terminal.say(
                "\(id) is \(isPinned ? "pinned" : "no longer pinned") on "
                    + targets.joined(separator: ", "))
        }
    }
}

/// What a person at the terminal sees of a command's work.
struct CommandProgress {
    private let meter = ProgressMeter()
    private let line: ProgressLine?

    init(isShown: Bool) {
        line = isShown && isatty(STDERR_FILENO) == 1 ? ProgressLine() : nil
    }

    var report: @Sendable (Backup.Progress) -> Void {
        { [meter, line] progress in
            meter.report(progress)
            if let latest = meter.latest { line?.show(latest) }
        }
    }

    var warn: @Sendable (String) -> Void {
        { [line] text in
            line?.end()
            printError("kinglet: warning: \(text)")
        }
    }

    func end() { line?.end() }
}

/// Ctrl-C, SIGTERM and the end of the terminal (SIGHUP) end a command's work instead of its process:
/// programs that were started have to end with it, and what was made for it has to go.
enum Interruption {
    static let cancellation = Cancellation()
    private static let sources = Mutex<[any DispatchSourceSignal]>([])

    /// Called once before the work begins.
    static func watch() {
        sources.withLock { sources in
            guard sources.isEmpty else { return }
            // Who ignores it already (nohup) wants to go on.
            let hangUp = ignoresHangUp ? [] : [SIGHUP]
            sources = ([SIGINT, SIGTERM] + hangUp).map { number in
                signal(number, SIG_IGN)
                let source = DispatchSource.makeSignalSource(
                    signal: number, queue: DispatchQueue.global())
                source.setEventHandler { cancellation.cancel("somebody ended it") }
                source.resume()
                return source
            }
        }
    }

    /// From here on the end of the terminal ends the process: its work is the server's, and goes on.
    static func leaveToServer() {
        let isWatched = sources.withLock { $0.contains { $0.handle == UInt(SIGHUP) } }
        if isWatched { signal(SIGHUP, SIG_DFL) }
    }

    private static var ignoresHangUp: Bool {
        var action = sigaction()
        guard sigaction(SIGHUP, nil, &action) == 0 else { return false }
        return unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self)
            == unsafeBitCast(SIG_IGN, to: Int.self)
    }
}

/// One line on a terminal that is written again and again.
final class ProgressLine: Sendable {
    private struct State {
        var shown: ContinuousClock.Instant?
        var isShown = false
    }
    private let state = Mutex(State())

    /// Writes it, a few times a second at most.
    func show(_ progress: Backup.Progress) {
        let now = ContinuousClock.now
        let isDue = state.withLock { state in
            if let shown = state.shown, shown.duration(to: now) < .milliseconds(200) {
                return false
            }
            state.shown = now
            state.isShown = true
            return true
        }
        if isDue { writeError("\r\u{1B}[K" + Self.text(progress)) }
    }

    /// Removes it.
    func end() {
        let wasShown = state.withLock { state in
            defer { state.isShown = false }
            return state.isShown
        }
        if wasShown { writeError("\r\u{1B}[K") }
    }

    static func text(_ progress: Backup.Progress) -> String {
        var text = progress.phase.rawValue
        if let ratio = progress.ratio { text += " \(Int(ratio * 100)) %" }
        if progress.bytes > 0 { text += ", \(size(Double(progress.bytes)))" }
        if let rate = progress.rate { text += ", \(size(rate))/s" }
        if let left = progress.secondsLeft, (0..<1e6).contains(left) {
            text += ", \(Int(left)) s left"
        }
        return text
    }

    static func size(_ bytes: Double) -> String {
        let units = ["B", "KiB", "MiB", "GiB", "TiB"]
        var value = bytes
        var unit = 0
        while value >= 1024, unit < units.count - 1 {
            value /= 1024
            unit += 1
        }
        return unit == 0 && value >= 0
            ? "\(Int(value)) B" : "\((value * 10).rounded() / 10) \(units[unit])"
    }
}
