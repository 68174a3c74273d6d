// A target in memory, and steps of a run that do what a test tells them.

import Options
import Synchronization
import Testing

@testable import Backup

/// What a fake target does and what was done to it.
final class PlayedTarget: BackupTarget {
    /// What one of its calls throws.
    enum Step: String, CaseIterable {
        case open, snapshots, placeForDatabase, store, verify, publish, remove, cleanUp
    }

    let name: String
    let needsMD5 = false
    let software = ["rsync": "3.4.4"]
    var isOnSameMedium = false
    var canRemove = true
    /// The next call of that step fails so.
    var failures: [Step: BackupError] = [:]
    var manifests: [SnapshotID: Manifest] = [:]
    var lists: [SnapshotID: FileList] = [:]
    var removed: [SnapshotID] = []
    var pinned: Set<SnapshotID> = []
    /// Free space, and what a removal adds to it; nil for a target that does not tell.
    var free: Int64? = 600
    var growth: Int64 = 10
    /// Paths whose bytes are not what was stored.
    var damaged: Set<SnapshotPath> = []
    /// Snapshots whose manifest is damaged.
    var unreadable: Set<SnapshotID> = []
    var verified: [SnapshotPath] = []
    /// Of the last `store`.
    var hadPrevious: Bool?
    var sharedNothing: Bool?
    var excludes: [String]?

    init(_ name: String = "disk") { self.name = name }

    private func fail(_ step: Step) throws(BackupError) {
        if let failure = failures.removeValue(forKey: step) { throw failure }
    }

    func open(_ context: TargetContext, forWriting: Bool) throws(BackupError) { try fail(.open) }

    func snapshots(_ context: TargetContext) throws(BackupError) -> [SnapshotID] {
        try fail(.snapshots)
        return manifests.keys.sorted()
    }

    func manifest(of id: SnapshotID, _ context: TargetContext) throws(BackupError) -> Manifest {
        guard let manifest = manifests[id], !unreadable.contains(id) else {
            throw BackupError(.damaged, subject: "\(id)", "gone")
        }
        return manifest
    }

    func list(of manifest: Manifest, _ context: TargetContext) throws(BackupError) -> FileList {
        lists[manifest.id] ?? FileList([])
    }

    func placeForDatabase(
        of id: SnapshotID, _ context: TargetContext
    ) throws(BackupError) -> String? {
        try fail(.placeForDatabase)
        return nil
    }

    func store(
        _ snapshot: PreparedSnapshot, _ context: TargetContext,
        check: (Stored) throws(BackupError) -> Void
    ) throws(BackupError) -> TransferReport {
        try fail(.store)
        hadPrevious = snapshot.previous != nil
        sharedNothing = snapshot.sharesNothing
        excludes = snapshot.excludes
        let new = snapshot.list.entries.filter { snapshot.before($0.path) == nil }
        let manifest = snapshot.manifest
        try check(
            Stored(
                new: new,
                verify: { (entries) throws(BackupError) -> VerificationReport in
                    try self.verify(entries, of: manifest, context)
                }, folder: nil))
        try fail(.publish)
        manifests[manifest.id] = manifest
        lists[manifest.id] = snapshot.list
        var report = TransferReport()
        report.files = new.count
        report.bytesSent = new.reduce(0) { $0 + $1.size }
        report.exitStatus = 0
        return report
    }

    func verify(
        _ entries: [FileEntry], of manifest: Manifest, _ context: TargetContext
    ) throws(BackupError) -> VerificationReport {
        try fail(.verify)
        var report = VerificationReport()
        for entry in entries {
            report.files += 1
            verified.append(entry.path)
            if damaged.contains(entry.path) { report.add("\(entry.path) differs") }
        }
        return report
    }

    func fetch(
        _ entries: [FileEntry], of manifest: Manifest, into folder: String,
        _ context: TargetContext
    ) throws(BackupError) {}

    func remove(_ id: SnapshotID, _ context: TargetContext) throws(BackupError) {
        try fail(.remove)
        manifests[id] = nil
        removed.append(id)
        free = free.map { $0 + growth }
    }

    func cleanUp(_ context: TargetContext) throws(BackupError) { try fail(.cleanUp) }
    func pins(_ context: TargetContext) throws(BackupError) -> Set<SnapshotID> { pinned }
    func setPins(_ pins: Set<SnapshotID>, _ context: TargetContext) throws(BackupError) {
        pinned = pins
    }
    func space(_ context: TargetContext) throws(BackupError) -> TargetSpace? {
        free.map { TargetSpace(free: $0, total: 1000) }
    }
}

/// A run with fakes around it.
final class PlayedRun {
    let directory: RunFolder
    let folder: BackupFolder
    var job = JobSettings(name: "nightly")
    var targets: [PlayedTarget] = [PlayedTarget()]
    var clock: Int64 = 1_800_000_000
    var files: [String: Int64] = ["uploads/a": 10, "uploads/b": 20]
    var suspicion: String?
    var databaseFailure: BackupError?
    var hookFailures: [String: BackupError] = [:]
    var hooks: [HookRequest] = []
    var pings: [PingRequest] = []
    var expired: [SnapshotID] = []
    /// What may go for space, a few at a time.
    var removable: [SnapshotID] = []
    var isTestDue = false
    /// Seconds after which the next test is due; nil for `isTestDue`.
    var testPeriod: Int64?
    /// Targets, in order.
    var tested: [String] = []
    var testFailure: BackupError?
    var steps: [String] = []
    let cancellation = Cancellation()
    var acceptsChanges = false
    var onlyTarget: String?

    init() throws {
        directory = try RunFolder()
        folder = BackupFolder(dataDirectory: directory.path)
    }

    var state: BackupState {
        get throws { try BackupState.load(folder) { Issue.record("\($0)") } }
    }

    var proof: JobProof {
        get throws { try state.proof(of: job.name, on: targets.map(\.name)) }
    }

    var jobState: JobState { get throws { try #require(try state.jobs[job.name]) } }

    private var settings: BackupSettings {
        BackupSettings(
            targets: targets.map {
                TargetSettings(name: $0.name, location: .folder("/\($0.name)"))
            },
            jobs: [job], dataDirectory: directory.path)
    }

    private func entry(_ path: String, _ size: Int64) throws(BackupError) -> FileEntry {
        guard let path = SnapshotPath(path),
            let hash = ContentHash(
                (0..<32).map { UInt8(truncatingIfNeeded: size &* 31 &+ Int64($0)) })
        else { throw BackupError(.permanent, subject: path, "no path") }
        return FileEntry(
            path: path, kind: .file(size: size, hash: hash), mode: 0o600, modified: size)
    }

    private var parts: RunParts {
        RunParts(
            now: { self.clock }, random: { [UInt8](repeating: 7, count: $0) },
            key: { () throws(BackupError) -> RecoveryKey in
                RecoveryKey(secret: [UInt8](repeating: 1, count: 32))
            },
            software: { ["kinglet": "1"] }, domains: ["example.org"],
            target: { (settings) throws(BackupError) -> any BackupTarget in
                guard let target = self.targets.first(where: { $0.name == settings.name }) else {
                    throw BackupError(.permanent, subject: settings.name, "there is none")
                }
                return target
            },
            copyDatabase: { (request) throws(BackupError) -> DatabaseFound in
                self.steps.append("database")
                if let failure = self.databaseFailure { throw failure }
                return DatabaseFound(
                    databases: [], entries: [], sources: [], kept: [], copied: self.clock,
                    logBytes: 4096,
                    remember: { () throws(BackupError) in self.steps.append("remember") })
            },
            checkDatabase: { (_, _, _) throws(BackupError) in self.steps.append("check") },
            scan: { (_) throws(BackupError) -> ScanFound in
                self.steps.append("scan")
                var entries: [FileEntry] = []
                for (path, size) in self.files { entries.append(try self.entry(path, size)) }
                var found = ScanFound(entries: entries, sources: [])
                for (index, path) in self.job.extra.enumerated() {
                    found.extra["\(index + 1)"] = path
                }
                return found
            },
            secrets: { (_) throws(BackupError) -> (entry: FileEntry, place: String)? in nil },
            describeLists: { _ in [] },
            judge: { (request, context) throws(BackupError) -> Bool in
                guard let reason = self.suspicion else {
                    return try SuspicionGuard.judge(request, warn: context.warn)
                }
                throw BackupError(
                    .suspicious, subject: "disk", reason, advice: "type --accept-changes")
            },
            expired: { request in
                guard let count = request.forSpace else { return self.expired }
                defer { self.removable = Array(self.removable.dropFirst(count)) }
                return Array(self.removable.prefix(count))
            },
            hook: { (request) throws(BackupError) in
                self.steps.append(request.name)
                self.hooks.append(request)
                if let failure = self.hookFailures[request.name] { throw failure }
            },
            ping: { (request) throws(BackupError) in self.pings.append(request) },
            isTestDue: { _, last, now in
                self.testPeriod.map { period in last.map { now - $0 >= period } ?? true }
                    ?? self.isTestDue
            },
            testRestore: { (place, _, _) throws(BackupError) in
                self.tested.append(place.name)
                self.steps.append("test")
                if let failure = self.testFailure { throw failure }
            })
    }

    func perform() throws -> RunOutcome {
        clock += 86_400
        var run = BackupRun(
            settings: settings, job: job, folder: folder, parts: parts,
            cancellation: cancellation, progress: { _ in }, warn: { _ in })
        run.acceptsChanges = acceptsChanges
        run.onlyTarget = onlyTarget
        return try run.perform()
    }
}
