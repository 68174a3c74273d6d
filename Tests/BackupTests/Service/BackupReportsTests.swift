// What is said in the chat of a run, and what is not said again.

import Testing

@testable import Backup

@Suite("Reports of runs")
struct BackupReportsTests {
    private let job = JobSettings(name: "nightly")

    private func outcome(_ warnings: [String], skipped: String? = nil) -> RunOutcome {
        var outcome = RunOutcome(job: "nightly", result: .failed, began: 1000)
        outcome.targets = [TargetOutcome(target: "disk", result: .success)]
        if let skipped {
            var target = TargetOutcome(target: "usb", result: .skipped)
            target.reason = skipped
            outcome.targets.append(target)
        }
        outcome.warnings = warnings
        outcome.conclude()
        return outcome
    }

    private func text(_ outcome: RunOutcome, _ before: JobState?) -> String? {
        BackupReports.text(of: outcome, job: job, before: before)
    }

    @Test("A warning that is new is said, beside one that is in every run")
    func newBesideOld() {
        var state = JobState()
        let first = outcome(["/x is not there"])
        #expect(text(first, state)?.contains("But: /x is not there") == true)
        state.note(first)
        #expect(text(outcome(["/x is not there"]), state) == nil)
        let second = outcome(["/x is not there", "the test restore failed"])
        let said = text(second, state)
        #expect(said?.contains("But: the test restore failed") == true)
        #expect(said?.contains("/x") == false, "what was said is not said again")
        state.note(second)
        #expect(text(outcome(["the test restore failed"]), state) == nil)
    }

    @Test("A target that is away is news once, also behind a warning of every run")
    func absentTarget() {
        var state = JobState()
        state.note(outcome(["/x is not there"]))
        let away = outcome(["/x is not there"], skipped: "it is not plugged in")
        #expect(text(away, state)?.contains("But: usb: it is not plugged in") == true)
        state.note(away)
        #expect(text(away, state) == nil)
    }

    @Test("After a failure everything is said, and no report is without an end")
    func all() {
        var state = JobState()
        state.note(outcome(["old"]))
        state.consecutiveFailures = 2
        let said = text(outcome((0..<30).map { "warning \($0)" } + ["old"]), state)
        #expect(said?.hasPrefix("Backup nightly works again, after 2 that failed.") == true)
        #expect(said?.contains("But: warning 9") == true)
        #expect(said?.contains("warning 10") == false)
        #expect(said?.hasSuffix("And 21 more; the log has them.") == true)
    }

    @Test("That another one is at work is no news; another hindrance is, once")
    func refusals() {
        let busy = BackupError(.busy, subject: "lock", "backup verify is at work")
        #expect(BackupReports.text(refused: busy, job: job, last: nil) == nil)
        let full = BackupError(.permanent, subject: "state.json", "it cannot be written")
        let said = BackupReports.text(refused: full, job: job, last: nil)
        #expect(said?.hasPrefix("Backup nightly could not begin: ") == true)
        #expect(BackupReports.text(refused: full, job: job, last: full.description) == nil)
        #expect(BackupReports.text(refused: full, job: job, last: "another") != nil)
        let again = BackupReports.text(
            of: outcome([]), job: job, before: nil, wasRefused: true)
        #expect(again == "Backup nightly works again.")
    }

    @Test("Who knows that copies are on the data's medium does not hear it in the chat")
    func medium() {
        var outcome = outcome(["new"])
        outcome.isProtected = false
        func text(_ isSilent: Bool) -> String {
            BackupReports.text(
                of: outcome, job: job, before: nil, isSilentAboutMedium: isSilent) ?? ""
        }
        #expect(text(false).contains(RunOutcome.unprotected))
        #expect(!text(true).contains(RunOutcome.unprotected))
        var state = JobState()
        state.isProtected = false
        for isSilent in [false, true] {
            let digest = BackupReports.digest(
                of: state, job: "nightly", proof: JobProof(), now: 1000,
                isSilentAboutMedium: isSilent)
            #expect(digest?.contains(RunOutcome.unprotected) == !isSilent)
        }
    }
}
