// What may be written below `backup`, and what is said of mistakes.

import Options
import Testing

@testable import Backup

@Suite("The configuration of the backup")
struct BackupOptionsTests {
    private func options(
        _ text: String
    ) throws -> (options: OptionSet, backup: BackupOptions) {
        let set = OptionSet(try ConfigurationDocument.parse(text, file: "kinglet.yaml"))
        return (set, BackupOptions(set))
    }

    private func mistakes(_ text: String) throws -> [String] {
        let (set, _) = try options(text)
        do throws(ConfigurationErrors) {
            try set.finish()
            return []
        } catch {
            return error.errors.map(\.description)
        }
    }

    @Test("Without anything there is a job that runs by hand, to the data directory")
    func nothing() throws {
        let (set, backup) = try options("")
        try set.finish()
        let settings = backup.settings(dataDirectory: "/data")
        #expect(settings.jobs.isEmpty)
        #expect(settings.runnableJobs == [JobSettings(name: "default")])
        let targets = settings.targets(of: settings.runnableJobs[0])
        #expect(targets == [TargetSettings(name: "local", location: .folder("/data/backups"))])
    }

    @Test("Every key has its value")
    func everything() throws {
        let (set, backup) = try options(
            """
            backup:
              targets:
                - name: usb
                  location: /mnt/usb
                  uuid: 1234-ABCD
                  encrypt: yes
                  allow_same_medium: true
                - {name: nas, location: "rsync://pi@nas/kinglet/pi", password_file: /etc/p}
              jobs:
                - name: nightly
                  schedule: "30 3 * * *"
                  time_zone: Europe/Berlin
                  jitter: 10m
                  targets: [usb, local]
                  extra: /etc/nginx
                  exclude: ["*.tmp"]
                  keep_last: 5
                  keep_hourly: 1
                  keep_daily: 2
                  keep_weekly: 3
                  keep_monthly: 0
                  keep_yearly: 9
                  keep_within: 3d
                  verify: 1/7
                  test_restore: 14d
                  bandwidth: 1MiB
                  windows: ["01:00-06:00"]
                  before: "true"
                  after: "true"
                  ping: https://hc-ping.com/x
                  max_time: 2h
                  max_delete: 10
                  report: weekly
            """)
        try set.finish()
        let settings = backup.settings(dataDirectory: "/data")
        let usb = settings.targets[0]
        #expect(usb.uuid == "1234-ABCD" && usb.encrypt == true && usb.allowsSameMedium)
        #expect(settings.targets[1].passwordFile == "/etc/p")
        let job = settings.jobs[0]
        #expect(settings.targets(of: job).map(\.name) == ["usb", "local"])
        #expect(job.schedule == "30 3 * * *" && job.timeZone == "Europe/Berlin")
        #expect(job.jitter == .seconds(600) && job.extra == ["/etc/nginx"])
        #expect(job.exclude == ["*.tmp"] && job.windows == ["01:00-06:00"])
        #expect(job.keep.last == 5 && job.keep.hourly == 1 && job.keep.daily == 2)
        #expect(job.keep.weekly == 3 && job.keep.monthly == 0 && job.keep.yearly == 9)
        #expect(job.keep.within == .seconds(3 * 86_400) && job.verify == 1.0 / 7)
        #expect(job.testRestore == .every(.seconds(14 * 86_400)) && job.bandwidth == 1 << 20)
        #expect(job.before == "true" && job.after == "true" && job.ping != nil)
        #expect(job.maximumTime == .seconds(7200) && job.maximumDeletions == .files(10))
        #expect(job.report == .weekly)
    }

    @Test(
        "A mistake is named with its line, its key and what was expected",
        arguments: [
            ("targets:\n    - {name: Usb, location: /mnt}", 3, "expected 1 to 32 of a-z"),
            (
                "targets:\n    - {name: a, location: /m}\n    - {name: a, location: /n}", 4,
                "there are two named a"
            ),
            ("targets:\n    - {name: a, location: mnt}", 3, "location: expected /folder"),
            ("targets:\n    - {name: a, location: /m, uuid: \"../x\"}", 3, "uuid: expected"),
            (
                "targets:\n    - {name: a, location: \"ssh://u@h/p\", password_file: /p}", 3,
                "only rsync:// takes one"
            ),
            (
                "targets:\n    - {name: a, location: /m, rclone_config: /c}", 3,
                "only rclone: takes one"
            ),
            (
                "targets:\n    - {name: a, location: \"rclone:r:p\", rclone_config: c}", 3,
                "rclone_config: expected an absolute path"
            ),
            (
                "targets:\n    - {name: a, location: \"rclone:r:p\", encrypt: no}", 3,
                "always encrypted"
            ),
            ("targets:\n    - {location: /mnt}", 3, "name is missing"),
            ("jobs:\n    - {name: a, targets: usb}", 3, "there is no target named \"usb\""),
            ("jobs:\n    - {name: a}\n    - {name: a}", 4, "there are two named a"),
            ("jobs:\n    - {name: a, extra: etc}", 3, "extra: expected an absolute path"),
            ("jobs:\n    - {name: a, verify: some}", 3, "verify: expected a share"),
            ("jobs:\n    - {name: a, ping: \"ftp://secret\"}", 3, "ping: expected a URL"),
            ("jobs:\n    - {name: a, report: sometimes}", 3, "expected one of failures"),
            ("jobs:\n    - {name: a, max_delete: 120%}", 3, "max_delete: expected a share"),
            ("jobs:\n    - {name: a, shedule: x}", 3, "did you mean schedule?"),
        ])
    func mistake(text: String, line: Int, words: String) throws {
        let found = try mistakes("backup:\n  \(text)\n")
        try #require(found.count == 1, "\(found)")
        #expect(found[0].hasPrefix("kinglet.yaml:\(line): backup."), "\(found[0])")
        #expect(found[0].contains(words), "\(found[0])")
        #expect(!found[0].contains("secret"))
    }

    @Test("A reload takes jobs and targets over, and refuses mistakes as the start does")
    func reload() throws {
        let (set, backup) = try options("")
        try set.finish()
        let good = "backup:\n  jobs:\n    - {name: a}\n"
        let report = try set.reload(ConfigurationDocument.parse(good, file: "f"))
        #expect(report.applied == ["backup.jobs"])
        #expect(backup.settings(dataDirectory: "/d").jobs.map(\.name) == ["a"])
        let bad = "backup:\n  jobs:\n    - {name: a, targets: nowhere}\n"
        #expect(throws: ConfigurationErrors.self) {
            try set.reload(ConfigurationDocument.parse(bad, file: "f"))
        }
        #expect(backup.settings(dataDirectory: "/d").jobs.map(\.targets) == [[]])
    }

    @Test(
        "A location is read and written in one form",
        arguments: [
            "/mnt/usb", "ssh://pi@nas/srv/backup", "ssh://pi@nas.lan:2222/srv",
            "ssh://pi@[fd00::1]:22/srv", "rsync://nas/module", "rsync://pi@nas:874/module/a/b",
            "rclone:drive:kinglet/pi", "rclone:drive:",
        ])
    func locations(text: String) throws {
        #expect(try #require(BackupLocation(text)).description == text)
    }

    @Test(
        "Nothing else is a location",
        arguments: [
            "", "mnt", "ssh://nas/srv", "ssh://pi@nas", "ssh://pi@nas/", "ssh://-o@nas/x",
            "ssh://pi@-oProxyCommand=x/y", "ssh://pi@nas:0/x", "ssh://pi@nas:70000/x",
            "rsync://nas", "rsync://nas/", "rsync://nas/-e", "rclone:drive", "rclone:-x:y",
            "rclone::x", "/a/../b", "ssh://pi@nas/a/../b", "s3://bucket", "/a\nb", "ssh://pi@n s/x",
            "rclone:drive:../x",
        ])
    func badLocations(text: String) {
        #expect(BackupLocation(text) == nil)
    }
}
