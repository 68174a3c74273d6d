// The backup in a few lines, for `kinglet status`.

internal import Glibc

/// How the backup is.
public struct BackupStatus: Codable, Sendable, Equatable {
    /// One job.
    public struct Job: Codable, Sendable, Equatable {
        /// Its name.
        public var name: String
        /// Whether it is in the configuration.
        public var configured: Bool
        /// When the last run that made snapshots began, in seconds since 1970.
        public var lastSuccess: Int64?
        /// When the last run began.
        public var lastAttempt: Int64?
        /// How it ended.
        public var lastResult: RunResult?
        /// Why, and what to do.
        public var reason: String?
        /// When it runs next; nil when nobody plans it.
        public var nextRun: Int64?
        /// What keeps it from running.
        public var block: String?
        /// Whether a copy is on another medium than the data; nil before the first run.
        public var protected: Bool?
    }

    /// Those of the configuration; without any, the one that needs none, once it has run.
    public var jobs: [Job]
    /// The job that runs now.
    public var running: String?
    /// What the owner should know, in sentences.
    public var problems: [String]

    /// Lines for a person.
    ///
    /// - Parameter now: in seconds since 1970.
    public func lines(now: Int64) -> [String] {
        var lines: [String] = []
        for job in jobs {
            var text = "backup    \(job.name): "
            if let success = job.lastSuccess {
                text += "newest snapshot \(BackupReports.age(now - success)) old"
            } else {
                text += "no snapshot yet"
            }
            if let result = job.lastResult { text += ", last run \(result.rawValue)" }
            if running == job.name { text += ", running now" }
            if let next = job.nextRun {
                text +=
                    next <= now ? ", due now" : ", next in \(BackupReports.age(next - now))"
            }
            if let block = job.block { text += ", \(block)" }
            lines.append(text)
        }
        if jobs.isEmpty { lines.append("backup    none configured; kinglet backup run makes one") }
        return lines
    }
}

extension BackupProgram {
    /// How the backup is, from what is remembered.
    ///
    /// - Parameter service: of the running server; nil without one.
    public func status(_ service: BackupService?) -> BackupStatus {
        let state = (try? BackupState.peek(folder)) ?? BackupState()
        let settings = settings
        let outlook = service?.outlook ?? [:]
        let configured = settings.jobs.map(\.name)
        let names = settings.runnableJobs.map(\.name).filter {
            !configured.isEmpty || state.jobs[$0] != nil
        }
        var problems: [String] = []
        let jobs = names.map { name in
            let record = state.jobs[name] ?? JobState()
            if record.isProtected == false {
                problems.append("backup \(name): \(RunOutcome.unprotected)")
            }
            if record.lastResult == .failed {
                problems.append(
                    "backup \(name) failed: \(record.lastReason)"
                        + (record.lastNextStep.isEmpty ? "" : "; \(record.lastNextStep)"))
            }
            return BackupStatus.Job(
                name: name, configured: configured.contains(name),
                lastSuccess: record.lastSuccess, lastAttempt: record.lastAttempt,
                lastResult: record.lastResult,
                reason: record.lastReason.isEmpty ? nil : record.lastReason,
                nextRun: outlook[name]?.nextRun, block: outlook[name]?.block,
                protected: record.isProtected)
        }
        return BackupStatus(jobs: jobs, running: service?.activity.job, problems: problems)
    }
}
