// Removing snapshots where the key allows it: an empty folder is synchronised over one of theirs.

extension RsyncTarget {
    /// Removes a snapshot; one that is gone already is no failure.
    public func remove(_ id: SnapshotID, _ context: TargetContext) throws(BackupError) {
        guard !findings.isAppendOnly else {
            throw BackupError(
                .permanent, subject: name, "this machine's key may only add snapshots",
                advice: "prune on the other machine; `kinglet backup target add` says how")
        }
        let memory = try RsyncMemory(context.memory)
        // One that is cut off goes on with the next clean-up.
        try memory.noteBegun(id)
        let empty = try scratch("empty", context)
        // Without its manifest it is no snapshot, however the rest ends.
        try delete(["/\(id)/", "/\(id)/\(ManifestFile.name)"], from: empty, context)
        try delete(["/\(id)/", "/\(id)/**"], from: empty, context)
        try Files.remove(empty)
        manifests[id] = nil
        listed?.complete[id] = nil
        listed?.attempts.removeAll { $0 == id }
        try Files.remove(memory.path(of: id))
        try memory.forgetBegun(id)
    }

    /// Deletes what the patterns name, and nothing else.
    private func delete(
        _ patterns: [String], from empty: String, _ context: TargetContext
    ) throws(BackupError) {
        context.progress(Progress(.pruning))
        let outcome = try call(
            ["-r", "--delete"] + patterns.map { "--include=\($0)" } + ["--exclude=*"],
            [empty + "/", remote("")], timeout: 3600, context)
        if case .failure(let error) = outcome,
            error.message.contains("has been disabled on this server")
                || error.message.contains("refuse --delete")
        {
            findings.isAppendOnly = true
            try RsyncMemory(context.memory).remember(findings)
        }
        try accept(outcome, context)
    }

    /// Removes what runs that did not end have left.
    public func cleanUp(_ context: TargetContext) throws(BackupError) {
        guard canRemove else { return }
        _ = try snapshots(context)
        guard let listed else { return }
        if let newest = listed.complete.keys.max() {
            for id in listed.attempts where id < newest {
                try context.cancellation.check()
                try remove(id, context)
            }
        }
        try removeUseless(context)
        // Of a file that was sent whole they are gone; others are of use to the next attempt only.
        guard hasParts, self.listed?.attempts.isEmpty == true else { return }
        let empty = try scratch("empty", context)
        try delete(
            ["/\(Self.partsFolder)/", "/\(Self.partsFolder)/**"], from: empty, context)
        try Files.remove(empty)
        hasParts = false
    }

    /// Of the attempts since the last snapshot, all but the newest, with which another one would
    /// share nothing.
    func removeUseless(sharesNothing: Bool = false, _ context: TargetContext) throws(BackupError) {
        guard canRemove, let listed else { return }
        let useful = sharesNothing ? 0 : Self.mostAttempts
        do throws(BackupError) {
            for id in listed.attempts.dropLast(useful) {
                try context.cancellation.check()
                try remove(id, context)
            }
        } catch {
            // They stay for the next run to remove.
            if error.code == .cancelled { throw error }
            context.warn("\(error)")
        }
    }

    /// Attempts that are kept for their files.
    private static let mostAttempts = 2
}
