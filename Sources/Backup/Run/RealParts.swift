// The real steps of a run: everything that a run is made of is joined here.

internal import Foundation
internal import Glibc
internal import Storage
internal import TLS

extension BackupProgram {
    /// The folder of secrets.
    var secrets: String { dataDirectory + "/secrets" }

    /// Where the recovery key is.
    public var keyFile: String { secrets + "/backup.key" }

    /// Makes a recovery key unless there is one; true when it did.
    public func makeKey() throws(BackupError) -> Bool {
        guard !Files.exists(keyFile) else { return false }
        // With another one nobody could open what was made with the first.
        guard !Files.exists(folder.instance) else { throw RecoveryKey.missing(keyFile) }
        try Files.makeFolder(secrets)
        try RecoveryKey.generate().store(file: keyFile)
        return true
    }

    /// The recovery key.
    public func key() throws(BackupError) -> RecoveryKey { try RecoveryKey.load(file: keyFile) }

    /// What a run is made of.
    func parts() throws(BackupError) -> RunParts {
        let program = self
        let zone = ScheduleTexts.machineZone
        return RunParts(
            now: { Int64(time(nil)) }, random: { SecureRandom.bytes($0) },
            key: { () throws(BackupError) -> RecoveryKey in try program.key() },
            software: { ["kinglet": program.version, "sqlite": Storage.Database.engineVersion] },
            domains: domains,
            target: { (target) throws(BackupError) -> any BackupTarget in
                try program.target(target)
            },
            copyDatabase: { (request) throws(BackupError) -> DatabaseFound in
                try program.copyDatabase(request)
            },
            checkDatabase: { (prepared, stored, context) throws(BackupError) in
                try program.checkDatabase(prepared, stored, context)
            },
            scan: { (request) throws(BackupError) -> ScanFound in
                do throws(BackupError) {
                    return try program.scan(request)
                } catch { throw error.ofSource }
            },
            secrets: { (request) throws(BackupError) -> (entry: FileEntry, place: String)? in
                do throws(BackupError) {
                    return try program.archiveSecrets(request)
                } catch { throw error.ofSource }
            },
            describeLists: { FileListCodec.encode($0).map(\.list) },
            judge: { (request, context) throws(BackupError) -> Bool in
                try SuspicionGuard.judge(request, warn: context.warn)
            },
            expired: { request in
                Retention.deletions(
                    Retention.decide(
                        request.snapshots.map { snapshot in
                            RetentionSnapshot(
                                id: snapshot.id, isVerified: snapshot.verified != nil,
                                isPinned: request.pinned.contains(snapshot.id),
                                isComplete: snapshot.isDamaged != true)
                        }, policy: RetentionPolicy(request.job.keep), now: request.now,
                        zone: (try? ScheduleTexts.zone(of: request.job)) ?? zone,
                        health: RetentionHealth(
                            lastRunFailed: request.lastRunFailed,
                            period: ScheduleTexts.period(of: request.job, at: request.now)),
                        mustFree: request.forSpace != nil,
                        most: request.forSpace ?? Retention.mostDeletions))
            },
            hook: { (request) throws(BackupError) in try HookCommand.run(request) },
            ping: { (request) throws(BackupError) in try program.ping(request) },
            isTestDue: { ScheduleTexts.isTestDue($0, last: $1, now: $2) },
            testRestore: { (place, id, context) throws(BackupError) in
                try program.testRestore(place, id, context)
            })
    }

    // MARK: Targets

    /// A target of the configuration, not opened.
    func target(_ settings: TargetSettings) throws(BackupError) -> any BackupTarget {
        switch settings.location {
        case .folder(let path):
            let isOwn = path.hasPrefix(dataDirectory + "/")
            // rsync where it is; what stands in for it does without a second program.
            let transfer: any FileTransfer = (try? RsyncTransfer()) ?? CopyTransfer()
            let folder = FolderTarget(
                name: settings.name, path: path, uuid: settings.uuid, dataFolder: dataDirectory,
                makesFolder: isOwn, transfer: transfer)
            guard settings.encrypt == true || !FolderForm.isTree(path, isOwn: isOwn) else {
                return folder
            }
            let isOnSameMedium = folder.isOnSameMedium
            return ArchiveTarget(name: settings.name, isOnSameMedium: isOnSameMedium) {
                (_) throws(BackupError) -> any ArchiveStore in
                guard Files.exists(path) else {
                    throw BackupError(
                        .absent, subject: path, "there is no such folder",
                        advice: "plug the disk in and mount it; on a new target "
                            + Files.making(path))
                }
                if let uuid = settings.uuid { try Medium(of: path)?.check(uuid: uuid, path) }
                return FolderStore(path)
            }
        case .ssh(let user, let host, let port, let path):
            return encrypted(
                settings,
                try RsyncTarget(
                    name: settings.name,
                    place: .ssh(user: user, host: host, port: port, path: path),
                    secrets: secrets))
        case .daemon(let user, let host, let port, let module, let path):
            return encrypted(
                settings,
                try RsyncTarget(
                    name: settings.name,
                    place: .daemon(
                        user: user, host: host, port: port, module: module, path: path),
                    secrets: secrets, passwordFile: settings.passwordFile))
        case .rclone(let remote, let path):
            return ArchiveTarget(name: settings.name, isOnSameMedium: false) {
                (context) throws(BackupError) -> any ArchiveStore in
                try RcloneStore(
                    remote: "\(remote):\(path)", configuration: settings.rcloneConfiguration,
                    context)
            }
        }
    }

    /// As an archive, if the owner wants it encrypted.
    private func encrypted(
        _ settings: TargetSettings, _ target: RsyncTarget
    ) -> any BackupTarget {
        guard settings.encrypt == true else { return target }
        return ArchiveTarget(name: settings.name, isOnSameMedium: target.isOnSameMedium) {
            (context) throws(BackupError) -> any ArchiveStore in
            try RsyncStore(try RsyncRemoteCopy(target, context), context)
        }
    }

    // MARK: The database

    private func copyDatabase(_ request: DatabaseRequest) throws(BackupError) -> DatabaseFound {
        guard let database else {
            throw BackupError(.permanent, subject: dataDirectory, "the database is not open")
        }
        var copier = DatabaseCopier(database: database)
        var note = try WholeCheckNote(request.context)
        copier.wantsWholeCheck = request.folder == request.context.staging && note.isDue
        let previous = request.previous?.manifest.databases.first { $0.name == copier.name }
        let copy: DatabaseCopy
        do throws(BackupError) {
            copy = try copier.copy(
                previous: previous, memory: request.context.memory, into: request.folder,
                md5: request.needsMD5, cancellation: request.context.cancellation,
                progress: request.context.progress)
        } catch {
            // Where the target is a folder, it is the target that is full.
            guard
                request.folder == request.context.staging
                    || error.subject.hasPrefix(request.context.memory + "/")
            else { throw error }
            throw error.ofSource
        }
        guard copy.faults.isEmpty else {
            throw BackupError(
                .damaged, subject: copier.name,
                "SQLite finds it damaged: \(copy.faults.prefix(3).joined(separator: "; "))",
                advice: "restore the last snapshot; the medium may be dying")
        }
        if let unfinished = copy.unfinished { request.context.warn(unfinished) }
        if copy.wasCheckedWhole {
            try note.succeed()
        } else if copier.wantsWholeCheck, !copy.kept.isEmpty {
            try note.fail(request.context)
        }
        let kept = try copy.kept.map { path throws(BackupError) -> FileEntry in
            guard let entry = request.previous?.list[path] else {
                throw BackupError(
                    .damaged, subject: "snapshot before", "it does not list \(path)",
                    advice: "run again; the next run copies everything anew")
            }
            return entry
        }
        let folder = "database/\(copier.name)"
        guard let path = SnapshotPath(folder) else { throw Self.noPath(folder) }
        return DatabaseFound(
            databases: [copy.record], entries: copy.new + kept,
            sources: copy.new.isEmpty ? [] : [(path, "\(request.folder)/\(folder)")],
            kept: Set(copy.kept), copied: Int64(time(nil)),
            logBytes: copy.wasRead ? copy.walBytesAtStart : nil, remember: copy.commit)
    }

    private static func noPath(_ text: String) -> BackupError {
        BackupError(.permanent, subject: text, "this cannot be a path in a snapshot")
    }

    // MARK: Pings

    private func ping(_ request: PingRequest) throws(BackupError) {
        var problem: String?
        var pings = RunPings(try PingAddress(request.url), run: request.run) { problem = $0 }
        pings.attempts = request.attempts
        let log = request.log.joined(separator: "\n")
        switch request.moment {
        case .start: pings.start()
        case .success: pings.succeed(request.text, log: log, took: request.took)
        case .failure: pings.fail(request.text, log: log, took: request.took)
        }
        if let problem { throw BackupError(.temporary, subject: "ping", problem) }
    }

    // MARK: Test restores

    private func testRestore(
        _ place: any BackupTarget, _ id: SnapshotID, _ context: TargetContext
    ) throws(BackupError) {
        guard let tester else {
            throw BackupError(.permanent, subject: "test restore", "it cannot be done here")
        }
        let manifest = try place.manifest(of: id, context)
        let list = try place.list(of: manifest, context)
        try Files.makeFolder(folder.scratch)
        _ = try TestRestore(parts: tester.parts, server: tester.server, scratch: folder.scratch)
            .run(manifest, list, from: place, context)
    }
}

extension RetentionPolicy {
    /// From the configuration.
    init(_ keep: KeepSettings) {
        self.init()
        last = keep.last
        hourly = keep.hourly
        daily = keep.daily
        weekly = keep.weekly
        monthly = keep.monthly
        yearly = keep.yearly
        within = keep.within.map { $0.components.seconds }
    }
}
