// Listing and restoring with nothing but a place and the recovery key. No data directory is touched,
// and no lock is needed: what is read does not change, and what is written is the caller's alone.

internal import Glibc

/// The commands that work on an empty machine. Blocks the thread that asks.
public struct LocationReader: Sendable {
    let access: LocationAccess
    let key: RecoveryKey
    let cancellation: Cancellation
    let progress: @Sendable (Progress) -> Void
    let warn: @Sendable (String) -> Void

    /// - Parameters:
    ///   - progress: hears how far it is.
    ///   - warn: hears what a person should know.
    public init(
        _ access: LocationAccess, key: RecoveryKey, cancellation: Cancellation,
        progress: @escaping @Sendable (Progress) -> Void,
        warn: @escaping @Sendable (String) -> Void
    ) {
        self.access = access
        self.key = key
        self.cancellation = cancellation
        self.progress = progress
        self.warn = warn
    }

    private func context(_ work: borrowing WorkFolder) throws(BackupError) -> TargetContext {
        try work.context(key: key, cancellation: cancellation, progress: progress, warn: warn)
    }

    /// What is there, of all installations.
    public func list() throws(BackupError) -> BackupListing {
        let work = try WorkFolder()
        let context = try context(work)
        let place = try access.target(context)
        try place.open(context, forWriting: false)
        let ids = try place.snapshots(context)
        let pins = try place.pins(context)
        var shown: [BackupListing.Snapshot] = []
        var damaged = 0
        for id in ids {
            try cancellation.check()
            var snapshot = BackupListing.Snapshot(
                id: id, time: id.time, pinned: pins.contains(id))
            do throws(BackupError) {
                let manifest = try place.manifest(of: id, context)
                snapshot.job = manifest.backup
                snapshot.files = manifest.files
                snapshot.bytes = manifest.bytes
                snapshot.domains = manifest.domains
            } catch {
                guard error.code == .damaged || error.code == .key else { throw error }
                snapshot.problem = error.message
                damaged += 1
            }
            shown.append(snapshot)
        }
        guard damaged == 0 || damaged < ids.count else { throw wrongKey }
        let target = BackupListing.Target(
            name: "given", location: "\(access.location)", available: true,
            space: try place.space(context), snapshots: shown)
        return BackupListing(targets: [target], jobs: [])
    }

    /// Restores once `isWanted` has agreed to the plan; nil when it has not.
    ///
    /// - Parameters:
    ///   - id: nil for the newest.
    ///   - skipsDamaged: whether damaged uploads are left out; else they end the restore.
    public func restore(
        _ id: SnapshotID?, scope: RestoreScope, to destination: RestoreDestination,
        parts: any RestoreParts, now: Int64, skipsDamaged: Bool = false,
        isWanted: (RestorePlan, String) -> Bool
    ) throws(BackupError) -> Restore.Report? {
        let work = try WorkFolder()
        let context = try context(work)
        let place = try access.target(context)
        try place.open(context, forWriting: false)
        let plan = try plan(id, on: place, scope, destination, context)
        guard isWanted(plan, "\(access.location)") else { return nil }
        return try Restore(
            plan, parts: parts, keyFile: Array((key.text + "\n").utf8), now: now,
            skipsDamaged: skipsDamaged
        ).run(from: place, context)
    }

    private func plan(
        _ id: SnapshotID?, on place: any BackupTarget, _ scope: RestoreScope,
        _ destination: RestoreDestination, _ context: TargetContext
    ) throws(BackupError) -> RestorePlan {
        let ids = try place.snapshots(context)
        guard let chosen = id.map({ id in ids.first { $0 == id } }) ?? ids.last else {
            throw BackupError(
                .permanent, subject: "\(access.location)",
                id.map { "there is no snapshot \($0)" } ?? "there is no complete snapshot",
                advice: "kinglet backup list --from \(access.location) shows what there is")
        }
        do throws(BackupError) {
            let manifest = try place.manifest(of: chosen, context)
            let list = try place.list(of: manifest, context)
            return try RestorePlan(manifest, list, scope: scope, to: destination)
        } catch {
            guard error.code == .damaged || error.code == .key else { throw error }
            // One snapshot may be damaged; a wrong key opens none.
            for id in ids where (try? place.manifest(of: id, context)) != nil { throw error }
            throw wrongKey
        }
    }

    private var wrongKey: BackupError {
        BackupError(
            .key, subject: "\(access.location)", "no snapshot there opens with this recovery key",
            advice: "use the key that was printed when these backups were begun")
    }
}
