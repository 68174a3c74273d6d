// kinglet backup restore

internal import ArgumentParser
internal import Backup
internal import Engine
internal import Glibc

struct BackupRestoreCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore", abstract: "Bring back what a snapshot has.",
        discussion: """
            Without --replace, it goes into a folder of its own and changes nothing else. With it, \
            the server has to be stopped; what is replaced is kept beside it.

            On an empty machine, --from with a location, --to and the recovery key are enough. \
            ssh:// then uses your own keys, agent and configuration of ssh, and asks nothing.

            Everything else needs the configuration, and root becomes the owner of the data \
            (kinglet) for it: ssh and rclone have that user's keys and configuration, and --to has \
            to be where that user may write.
            """)
    @OptionGroup var common: CommonArguments
    @Argument(help: "The snapshot (default: the newest).") var snapshot: String?
    @Option(help: "A target's name, or the location of one.") var from: String?
    @Option(help: "A folder that is empty or does not exist.") var to: String?
    @Flag(help: "Put it in place of the data.") var replace = false
    @Option(help: "Only what this account has lost.") var user: String?
    @Flag(help: "Only the files that users have uploaded.") var uploads = false
    @Flag(name: .customLong("config-only"), help: "Only the configuration.")
    var configurationOnly = false
    @Flag(help: "Leave out uploads and files of extra that are damaged, and name them.")
    var skipDamaged = false
    @OptionGroup var place: LocationArguments
    @Flag(help: "Ask nothing.") var yes = false
    @Flag(help: "One JSON document.") var json = false

    func validate() throws {
        guard (to != nil) != replace || (user != nil && to == nil)
        else { throw ValidationError("choose --to or --replace") }
        if [user != nil, uploads, configurationOnly].count(where: { $0 }) > 1 {
            throw ValidationError("choose one of --user, --uploads and --config-only")
        }
        guard place.keyFile != "-" || yes else {
            throw ValidationError("with --key-file - nobody can be asked: say --yes")
        }
        guard !place.areGiven || from != nil else {
            throw ValidationError("--password-file and --ssh-config need --from with a location")
        }
    }

    func run() async throws {
        try await reportingFailure {
            Interruption.watch()
            let id = try snapshot.map(BackupWork.snapshotID)
            let access = try from.flatMap { try place.access($0) }
            if let access, let to { return try restore(id, at: access, to: to) }
            if access == nil { try requireConfiguration() }
            let key = try place.givenKey()
            let isRoot = geteuid() == 0
            let work = try BackupWork(common, showsProgress: !json, needsData: false)
            if let to, isRoot, geteuid() != 0 { try Self.requireWritable(to, work.program) }
            var lock: DataLock?
            if to == nil {
                lock = try DataLock(work.program.files)
                guard lock != nil else {
                    throw Failure("the server runs; stop it first: systemctl stop kinglet")
                }
            }
            let report = try work.commands.restore(
                id, from: from, at: access, scope: scope, to: destination(work.program), key: key,
                parts: AssembledData(arguments: arguments), now: Clock.secondsSince1970(),
                skipsDamaged: skipDamaged
            ) { plan, target in
                isWanted(plan, target)
            }
            _ = consume lock
            work.endProgress()
            try say(report)
        }
    }

    /// Without one there are no names of targets, and no place for the data.
    private func requireConfiguration() throws {
        let program = try DeclaredProgram(common).options
        guard program.file == nil, program.domains.isEmpty else { return }
        throw Failure(
            "there is no configuration"
                + (from.map { ", so \($0) is not the name of a target" } ?? "")
                + "; on an empty machine give the location and a folder: --from \(from ?? "/mnt/disk")"
                + " --to DIR; a location is \(BackupLocation.forms)")
    }

    /// Root could write there, but works as the owner of the data from here on.
    private static func requireWritable(_ folder: String, _ program: ProgramOptions) throws {
        var place = folder
        var status = stat()
        // The folder above it that is there.
        while stat(place, &status) != 0, errno == ENOENT, place != "/", place != "." {
            place = place.lastIndex(of: "/").map { String(place[..<$0]) } ?? "."
            if place.isEmpty { place = "/" }
        }
        guard access(place, W_OK | X_OK) != 0 else { return }
        let name = getpwuid(geteuid()).map { String(cString: $0.pointee.pw_name) }
        throw Failure(
            "\(folder): \(name ?? "the owner of \(program.dataDirectory)"), who does this because "
                + "the data is theirs, cannot write there; name a folder in another place, such as "
                + "/var/tmp, or restore as root with --from and the target's location")
    }

    /// Where nothing but the location and the key is needed, nothing else is looked at.
    private func restore(_ id: SnapshotID?, at access: LocationAccess, to folder: String) throws {
        let key = try place.key(common)
        let shown = CommandProgress(isShown: !json)
        let report = try LocationReader(
            access, key: key, cancellation: Interruption.cancellation, progress: shown.report,
            warn: shown.warn
        ).restore(
            id, scope: scope, to: .folder(folder), parts: AssembledData(),
            now: Clock.secondsSince1970(), skipsDamaged: skipDamaged
        ) { plan, target in
            isWanted(plan, target)
        }
        shown.end()
        try say(report)
    }

    private func say(_ report: Restore.Report?) throws {
        guard let report else {
            throw Failure(
                Terminal.isInteractive && !json
                    ? "nothing was restored"
                    : "nothing was restored; without a terminal to ask, say --yes")
        }
        if json { return try JSONOutput.print(report) }
        let size = ProgressLine.size(Double(report.bytes))
        Terminal.say("restored \(counted(report.files, "file")), \(size)")
        if let kept = report.kept { Terminal.say("what was there is in \(kept)") }
        for note in report.notes { Terminal.say(note) }
    }

    private var arguments: [String] {
        (common.config.map { ["--config", $0] } ?? [])
            + common.assignments.flatMap { ["--set", $0] }
    }

    private var scope: RestoreScope {
        if let user { return .user(user) }
        if uploads { return .uploads }
        return configurationOnly ? .configuration : .everything
    }

    private func destination(_ program: ProgramOptions) -> RestoreDestination {
        guard let to else {
            return .replace(
                dataDirectory: program.backupProgram(nil).dataDirectory,
                configuration: program.file)
        }
        return .folder(to)
    }

    private func isWanted(_ plan: RestorePlan, _ target: String) -> Bool {
        guard !json else { return yes }
        Terminal.say("from target \(target):")
        for sentence in plan.sentences { Terminal.say(sentence) }
        if yes { return true }
        guard Terminal.isInteractive,
            let answer = try? Terminal.ask("Restore", suggestion: "no")
        else { return false }
        return answer.lowercased().hasPrefix("y")
    }
}
