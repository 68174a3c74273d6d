// What the configuration says about backups, as values.

/// A target of the configuration.
public struct TargetSettings: Sendable, Equatable {
    /// Its name, which is a label of metrics.
    public var name: String
    /// Where it is.
    public var location: BackupLocation
    /// The UUID of the file system that a folder must be on; nil for any.
    public var uuid: String?
    /// Whether all of it is encrypted; nil when the kind of target decides.
    public var encrypt: Bool?
    /// A file with the password of an rsync daemon's user.
    public var passwordFile: String?
    /// rclone's configuration file; nil for the one that rclone finds.
    public var rcloneConfiguration: String?
    /// Whether its owner knows that it lies on the medium of the data.
    public var allowsSameMedium = false

    /// Creates a target with the usual values.
    public init(name: String, location: BackupLocation) {
        self.name = name
        self.location = location
    }
}

/// When a restore is tested.
public enum TestRestoreTime: Sendable, Equatable {
    case never
    case every(Duration)
    /// Cron or OnCalendar.
    case schedule(String)
}

/// How many files may vanish from one run to the next.
public enum DeletionLimit: Sendable, Equatable {
    /// A share of the files of a source, 0 to 1.
    case share(Double)
    /// So many files in all.
    case files(Int)

    /// A fifth.
    public static let usual = DeletionLimit.share(0.2)

    /// Reads `20%` and whole numbers; nil for anything else.
    public init?(_ text: String) {
        let digits = text.last == "%" ? text.dropLast().filter { $0 != " " } : text
        guard (1...9).contains(digits.utf8.count),
            digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(digits)
        else { return nil }
        if text.last != "%" {
            self = .files(number)
        } else {
            guard number <= 100 else { return nil }
            self = .share(Double(number) / 100)
        }
    }
}

/// What a run does when its target is full.
public enum FullTarget: String, Sendable, CaseIterable, Codable {
    /// It fails, and removes nothing.
    case fail
    /// It removes the oldest snapshots, though rules would keep them.
    case removeOldest = "remove_oldest"
}

/// What a job reports into the chat.
public enum BackupReport: String, Sendable, CaseIterable, Codable {
    /// A failure, and that it is over.
    case failures
    /// Besides, a digest once a week.
    case weekly
    /// Every run.
    case always
    /// Nothing.
    case never
}

/// How many snapshots are kept of each kind; 0 for none.
public struct KeepSettings: Sendable, Equatable {
    /// The newest.
    public var last = 3
    /// One of each hour.
    public var hourly = 0
    /// One of each day.
    public var daily = 7
    /// One of each week.
    public var weekly = 4
    /// One of each month.
    public var monthly = 6
    /// One of each year.
    public var yearly = 0
    /// Everything that is younger.
    public var within: Duration?

    /// The usual ones.
    public init() {}
}

/// A job of the configuration.
public struct JobSettings: Sendable, Equatable {
    /// The job that runs when none is configured.
    public static let defaultName = "default"

    /// Its name, which is a label of metrics.
    public var name: String
    /// Cron or OnCalendar; nil when it runs by hand only.
    public var schedule: String?
    /// Where the schedule's hours are; nil for the machine's own.
    public var timeZone: String?
    /// The run begins so much later at most, always by the same.
    public var jitter = Duration.zero
    /// Names of its targets.
    public var targets: [String] = []
    /// Absolute paths besides the instance.
    public var extra: [String] = []
    /// Patterns of what is left out below `extra`.
    public var exclude: [String] = []
    /// What is kept.
    public var keep = KeepSettings()
    /// The share of all files that a run reads back, 0 to 1.
    public var verify = 1.0 / 30
    /// When a restore is tested.
    public var testRestore = TestRestoreTime.every(.seconds(7 * 86_400))
    /// Bytes a second at most.
    public var bandwidth: Int?
    /// When it may run, such as `01:00-06:00`; empty for always.
    public var windows: [String] = []
    /// Shell command before a run.
    public var before: String?
    /// Shell command after a run.
    public var after: String?
    /// A URL that hears of each run. A secret.
    public var ping: String?
    /// A run that takes longer is ended.
    public var maximumTime = Duration.seconds(6 * 3600)
    /// More files may not vanish in one run than this.
    public var maximumDeletions = DeletionLimit.usual
    /// What becomes of history when the target is full.
    public var whenFull = FullTarget.fail
    /// What is said in the chat.
    public var report = BackupReport.failures

    /// Creates a job with the usual values.
    public init(name: String) { self.name = name }
}

/// All jobs and targets.
public struct BackupSettings: Sendable, Equatable {
    /// The target that is there without being configured.
    public static let localName = "local"

    /// Never empty.
    public var targets: [TargetSettings]
    /// Those of the configuration; may be empty.
    public var jobs: [JobSettings]
    private let local: TargetSettings

    /// - Parameter dataDirectory: absolute; `backups` in it is the target `local`.
    public init(targets: [TargetSettings], jobs: [JobSettings], dataDirectory: String) {
        local = TargetSettings(
            name: Self.localName, location: .folder(dataDirectory + "/backups"))
        self.targets = targets.isEmpty ? [local] : targets
        self.jobs = jobs
    }

    /// A target; the one in the data directory is always there, unless another has its name.
    public func target(named name: String) -> TargetSettings? {
        targets.first { $0.name == name } ?? (name == Self.localName ? local : nil)
    }

    /// The jobs that can be run: those of the configuration, or the one that needs none.
    public var runnableJobs: [JobSettings] {
        jobs.isEmpty ? [JobSettings(name: JobSettings.defaultName)] : jobs
    }

    /// The job that a person means: the one of a name, or the first that goes to a target. What is
    /// wrong is a mistake in the question, and no run that failed.
    func job(named name: String?, target: String?) throws(BackupError) -> JobSettings {
        let jobs = name.map { name in runnableJobs.filter { $0.name == name } } ?? runnableJobs
        guard let first = jobs.first else {
            throw BackupError(
                .permanent, subject: "job \(name ?? "")", "there is none of this name",
                advice: "known are \(runnableJobs.map(\.name).joined(separator: ", "))")
        }
        guard let target else { return first }
        guard self.target(named: target) != nil else { throw unknown(target) }
        let goesThere = jobs.first { targets(of: $0).contains { $0.name == target } }
        guard let goesThere else {
            throw BackupError(
                .permanent, subject: "target \(target)",
                name.map { "the job \($0) does not go there" } ?? "no job goes there",
                advice: "add it to the targets of a job in the configuration, and reload it")
        }
        return goesThere
    }

    /// What is said of a name that no target has.
    func unknown(_ target: String) -> BackupError {
        var known = targets.map(\.name)
        if !known.contains(Self.localName) { known.append(Self.localName) }
        return BackupError(
            .permanent, subject: "target \(target)", "there is none of this name",
            advice: "known are \(known.joined(separator: ", "))")
    }

    /// The targets that there are to look at: those of the configuration, and `local` beside them
    /// where a job goes there, or went there once.
    ///
    /// - Parameter isLocalUsed: whether there are snapshots in the data directory.
    func visibleTargets(isLocalUsed: Bool) -> [TargetSettings] {
        guard !targets.contains(where: { $0.name == Self.localName }),
            isLocalUsed || jobs.contains(where: { $0.targets.contains(Self.localName) })
        else { return targets }
        return targets + [local]
    }

    /// Whether nobody need hear that a job's copies are on the medium of the data: where they are,
    /// their owner knows.
    func isSilentAboutMedium(_ job: JobSettings) -> Bool {
        targets(of: job).contains { $0.allowsSameMedium }
    }

    /// The targets of a job.
    public func targets(of job: JobSettings) -> [TargetSettings] {
        job.targets.isEmpty ? targets : job.targets.compactMap { target(named: $0) }
    }
}
