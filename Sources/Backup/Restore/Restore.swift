// A restore: what is wanted is brought into a work folder on the destination's file system, put
// together and checked there, and put in place when all of it is right.

internal import Foundation
internal import Glibc
internal import TLS

/// Carries out a plan. Owner: the one thread that has the backup lock.
public struct Restore {
    /// The folder of the destination in which everything is made ready.
    static let workName = ".restoring"
    /// Begins the name of the folder that keeps what was replaced.
    static let keptPrefix = "pre-restore-"
    /// The snapshot's configuration, where the present one stays in force.
    static let restoredConfiguration = "restored-kinglet.yaml"
    /// Says to the next start that the data comes from a backup; its content is different for each
    /// restore. Whoever restores by hand makes an empty one.
    public static let markName = "restored-from"

    /// What came of it.
    public struct Report: Sendable, Equatable, Codable {
        /// Files that were restored.
        public var files = 0
        /// Their bytes.
        public var bytes: Int64 = 0
        /// The folder that keeps what was replaced; nil when nothing was.
        public var kept: String?
        /// Uploads and files of the owner's that could not be brought back.
        public var missing = 0
        /// What a person should know, in sentences.
        public var notes: [String] = []
        /// Creates a report of nothing.
        public init() {}
    }

    private let plan: RestorePlan
    private let parts: any RestoreParts
    /// What `secrets/backup.key` holds afterwards; nil for what it holds now.
    private let keyFile: [UInt8]?
    private let kept: String
    /// Whether uploads and the owner's files that are damaged are left out.
    private let skipsDamaged: Bool
    private let missed = Missed()
    /// Where the kernel lists mounts; a test has its own.
    var mounts = "/proc/self/mountinfo"

    private var folder: String { plan.destination.folder }
    private var work: String { "\(folder)/\(Self.workName)" }
    private var fetched: String { "\(work)/fetched" }
    private var new: String { "\(work)/new" }
    private var isReplacing: Bool {
        if case .replace = plan.destination { true } else { false }
    }

    /// - Parameters:
    ///   - keyFile: what `secrets/backup.key` is to hold; nil keeps the present one.
    ///   - now: seconds since 1970, for the name of what is kept.
    ///   - skipsDamaged: whether uploads and the owner's files that are damaged are left out;
    ///     without it they end the restore.
    public init(
        _ plan: RestorePlan, parts: any RestoreParts, keyFile: [UInt8]?, now: Int64,
        skipsDamaged: Bool = false
    ) {
        self.skipsDamaged = skipsDamaged
        self.plan = plan
        self.parts = parts
        self.keyFile = keyFile
        // As in the names of snapshots.
        let time = SnapshotID(time: now, sequence: 1)?.description.prefix { $0 != "-" }
        kept = Self.keptPrefix + (time.map(String.init) ?? "\(now)")
    }

    /// Does it. After a failure everything is as it was; after a kill, too, or the next start
    /// finishes it.
    public func run(
        from target: any BackupTarget, _ context: TargetContext
    ) throws(BackupError) -> Report {
        do {
            return try run(from: target, context) { _ throws(BackupError) in }
        } catch {
            // Without a journal it is as if it had not begun.
            if !Files.exists("\(work)/switch") {
                try? Files.remove(work)
                if !isReplacing { rmdir(folder) }
            }
            throw error
        }
    }

    /// The same without cleaning up, as after a kill; `step` is called before each step.
    func run(
        from target: any BackupTarget, _ context: TargetContext,
        step: (String) throws(BackupError) -> Void
    ) throws(BackupError) -> Report {
        var report = Report()
        try step("prepare")
        try prepare()
        try step("fetch")
        try fetch(from: target, context)
        try context.cancellation.check()
        if case .user(let address) = plan.scope {
            try step("assemble")
            try assemble(&report)
            report.notes += try parts.mergeAccount(
                address, from: "\(new)/\(RestorePlan.databaseName)")
            try Files.remove(work)
            return report
        }
        try step("assemble")
        if plan.database != nil { try assemble(&report) }
        try context.cancellation.check()
        context.progress(Progress(.restore, totalBytes: plan.bytes))
        try step("arrange")
        try arrange(context, &report)
        report.files = plan.files.count - missed.paths.count
        report.bytes = plan.bytes - missed.bytes
        report.missing = missed.paths.count
        if let sentence = missed.sentence { report.notes.append(sentence) }
        try step("sync")
        try sync()
        try context.cancellation.check()
        try step("journal")
        let journal = try journal()
        try MovableNames(folder: folder, mounts: mounts).check(journal.old)
        try DataSwitch.begin(journal, in: folder)
        report.kept = try DataSwitch.finish(in: folder, step: step)
        try adoptInstance(in: folder)
        return report
    }

    private func fetch(
        from target: any BackupTarget, _ context: TargetContext
    ) throws(BackupError) {
        var context = context
        if skipsDamaged { context.mayMiss = { [missed] in missed.add($0, $1) } }
        do throws(BackupError) {
            try target.fetch(plan.files, of: plan.manifest, into: fetched, context)
        } catch {
            guard error.code == .damaged, !skipsDamaged else { throw error }
            throw BackupError(
                error.code, subject: error.subject, error.message,
                advice: "restore from another snapshot, or all but the damaged uploads with"
                    + " --skip-damaged")
        }
    }

    /// What was stored before stays this installation's: it lists it, goes on from it and prunes it.
    /// One that has made backups of its own remains who it is.
    private func adoptInstance(in folder: String) throws(BackupError) {
        let state = BackupFolder(dataDirectory: folder)
        let instance = plan.manifest.instance
        guard case .everything = plan.scope, ManifestFile.isInstance(instance),
            !Files.exists(state.instance)
        else { return }
        try state.prepare()
        try Files.replace(state.instance, Array((instance + "\n").utf8), mode: 0o600)
    }

    // MARK: Before

    private func prepare() throws(BackupError) {
        try Files.makeFolder(folder)
        if isReplacing {
            try DataSwitch.finish(in: folder)
            // Before hours of fetching; all names are looked at when they are known.
            if let names = plan.replacedNames {
                try MovableNames(folder: folder, mounts: mounts).check(names)
            }
        } else {
            if case .user = plan.scope {
                throw BackupError(
                    .permanent, subject: folder, "one account is restored only into running data",
                    advice: "leave --to out")
            }
            try DataSwitch.finish(in: folder)
            guard try Files.names(in: folder).isEmpty else {
                throw BackupError(
                    .permanent, subject: folder, "this folder is not empty",
                    advice: "name one that does not exist")
            }
        }
        try checkSpace()
        for path in [work, fetched, new] { try Files.makeFolder(path) }
    }

    private func checkSpace() throws(BackupError) {
        var status = statvfs()
        guard statvfs(folder, &status) == 0 else { throw Files.error(folder, "look at") }
        let blocks = Int64(clamping: status.f_bavail)
        let (free, isOver) = blocks.multipliedReportingOverflow(
            by: Int64(clamping: status.f_frsize))
        guard isOver || free >= plan.neededBytes else {
            throw BackupError(
                .full, subject: folder,
                "\(RestorePlan.size(plan.neededBytes)) are needed there and "
                    + "\(RestorePlan.size(free)) are free",
                advice: "make room, or restore to another disk with --to")
        }
    }

    // MARK: The parts

    private func assemble(_ report: inout Report) throws(BackupError) {
        guard let record = plan.database else { return }
        let file = "\(new)/\(record.name)"
        try parts.assemble(record, in: fetched, to: file)
        let rows = try parts.check(file)
        for (table, count) in record.rows where rows[table] != count {
            throw RestorePlan.damaged(
                "snapshot \(plan.manifest.id)",
                "the table \(RestorePlan.printable(table)) has \(rows[table] ?? 0) rows in place "
                    + "of \(count)")
        }
        guard chmod(file, 0o600) == 0 else { throw Files.error(file, "make private") }
        try Files.remove("\(fetched)/database")
        report.notes.append("The database is whole: \(rows["messages"] ?? 0) messages.")
    }

    /// Gives everything that was fetched the place and the mode that it is to have.
    private func arrange(
        _ context: TargetContext, _ report: inout Report
    ) throws(BackupError) {
        if Files.exists("\(fetched)/secrets.age") { try arrangeSecrets(context) }
        try setModes()
        if case .configuration = plan.scope {} else { try arrangeUploads() }
        if Files.exists("\(fetched)/data") {
            for name in try Files.names(in: "\(fetched)/data") {
                let name = String(decoding: name, as: UTF8.self)
                try move("\(fetched)/data/\(name)", "\(new)/\(name)")
            }
        }
        if Files.exists("\(fetched)/config") { try arrangeConfiguration(&report) }
        if Files.exists("\(fetched)/extra") { try move("\(fetched)/extra", "\(new)/extra") }
        makeLinks(&report)
        if !Files.exists(BackupFolder(dataDirectory: folder).root) { try adoptInstance(in: new) }
        if plan.database != nil {
            try Files.replace(
                "\(new)/\(Self.markName)", Array(SecureRandom.identifier(bytes: 24).utf8),
                mode: 0o600)
        }
    }

    private func arrangeSecrets(_ context: TargetContext) throws(BackupError) {
        try Files.makeFolder("\(new)/secrets")
        try parts.extractSecrets(
            "\(fetched)/secrets.age", key: context.key, into: "\(new)/secrets")
        for name in try Files.names(in: "\(new)/secrets") {
            let path = "\(new)/secrets/\(String(decoding: name, as: UTF8.self))"
            var status = stat()
            guard lstat(path, &status) == 0 else { throw Files.error(path, "look at") }
            // What else could be in there is not ours.
            guard status.st_mode & S_IFMT == S_IFREG || status.st_mode & S_IFMT == S_IFDIR else {
                throw RestorePlan.damaged(path, "this is neither file nor folder")
            }
            let isFolder = status.st_mode & S_IFMT == S_IFDIR
            guard chmod(path, isFolder ? 0o700 : 0o600) == 0 else {
                throw Files.error(path, "make private")
            }
        }
        // It is not in the snapshot, which it opens.
        let file = "secrets/backup.key"
        var key = keyFile
        if key == nil { key = try Files.read("\(folder)/\(file)", limit: 4096) }
        if let key { try Files.replace("\(new)/\(file)", key, mode: 0o600) }
    }

    private func arrangeUploads() throws(BackupError) {
        if Files.exists("\(fetched)/uploads") {
            try move("\(fetched)/uploads", "\(new)/uploads")
        } else {
            try Files.makeFolder("\(new)/uploads")
        }
        guard chmod("\(new)/uploads", 0o700) == 0 else {
            throw Files.error("\(new)/uploads", "make private")
        }
    }

    private func arrangeConfiguration(_ report: inout Report) throws(BackupError) {
        let from = "\(fetched)/config"
        let file = "\(from)/kinglet.yaml"
        if let text = try Files.read(file, limit: RestoredConfiguration.limit) {
            var configuration = RestoredConfiguration(text)
            // Alone it belongs to data that is elsewhere.
            if !isReplacing, plan.database != nil,
                let note = configuration.pointToItsOwnFolder()
            {
                report.notes.append(note)
            }
            try Files.replace(
                isReplacing ? "\(new)/\(Self.restoredConfiguration)" : "\(new)/kinglet.yaml",
                configuration.bytes, mode: 0o600)
            try Files.remove(file)
        }
        // By name, so that the same restore says the same.
        for (place, origin) in (plan.manifest.named ?? [:]).sorted(by: { $0.key < $1.key }) {
            // Secrets come with everything only.
            if plan.database == nil, !place.hasPrefix("config/") { continue }
            let place =
                isReplacing && place.hasPrefix("config/") ? "restored-\(place)" : place
            report.notes.append(
                "\(RestorePlan.printable(origin)) is in \(folder)/\(RestorePlan.printable(place)).")
        }
        let rest = try Files.names(in: from)
        guard !rest.isEmpty else { return }
        let place = isReplacing ? "restored-config" : "config"
        try move(from, "\(new)/\(place)")
        report.notes.append(
            "Files that the configuration names are in \(folder)/\(place); put them where it "
                + "looks for them.")
    }

    private func move(_ from: String, _ to: String) throws(BackupError) {
        guard rename(from, to) == 0 else { throw Files.error(from, "move to \(to)") }
    }

    /// Modes and times, where files still have their paths in the snapshot.
    private func setModes() throws(BackupError) {
        let missed = missed.paths
        for entry in plan.files where !missed.contains(entry.path) {
            switch entry.path.top {
            case "uploads", "extra", "data": break
            default: continue
            }
            let path = Self.place(entry.path.bytes[...], in: fetched)
            // Nobody becomes somebody else by a file from a backup.
            let isFolder = if case .folder = entry.kind { true } else { false }
            let own: mode_t = isFolder ? 0o700 : 0o600
            let (seconds, nanoseconds) = entry.modified.quotientAndRemainder(
                dividingBy: 1_000_000_000)
            let time = timespec(tv_sec: Int(seconds), tv_nsec: Int(max(0, nanoseconds)))
            guard chmod(path, mode_t(entry.mode & 0o777) | own) == 0,
                utimensat(AT_FDCWD, path, [time, time], AT_SYMLINK_NOFOLLOW) == 0
            else { throw Files.error("\(fetched)/\(entry.path)", "set the mode of") }
        }
    }

    /// Last of all, and nothing is opened through them. One that cannot be made is no reason to have
    /// nothing back.
    private func makeLinks(_ report: inout Report) {
        var (failed, first) = (0, "")
        for entry in plan.links {
            guard case .link(let to) = entry.kind else { continue }
            let bytes = entry.path.bytes
            for slash in bytes.indices where bytes[slash] == UInt8(ascii: "/") {
                mkdir(Self.place(bytes[..<slash], in: new), 0o700)
            }
            let target = to.map { CChar(bitPattern: $0) } + [0]
            errno = EINVAL
            let isMade =
                !to.isEmpty && !to.contains(0)
                && symlink(target, Self.place(bytes[...], in: new)) == 0
            if isMade { continue }
            if failed == 0 { first = "\(entry.path): \(String(cString: strerror(errno)))" }
            failed += 1
        }
        guard failed > 0 else { return }
        report.notes.append(
            "\(failed) of \(plan.links.count) links were not made, such as "
                + "\(RestorePlan.printable(first)).")
    }

    /// Paths are bytes, whatever text they look like.
    private static func place(_ path: ArraySlice<UInt8>, in folder: String) -> [CChar] {
        (Array(folder.utf8) + [UInt8(ascii: "/")] + path + [0]).map { CChar(bitPattern: $0) }
    }

    // MARK: The end

    private func sync() throws(BackupError) {
        try Files.remove(fetched)
        // One call for files that may be many; the database's own tells of errors.
        Glibc.sync()
        guard plan.database != nil else { return try Files.syncFolder(new) }
        let file = "\(new)/\(RestorePlan.databaseName)"
        let descriptor = open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { throw Files.error(file, "open") }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw Files.error(file, "sync") }
        try Files.syncFolder(new)
    }

    private func journal() throws(BackupError) -> DataSwitch.Journal {
        let names = try Files.names(in: new).map { String(decoding: $0, as: UTF8.self) }.sorted()
        var old = names
        if plan.database != nil {
            // A log without its database, and a password that is none any more.
            let name = RestorePlan.databaseName
            old = [name + "-wal", name + "-shm", "initial-password"] + old
        }
        // Nothing that was kept before gives way.
        var kept = kept
        while Files.exists("\(folder)/\(kept)") { kept += "-" }
        return DataSwitch.Journal(kept: kept, old: old, new: names)
    }
}
