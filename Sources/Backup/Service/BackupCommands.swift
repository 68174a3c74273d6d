// What the commands do in their own process, under the lock.

internal import Glibc

/// The work of `kinglet backup …`. Blocks the thread that asks.
public struct BackupCommands: Sendable {
    let program: BackupProgram
    let cancellation: Cancellation
    let progress: @Sendable (Progress) -> Void
    let warn: @Sendable (String) -> Void

    /// - Parameters:
    ///   - progress: hears how far it is.
    ///   - warn: hears what a person should know.
    public init(
        _ program: BackupProgram, cancellation: Cancellation,
        progress: @escaping @Sendable (Progress) -> Void,
        warn: @escaping @Sendable (String) -> Void
    ) {
        self.program = program
        self.cancellation = cancellation
        self.progress = progress
        self.warn = { warn(Excerpt.line($0)) }
    }

    // MARK: Run

    /// Runs a job here, because no server runs that could.
    public func run(_ wish: BackupService.Wish) throws(BackupError) -> RunOutcome {
        let settings = program.settings
        let job = try settings.job(named: wish.job, target: wish.target)
        var run = BackupRun(
            settings: settings, job: job, folder: program.folder, parts: try program.parts(),
            cancellation: limited(job), progress: progress, warn: warn)
        run.onlyTarget = wish.target
        run.acceptsChanges = wish.acceptsChanges
        return try run.perform()
    }

    /// Ends a run by the person who asked for it, or when it takes too long.
    func limited(_ job: JobSettings) -> Cancellation {
        Cancellation(timeLimit: job.maximumTime, .zero, after: cancellation)
    }

    private func target(_ name: String) throws(BackupError) -> TargetSettings {
        let settings = program.settings
        guard let target = settings.target(named: name) else { throw settings.unknown(name) }
        return target
    }

    /// The targets that there are, or the one of this name.
    private func targets(_ name: String?) throws(BackupError) -> [TargetSettings] {
        guard let name else { return program.targets }
        return [try target(name)]
    }

    private func session(
        _ purpose: String, _ parts: RunParts
    ) throws(BackupError) -> BackupSession {
        try BackupSession(
            program.folder, purpose: purpose, parts: parts, cancellation: cancellation,
            progress: progress, warn: warn)
    }

    // MARK: List

    /// Targets with their snapshots, and jobs with what is to come.
    ///
    /// - Parameter outlook: of the running server.
    public func list(outlook: [String: JobOutlook]) throws(BackupError) -> BackupListing {
        let settings = program.settings
        var listing = BackupListing(targets: [], jobs: [])
        do throws(BackupError) {
            let parts = try program.parts()
            let session = try session("backup list", parts)
            var state = try BackupState.load(program.folder, warn: warn)
            for target in program.targets {
                listing.targets.append(look(at: target, parts, session, &state))
            }
        } catch {
            guard error.code == .busy else { throw error }
            listing.busy = error.message
            let state = try BackupState.peek(program.folder)
            listing.targets = program.targets.map { remembered($0, state) }
        }
        let state = try BackupState.peek(program.folder)
        let now = Int64(time(nil))
        for job in settings.runnableJobs {
            let record = state.jobs[job.name] ?? JobState()
            listing.jobs.append(
                BackupListing.Job(
                    name: job.name, schedule: job.schedule,
                    targets: settings.targets(of: job).map(\.name),
                    next: ScheduleTexts.next(5, of: job, after: now),
                    lastResult: record.lastResult,
                    lastReason: record.lastReason.isEmpty ? nil : record.lastReason,
                    nextStep: record.lastNextStep.isEmpty ? nil : record.lastNextStep,
                    lastAttempt: record.lastAttempt, lastSuccess: record.lastSuccess,
                    block: outlook[job.name]?.block, protected: record.isProtected))
        }
        return listing
    }

    private func look(
        at target: TargetSettings, _ parts: RunParts, _ session: borrowing BackupSession,
        _ state: inout BackupState
    ) -> BackupListing.Target {
        var shown = remembered(target, state)
        do throws(BackupError) {
            let place = try parts.target(target)
            let context = try session.context(for: target.name)
            try place.open(context, forWriting: false)
            let ids = try place.snapshots(context)
            let pins = try place.pins(context)
            let known = Dictionary(shown.snapshots.map { ($0.id, $0) }) { $1 }
            shown.snapshots = ids.map { id in
                var snapshot =
                    known[id]
                    ?? BackupListing.Snapshot(id: id, time: id.time, pinned: false)
                snapshot.pinned = pins.contains(id)
                return snapshot
            }
            shown.available = true
            shown.sameMedium = place.isOnSameMedium
            shown.space = try place.space(context) ?? shown.space
        } catch {
            shown.available = false
            shown.problem = error.description
        }
        return shown
    }

    private func remembered(
        _ target: TargetSettings, _ state: BackupState
    ) -> BackupListing.Target {
        let record = state.targets[target.name] ?? TargetState()
        return BackupListing.Target(
            name: target.name, location: target.location.description,
            sameMedium: record.isOnSameMedium, space: record.space,
            snapshots: record.snapshots.map { snapshot in
                BackupListing.Snapshot(
                    id: snapshot.id, time: snapshot.id.time, job: snapshot.job,
                    files: snapshot.files, bytes: snapshot.bytes, verified: snapshot.verified,
                    pinned: record.pinned.contains(snapshot.id))
            })
    }

    // MARK: Verify

    /// Reads back snapshots and compares every file: the newest of each target, or the one that is
    /// named, or all.
    public func verify(
        _ id: SnapshotID?, target name: String?, all: Bool
    ) throws(BackupError) -> [VerificationOutcome] {
        let parts = try program.parts()
        let session = try session("backup verify", parts)
        var state = try BackupState.load(program.folder, warn: warn)
        var outcomes: [VerificationOutcome] = []
        for target in try targets(name) {
            do throws(BackupError) {
                let place = try parts.target(target)
                let context = try session.context(for: target.name)
                try place.open(context, forWriting: false)
                let ids = try place.snapshots(context)
                let chosen = all ? ids : id.map { id in ids.filter { $0 == id } } ?? ids.suffix(1)
                for id in chosen {
                    outcomes.append(try verify(id, on: place, target.name, context, &state))
                    // Whoever ends it keeps what was found so far.
                    try state.save(program.folder)
                }
            } catch {
                guard error.code != .cancelled else { throw error }
                outcomes.append(
                    VerificationOutcome(target: target.name, faults: [error.description]))
            }
        }
        guard !outcomes.isEmpty else {
            throw BackupError(
                .permanent, subject: id.map { "snapshot \($0)" } ?? "snapshots",
                "there is none", advice: "kinglet backup list shows them")
        }
        return outcomes
    }

    private func verify(
        _ id: SnapshotID, on place: any BackupTarget, _ name: String, _ context: TargetContext,
        _ state: inout BackupState
    ) throws(BackupError) -> VerificationOutcome {
        var outcome = VerificationOutcome(target: name, snapshot: id)
        var job: String?
        do throws(BackupError) {
            let manifest = try place.manifest(of: id, context)
            job = manifest.backup
            let list = try place.list(of: manifest, context)
            let files = list.entries.filter { $0.hash != nil }
            let report = try place.verify(files, of: manifest, context)
            outcome.files = report.files
            outcome.bytes = report.bytes
            outcome.faults = report.faults
        } catch {
            guard error.code == .damaged else { throw error }
            outcome.faults = [error.description]
        }
        let now = Int64(time(nil))
        let isGood = outcome.faults.isEmpty
        if isGood {
            state.update(target: name) { record in
                guard let index = record.snapshots.firstIndex(where: { $0.id == id }) else {
                    return
                }
                record.snapshots[index].verified = now
                record.snapshots[index].isDamaged = nil
            }
        } else {
            state.noteDamage(of: id, on: name)
            state.update(target: name) { $0.startsAnew = true }
        }
        if let job, state.jobs[job] != nil {
            if isGood {
                state.update(job: job, on: name) { $0.verified = now }
            } else {
                state.update(job: job) { $0.verifyFailures &+= 1 }
            }
        }
        return outcome
    }

    /// Restores the newest snapshot of a target into scratch and tries it: of the one that is named,
    /// or of the one where a restore was not proven for the longest time.
    public func testRestore(target name: String?) throws(BackupError) -> SnapshotID {
        let parts = try program.parts()
        let session = try session("backup verify --restore", parts)
        var state = try BackupState.load(program.folder, warn: warn)
        var failure: BackupError?
        let proven = state.targets.mapValues { target in
            target.jobs?.values.compactMap(\.restoreTest).max() ?? 0
        }
        let order = try targets(name).sorted { proven[$0.name] ?? 0 < proven[$1.name] ?? 0 }
        for target in order {
            do throws(BackupError) {
                let place = try parts.target(target)
                let context = try session.context(for: target.name)
                try place.open(context, forWriting: false)
                guard let id = try place.snapshots(context).last else { continue }
                let job = try place.manifest(of: id, context).backup
                do throws(BackupError) {
                    try RestoreTest(parts: parts, job: job, target: target.name)
                        .perform(place, id, context, &state)
                } catch {
                    try state.save(program.folder)
                    throw error
                }
                try state.save(program.folder)
                return id
            } catch {
                guard error.code == .absent else { throw error }
                failure = error
            }
        }
        throw failure
            ?? BackupError(
                .permanent, subject: "test restore", "there is no snapshot",
                advice: "kinglet backup run makes one")
    }

    // MARK: Prune and pins

    /// Removes what need not be kept, or says what that would be.
    public func prune(
        target name: String?, isDryRun: Bool
    ) throws(BackupError) -> [PruneOutcome] {
        let parts = try program.parts()
        let session = try session("backup prune", parts)
        var state = try BackupState.load(program.folder, warn: warn)
        let settings = program.settings
        var outcomes: [PruneOutcome] = []
        for target in try targets(name) {
            let place = try parts.target(target)
            let context = try session.context(for: target.name)
            try place.open(context, forWriting: !isDryRun)
            if !isDryRun, !place.canRemove {
                warn("\(target.name): this machine may only add to it; prune at the other end")
                continue
            }
            let pins = try place.pins(context)
            let there = Set(try place.snapshots(context))
            let records = (state.targets[target.name]?.snapshots ?? []).filter {
                there.contains($0.id)
            }
            for job in settings.runnableJobs
            where settings.targets(of: job).contains(where: { $0.name == target.name }) {
                let own = records.filter { $0.job == job.name }
                let last = state.jobs[job.name]
                // A full target is a reason to remove, not to keep.
                let hasFailed = last?.lastResult == .failed && last?.lastCode != .full
                if hasFailed {
                    warn("\(job.name): nothing is removed, because its last run failed")
                }
                let expired = parts.expired(
                    RetentionRequest(
                        job: job, snapshots: own, pinned: pins, now: Int64(time(nil)),
                        lastRunFailed: hasFailed)
                ).filter { !pins.contains($0) }.sorted()
                if !isDryRun {
                    for id in expired {
                        try cancellation.check()
                        progress(Progress(.pruning))
                        try place.remove(id, context)
                        state.update(target: target.name) { record in
                            record.snapshots.removeAll { $0.id == id }
                        }
                        try state.save(program.folder)
                    }
                    let now = Int64(time(nil))
                    if state.jobs[job.name] != nil {
                        state.update(job: job.name, on: target.name) { $0.pruned = now }
                    }
                }
                outcomes.append(
                    PruneOutcome(
                        target: target.name, job: job.name,
                        kept: own.map(\.id).filter { !expired.contains($0) }, removed: expired))
            }
            if !isDryRun { try place.cleanUp(context) }
        }
        if !isDryRun { try state.save(program.folder) }
        return outcomes
    }

    /// Keeps a snapshot from being pruned, or not any more; gives the targets that have it.
    public func setPin(
        _ id: SnapshotID, _ isPinned: Bool, target name: String?
    ) throws(BackupError) -> [String] {
        let parts = try program.parts()
        let session = try session("backup pin", parts)
        var changed: [String] = []
        for target in try targets(name) {
            let place = try parts.target(target)
            let context = try session.context(for: target.name)
            do throws(BackupError) {
                try place.open(context, forWriting: true)
            } catch {
                guard error.code == .absent, name == nil else { throw error }
                warn(error.description)
                continue
            }
            guard try place.snapshots(context).contains(id) else { continue }
            var pins = try place.pins(context)
            if isPinned { pins.insert(id) } else { pins.remove(id) }
            try place.setPins(pins, context)
            changed.append(target.name)
        }
        guard !changed.isEmpty else {
            throw BackupError(
                .permanent, subject: "snapshot \(id)", "no target has it",
                advice: "kinglet backup list shows them")
        }
        return changed
    }

    /// Opens a target as a run would, and says how it is.
    public func check(target name: String) throws(BackupError) -> BackupListing.Target {
        let parts = try program.parts()
        let session = try session("backup target check", parts)
        let target = try target(name)
        let place = try parts.target(target)
        let context = try session.context(for: name)
        if let remark = try? RsyncProgram.find().remark { warn(remark) }
        try place.open(context, forWriting: true)
        var state = try BackupState.load(program.folder, warn: warn)
        return look(at: target, parts, session, &state)
    }

    /// The key for SSH of a target.
    public func access(target name: String) throws(BackupError) -> SSHAccess {
        let target = try target(name)
        guard case .ssh(let user, let host, let port, let path) = target.location else {
            throw BackupError(
                .permanent, subject: "target \(name)", "it is not behind SSH",
                advice: "kinglet backup target check \(name) tries it")
        }
        return try SSHAccess(
            target: name, place: .ssh(user: user, host: host, port: port, path: path),
            secrets: program.secrets)
    }
}
