// What administrators hear in the chat: what failed, why and what to do; that it works again; and,
// if they want it, how the week was.

/// The words of the reports.
public enum BackupReports {
    private static let week: Int64 = 7 * 86_400
    /// In one report.
    private static let mostRemarks = 10

    /// What is said of a run that could not begin; nil for nothing.
    ///
    /// - Parameter last: why the run before could not.
    static func text(refused error: BackupError, job: JobSettings, last: String?) -> String? {
        // That another one is at work is no news; nor is what was said five minutes ago.
        guard job.report != .never, error.code != .busy, error.description != last else {
            return nil
        }
        return "Backup \(job.name) could not begin: \(error)"
    }

    /// What is said of a run; nil for nothing.
    ///
    /// - Parameters:
    ///   - before: the job's state before the run.
    ///   - wasRefused: whether the run before could not begin.
    ///   - isSilentAboutMedium: its owner knows where the copies are.
    static func text(
        of outcome: RunOutcome, job: JobSettings, before: JobState?, wasRefused: Bool = false,
        isSilentAboutMedium: Bool = false
    ) -> String? {
        guard job.report != .never else { return nil }
        var outcome = outcome
        if isSilentAboutMedium { outcome.isProtected = nil }
        switch outcome.result {
        case .failed:
            var text = "Backup \(job.name) failed: \(outcome.reason)"
            if !outcome.nextStep.isEmpty { text += "\nWhat to do: \(outcome.nextStep)" }
            let failures = (before?.consecutiveFailures ?? 0) + 1
            if failures > 1 { text += "\nIt is failure number \(failures) in a row." }
            return text
        case .success, .warning:
            let failures = before?.consecutiveFailures ?? 0
            if failures > 0 || wasRefused, outcome.isPartial != true {
                return "Backup \(job.name) works again"
                    + (failures > 0 ? ", after \(failures) that failed." : ".")
                    + remarks(outcome, outcome.remarks)
            }
            // What was said after the last run need not be said again.
            let known = job.report == .always ? [] : before?.lastRemarks ?? []
            let news = outcome.remarks.filter { !known.contains($0) }
            guard job.report == .always || !news.isEmpty else { return nil }
            return "Backup \(job.name): \(outcome.result.rawValue) in "
                + "\(Int(outcome.duration.rounded())) s." + remarks(outcome, news)
        case .skipped, .cancelled:
            guard job.report == .always else { return nil }
            return "Backup \(job.name) was \(outcome.result.rawValue): \(outcome.reason)"
        }
    }

    private static func remarks(_ outcome: RunOutcome, _ remarks: [String]) -> String {
        var text = remarks.prefix(mostRemarks).map { "\nBut: \($0)" }.joined()
        if remarks.count > mostRemarks {
            text += "\nAnd \(remarks.count - mostRemarks) more; the log has them."
        }
        if outcome.isProtected == false { text += "\nNote: \(RunOutcome.unprotected)." }
        return text
    }

    /// The week's digest; nil when it is not due. The first one counts from the first run.
    static func digest(
        of job: JobState, job name: String, proof: JobProof, now: Int64,
        isSilentAboutMedium: Bool = false
    ) -> String? {
        if let last = job.lastDigest, now - last < week, last <= now { return nil }
        let runs = job.history.filter { $0.began > now - week }
        var text = "Backup \(name), the last seven days: \(runs.count) good runs"
        if let last = job.lastResult { text += ", the last run was a \(last.rawValue)" }
        if let success = job.lastSuccess {
            text += ", the newest snapshot is \(age(now - success)) old"
        }
        if let test = proof.restoreTest {
            text += ", a restore was last proven \(age(now - test)) ago"
        }
        text += "."
        if job.isProtected == false, !isSilentAboutMedium {
            text += "\nNote: \(RunOutcome.unprotected)."
        }
        return text
    }

    /// Such as `3 h`.
    public static func age(_ seconds: Int64) -> String {
        switch seconds {
        case ..<0: "0 s"
        case ..<120: "\(seconds) s"
        case ..<7200: "\(seconds / 60) min"
        case ..<172_800: "\(seconds / 3600) h"
        default: "\(seconds / 86_400) days"
        }
    }
}
