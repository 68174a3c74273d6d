// Removing snapshots from an archive, and then the packs that no other one needs.

internal import Glibc

extension ArchiveTarget {
    /// Milliseconds between two removals: slow media have others to serve.
    private static let pause: Int32 = 10

    func remove(_ id: SnapshotID, _ context: TargetContext) throws(BackupError) {
        let store = try opened(context)
        guard store.canRemove else {
            throw BackupError(
                .permanent, subject: name, "this machine may only add snapshots there",
                advice: "prune on the other machine")
        }
        try ArchiveMarker.confirm(store, context)
        try store.delete(ArchiveNames.snapshot(id))
        try store.flush()
        try ArchiveMemory(context).forget(id)
    }

    /// Only one installation writes here, one run at a time, and this is it; so what no manifest
    /// names is needed by nobody, but for what the next attempt can use.
    func cleanUp(_ context: TargetContext) throws(BackupError) {
        let store = try opened(context)
        guard store.canRemove else { return }
        try ArchiveMarker.confirm(store, context)
        let ids = try snapshots(context)
        let memory = ArchiveMemory(context)
        // What was there and is not listed may have been removed by somebody, or the place does not
        // list everything just now: its packs stay until that is still so a day later.
        let missing = memory.snapshots.subtracting(ids)
        let isGone = try ArchiveSightings("missing", context).isLasting(missing, at: now())
        if !missing.isEmpty {
            context.warn(
                "\(name): \(missing.count) snapshots are gone that nobody has removed from here;"
                    + " what only they needed goes "
                    + (isGone ? "now" : "with a run a day from now, if they are still gone"))
        }
        guard let manifests = try manifests(of: isGone ? ids : ids + missing, context) else {
            return
        }
        var packs: [String] = []
        for file in try store.list(ArchiveNames.packs) + store.list(ArchiveNames.snapshots) {
            if let digest = ArchiveNames.pack(of: file.name) {
                packs.append(digest)
            } else if file.name.contains("/."), SnapshotPath(file.name) != nil {
                // What a writer that was cut off had not named yet: ours, or rsync's.
                try store.delete(file.name)
            }
        }
        let unfinished = Set(ArchiveJournal(memory: context.memory).read().packs)
        let unneeded = ArchiveSweep.packsToRemove(
            packs, manifests: manifests, unfinished: unfinished)
        for (index, digest) in unneeded.enumerated() {
            try context.cancellation.check()
            try store.delete(ArchiveNames.pack(digest))
            context.progress(
                Progress(.pruning, bytes: Int64(index + 1), totalBytes: Int64(unneeded.count)))
            poll(nil, 0, Self.pause)
        }
        try store.flush()
        try memory.keep(manifestsOf: manifests.map(\.id))
    }

    /// The manifests that say which packs are needed; nil when that is not known of all. One that
    /// is damaged for a day names nothing any more, as one that was cut off on its way: it goes if
    /// there is a later snapshot.
    private func manifests(
        of ids: [SnapshotID], _ context: TargetContext
    ) throws(BackupError) -> [Manifest]? {
        var manifests: [Manifest] = []
        var damaged: [(id: SnapshotID, error: BackupError)] = []
        for id in ids {
            do throws(BackupError) {
                manifests.append(try manifest(of: id, context))
            } catch {
                switch error.code {
                case .damaged: damaged.append((id, error))
                case .key, .permanent:
                    warn(context, id, error, "remove that snapshot if it is of no use")
                    return nil
                default: throw error
                }
            }
        }
        let isLasting = try ArchiveSightings("damaged", context).isLasting(
            Set(damaged.map(\.id)), at: now())
        guard let first = damaged.first else { return manifests }
        let pinned = try pins(context)
        let newest = manifests.map(\.id).max()
        for (id, error) in damaged where pinned.contains(id) || newest.map({ $0 < id }) ?? true {
            warn(context, id, error, "remove \(ArchiveNames.snapshot(id)) if it is of no use")
            return nil
        }
        guard isLasting else {
            warn(context, first.id, first.error, "if it still cannot a day from now, it goes")
            return nil
        }
        let store = try opened(context)
        for (id, error) in damaged {
            context.warn(
                "\(name): snapshot \(id) is removed, for its manifest cannot be read (\(error))")
            try store.delete(ArchiveNames.snapshot(id))
            try ArchiveMemory(context).forget(id)
        }
        try store.flush()
        return manifests
    }

    private func warn(
        _ context: TargetContext, _ id: SnapshotID, _ error: BackupError, _ advice: String
    ) {
        context.warn(
            "\(name): nothing is removed, for the manifest of \(id) cannot be read"
                + " (\(error)); \(advice)")
    }
}
