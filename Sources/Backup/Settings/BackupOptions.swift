// The options below `backup`. Jobs and targets can be changed while the server runs.

public import Options

/// The declared options of the backup.
public struct BackupOptions: Sendable {
    /// Targets as they are written.
    public let targets: Setting<[ConfigurationRecord]>
    /// Jobs as they are written.
    public let jobs: Setting<[ConfigurationRecord]>
    /// So long after its start the server makes up for no missed run.
    public let startDelay: Setting<Duration>

    static let targetsKey = "backup.targets"
    static let jobsKey = "backup.jobs"

    /// Declares the options.
    public init(_ options: OptionSet) {
        options.section(
            "backup",
            help: "Copies of everything, on another disk or machine. Without any of this, kinglet "
                + "backup run copies into backups in the data directory, which does not protect "
                + "from the death of the disk.")
        targets = options.records(
            Self.targetsKey, fields: Self.targetFields, maximumCount: 16, reloadable: true,
            example: """
                - name: usb
                  location: /mnt/backup/kinglet
                  uuid: 0f3c1a52-7a2b-4a1e-9a57-2d1f6b2c9e10
                - name: nas
                  location: ssh://backup@nas.lan/srv/kinglet
                - name: cloud
                  location: rclone:remote:kinglet
                """,
            help: "Places for backups. None given: one named local, backups in the data directory.")
        jobs = options.records(
            Self.jobsKey, fields: Self.jobFields, maximumCount: 16, reloadable: true,
            example: """
                - name: nightly
                  schedule: "30 3 * * *"
                  targets: [usb, nas]
                  keep_daily: 14
                - name: weekly
                  schedule: "Sun 05:00"
                  targets: [cloud]
                  bandwidth: 1MiB
                """,
            help: "What is copied when, to where, and how long it is kept.")
        startDelay = options.duration(
            "backup.start_delay", default: .seconds(180), in: .zero...(.seconds(3600)),
            reloadable: true,
            help: "So long after the start of the server nothing is caught up.")
        options.judgeRecords([Self.targetsKey, Self.jobsKey]) { records in
            Self.problems(
                targets: records[Self.targetsKey] ?? [], jobs: records[Self.jobsKey] ?? [])
        }
    }

    /// What they say now.
    public func settings(dataDirectory: String) -> BackupSettings {
        BackupSettings(
            targets: targets.value.compactMap(Self.target), jobs: jobs.value.compactMap(Self.job),
            dataDirectory: dataDirectory)
    }

    private static let counts = RecordField.Content.integer(0...10_000)

    static let targetFields = [
        RecordField(
            name: "name", required: true,
            help: "Its name: small letters, digits, _ and -, 32 at most."),
        RecordField(
            name: "location", required: true,
            help: "/folder, ssh://user@host[:port]/path, rsync://[user@]host[:port]/module[/path] "
                + "or rclone:remote:path."),
        RecordField(
            name: "uuid",
            help: "The UUID of the disk that the folder is on (lsblk -f); another disk, or none, "
                + "is not written to."),
        RecordField(
            name: "encrypt", content: .boolean,
            help: "Encrypt everything. rclone remotes and disks without hard links always are."),
        RecordField(
            name: "password_file", help: "File with the password for an rsync daemon, mode 0600."),
        RecordField(
            name: "rclone_config",
            help: "The configuration file of rclone. None: its own of the server's user."),
        RecordField(
            name: "allow_same_medium", content: .boolean,
            help:
                "Its owner knows that it lies on the disk of the data: the chat and the alert are "
                + "silent about it; each run and status say so all the same."),
    ]

    static let jobFields = [
        RecordField(
            name: "name", required: true,
            help: "Its name: small letters, digits, _ and -, 32 at most."),
        RecordField(
            name: "schedule",
            help: "When it runs: cron (30 3 * * *, @daily) or OnCalendar (Mon..Fri 03:30). None: "
                + "only by hand."),
        RecordField(
            name: "time_zone", help: "Of the schedule, such as Europe/Berlin. None: the machine's."
        ),
        RecordField(
            name: "jitter", content: .duration(.zero...(.seconds(86_400))),
            help: "It begins up to so much later, always by the same time; 0s unless set."),
        RecordField(name: "targets", list: true, help: "Names of targets. None: all of them."),
        RecordField(
            name: "extra", list: true, help: "Further folders and files, absolute paths."),
        RecordField(
            name: "exclude", list: true,
            help: "Patterns of what to leave out of extra, such as *.tmp."),
        RecordField(name: "keep_last", content: counts, help: "The newest; 3 unless set."),
        RecordField(name: "keep_hourly", content: counts, help: "One of each hour; 0 unless set."),
        RecordField(name: "keep_daily", content: counts, help: "One of each day; 7 unless set."),
        RecordField(name: "keep_weekly", content: counts, help: "One of each week; 4 unless set."),
        RecordField(
            name: "keep_monthly", content: counts, help: "One of each month; 6 unless set."),
        RecordField(name: "keep_yearly", content: counts, help: "One of each year; 0 unless set."),
        RecordField(
            name: "keep_within", content: .duration(.zero...(.seconds(36_500 * 86_400))),
            help: "All that are younger."),
        RecordField(
            name: "verify",
            help: "The share of all files that each run reads back, such as 1/30, besides the new "
                + "ones; all or none. 1/30 unless set."),
        RecordField(
            name: "test_restore",
            help: "How often a restore is tested: a period, a schedule or never; 7d unless set."),
        RecordField(
            name: "bandwidth", content: .size(1024...(1 << 40)),
            help: "Bytes a second at most, such as 2MiB; no limit unless set."),
        RecordField(
            name: "windows", list: true,
            help: "When it may run, such as 01:00-06:00. None: always."),
        RecordField(
            name: "before",
            help: "Shell command before the run; when it fails, the run does not begin."),
        RecordField(name: "after", help: "Shell command after the run."),
        RecordField(
            name: "ping", secret: true,
            help: "URL that hears of each run (healthchecks.io or Uptime Kuma)."),
        RecordField(
            name: "max_time", content: .duration(.seconds(60)...(.seconds(30 * 86_400))),
            help: "A run that takes longer is ended; 6h unless set."),
        RecordField(
            name: "max_delete",
            help: "More files may not have vanished since the last run: a share of each source "
                + "(ten always may), or a number for all; 20% unless set."),
        RecordField(
            name: "when_full", content: .choice(FullTarget.allCases.map(\.rawValue)),
            help: "On a full target: fail, or remove_oldest, a few at a time and never below two "
                + "that were verified; fail unless set."),
        RecordField(
            name: "report", content: .choice(BackupReport.allCases.map(\.rawValue)),
            help: "What administrators hear in the chat; failures unless set."),
    ]
}
