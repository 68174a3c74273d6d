// What Prometheus sees of the backup. All of it comes from the state, so that it is the same after
// a restart, and what is not known is not there.

internal import Prometheus

/// Writes the metrics of the backup.
struct BackupMetrics {
    static let families: [FamilyDescription] = [
        gauge("last_success_timestamp_seconds", "When the last run that made snapshots began."),
        gauge("last_attempt_timestamp_seconds", "When the last run began."),
        gauge("last_result", "How the last run ended: 1 at its result, 0 at the others."),
        gauge("duration_seconds", "Time that the last run took."),
        FamilyDescription(
            name: prefix + "run_duration_seconds", kind: .histogram, help: "Time that runs took."),
        counter("runs_total", "Runs by how they ended."),
        counter("retries_total", "Runs that repeated one that failed."),
        gauge("source_files", "Files of the last snapshot."),
        gauge("source_bytes", "Bytes of the files of the last snapshot."),
        gauge("changed_files", "Files with new content in the last snapshot."),
        gauge("deleted_files", "Files that the last snapshot had no more."),
        gauge("last_transferred_bytes", "Bytes that the last run sent to its targets."),
        gauge("last_literal_bytes", "Bytes of content that the last run had to send."),
        gauge("last_matched_bytes", "Bytes of content that the targets had already."),
        counter("transferred_bytes_total", "Bytes that all runs sent to their targets."),
        gauge("snapshots", "Snapshots that are kept, on all targets."),
        gauge("snapshot_oldest_timestamp_seconds", "When the oldest snapshot was begun."),
        gauge("target_free_bytes", "Free space on a target."),
        gauge("target_size_bytes", "Space on a target."),
        gauge("target_available", "Whether the target was there at the last run."),
        gauge(
            "protected", "0 when all copies are on the medium of the data, and nobody allowed that."
        ),
        gauge("next_run_timestamp_seconds", "When the next run is due."),
        gauge("period_seconds", "Time between runs by the schedule."),
        counter("missed_runs_total", "Times of the schedule at which no run could begin."),
        gauge(
            "verify_last_success_timestamp_seconds",
            "When stored files were last proven good, on the target where that is longest ago."),
        counter("verify_failures_total", "Runs that found damage on a target."),
        gauge("verified_ratio", "Share of the files read back in the present turn of checks."),
        gauge(
            "restore_test_last_success_timestamp_seconds",
            "When a restore last worked, on the target where that is longest ago."),
        gauge("restore_test_period_seconds", "Time between tests of a restore."),
        gauge("restore_test_duration_seconds", "Time that the last test of a restore took."),
        counter("restore_test_failures_total", "Tests of a restore that failed."),
        gauge("database_copy_duration_seconds", "Time that the last copy of the database took."),
        gauge("database_wal_bytes", "Size of the database's log when its last copy began."),
        gauge("rsync_exit_code", "The last exit status of the program that sends files."),
        gauge("running", "Whether it runs now."),
        gauge("progress_ratio", "How far the present step of the run is."),
        gauge("key_available", "Whether the recovery key is there."),
        gauge("prune_possible", "0 when this machine may only add to all of the targets."),
        gauge(
            "prune_last_success_timestamp_seconds",
            "When old snapshots were last removed, on the target where that is longest ago."),
        counter("suspicious_total", "Runs in which far too much had vanished or changed."),
        gauge("clock_synchronised", "Whether the clock was right enough to plan by."),
    ]

    private static let prefix = "kinglet_backup_"

    private static func gauge(_ name: String, _ help: String) -> FamilyDescription {
        FamilyDescription(name: prefix + name, kind: .gauge, help: help)
    }

    private static func counter(_ name: String, _ help: String) -> FamilyDescription {
        FamilyDescription(name: prefix + name, kind: .counter, help: help)
    }

    /// What the running service knows of a job beyond the state.
    struct Live: Sendable {
        var nextRun: Int64?
        var period: Double?
        var testPeriod: Double?
        var missed: UInt64?
        var isRunning = false
        var progress: Double?
        var isClockSynchronised: Bool?
        var isKeyAvailable: Bool?
    }

    let settings: BackupSettings
    let state: BackupState
    let live: [String: Live]

    /// Every job that can run; the one that needs no configuration, once it has run. What is
    /// remembered of others is not shown: nothing could ever end an alert about them.
    func render(into sink: inout SampleSink) {
        for settings in settings.runnableJobs.sorted(by: { $0.name < $1.name }) {
            let name = settings.name
            guard !self.settings.jobs.isEmpty || state.jobs[name] != nil else { continue }
            let job = state.jobs[name] ?? JobState()
            var rows = Rows(name: name)
            fill(&rows, job, live[name])
            if job.isProtected == true || !self.settings.isSilentAboutMedium(settings) {
                rows.add("protected", job.isProtected)
            }
            fillTargets(&rows, settings, job)
            for row in rows.values { sink.add(row.name, labels: row.labels, value: row.value) }
            if job.lastDuration != nil {
                sink.addHistogram(
                    Self.prefix + "run_duration_seconds", labels: [("backup", name)],
                    bounds: DurationCounts.bounds, counts: job.durations.counts,
                    sum: job.durations.sum)
            }
        }
    }

    /// Samples of one job; what is nil is left out.
    private struct Rows {
        let name: String
        var values: [(name: String, labels: [(String, String)], value: Double)] = []

        mutating func add(
            _ metric: String, _ value: Double?, _ label: (String, String)? = nil
        ) {
            guard let value, value.isFinite else { return }
            values.append(
                (
                    BackupMetrics.prefix + metric, [("backup", name)] + (label.map { [$0] } ?? []),
                    value
                )
            )
        }
        mutating func add(_ metric: String, _ value: Int64?, _ label: (String, String)? = nil) {
            add(metric, value.map { Double($0) }, label)
        }
        mutating func add(_ metric: String, _ value: Int?, _ label: (String, String)? = nil) {
            add(metric, value.map { Double($0) }, label)
        }
        mutating func add(_ metric: String, _ value: UInt64?, _ label: (String, String)? = nil) {
            add(metric, value.map { Double($0) }, label)
        }
        mutating func add(_ metric: String, _ value: Bool?, _ label: (String, String)? = nil) {
            add(metric, value.map { $0 ? 1.0 : 0 }, label)
        }
    }

    private func fill(_ rows: inout Rows, _ job: JobState, _ live: Live?) {
        rows.add("next_run_timestamp_seconds", live?.nextRun)
        rows.add("period_seconds", live?.period)
        rows.add("missed_runs_total", live?.missed)
        rows.add("running", live?.isRunning)
        rows.add("progress_ratio", live?.progress)
        rows.add("clock_synchronised", live?.isClockSynchronised)
        rows.add("key_available", live?.isKeyAvailable)
        rows.add("last_success_timestamp_seconds", job.lastSuccess)
        rows.add("last_attempt_timestamp_seconds", job.lastAttempt)
        rows.add("duration_seconds", job.lastDuration)
        if let last = job.lastResult {
            for result in RunResult.allCases {
                rows.add("last_result", result == last, ("result", result.rawValue))
            }
        }
        for result in RunResult.allCases {
            rows.add("runs_total", job.runs[result.rawValue] ?? 0, ("result", result.rawValue))
        }
        rows.add("source_files", job.sourceFiles)
        rows.add("source_bytes", job.sourceBytes)
        rows.add("changed_files", job.changedFiles)
        rows.add("deleted_files", job.deletedFiles)
        rows.add("last_transferred_bytes", job.transfer?.bytesSent)
        rows.add("last_literal_bytes", job.transfer?.literalBytes)
        rows.add("last_matched_bytes", job.transfer?.matchedBytes)
        rows.add("restore_test_period_seconds", live?.testPeriod)
        rows.add("restore_test_duration_seconds", job.restoreTestDuration)
        rows.add("database_copy_duration_seconds", job.databaseDuration)
        rows.add("database_wal_bytes", job.databaseLogBytes)
        rows.add("rsync_exit_code", job.exitStatus)
        // From 0 on, or the first one would be no increase.
        rows.add("retries_total", job.retries)
        rows.add("transferred_bytes_total", job.transferredBytes)
        rows.add("verify_failures_total", job.verifyFailures)
        rows.add("restore_test_failures_total", job.restoreTestFailures)
        rows.add("suspicious_total", job.suspicious)
    }

    private func fillTargets(_ rows: inout Rows, _ settings: JobSettings, _ job: JobState) {
        let name = settings.name
        var snapshots: [SnapshotRecord] = []
        var ratio: Double?
        var canPrune: Bool?
        let names = self.settings.targets(of: settings).map(\.name)
        for target in names {
            guard let record = state.targets[target] else { continue }
            if let canRemove = record.canRemove { canPrune = canPrune == true || canRemove }
            let label = ("target", target)
            rows.add("target_free_bytes", record.space?.free, label)
            rows.add("target_size_bytes", record.space?.total, label)
            rows.add("target_available", record.isAvailable, label)
            snapshots += record.snapshots.filter { $0.job == name }
            if let turn = record.jobs?[name]?.turnRatio { ratio = min(ratio ?? 1, turn) }
        }
        rows.add("verified_ratio", ratio)
        let proof = state.proof(of: name, on: names)
        rows.add("verify_last_success_timestamp_seconds", proof.verified)
        rows.add("prune_last_success_timestamp_seconds", proof.pruned)
        rows.add("restore_test_last_success_timestamp_seconds", proof.restoreTest)
        rows.add("prune_possible", canPrune)
        guard job.lastAttempt != nil else { return }
        rows.add("snapshots", snapshots.count)
        rows.add("snapshot_oldest_timestamp_seconds", snapshots.map(\.id.time).min())
    }
}
