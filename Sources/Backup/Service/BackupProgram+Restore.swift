// What a restore needs of the other parts: the database put together and judged, secrets unpacked.

internal import Storage

extension BackupProgram {
    /// Puts a database together from its base and its changes.
    public static func assemble(
        _ record: Manifest.Database, in folder: String, to file: String
    ) throws(BackupError) {
        try DatabaseParts.assemble(record, in: folder, to: file)
    }

    /// Looks at all of a database, and gives the rows of every table.
    public static func check(_ file: String) throws(BackupError) -> [String: Int64] {
        let faults: [String]?
        let rows: [String: Int64]?
        do throws(StorageError) {
            let image = try DatabaseImage(base: file, logs: [])
            faults = try image.check(isFull: true)
            rows = try image.rowCounts()
        } catch {
            throw BackupError(storage: error)
        }
        guard let faults, faults.isEmpty, let rows else {
            throw BackupError(
                .damaged, subject: file,
                "SQLite finds it damaged: \((faults ?? []).prefix(3).joined(separator: "; "))",
                advice: "try another snapshot")
        }
        return rows
    }

    /// Unpacks `secrets.age`.
    public static func extractSecrets(
        _ file: String, key: RecoveryKey, into folder: String
    ) throws(BackupError) {
        try SecretsArchive.extract(file: file, into: folder, key: key)
    }
}

extension BackupCommands {
    /// A snapshot that was found, and everything that a restore of it needs.
    public struct Restoration {
        /// What will be done.
        public let plan: RestorePlan
        /// The target that has it.
        public let target: String
        let place: any BackupTarget
    }

    /// Finds a snapshot and restores of it what is wanted, once `isWanted` has agreed to the plan.
    ///
    /// - Parameters:
    ///   - id: nil for the newest.
    ///   - source: a target's name; nil for the first that has it.
    ///   - access: a place that need not be in the configuration, instead.
    ///   - givenKey: the recovery key; nil for the one in the data directory.
    ///   - skipsDamaged: whether damaged uploads are left out; else they end the restore.
    /// - Returns: nil when it was not wanted.
    public func restore(
        _ id: SnapshotID?, from source: String?, at access: LocationAccess?, scope: RestoreScope,
        to destination: RestoreDestination, key givenKey: RecoveryKey?,
        parts restoreParts: any RestoreParts, now: Int64, skipsDamaged: Bool = false,
        isWanted: (RestorePlan, String) -> Bool
    ) throws(BackupError) -> Restore.Report? {
        var parts = try program.parts()
        if let givenKey {
            parts.key = { () throws(BackupError) -> RecoveryKey in givenKey }
        }
        let session = try BackupSession(
            program.folder, purpose: "backup restore", parts: parts, cancellation: cancellation,
            progress: progress, warn: warn)
        let (found, context) = try find(id, source, access, scope, destination, parts, session)
        guard isWanted(found.plan, found.target) else { return nil }
        // What is replaced keeps its own key unless another one was needed.
        var keyFile: [UInt8]? = Array((session.key.text + "\n").utf8)
        if givenKey == nil, case .replace = destination { keyFile = nil }
        return try Restore(
            found.plan, parts: restoreParts, keyFile: keyFile, now: now, skipsDamaged: skipsDamaged
        ).run(from: found.place, context)
    }

    /// No name that a target of the configuration can have.
    private static let given = ".given"

    private func find(
        _ id: SnapshotID?, _ source: String?, _ access: LocationAccess?, _ scope: RestoreScope,
        _ destination: RestoreDestination, _ parts: RunParts, _ session: borrowing BackupSession
    ) throws(BackupError) -> (Restoration, TargetContext) {
        var candidates = program.targets
        if let access {
            candidates = [TargetSettings(name: Self.given, location: access.location)]
        } else if let source {
            if let target = program.settings.target(named: source) {
                candidates = [target]
            } else {
                throw BackupError(
                    .permanent, subject: source, "this is neither a target nor a location",
                    advice: "give a name of the configuration, or \(BackupLocation.forms)")
            }
        }
        var problem: BackupError?
        for target in candidates {
            do throws(BackupError) {
                if access != nil { try Files.remove(program.folder.memory(of: target.name)) }
                var context = try session.context(for: target.name)
                // It may be of the installation before this one.
                if access != nil { context.instance = "" }
                let place: any BackupTarget
                if let access {
                    place = try access.target(context)
                } else {
                    place = try parts.target(target)
                }
                try place.open(context, forWriting: false)
                let ids = try place.snapshots(context)
                guard let chosen = id.map({ id in ids.first { $0 == id } }) ?? ids.last else {
                    continue
                }
                let manifest = try place.manifest(of: chosen, context)
                let list = try place.list(of: manifest, context)
                let plan = try RestorePlan(manifest, list, scope: scope, to: destination)
                return (
                    Restoration(
                        plan: plan, target: access.map { "\($0.location)" } ?? target.name,
                        place: place), context
                )
            } catch {
                problem = problem ?? error
            }
        }
        throw problem
            ?? BackupError(
                .permanent, subject: id.map { "snapshot \($0)" } ?? "snapshots",
                "no target has it", advice: "kinglet backup list shows what there is")
    }
}
