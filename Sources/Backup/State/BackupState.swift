// The memory of the backup: one small file that is replaced as a whole. Not in the database: a
// database that nobody changed must stay unchanged, so that its backup costs nothing.

internal import Foundation
internal import Glibc

/// What is remembered of all jobs and targets.
struct BackupState: Codable, Sendable, Equatable {
    static let currentFormat = 1
    /// Bytes of the file at most.
    static let longest = 8 << 20
    /// Jobs and targets that are remembered, those that are configured no more among them.
    static let mostNames = 64

    var format = Self.currentFormat
    var jobs: [String: JobState] = [:]
    var targets: [String: TargetState] = [:]

    /// Reads it. A damaged file is set aside, and a new one begun: a backup that does not run is
    /// worse than one that has forgotten.
    static func load(
        _ folder: BackupFolder, warn: (String) -> Void
    ) throws(BackupError) -> BackupState {
        let bytes: [UInt8]?
        do {
            bytes = try Files.read(folder.state, limit: longest)
        } catch {
            guard error.code == .damaged else { throw error }
            return setAside(folder, warn: warn)
        }
        guard let bytes else { return BackupState() }
        guard let state = try? JSONDecoder().decode(BackupState.self, from: Data(bytes)),
            state.format == currentFormat
        else { return setAside(folder, warn: warn) }
        return state
    }

    /// Reads it without touching it, for those who only look.
    static func peek(_ folder: BackupFolder) throws(BackupError) -> BackupState {
        guard let bytes = try Files.read(folder.state, limit: longest) else {
            return BackupState()
        }
        guard let state = try? JSONDecoder().decode(BackupState.self, from: Data(bytes)),
            state.format == currentFormat
        else { throw BackupError(.damaged, subject: folder.state, "it cannot be read") }
        return state
    }

    private static func setAside(_ folder: BackupFolder, warn: (String) -> Void) -> BackupState {
        let place = folder.state + ".damaged"
        _ = rename(folder.state, place)
        warn("\(folder.state) was damaged and is now \(place); history and counters begin anew")
        return BackupState()
    }

    /// Writes it; it is there whole or as it was, whatever happens.
    func save(_ folder: BackupFolder) throws(BackupError) {
        var bounded = self
        bounded.bound()
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let data = try? encoder.encode(bounded) else {
            throw BackupError(.permanent, subject: folder.state, "it cannot be written as JSON")
        }
        try Files.replace(folder.state, Array(data), mode: 0o600)
    }

    /// Cuts what grows.
    private mutating func bound() {
        for name in targets.keys {
            guard let count = targets[name]?.snapshots.count, count > TargetState.snapshotLimit
            else { continue }
            targets[name]?.snapshots.removeFirst(count - TargetState.snapshotLimit)
        }
        for (name, target) in targets where (target.jobs?.count ?? 0) > Self.mostNames {
            targets[name]?.jobs = target.jobs?.filter { jobs[$0.key] != nil }
        }
        for name in jobs.keys {
            guard let count = jobs[name]?.history.count, count > JobState.historyLength else {
                continue
            }
            jobs[name]?.history.removeFirst(count - JobState.historyLength)
        }
        let oldJobs = jobs.sorted { ($0.value.lastAttempt ?? 0) > ($1.value.lastAttempt ?? 0) }
        for (name, _) in oldJobs.dropFirst(Self.mostNames) { jobs[name] = nil }
        let oldTargets = targets.sorted { ($0.value.lastSeen ?? 0) > ($1.value.lastSeen ?? 0) }
        for (name, _) in oldTargets.dropFirst(Self.mostNames) { targets[name] = nil }
    }

    /// Changes a job's part.
    mutating func update(job name: String, _ change: (inout JobState) -> Void) {
        change(&jobs[name, default: JobState()])
    }

    /// Changes a target's part.
    mutating func update(target name: String, _ change: (inout TargetState) -> Void) {
        change(&targets[name, default: TargetState()])
    }

    /// Notes that something in a snapshot is damaged.
    mutating func noteDamage(of id: SnapshotID, on target: String) {
        update(target: target) { record in
            guard let index = record.snapshots.firstIndex(where: { $0.id == id }) else { return }
            record.snapshots[index].isDamaged = true
            record.snapshots[index].verified = nil
        }
    }

    /// What is remembered of a job on a target.
    func job(_ job: String, on target: String) -> JobOnTarget {
        targets[target]?.jobs?[job] ?? JobOnTarget()
    }

    /// What is proven of a job on all of these targets.
    func proof(of job: String, on targets: [String]) -> JobProof {
        let records = targets.compactMap { self.targets[$0]?.jobs?[job] }
        let isTested = records.contains { $0.restoreTest != nil }
        return JobProof(
            verified: records.compactMap(\.verified).min(),
            pruned: records.compactMap(\.pruned).min(),
            restoreTest: isTested
                ? records.compactMap { $0.restoreTest ?? $0.firstStored }.min() : nil)
    }

    /// Changes that.
    mutating func update(
        job: String, on target: String, _ change: (inout JobOnTarget) -> Void
    ) {
        var record = self.job(job, on: target)
        change(&record)
        targets[target, default: TargetState()].jobs = (targets[target]?.jobs ?? [:])
            .merging([job: record]) { $1 }
    }
}

/// Which installation this is: made once.
enum InstanceName {
    /// 32 hexadecimal digits. The first one follows from the recovery key: an installation that has
    /// lost what it knew of its backups goes on with its own snapshots.
    static func load(_ folder: BackupFolder, key: RecoveryKey) throws(BackupError) -> String {
        if let bytes = try Files.read(folder.instance, limit: 64) {
            let text = String(decoding: bytes.prefix { $0 != 0x0A }, as: UTF8.self)
            if ManifestFile.isInstance(text) { return text }
            throw BackupError(
                .damaged, subject: folder.instance, "this is not an installation's name",
                advice: "remove the file; the next run makes it anew")
        }
        let text = key.firstInstance
        try Files.replace(folder.instance, Array((text + "\n").utf8), mode: 0o600)
        return text
    }
}
