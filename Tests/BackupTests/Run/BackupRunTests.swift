// Every run ends in exactly one outcome, which is in the state when it is over.

import Prometheus
import Testing

@testable import Backup

@Suite("A run and its ends")
struct BackupRunTests {
    private func failure(_ code: BackupError.Code) -> BackupError {
        BackupError(code, subject: "disk", "it does not work", advice: "do something")
    }

    @Test("A run stores, proves, remembers, and is a success")
    func success() throws {
        let run = try PlayedRun()
        let outcome = try run.perform()
        #expect(outcome.result == .success && outcome.reason.isEmpty)
        #expect(outcome.isProtected == true)
        #expect(outcome.targets.map(\.target) == ["disk"])
        #expect(outcome.targets[0].snapshot?.sequence == 1)
        #expect(outcome.targets[0].verifiedFiles == 2)
        #expect(
            run.targets[0].manifests.values.first?.software == ["kinglet": "1", "rsync": "3.4.4"])
        #expect(run.steps == ["database", "scan", "check", "remember"])
        let job = try run.jobState
        #expect(job.lastResult == .success && job.lastSuccess == run.clock)
        #expect(job.runs == ["success": 1] && job.history.count == 1)
        #expect(job.sourceFiles == 2 && job.sourceBytes == 30 && job.changedFiles == 2)
        #expect(job.transferredBytes == 30)
        #expect(try run.proof.verified == run.clock)
        #expect(try run.state.targets["disk"]?.snapshots.map(\.id.sequence) == [1])
    }

    @Test(
        "A failure of any step is the run's, and leaves the history as it was",
        arguments: PlayedTarget.Step.allCases.filter { ![.remove, .cleanUp].contains($0) },
        [
            BackupError.Code.absent, .temporary, .permanent, .full, .fullSource, .foreign, .damaged,
            .cancelled, .key,
        ])
    func failures(step: PlayedTarget.Step, code: BackupError.Code) throws {
        let run = try PlayedRun()
        _ = try run.perform()
        let before = run.targets[0].manifests.keys.sorted()
        run.targets[0].failures[step] = failure(code)
        run.expired = before
        let outcome = try run.perform()
        let expected: RunResult =
            code == .absent ? .skipped : code == .cancelled ? .cancelled : .failed
        #expect(outcome.result == expected)
        #expect(outcome.reason == "disk: it does not work" && outcome.nextStep == "do something")
        #expect(run.targets[0].manifests.keys.sorted() == before, "nothing is pruned")
        let job = try run.jobState
        #expect(job.lastResult == expected && job.runs[expected.rawValue] == 1)
        #expect(job.consecutiveFailures == (expected == .failed ? 1 : 0))
        #expect(job.lastSuccess == run.clock - 86_400)
    }

    @Test("A number of a snapshot is not used again, even when its run failed")
    func sequence() throws {
        let run = try PlayedRun()
        run.targets[0].failures[.publish] = failure(.temporary)
        _ = try run.perform()
        #expect(try run.perform().targets[0].snapshot?.sequence == 2)
        run.targets[0].manifests = [:]
        #expect(try run.perform().targets[0].snapshot?.sequence == 3)
    }

    @Test("The worst target is the run's result; a target that is away beside one that is not, too")
    func severalTargets() throws {
        let run = try PlayedRun()
        run.targets = [PlayedTarget("disk"), PlayedTarget("away")]
        run.targets[1].failures[.open] = failure(.absent)
        let skipped = try run.perform()
        #expect(skipped.result == .warning)
        #expect(skipped.targets.map(\.result) == [.success, .skipped])
        #expect(skipped.reason == "disk: it does not work")
        #expect(try run.state.targets["away"]?.isAvailable == false)
        run.targets[1].failures[.store] = failure(.full)
        let failed = try run.perform()
        #expect(failed.result == .failed)
        #expect(failed.targets.map(\.result) == [.success, .failed])
        #expect(try run.perform().result == .success)
    }

    @Test("The run can be for one target; another name is an error")
    func oneTarget() throws {
        let run = try PlayedRun()
        run.targets = [PlayedTarget("one"), PlayedTarget("two")]
        run.onlyTarget = "two"
        #expect(try run.perform().targets.map(\.target) == ["two"])
        run.onlyTarget = "three"
        #expect(try run.perform().result == .failed)
    }

    @Test("A run for one target does not make up for what another one lacks")
    func oneTargetOfTwo() throws {
        let run = try PlayedRun()
        run.targets = [PlayedTarget("usb"), PlayedTarget("cloud")]
        _ = try run.perform()
        let good = run.clock
        run.targets[1].failures[.store] = failure(.temporary)
        _ = try run.perform()
        run.onlyTarget = "usb"
        let partial = try run.perform()
        #expect(partial.result == .success && partial.isPartial == true)
        var job = try run.jobState
        #expect(job.lastResult == .failed && job.consecutiveFailures == 1)
        #expect(job.lastSuccess == good && job.history.count == 1)
        #expect(job.targets == ["usb": .success, "cloud": .failed])
        #expect(job.runs == ["success": 2, "failed": 1] && job.lastAttempt == run.clock)
        run.onlyTarget = "cloud"
        #expect(try run.perform().isPartial == false)
        job = try run.jobState
        #expect(job.lastResult == .success && job.consecutiveFailures == 0)
        #expect(job.lastSuccess == run.clock)
        #expect(job.targets == ["usb": .success, "cloud": .success])
        // One that is away is no failure.
        run.onlyTarget = nil
        run.targets[1].failures[.open] = failure(.absent)
        _ = try run.perform()
        run.onlyTarget = "usb"
        #expect(try run.perform().isPartial == false)
        #expect(try run.jobState.lastSuccess == run.clock)
        run.targets[0].failures[.store] = failure(.full)
        _ = try run.perform()
        #expect(try run.jobState.lastResult == .failed, "a failure counts all the same")
    }

    @Test("A suspicious change stops the run until somebody accepts it")
    func suspicion() throws {
        let run = try PlayedRun()
        run.suspicion = "all is gone"
        #expect(try run.perform().result == .success, "there is nothing to compare with")
        let outcome = try run.perform()
        #expect(outcome.result == .failed && outcome.targets[0].code == .suspicious)
        #expect(outcome.nextStep.contains("--accept-changes"))
        #expect(try run.jobState.suspicious == 1)
        run.acceptsChanges = true
        #expect(try run.perform().result == .success)
    }

    @Test("A spike of changed files counts as suspicious, and no history goes in that run")
    func spike() throws {
        let run = try PlayedRun()
        let old = try (0..<5).map { _ in try #require(try run.perform().targets[0].snapshot) }
        run.expired = [old[0]]
        run.removable = old
        run.job.whenFull = .removeOldest
        for number in 0..<200 { run.files["uploads/\(number)"] = Int64(number) }
        run.targets[0].failures[.store] = failure(.full)
        #expect(try run.perform().targets[0].code == .full)
        #expect(run.targets[0].removed.isEmpty, "not for space either")
        let outcome = try run.perform()
        #expect(outcome.result == .warning && outcome.reason.contains("files changed"))
        #expect(outcome.targets[0].snapshot != nil && run.targets[0].removed.isEmpty)
        #expect(try run.jobState.suspicious == 2)
        #expect(try run.perform().targets[0].pruned == [old[0]])
        #expect(try run.jobState.suspicious == 2)
        for number in 0..<200 { run.files["uploads/new\(number)"] = Int64(number) }
        run.acceptsChanges = true
        run.expired = [old[1]]
        #expect(try run.perform().targets[0].pruned == [old[1]], "somebody said that it is right")
    }

    @Test("Damage fails the run, counts, and the next run copies everything anew")
    func damage() throws {
        let run = try PlayedRun()
        run.job.verify = 1
        _ = try run.perform()
        let path = try #require(SnapshotPath("uploads/a"))
        run.targets[0].damaged = [path]
        let outcome = try run.perform()
        #expect(outcome.result == .failed && outcome.reason.contains("uploads/a differs"))
        #expect(run.targets[0].hadPrevious == true)
        #expect(try run.jobState.verifyFailures == 1)
        run.targets[0].damaged = []
        #expect(try run.perform().result == .success)
        #expect(run.targets[0].hadPrevious == false && run.targets[0].sharedNothing == true)
        _ = try run.perform()
        #expect(run.targets[0].hadPrevious == true && run.targets[0].sharedNothing == false)
    }

    @Test("What the owner excludes is not sent either")
    func excludes() throws {
        let run = try PlayedRun()
        run.job.exclude = ["*.tmp", "cache/"]
        _ = try run.perform()
        #expect(run.targets[0].excludes == ["*.tmp", "cache/"])
    }

    @Test("A share of the old files is read back, going on until all were")
    func rotation() throws {
        let run = try PlayedRun()
        for number in 0..<10 { run.files["uploads/\(number)"] = Int64(number) }
        run.job.verify = 1.0 / 4
        _ = try run.perform()
        #expect(run.targets[0].verified.count == 12, "all are new")
        run.targets[0].verified = []
        for _ in 0..<4 { _ = try run.perform() }
        #expect(run.targets[0].verified.count == 12 && Set(run.targets[0].verified).count == 12)
        run.targets[0].verified = []
        run.clock += 40 * 86_400
        _ = try run.perform()
        #expect(run.targets[0].verified.count == 12, "everything within a month")
    }

    @Test("Jobs on one target are compared with themselves, share the instance, and send once")
    func twoJobs() throws {
        let run = try PlayedRun()
        let instance = run.files
        let nightly = run.job
        var photos = JobSettings(name: "photos")
        photos.extra = ["/photos"]
        for round in 0..<3 {
            run.job = photos
            run.files = instance
            for number in 0..<20 { run.files["extra/1/\(number)"] = Int64(number) }
            let own = try run.perform()
            #expect(own.result == .success, "\(own.reason)")
            #expect(own.targets[0].transfer.files == (round == 0 ? 22 : 0))
            #expect(try run.jobState.deletedFiles == 0)
            run.job = nightly
            run.files = instance
            let other = try run.perform()
            #expect(other.result == .success, "\(other.reason)")
            #expect(other.targets[0].transfer.files == 0)
            #expect(try run.jobState.deletedFiles == 0)
        }
        run.job = photos
        #expect(try run.perform().targets[0].code == .suspicious, "its own are gone")
    }

    @Test("Each job has its own turn of the rotating check")
    func rotationOfTwoJobs() throws {
        let run = try PlayedRun()
        for number in 0..<10 { run.files["uploads/\(number)"] = Int64(number) }
        run.job.verify = 1.0 / 4
        _ = try run.perform()
        var other = JobSettings(name: "weekly")
        other.verify = 1.0 / 4
        var checked: [String: [SnapshotPath]] = [:]
        for job in [other, run.job, other, run.job, other, run.job, other, run.job] {
            run.targets[0].verified = []
            run.job = job
            _ = try run.perform()
            checked[job.name, default: []] += run.targets[0].verified
        }
        for paths in checked.values { #expect(paths.count == 12 && Set(paths).count == 12) }
        #expect(checked.count == 2)
    }

    @Test("A snapshot in which damage was found is remembered as such")
    func damageIsRemembered() throws {
        let run = try PlayedRun()
        run.job.verify = 1
        _ = try run.perform()
        let first = try #require(try run.perform().targets[0].snapshot)
        func damaged() throws -> [Int] {
            try #require(try run.state.targets["disk"]).snapshots
                .filter { $0.isDamaged == true && $0.verified == nil }.map(\.id.sequence)
        }
        run.targets[0].damaged = [try #require(SnapshotPath("uploads/a"))]
        _ = try run.perform()
        #expect(try damaged() == [first.sequence])
        run.targets[0].damaged = []
        run.files["uploads/new"] = 5
        let third = try #require(try run.perform().targets[0].snapshot)
        run.targets[0].failures[.verify] = failure(.temporary)
        run.targets[0].unreadable = [third]
        _ = try run.perform()
        #expect(try damaged() == [first.sequence, third.sequence])
    }

    @Test("After damage nothing is shared, but a source that was emptied is still seen")
    func emptiedAfterDamage() throws {
        let run = try PlayedRun()
        run.job.verify = 1
        _ = try run.perform()
        run.targets[0].damaged = [try #require(SnapshotPath("uploads/a"))]
        _ = try run.perform()
        run.targets[0].damaged = []
        run.files = [:]
        #expect(try run.perform().targets[0].code == .suspicious)
    }

    @Test("What is old is removed after a success; when that fails, the backup is still there")
    func pruning() throws {
        let run = try PlayedRun()
        let first = try #require(try run.perform().targets[0].snapshot)
        run.expired = [first]
        run.targets[0].failures[.remove] = failure(.temporary)
        let outcome = try run.perform()
        #expect(outcome.result == .warning && outcome.targets[0].snapshot != nil)
        #expect(outcome.reason.hasPrefix("old snapshots cannot be removed"))
        let pruned = try run.proof.pruned
        #expect(pruned == run.clock - 86_400)
        #expect(try run.perform().targets[0].pruned == [first])
        #expect(run.targets[0].removed == [first])
        run.targets[0].pinned = Set(run.targets[0].manifests.keys)
        run.expired = run.targets[0].manifests.keys.sorted()
        #expect(try run.perform().targets[0].pruned.isEmpty, "pinned")
        run.targets[0].pinned = []
        run.targets[0].canRemove = false
        #expect(try run.perform().targets[0].pruned.isEmpty, "it may only add")
    }

    @Test("On a full target history is kept, or goes bit by bit where the owner wants that")
    func full() throws {
        let run = try PlayedRun()
        let old = try (0..<6).map { _ in try #require(try run.perform().targets[0].snapshot) }
        run.removable = old
        run.targets[0].failures[.store] = failure(.full)
        #expect(try run.perform().targets[0].code == .full)
        #expect(run.targets[0].removed.isEmpty)

        run.job.whenFull = .removeOldest
        run.targets[0].failures[.store] = failure(.full)
        let outcome = try run.perform()
        #expect(outcome.result == .warning && outcome.targets[0].snapshot != nil)
        #expect(outcome.targets[0].pruned == Array(old.prefix(3)))
        #expect(run.targets[0].removed == Array(old.prefix(3)))

        run.targets[0].failures[.store] = failure(.temporary)
        #expect(try run.perform().result == .failed)
        #expect(run.targets[0].removed.count == 3, "it was not full")
        run.targets[0].failures[.store] = failure(.fullSource)
        #expect(try run.perform().targets[0].code == .fullSource)
        #expect(run.targets[0].removed.count == 3, "what is full is not the target")
        for path in [
            run.folder.state, run.folder.staging + "/secrets.age",
            run.folder.dataDirectory + "/kinglet.db",
        ] {
            run.targets[0].failures[.store] = BackupError(.full, subject: path, "no space")
            #expect(try run.perform().targets[0].code == .fullSource)
            #expect(run.targets[0].removed.count == 3, "it is this machine's own")
        }
        run.removable = []
        run.targets[0].failures[.store] = failure(.full)
        #expect(try run.perform().targets[0].code == .full, "nothing may go")
    }

    @Test("How much space is left is known also when there was too little")
    func spaceAfterFailure() throws {
        let run = try PlayedRun()
        _ = try run.perform()
        run.targets[0].free = 7
        run.targets[0].failures[.store] = failure(.full)
        _ = try run.perform()
        #expect(try run.state.targets["disk"]?.space?.free == 7)
        run.targets[0].free = 9
        run.targets[0].failures[.open] = failure(.absent)
        _ = try run.perform()
        #expect(try run.state.targets["disk"]?.space?.free == 7, "it was not there")
    }

    @Test("History does not go on going where that makes no space", arguments: [true, false])
    func fullWithoutUse(doesTell: Bool) throws {
        let run = try PlayedRun()
        run.job.whenFull = .removeOldest
        let old = try (0..<6).map { _ in try #require(try run.perform().targets[0].snapshot) }
        run.removable = old
        run.targets[0].growth = 0
        if !doesTell { run.targets[0].free = nil }
        run.targets[0].failures[.store] = failure(.full)
        let outcome = try run.perform()
        #expect(run.targets[0].removed == Array(old.prefix(doesTell ? 1 : 3)))
        #expect(outcome.targets[0].pruned == run.targets[0].removed)
        #expect(outcome.targets[0].code == (doesTell ? .full : nil))
        let left = try run.state.targets["disk"]?.snapshots.map(\.id.sequence)
        #expect(left == (doesTell ? [2, 3, 4, 5, 6] : [4, 5, 6, 8]))
    }

    @Test("The command before decides, the one after hears; both know the job")
    func hooks() throws {
        let run = try PlayedRun()
        run.job.before = "mount"
        run.job.after = "umount"
        run.job.ping = "https://example.org/secret"
        _ = try run.perform()
        #expect(run.steps.first == "before" && run.steps.last == "after")
        #expect(run.hooks[0].environment["KINGLET_BACKUP_JOB"] == "nightly")
        #expect(run.hooks[1].environment["KINGLET_BACKUP_RESULT"] == "success")
        #expect(run.pings.map(\.moment) == [.start, .success])
        #expect(run.pings[1].log.count == 1, "what became of each target, not the summary again")
        #expect(run.pings[1].log[0].hasPrefix("disk: success, snapshot "))
        run.hookFailures["before"] = failure(.permanent)
        run.steps = []
        #expect(try run.perform().result == .failed)
        #expect(run.steps == ["before", "after"])
        #expect(run.hooks[3].environment["KINGLET_BACKUP_RESULT"] == "failed")
        #expect(run.pings.last?.moment == .failure)
        #expect(run.pings.last?.text.contains("secret") == false)
        run.hookFailures = ["after": failure(.permanent)]
        #expect(try run.perform().result == .warning)
        #expect(run.pings.last?.log.last?.hasPrefix("warning: ") == true)
    }

    @Test("That the target is away is told once, not each time that somebody looks")
    func pingsOfSkippedRuns() throws {
        let run = try PlayedRun()
        run.job.ping = "https://example.org/secret"
        for _ in 0..<3 {
            run.targets[0].failures[.open] = failure(.absent)
            _ = try run.perform()
        }
        #expect(run.pings.map(\.moment) == [.start, .failure])
        run.pings = []
        _ = try run.perform()
        #expect(run.pings.map(\.moment) == [.success])
        _ = try run.perform()
        #expect(run.pings.map(\.moment) == [.success, .start, .success])
    }

    @Test("A test restore that fails is a warning, and is remembered")
    func restoreTest() throws {
        let run = try PlayedRun()
        run.isTestDue = true
        #expect(try run.perform().result == .success)
        #expect(try run.proof.restoreTest == run.clock)
        run.testFailure = failure(.damaged)
        #expect(try run.perform().result == .warning)
        #expect(try run.jobState.restoreTestFailures == 1)
        let record = try run.state.job("nightly", on: "disk")
        #expect(record.restoreTestAttempt == run.clock)
        #expect(record.restoreTest == run.clock - 86_400)
        // No room for it.
        run.testFailure = failure(.absent)
        let outcome = try run.perform()
        #expect(outcome.result == .warning && outcome.reason.contains("was put off"))
        #expect(try run.jobState.restoreTestFailures == 1, "it is only a delay")
    }

    @Test("Each target proves itself: what is shown is the one where that is longest ago")
    func proofOfEach() throws {
        let run = try PlayedRun()
        run.targets = [PlayedTarget("usb"), PlayedTarget("cloud")]
        run.testPeriod = 3 * 86_400
        run.targets[1].failures[.open] = failure(.absent)
        _ = try run.perform()
        let first = run.clock
        #expect(run.tested == ["usb"])
        _ = try run.perform()
        #expect(run.tested == ["usb", "cloud"], "it was not tested yet")
        #expect(try run.proof.restoreTest == first && run.proof.verified == run.clock)
        for _ in 0..<3 {
            run.targets[1].failures[.open] = failure(.absent)
            _ = try run.perform()
        }
        #expect(run.tested == ["usb", "cloud", "usb"])
        let proof = try run.proof
        let last = first + 86_400
        #expect(proof == JobProof(verified: last, pruned: last, restoreTest: last))
        // One that has snapshots and was never tested counts from the first of them.
        run.testFailure = failure(.permanent)
        run.targets.append(PlayedTarget("nas"))
        _ = try run.perform()
        let added = run.clock
        run.testFailure = nil
        _ = try run.perform()
        #expect(run.tested.last == "usb")
        #expect(try run.state.proof(of: "nightly", on: ["nas"]).restoreTest == nil)
        #expect(try run.state.proof(of: "nightly", on: ["usb", "nas"]).restoreTest == added)
    }

    @Test("On the data's own medium it is a copy, but no protection")
    func unprotected() throws {
        let run = try PlayedRun()
        run.targets[0].isOnSameMedium = true
        let outcome = try run.perform()
        #expect(outcome.result == .success && outcome.isProtected == false)
        #expect(outcome.summary.contains(RunOutcome.unprotected))
        run.targets.append(PlayedTarget("other"))
        #expect(try run.perform().isProtected == true)
    }

    @Test("Older copies on another medium protect also while that is away, or was not meant")
    func copiesElsewhere() throws {
        let run = try PlayedRun()
        run.targets = [PlayedTarget("card"), PlayedTarget("usb")]
        run.targets[0].isOnSameMedium = true
        run.targets[1].failures[.open] = failure(.absent)
        #expect(try run.perform().isProtected == false, "it never had one")
        _ = try run.perform()
        run.targets[1].failures[.open] = failure(.absent)
        let outcome = try run.perform()
        #expect(outcome.isProtected == true && !outcome.summary.contains(RunOutcome.unprotected))
        run.onlyTarget = "card"
        #expect(try run.perform().isProtected == true)
        #expect(try run.jobState.isProtected == true)
    }

    @Test("A run that is ended before it begins is cancelled, not failed")
    func cancelled() throws {
        let run = try PlayedRun()
        run.cancellation.cancel("the server stops")
        let outcome = try run.perform()
        #expect(outcome.result == .cancelled && outcome.reason.contains("the server stops"))
        #expect(run.steps.isEmpty)
        run.job.after = "umount"
        _ = try run.perform()
        #expect(run.hooks.last?.cancellation.reason == nil, "it runs all the same")
    }

    @Test("While one is at work, another is refused and told by whom")
    func oneAtATime() throws {
        let run = try PlayedRun()
        let lock = try BackupLock.acquire(run.folder, purpose: "backup verify")
        do throws(BackupError) {
            _ = try BackupLock.acquire(run.folder, purpose: "backup run")
            Issue.record("it was not refused")
        } catch {
            #expect(error.code == .busy && error.message.contains("backup verify"))
        }
        _ = consume lock
        #expect(try run.perform().result == .success)
    }

    @Test("Snapshots that the state has forgotten are learnt from the target")
    func forgottenState() throws {
        let run = try PlayedRun()
        _ = try run.perform()
        try Files.remove(run.folder.state)
        let outcome = try run.perform()
        #expect(outcome.targets[0].snapshot?.sequence == 2)
        #expect(try run.state.targets["disk"]?.snapshots.map(\.id.sequence) == [1, 2])
        #expect(try run.state.targets["disk"]?.snapshots.first?.job == "nightly")
    }
}
