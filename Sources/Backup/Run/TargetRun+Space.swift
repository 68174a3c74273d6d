// Where the owner wants that, old snapshots go when the target has no space for a new one.

extension TargetRun {
    /// Snapshots that are removed at a time: what is not removed is what may be needed.
    private static let removedAtATime = 3
    /// And so often in a run.
    static let mostRemovals = 4

    /// A failure, as what it is when no space is left: on this machine, not at the target, where
    /// what is written belongs to the run itself.
    func placed(_ error: BackupError) -> BackupError {
        let own = [run.folder.root, context.memory, context.staging]
        let isOwn = own.contains { error.subject == $0 || error.subject.hasPrefix($0 + "/") }
        // The server's own log cannot grow.
        let isDatabase = error.subject.hasPrefix(run.folder.dataDirectory + "/kinglet.db")
        return isOwn || isDatabase ? error.ofSource : error
    }

    /// Whether a run that ended so may try again with fewer old snapshots.
    func wantsSpace(_ outcome: TargetOutcome) -> Bool {
        // What rewrites all files also fills the target: the good copies stay.
        outcome.code == .full && outcome.snapshot == nil && job.whenFull == .removeOldest
            && outcome.isUnusual != true
    }

    /// Removes some and notes which; none is an answer, too: nothing may go. False when that has
    /// made no space, where the target tells: then more of history would be lost for nothing.
    func makeSpace(
        _ state: inout BackupState, _ removed: inout [SnapshotID]
    ) throws(BackupError) -> Bool {
        let place = try parts.target(target)
        try place.open(context, forWriting: true)
        guard place.canRemove else { return false }
        let pinned = try place.pins(context)
        let own = state.targets[target.name, default: TargetState()].snapshots
            .filter { $0.job == job.name }
        let request = RetentionRequest(
            job: job, snapshots: own, pinned: pinned, now: parts.now(),
            forSpace: Self.removedAtATime)
        let candidates = parts.expired(request).filter { !pinned.contains($0) }
        guard !candidates.isEmpty else { return false }
        // What attempts have left is no snapshot's space.
        try place.cleanUp(context)
        var free = try place.space(context)?.free
        for id in candidates {
            try context.cancellation.check()
            context.warn("it is full, and snapshot \(id) is removed for space")
            context.progress(Progress(.pruning))
            try place.remove(id, context)
            removed.append(id)
            state.update(target: target.name) { $0.snapshots.removeAll { $0.id == id } }
            try state.save(run.folder)
            // In an archive only this gives space back.
            try place.cleanUp(context)
            let now = try place.space(context)?.free
            if let free, let now, now <= free {
                context.warn("that has made no space, so the other snapshots stay")
                return false
            }
            free = now
        }
        return true
    }
}
