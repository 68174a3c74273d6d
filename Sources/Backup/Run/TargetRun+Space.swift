// Where the owner wants that, old snapshots go when there is no space for a new one.

extension TargetRun {
    /// Snapshots that are removed at a time: what is not removed is what may be needed.
    private static let removedAtATime = 3
    /// And so often in a run.
    static let mostRemovals = 4

    /// Whether a run that ended so may try again with fewer old snapshots.
    func wantsSpace(_ outcome: TargetOutcome) -> Bool {
        outcome.code == .full && outcome.snapshot == nil && job.whenFull == .removeOldest
    }

    /// Removes some; says which. None is an answer, too: nothing may go.
    func makeSpace(_ state: inout BackupState) throws(BackupError) -> [SnapshotID] {
        let place = try parts.target(target)
        try place.open(context, forWriting: true)
        guard place.canRemove else { return [] }
        let pinned = try place.pins(context)
        let own = state.targets[target.name, default: TargetState()].snapshots
            .filter { $0.job == job.name }
        let request = RetentionRequest(
            job: job, snapshots: own, pinned: pinned, now: parts.now(),
            forSpace: Self.removedAtATime)
        var removed: [SnapshotID] = []
        for id in parts.expired(request) where !pinned.contains(id) {
            try context.cancellation.check()
            context.warn("it is full, and snapshot \(id) is removed for space")
            context.progress(Progress(.pruning))
            try place.remove(id, context)
            removed.append(id)
            state.update(target: target.name) { $0.snapshots.removeAll { $0.id == id } }
        }
        // In an archive only this gives space back.
        if !removed.isEmpty { try place.cleanUp(context) }
        return removed
    }
}
