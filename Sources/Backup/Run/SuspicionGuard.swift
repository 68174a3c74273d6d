// What a run compares before it stores: the uploads and each path that the owner added, by
// themselves, so that a disk that is not mounted is not lost in the crowd.

/// Judges the changes of a run.
enum SuspicionGuard {
    /// Throws `suspicious` for what looks like a mistake; warns of what is unusual, and gives true.
    static func judge(
        _ request: SuspicionRequest, warn: (String) -> Void
    ) throws(BackupError) -> Bool {
        var limits = SuspicionLimits()
        switch request.job.maximumDeletions {
        case .share(let share): limits.vanished = share
        // The number stands in for the share; that all of a source vanishes is no number's matter.
        case .files: limits.vanished = 1
        }
        if case .files(let most) = request.job.maximumDeletions, request.deleted > most {
            throw BackupError(
                .suspicious, subject: "files",
                "\(request.deleted) have vanished, and max_delete is \(most)",
                advice: "if that is right, type `kinglet backup run \(request.job.name) "
                    + "--accept-changes`")
        }
        let before = counts(request.previous)
        let now = counts(request.list)
        for folder in before.keys.sorted() {
            guard let old = before[folder] else { continue }
            let change = SnapshotChange(
                previousFiles: old, files: now[folder] ?? 0,
                vanished: vanished(folder, request), changed: 0)
            let suspicion = Suspicion.judge(change, source: folder, limits: limits)
            if case .stop(let error) = suspicion { throw error }
        }
        let change = SnapshotChange(
            previousFiles: nil, files: request.list.entries.count, vanished: 0,
            changed: request.changed, changedBefore: request.history.map(\.changedFiles))
        guard case .warning(let sentence) = Suspicion.judge(change, source: "files") else {
            return false
        }
        warn(sentence)
        return true
    }

    /// Files by `uploads` or `extra/1`.
    private static func counts(_ list: FileList) -> [String: Int] {
        var counts: [String: Int] = [:]
        for entry in list.entries where entry.hash != nil {
            if let folder = folder(of: entry.path) { counts[folder, default: 0] += 1 }
        }
        return counts
    }

    private static func folder(of path: SnapshotPath) -> String? {
        if path.isBelow("uploads") { return "uploads" }
        guard path.isBelow("extra") else { return nil }
        return path.components.prefix(2).map { String(decoding: $0, as: UTF8.self) }
            .joined(separator: "/")
    }

    private static func vanished(_ folder: String, _ request: SuspicionRequest) -> Int {
        request.previous.entries.count { entry in
            entry.hash != nil && Self.folder(of: entry.path) == folder
                && request.list[entry.path] == nil
        }
    }
}
