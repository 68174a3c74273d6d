// What Prometheus sees: known values only, the same after a restart.

import Prometheus
import Testing

@testable import Backup

@Suite("The metrics of the backup")
struct BackupMetricsTests {
    private func page(
        _ settings: BackupSettings, _ state: BackupState,
        _ live: [String: BackupMetrics.Live] = [:]
    ) -> String {
        let registry = Registry()
        registry.collect(BackupMetrics.families) { sink in
            BackupMetrics(settings: settings, state: state, live: live).render(into: &sink)
        }
        return String(decoding: registry.render(.text004), as: UTF8.self)
            .split(separator: "\n").filter { !$0.hasPrefix("#") }.joined(separator: "\n")
    }

    private let none = BackupSettings(targets: [], jobs: [], dataDirectory: "/d")

    private let nightly = BackupSettings(
        targets: [TargetSettings(name: "disk", location: .folder("/disk"))],
        jobs: [JobSettings(name: "nightly")], dataDirectory: "/d")

    @Test("Without a job and without a run there is nothing")
    func nothing() {
        #expect(page(none, BackupState()).isEmpty)
    }

    @Test("A job that never ran says when it will, and counts from 0")
    func neverRan() {
        let settings = BackupSettings(
            targets: [], jobs: [JobSettings(name: "nightly")], dataDirectory: "/d")
        let live = BackupMetrics.Live(nextRun: 1000, period: 86_400, testPeriod: 604_800)
        #expect(
            page(settings, BackupState(), ["nightly": live]) == """
                kinglet_backup_next_run_timestamp_seconds{backup="nightly"} 1000
                kinglet_backup_period_seconds{backup="nightly"} 86400
                kinglet_backup_restore_test_failures_total{backup="nightly"} 0
                kinglet_backup_restore_test_period_seconds{backup="nightly"} 604800
                kinglet_backup_retries_total{backup="nightly"} 0
                kinglet_backup_running{backup="nightly"} 0
                kinglet_backup_runs_total{backup="nightly",result="success"} 0
                kinglet_backup_runs_total{backup="nightly",result="warning"} 0
                kinglet_backup_runs_total{backup="nightly",result="failed"} 0
                kinglet_backup_runs_total{backup="nightly",result="skipped"} 0
                kinglet_backup_runs_total{backup="nightly",result="cancelled"} 0
                kinglet_backup_suspicious_total{backup="nightly"} 0
                kinglet_backup_transferred_bytes_total{backup="nightly"} 0
                kinglet_backup_verify_failures_total{backup="nightly"} 0
                """)
    }

    @Test("A job that ran says everything, under the names that dashboards and alerts use")
    func ran() throws {
        let run = try PlayedRun()
        _ = try run.perform()
        run.targets[0].failures[.open] = BackupError(.absent, subject: "disk", "away")
        _ = try run.perform()
        var state = try run.state
        // What depends on the clock of this machine.
        state.update(job: "nightly") { job in
            job.lastDuration = 2
            job.databaseDuration = 0.5
            job.durations = DurationCounts()
            job.durations.observe(0.5)
            job.durations.observe(2)
        }
        #expect(
            page(nightly, state) == """
                kinglet_backup_changed_files{backup="nightly"} 2
                kinglet_backup_database_copy_duration_seconds{backup="nightly"} 0.5
                kinglet_backup_database_wal_bytes{backup="nightly"} 4096
                kinglet_backup_deleted_files{backup="nightly"} 0
                kinglet_backup_duration_seconds{backup="nightly"} 2
                kinglet_backup_last_attempt_timestamp_seconds{backup="nightly"} 1800172800
                kinglet_backup_last_literal_bytes{backup="nightly"} 0
                kinglet_backup_last_matched_bytes{backup="nightly"} 0
                kinglet_backup_last_result{backup="nightly",result="success"} 0
                kinglet_backup_last_result{backup="nightly",result="warning"} 0
                kinglet_backup_last_result{backup="nightly",result="failed"} 0
                kinglet_backup_last_result{backup="nightly",result="skipped"} 1
                kinglet_backup_last_result{backup="nightly",result="cancelled"} 0
                kinglet_backup_last_success_timestamp_seconds{backup="nightly"} 1800086400
                kinglet_backup_last_transferred_bytes{backup="nightly"} 30
                kinglet_backup_protected{backup="nightly"} 1
                kinglet_backup_prune_last_success_timestamp_seconds{backup="nightly"} 1800086400
                kinglet_backup_prune_possible{backup="nightly"} 1
                kinglet_backup_restore_test_failures_total{backup="nightly"} 0
                kinglet_backup_retries_total{backup="nightly"} 0
                kinglet_backup_rsync_exit_code{backup="nightly"} 0
                kinglet_backup_run_duration_seconds_bucket{backup="nightly",le="1.0"} 1
                kinglet_backup_run_duration_seconds_bucket{backup="nightly",le="5.0"} 2
                kinglet_backup_run_duration_seconds_bucket{backup="nightly",le="15.0"} 2
                kinglet_backup_run_duration_seconds_bucket{backup="nightly",le="60.0"} 2
                kinglet_backup_run_duration_seconds_bucket{backup="nightly",le="300.0"} 2
                kinglet_backup_run_duration_seconds_bucket{backup="nightly",le="900.0"} 2
                kinglet_backup_run_duration_seconds_bucket{backup="nightly",le="3600.0"} 2
                kinglet_backup_run_duration_seconds_bucket{backup="nightly",le="10800.0"} 2
                kinglet_backup_run_duration_seconds_bucket{backup="nightly",le="43200.0"} 2
                kinglet_backup_run_duration_seconds_bucket{backup="nightly",le="+Inf"} 2
                kinglet_backup_run_duration_seconds_sum{backup="nightly"} 2.5
                kinglet_backup_run_duration_seconds_count{backup="nightly"} 2
                kinglet_backup_runs_total{backup="nightly",result="success"} 1
                kinglet_backup_runs_total{backup="nightly",result="warning"} 0
                kinglet_backup_runs_total{backup="nightly",result="failed"} 0
                kinglet_backup_runs_total{backup="nightly",result="skipped"} 1
                kinglet_backup_runs_total{backup="nightly",result="cancelled"} 0
                kinglet_backup_snapshot_oldest_timestamp_seconds{backup="nightly"} 1800086400
                kinglet_backup_snapshots{backup="nightly"} 1
                kinglet_backup_source_bytes{backup="nightly"} 30
                kinglet_backup_source_files{backup="nightly"} 2
                kinglet_backup_suspicious_total{backup="nightly"} 0
                kinglet_backup_target_available{backup="nightly",target="disk"} 0
                kinglet_backup_target_free_bytes{backup="nightly",target="disk"} 600
                kinglet_backup_target_size_bytes{backup="nightly",target="disk"} 1000
                kinglet_backup_transferred_bytes_total{backup="nightly"} 30
                kinglet_backup_verified_ratio{backup="nightly"} 1
                kinglet_backup_verify_failures_total{backup="nightly"} 0
                kinglet_backup_verify_last_success_timestamp_seconds{backup="nightly"} 1800086400
                """)
    }

    @Test("Counts from a file that cannot be right do not break the page")
    func damagedCounts() {
        var state = BackupState()
        state.update(job: "a") { job in
            job.lastDuration = .nan
            job.durations.counts = [1]
            job.durations.sum = -1
        }
        let settings = BackupSettings(
            targets: [], jobs: [JobSettings(name: "a")], dataDirectory: "/d")
        #expect(!page(settings, state).contains("duration"))
    }

    @Test("Of a job that is not configured any more nothing is shown")
    func removed() {
        var state = BackupState()
        state.update(job: "default") { $0.isProtected = false }
        #expect(page(none, state).contains("kinglet_backup_protected{backup=\"default\"} 0"))
        #expect(!page(nightly, state).contains("default"), "it was there before jobs were")
        state.update(job: "old") { $0.isProtected = false }
        #expect(!page(none, state).contains("old"))
    }

    @Test("No alert comes where the owner allowed the medium of the data")
    func sameMedium() {
        var target = TargetSettings(name: "disk", location: .folder("/disk"))
        target.allowsSameMedium = true
        let settings = BackupSettings(
            targets: [target], jobs: [JobSettings(name: "nightly")], dataDirectory: "/d")
        var state = BackupState()
        state.update(job: "nightly") { $0.isProtected = false }
        #expect(page(nightly, state).contains("protected{backup=\"nightly\"} 0"))
        #expect(!page(settings, state).contains("protected"))
        state.update(job: "nightly") { $0.isProtected = true }
        #expect(page(settings, state).contains("protected{backup=\"nightly\"} 1"))
    }

    @Test("Where this machine may only add, that is said")
    func appendOnly() {
        var state = BackupState()
        state.update(target: "disk") { $0.canRemove = false }
        #expect(page(nightly, state).contains("prune_possible{backup=\"nightly\"} 0"))
    }
}
