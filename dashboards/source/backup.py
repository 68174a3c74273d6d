"""Backup: is there one, is it proved, what did it move, and is there room for the next."""

from grafana import dashboard, graph, rate, stat, states, total
from limits import (
    BACKUP_AGE, BACKUP_CHECK_AGE, BACKUP_FAULTS, BACKUP_FILES_LEFT, BACKUP_KEY, BACKUP_LENGTH,
    BACKUP_MOVED, BACKUP_PROTECTED, BACKUP_PRUNE_AGE, BACKUP_RESULT, BACKUP_SPACE,
    BACKUP_SPACE_LATER, BACKUP_SUSPICIOUS, BACKUP_TARGET, BACKUP_TEST_AGE, BACKUP_TEST_FAULTS,
)

OF = "kinglet_backup_"
NO_JOB = "No backup job is configured, or none has run yet"
NO_TEST = "No test restore yet"
NO_CHECK = "Nothing was checked yet"
NO_SPACE = "The targets do not tell their space"
NO_RUN = "No run in this time"

NOW = [
    stat("Age", "The time since the last run that worked, beside the time between two runs. Up to "
         "1 is normal; what was written since would be lost with the disk.", "none", "backup",
         {"{{backup}}": f"(time() - {OF}last_success_timestamp_seconds) / {OF}period_seconds"},
         limits=BACKUP_AGE, absent=NO_JOB, decimals=1),
    stat("Last success", "When the last run that worked ended.", "dateTimeFromNow", "backup",
         {"{{backup}}": f"1000 * {OF}last_success_timestamp_seconds"}, absent=NO_JOB),
    stat("Next run", "When the next run is due. It waits for a right clock, a cool machine and "
         "mains power.", "dateTimeFromNow", "backup",
         {"{{backup}}": f"1000 * {OF}next_run_timestamp_seconds"}, absent=NO_JOB),
    stat("Protects from a dead card", "Whether a snapshot is on another medium than the data. No: "
         "both die together.", "bool_yes_no", "backup", {"{{backup}}": f"{OF}protected"},
         limits=BACKUP_PROTECTED, absent=NO_JOB),
    stat("Recovery key", "Whether secrets/backup.key is there. Without it nothing can be made or "
         "checked. Print it: a dead card takes this one with it.", "bool_yes_no", "backup",
         {"there": f"{OF}key_available"}, limits=BACKUP_KEY, absent=NO_JOB),
    stat("Running", "Whether a run is at work, and how far it is.", "percentunit", "backup",
         {"{{backup}}": f"{OF}progress_ratio and {OF}running == 1"}, absent="No run now"),
]

RUNS = [
    states("Last result", "How the last run ended: success, or success with a warning; skipped when "
           "the target was not there; failed. Retries come 5, 20 and 60 minutes after a failure.",
           "bool_yes_no", "backup", {"{{backup}} {{result}}": f"{OF}last_result == 1"},
           absent=NO_JOB, width=12),
    states("Failed", "Whether the last run failed. For long: the log and kinglet backup list say "
           "why.", "bool_yes_no", "backup",
           {"{{backup}}": f'{OF}last_result{{result="failed"}}'}, limits=BACKUP_RESULT,
           absent=NO_JOB, width=12),
    graph("Duration", "How long the runs took. It grows with what changed, not with what is there.",
          "s", "backup", {
              "{{backup}}": f"{OF}duration_seconds",
              "{{backup}} mean": f"{total(f'{OF}run_duration_seconds_sum', 'backup')} "
              f"/ {total(f'{OF}run_duration_seconds_count', 'backup')}",
              "{{backup}} database": f"{OF}database_copy_duration_seconds"}, absent=NO_JOB),
    graph("Time of the running one", "While a run is at work: its time so far, beside the time that "
          "the last one took (at least a quarter of an hour). Above 4 it hangs.", "none", "backup",
          {"{{backup}}": f"(time() - {OF}last_attempt_timestamp_seconds) "
           f"/ clamp_min({OF}duration_seconds, 900) and {OF}running == 1"}, limits=BACKUP_LENGTH,
          absent=NO_RUN),
    graph("Runs", "Runs by their result, within a day.", "short", "backup",
          {"{{backup}} {{result}}": f"increase({OF}runs_total[1d]) > 0"}, absent=NO_RUN),
    graph("Retries and missed runs", "Runs that tried again after a failure, and runs whose time "
          "passed while the machine was off, within a day. One run makes up for all missed ones.",
          "short", "backup", {
              "{{backup}} retries": f"increase({OF}retries_total[1d])",
              "{{backup}} missed": f"increase({OF}missed_runs_total[1d])"}, absent=NO_JOB),
    graph("Exit status of rsync", "0 is well. 23: some files could not be read; 12, 30 and 255: the "
          "connection. kinglet backup list says it in words.", "short", "backup",
          {"{{backup}}": f"{OF}rsync_exit_code"}, absent="rsync has not run"),
    states("Clock", "Whether the clock was right when a run was due. Without a right clock none "
           "begins.", "bool_yes_no", "clock", {"right": f"{OF}clock_synchronised"},
           absent="The clock's state is not known"),
]

PROOF = [
    stat("Checked", "Days since stored files were last read back without a fault. A share of them "
         "is, in each run.", "d", "backup",
         {"{{backup}}": f"(time() - {OF}verify_last_success_timestamp_seconds) / 86400"},
         limits=BACKUP_CHECK_AGE, absent=NO_CHECK, decimals=1),
    stat("Checked within a month", "The part of what is stored that was read back within 30 days.",
         "percentunit", "backup", {"{{backup}}": f"{OF}verified_ratio"}, absent=NO_CHECK),
    stat("Faults found", "Checks within a day that found files that are not what was stored.",
         "short", "backup", {"{{backup}}": f"increase({OF}verify_failures_total[1d])"},
         limits=BACKUP_FAULTS, absent=NO_CHECK, decimals=0),
    stat("Test restore", "Days since a snapshot was last restored, a server started on it, and "
         "somebody logged in and read history.", "d", "backup",
         {"{{backup}}": f"(time() - {OF}restore_test_last_success_timestamp_seconds) / 86400"},
         limits=BACKUP_TEST_AGE, absent=NO_TEST, decimals=1),
    stat("Failed test restores", "Test restores that failed within a day.", "short", "backup",
         {"{{backup}}": f"increase({OF}restore_test_failures_total[1d])"},
         limits=BACKUP_TEST_FAULTS, absent=NO_TEST, decimals=0),
    stat("A restore takes", "How long the last test restore took: what a dead card would cost, "
         "beside the time to find a new one.", "s", "recovery",
         {"{{backup}}": f"{OF}restore_test_duration_seconds"}, absent=NO_TEST),
]

CONTENT = [
    graph("Files", "Files in the newest snapshot.", "short", "backup",
          {"{{backup}}": f"{OF}source_files"}, absent=NO_JOB),
    graph("Size", "Bytes in the newest snapshot; a full restore needs as much. Beside it the "
          "database's log when its last copy began.", "bytes", "backup", {
              "{{backup}}": f"{OF}source_bytes",
              "{{backup}} log": f"{OF}database_wal_bytes"}, absent=NO_JOB),
    graph("Files left of last week's", "The files of the newest snapshot, beside the most within a "
          "week. A fifth fewer is worth a look: who removed them?", "percentunit", "backup",
          {"{{backup}}": f"{OF}source_files / max_over_time({OF}source_files[7d])"},
          limits=BACKUP_FILES_LEFT, absent=NO_JOB),
    graph("Changes", "Files that were new or changed in the last run, and files that were gone. A "
          "sudden peak may be a mistake, or somebody who encrypts your files.", "short", "backup", {
              "{{backup}} changed": f"{OF}changed_files",
              "{{backup}} gone": f"{OF}deleted_files"}, absent=NO_JOB),
    graph("Suspicious runs", "Runs within a day that saw far more vanish or change than usual.",
          "short", "backup", {"{{backup}}": f"increase({OF}suspicious_total[1d])"},
          limits=BACKUP_SUSPICIOUS, absent=NO_JOB),
    graph("Moved by the last run", "Bytes that went to the targets, those of content among them, "
          "and those that the targets had already.", "bytes", "backup", {
              "{{backup}} sent": f"{OF}last_transferred_bytes",
              "{{backup}} content": f"{OF}last_literal_bytes",
              "{{backup}} there already": f"{OF}last_matched_bytes"}, absent=NO_JOB),
    graph("Sent", "Bytes a second that go to the targets. Nothing for a week, though messages "
          "came, is not right.", "Bps", "backup",
          {"{{backup}}": rate(f"{OF}transferred_bytes_total")}, absent=NO_JOB),
    graph("Sent within a week", "Bytes that went to the targets in seven days.", "bytes", "backup",
          {"{{backup}}": f"{OF}transferred_bytes_total "
           f"- {OF}transferred_bytes_total offset 7d"}, limits=BACKUP_MOVED,
          absent="There is no week ago"),
]

TARGETS = [
    states("Targets", "Whether each target was there when it was last looked for.", "bool_yes_no",
           "backup", {"{{backup}} {{target}}": f"{OF}target_available"}, limits=BACKUP_TARGET,
           absent=NO_JOB),
    graph("Space left", "The part of each target that is free.", "percentunit", "backup",
          {"{{backup}} {{target}}": f"{OF}target_free_bytes / {OF}target_size_bytes"},
          limits=BACKUP_SPACE, bounds=(0, 1), absent=NO_SPACE),
    graph("Space in two weeks", "What will be free in 14 days if it goes on like the last three. "
          "Below 0: full by then, unless old snapshots are pruned.", "bytes", "backup",
          {"{{backup}} {{target}}": f"predict_linear({OF}target_free_bytes[3d], 14 * 86400)"},
          limits=BACKUP_SPACE_LATER, absent=NO_SPACE),
    graph("Snapshots", "Snapshots that can be restored, on all targets of the job.", "short",
          "backup", {"{{backup}}": f"{OF}snapshots"}, absent=NO_JOB),
    graph("Oldest snapshot", "How far back you can go.", "s", "backup",
          {"{{backup}}": f"time() - {OF}snapshot_oldest_timestamp_seconds"}, absent=NO_JOB),
    stat("Pruned", "Days since old snapshots could last be removed.", "d", "backup",
         {"{{backup}}": f"(time() - {OF}prune_last_success_timestamp_seconds) / 86400"},
         limits=BACKUP_PRUNE_AGE, absent=NO_JOB, decimals=1, width=8, height=8),
]

BACKUP = dashboard(
    "kinglet-backup", "Kinglet: backup",
    "Is there a backup, does it restore, and is there room for the next? Green is well.",
    {"": NOW, "Runs": RUNS, "Proof": PROOF, "What is in it": CONTENT, "Targets": TARGETS},
    start="now-30d", refresh="5m")
