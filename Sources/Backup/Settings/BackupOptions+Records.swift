// Records of the configuration, judged and turned into values.

internal import Options

extension BackupOptions {
    /// Names are labels of metrics and names of folders.
    static func isName(_ text: String) -> Bool {
        (1...32).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                switch byte {
                case 0x30...0x39, 0x61...0x7A, UInt8(ascii: "_"), UInt8(ascii: "-"): true
                default: false
                }
            }
    }

    /// Everything that is wrong with targets and jobs beyond their fields.
    static func problems(
        targets: [ConfigurationRecord], jobs: [ConfigurationRecord]
    ) -> [RecordProblem] {
        var problems: [RecordProblem] = []
        func names(_ records: [ConfigurationRecord], _ key: String) -> Set<String> {
            var names: Set<String> = []
            for record in records {
                guard let name = record.string("name") else { continue }
                if !isName(name) {
                    problems.append(
                        RecordProblem(
                            key: key, line: record.line,
                            "name: expected 1 to 32 of a-z, 0-9, _ and -; found "
                                + quoted(name)))
                } else if !names.insert(name).inserted {
                    problems.append(
                        RecordProblem(
                            key: key, line: record.line, "name: there are two named \(name)",
                            advice: "give one of them another name"))
                }
            }
            return names
        }
        let known = names(targets, targetsKey).union([BackupSettings.localName])
        _ = names(jobs, jobsKey)
        for record in targets {
            for (text, advice) in targetProblems(record) {
                problems.append(
                    RecordProblem(key: targetsKey, line: record.line, text, advice: advice))
            }
        }
        for record in jobs {
            for name in record.strings("targets") where !known.contains(name) {
                problems.append(
                    RecordProblem(
                        key: jobsKey, line: record.line,
                        "targets: there is no target named \(quoted(name))",
                        advice: "known are \(known.sorted().joined(separator: ", "))"))
            }
            for (text, advice) in jobProblems(record) {
                problems.append(
                    RecordProblem(key: jobsKey, line: record.line, text, advice: advice))
            }
        }
        return problems
    }

    private static func targetProblems(
        _ record: ConfigurationRecord
    ) -> [(text: String, advice: String)] {
        guard let text = record.string("location") else { return [] }
        guard let location = BackupLocation(text) else {
            // A password may have been written into it.
            return [("location: expected \(BackupLocation.forms)", "write it without a password")]
        }
        var problems: [(text: String, advice: String)] = []
        if let uuid = record.string("uuid") {
            if case .folder = location {
            } else {
                problems.append(("uuid: only a folder is on a disk of this machine", "remove it"))
            }
            if uuid.isEmpty || uuid.utf8.count > 64
                || !uuid.utf8.allSatisfy({ $0 == 0x2D || isAlphanumeric($0) })
            {
                problems.append(("uuid: expected a UUID as lsblk -f shows it", ""))
            }
        }
        if let file = record.string("password_file") {
            if case .daemon = location {
            } else {
                problems.append(("password_file: only rsync:// takes one", "remove it"))
            }
            if !file.hasPrefix("/") {
                problems.append(("password_file: expected an absolute path", ""))
            }
        }
        if let file = record.string("rclone_config") {
            if case .rclone = location {
            } else {
                problems.append(("rclone_config: only rclone: takes one", "remove it"))
            }
            if !file.hasPrefix("/") {
                problems.append(("rclone_config: expected an absolute path", ""))
            }
        }
        if case .rclone = location, record.boolean("encrypt") == false {
            problems.append(("encrypt: an rclone remote is always encrypted", "remove it"))
        }
        return problems
    }

    private static func jobProblems(
        _ record: ConfigurationRecord
    ) -> [(text: String, advice: String)] {
        var problems: [(text: String, advice: String)] = []
        for path in record.strings("extra") where !path.hasPrefix("/") {
            problems.append(("extra: expected an absolute path; found \(quoted(path))", ""))
        }
        if let text = record.string("verify"), share(text) == nil {
            problems.append(
                ("verify: expected a share such as 1/30, all or none; found \(quoted(text))", ""))
        }
        if let text = record.string("max_delete"), DeletionLimit(text) == nil {
            problems.append(
                (
                    "max_delete: expected a share such as 20% or a whole number; found "
                        + quoted(text), ""
                ))
        }
        if let url = record.string("ping"), !url.hasPrefix("https://"), !url.hasPrefix("http://") {
            problems.append(("ping: expected a URL that begins with https:// or http://", ""))
        }
        if Set(record.strings("targets")).count < record.strings("targets").count {
            problems.append(("targets: a target is given twice", "remove one of them"))
        }
        if ["keep_last", "keep_hourly", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly"]
            .allSatisfy({ record.integer($0) == 0 }), record.duration("keep_within") == nil
        {
            problems.append(
                ("keep_last: nothing would be kept", "keep at least one of some kind"))
        }
        return problems + ScheduleTexts.problems(record)
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
        default: false
        }
    }

    private static func quoted(_ text: String) -> String { "\"\(Excerpt.of(text))\"" }

    /// `1/30`, `all` or `none`.
    static func share(_ text: String) -> Double? {
        switch text {
        case "all": return 1
        case "none": return 0
        default:
            let parts = text.split(separator: "/", omittingEmptySubsequences: false)
            guard parts.count == 2, let share = Int(parts[0]), let whole = Int(parts[1]),
                (1...10_000).contains(whole), (0...whole).contains(share)
            else { return nil }
            return Double(share) / Double(whole)
        }
    }

    /// Nil for a record with a problem, which `finish` and `reload` refuse.
    static func target(_ record: ConfigurationRecord) -> TargetSettings? {
        guard let name = record.string("name"), isName(name),
            let location = record.string("location").flatMap({ BackupLocation($0) })
        else { return nil }
        var target = TargetSettings(name: name, location: location)
        target.uuid = record.string("uuid")
        target.encrypt = record.boolean("encrypt")
        target.passwordFile = record.string("password_file")
        target.rcloneConfiguration = record.string("rclone_config")
        target.allowsSameMedium = record.boolean("allow_same_medium") ?? false
        return target
    }

    static func job(_ record: ConfigurationRecord) -> JobSettings? {
        guard let name = record.string("name"), isName(name) else { return nil }
        var job = JobSettings(name: name)
        job.schedule = record.string("schedule")
        job.timeZone = record.string("time_zone")
        job.jitter = record.duration("jitter") ?? job.jitter
        job.targets = record.strings("targets")
        job.extra = record.strings("extra")
        job.exclude = record.strings("exclude")
        job.keep.last = record.integer("keep_last") ?? job.keep.last
        job.keep.hourly = record.integer("keep_hourly") ?? job.keep.hourly
        job.keep.daily = record.integer("keep_daily") ?? job.keep.daily
        job.keep.weekly = record.integer("keep_weekly") ?? job.keep.weekly
        job.keep.monthly = record.integer("keep_monthly") ?? job.keep.monthly
        job.keep.yearly = record.integer("keep_yearly") ?? job.keep.yearly
        job.keep.within = record.duration("keep_within")
        job.verify = record.string("verify").flatMap(share) ?? job.verify
        if let text = record.string("test_restore") {
            job.testRestore =
                text == "never"
                ? .never : record.duration("test_restore").map { .every($0) } ?? .schedule(text)
        }
        job.bandwidth = record.size("bandwidth")
        job.windows = record.strings("windows")
        job.before = record.string("before")
        job.after = record.string("after")
        job.ping = record.string("ping")
        job.maximumTime = record.duration("max_time") ?? job.maximumTime
        job.maximumDeletions =
            record.string("max_delete").flatMap { DeletionLimit($0) } ?? job.maximumDeletions
        job.whenFull =
            record.string("when_full").flatMap { FullTarget(rawValue: $0) } ?? job.whenFull
        job.report = record.string("report").flatMap { BackupReport(rawValue: $0) } ?? job.report
        return job
    }
}
