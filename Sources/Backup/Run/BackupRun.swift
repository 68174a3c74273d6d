// One run of one job, to all of its targets. It ends in exactly one outcome, which is in the state
// before anybody hears of it.

internal import Synchronization

/// One run.
struct BackupRun {
    let settings: BackupSettings
    let job: JobSettings
    /// Only this target.
    var onlyTarget: String?
    /// Changes that look like a mistake are right this time.
    var acceptsChanges = false
    /// It is another attempt after a failure.
    var isRetry = false
    let folder: BackupFolder
    let parts: RunParts
    let cancellation: Cancellation
    let progress: @Sendable (Progress) -> Void
    let warn: @Sendable (String) -> Void

    /// Runs. Throws only before anything was done: `busy`, and what keeps the state from being
    /// read or written.
    func perform() throws(BackupError) -> RunOutcome {
        let warnings = Warnings(warn)
        let lock = try BackupLock.acquire(folder, purpose: "backup run")
        var state = try BackupState.load(folder) { warnings.add($0) }
        var outcome = RunOutcome(job: job.name, result: .failed, began: parts.now())
        let began = ContinuousClock.now
        // Looked for every quarter of an hour: that it is away was said.
        let wasSkipped = state.jobs[job.name]?.lastResult == .skipped
        state.update(job: job.name) { record in
            record.lastAttempt = outcome.began
            if isRetry { record.retries &+= 1 }
        }
        // Before anything is done: a run that is killed was an attempt.
        try state.save(folder)
        progress(Progress(.waiting))
        let run = identifier()
        if !wasSkipped { ping(.start, run, "") }
        do throws(BackupError) {
            try work(&outcome, &state, lock: lock.descriptor, warnings)
            outcome.warnings = warnings.all
            outcome.conclude()
            // A disk that is away for now still has what it has.
            if outcome.isProtected == false, hasCopyElsewhere(state) { outcome.isProtected = true }
        } catch {
            let failure = TargetOutcome(target: "", error)
            outcome.result = failure.result
            outcome.reason = failure.reason
            outcome.nextStep = failure.nextStep
            outcome.warnings = warnings.all
        }
        outcome.duration = (ContinuousClock.now - began).inSeconds
        if outcome.result == .cancelled, began.duration(to: .now) >= job.maximumTime {
            outcome.result = .failed
            outcome.nextStep = "raise max_time, or look why it takes so long"
        }
        after(outcome, warnings)
        if outcome.result == .success, !warnings.all.isEmpty {
            outcome.result = .warning
            outcome.reason = warnings.all.first ?? ""
        }
        outcome.warnings = warnings.all
        let ran = Set(outcome.targets.map(\.target))
        let others =
            onlyTarget == nil
            ? [] : settings.targets(of: job).map(\.name).filter { !ran.contains($0) }
        outcome.isPartial = state.jobs[job.name].map { $0.owes(others) } ?? !others.isEmpty
        state.update(job: job.name) { $0.note(outcome, leftOut: others) }
        try state.save(folder)
        if wasSkipped, outcome.result == .skipped { return outcome }
        ping(
            outcome.result.isGood ? .success : .failure, run, outcome.summary,
            log: outcome.log, took: outcome.duration)
        return outcome
    }

    /// Whether a target on another medium has a snapshot of this job, as far as is known.
    private func hasCopyElsewhere(_ state: BackupState) -> Bool {
        settings.targets(of: job).contains { target in
            guard let record = state.targets[target.name], record.isOnSameMedium == false else {
                return false
            }
            return record.snapshots.contains { $0.job == job.name }
        }
    }

    private func work(
        _ outcome: inout RunOutcome, _ state: inout BackupState, lock: Int32,
        _ warnings: Warnings
    ) throws(BackupError) {
        var targets = settings.targets(of: job)
        if let onlyTarget { targets = targets.filter { $0.name == onlyTarget } }
        guard !targets.isEmpty else {
            throw BackupError(
                .permanent, subject: "job \(job.name)",
                "it has no target named \(onlyTarget ?? "at all")",
                advice: "kinglet backup target list shows them")
        }
        let key = try parts.key()
        let instance = try InstanceName.load(folder, key: key)
        if let command = job.before {
            try parts.hook(hook("before", command, [:]))
        }
        for target in targets {
            let memory = folder.memory(of: target.name)
            try Files.makeFolder(memory)
            let context = TargetContext(
                key: key, instance: instance, memory: memory, staging: folder.staging,
                bandwidth: job.bandwidth, lock: lock, cancellation: cancellation,
                progress: progress, warn: { warnings.add("\(target.name): \($0)") })
            let step = TargetRun(run: self, target: target, context: context)
            outcome.targets.append(try perform(step, &state))
            try state.save(folder)
        }
        // What is on its way is of no use any more; the next run empties it as well.
        try folder.emptyStaging()
    }

    private func perform(
        _ step: TargetRun, _ state: inout BackupState
    ) throws(BackupError) -> TargetOutcome {
        var removed: [SnapshotID] = []
        var removals = 0
        while true {
            try folder.emptyStaging()
            var outcome = step.perform(&state)
            outcome.pruned = removed + outcome.pruned
            guard step.wantsSpace(outcome), removals < TargetRun.mostRemovals else {
                return outcome
            }
            let before = removed.count
            var isOfUse = false
            do throws(BackupError) {
                isOfUse = try step.makeSpace(&state, &removed)
            } catch {
                step.context.warn("no space can be made: \(error)")
            }
            guard isOfUse, removed.count > before else {
                outcome.pruned = removed
                return outcome
            }
            removals += 1
        }
    }

    /// The owner's command after the run; its failure changes no result but success.
    private func after(_ outcome: RunOutcome, _ warnings: Warnings) {
        guard let command = job.after else { return }
        let environment = [
            "KINGLET_BACKUP_RESULT": outcome.result.rawValue,
            "KINGLET_BACKUP_REASON": outcome.reason,
            "KINGLET_BACKUP_SNAPSHOT": outcome.targets.compactMap { $0.snapshot?.description }
                .joined(separator: " "),
        ]
        do throws(BackupError) {
            try parts.hook(hook("after", command, environment))
        } catch {
            warnings.add("\(error)")
        }
    }

    private func hook(
        _ name: String, _ command: String, _ more: [String: String]
    ) -> HookRequest {
        var environment = more
        environment["KINGLET_BACKUP_JOB"] = job.name
        environment["KINGLET_BACKUP_DATA"] = folder.dataDirectory
        environment["KINGLET_BACKUP_TARGETS"] = settings.targets(of: job).map(\.name)
            .joined(separator: " ")
        // The one after a run that was cancelled is to run all the same, but the server has to stop.
        let end =
            name == "after"
            ? Cancellation(timeLimit: job.maximumTime, .seconds(2), after: cancellation)
            : cancellation
        return HookRequest(
            name: name, command: command, environment: environment, cancellation: end)
    }

    private func ping(
        _ moment: PingRequest.Moment, _ run: String, _ text: String, log: [String] = [],
        took: Double = 0
    ) {
        guard let url = job.ping else { return }
        do throws(BackupError) {
            try parts.ping(
                PingRequest(
                    url: url, moment: moment, run: run, text: text, log: log,
                    took: .seconds(took),
                    // Nobody is to wait for long while the server stops.
                    attempts: moment == .start || cancellation.reason != nil ? 1 : 2))
        } catch {
            // Monitoring that is down is no reason to say that the backup is.
            warn("ping: \(error.message)")
        }
    }

    /// A UUID for the pings of this run (version 4, RFC 9562).
    private func identifier() -> String {
        var bytes = parts.random(16)
        guard bytes.count == 16 else { return "" }
        bytes[6] = bytes[6] & 0x0F | 0x40
        bytes[8] = bytes[8] & 0x3F | 0x80
        let parts = [0..<4, 4..<6, 6..<8, 8..<10, 10..<16]
        return parts.map { Hexadecimal.text(bytes[$0]) }.joined(separator: "-")
    }
}

/// What a person should know of a run. Safe on any thread.
final class Warnings: Sendable {
    private let list = Mutex<[String]>([])
    private let tell: @Sendable (String) -> Void

    init(_ tell: @escaping @Sendable (String) -> Void) { self.tell = tell }

    func add(_ text: String) {
        let warning = Excerpt.line(text)
        let isNew = list.withLock { list in
            guard !list.contains(warning), list.count < RunOutcome.mostWarnings else {
                return false
            }
            list.append(warning)
            return true
        }
        if isNew { tell(warning) }
    }

    var all: [String] { list.withLock { $0 } }
}

extension Duration {
    /// As a number of seconds.
    var inSeconds: Double {
        Double(components.seconds) + Double(components.attoseconds) / 1e18
    }
}

extension JobState {
    /// Whether one of these targets lacks a run that worked; one that was away lacks none.
    func owes(_ names: [String]) -> Bool {
        names.contains { [nil, .failed, .cancelled].contains(targets[$0]) }
    }

    /// Takes a run into the history.
    ///
    /// - Parameter others: targets of the job that the run was not for. While one of them lacks a
    ///   run, this one does not make up for it: the age and the failure stay the job's.
    mutating func note(_ outcome: RunOutcome, leftOut others: [String] = []) {
        let owes = owes(others)
        let old = targets.filter { others.contains($0.key) }
        targets = Dictionary(outcome.targets.map { ($0.target, $0.result) }) { $1 }
            .merging(old) { new, _ in new }
        if !owes || outcome.result == .failed || lastResult == nil { noteEnd(outcome) }
        lastDuration = outcome.duration
        durations.observe(outcome.duration)
        runs[outcome.result.rawValue, default: 0] &+= 1
        if let isProtected = outcome.isProtected { self.isProtected = isProtected }
        if outcome.targets.contains(where: { $0.code == .suspicious || $0.isUnusual == true }) {
            suspicious &+= 1
        }
        if let status = outcome.targets.compactMap(\.transfer.exitStatus).last {
            exitStatus = status
        }
        switch outcome.result {
        case .success, .warning: if !owes { consecutiveFailures = 0 }
        case .failed: consecutiveFailures += 1
        case .skipped, .cancelled: break
        }
        // One target may be away: what the others have counts.
        let stored = outcome.targets.filter { $0.result.isGood }
        guard !stored.isEmpty else { return }
        var sum = TransferReport()
        for target in stored {
            sum.files += target.transfer.files
            sum.bytesSent += target.transfer.bytesSent
            sum.literalBytes += target.transfer.literalBytes
            sum.matchedBytes += target.transfer.matchedBytes
        }
        transfer = sum
        transferredBytes &+= UInt64(clamping: sum.bytesSent)
        guard outcome.result.isGood, !owes || lastSuccess == nil else { return }
        lastSuccess = outcome.began
        lastRemarks = outcome.remarks
        history.append(
            RunRecord(
                began: outcome.began, duration: outcome.duration, changedFiles: changedFiles ?? 0,
                sourceFiles: sourceFiles ?? 0, bytes: sum.bytesSent))
        if history.count > Self.historyLength {
            history.removeFirst(history.count - Self.historyLength)
        }
    }

    private mutating func noteEnd(_ outcome: RunOutcome) {
        lastResult = outcome.result
        lastReason = outcome.reason
        lastNextStep = outcome.nextStep
        lastCode = outcome.targets.first { $0.result == outcome.result }?.code
    }
}
