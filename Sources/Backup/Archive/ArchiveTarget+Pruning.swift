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
        // list everything just now: its packs stay until that is seen again.
        let missing = memory.snapshots.subtracting(ids)
        guard missing.isEmpty else {
            try memory.keep(manifestsOf: ids)
            context.warn(
                "\(name): \(missing.count) snapshots are gone that nobody has removed from here;"
                    + " what only they needed goes with the next run")
            return
        }
        var manifests: [Manifest] = []
        for id in ids {
            do throws(BackupError) {
                manifests.append(try manifest(of: id, context))
            } catch {
                guard error.code == .damaged || error.code == .key || error.code == .permanent
                else { throw error }
                context.warn(
                    "\(name): nothing is removed, for the manifest of \(id) cannot be read"
                        + " (\(error)); remove that snapshot if it is of no use")
                return
            }
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
        try memory.keep(manifestsOf: ids)
    }
}
