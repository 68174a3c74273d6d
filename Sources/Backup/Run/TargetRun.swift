// One run's work on one target: what is there, what is new, store it, prove it, thin out the rest.

/// The steps on one target.
struct TargetRun {
    let run: BackupRun
    let target: TargetSettings
    let context: TargetContext

    var parts: RunParts { run.parts }
    var job: JobSettings { run.job }

    /// Does everything; a failure is in the outcome.
    func perform(_ state: inout BackupState) -> TargetOutcome {
        var outcome = TargetOutcome(target: target.name, result: .success)
        var opened: (any BackupTarget)?
        do throws(BackupError) {
            try context.cancellation.check()
            let place = try parts.target(target)
            do throws(BackupError) {
                try place.open(context, forWriting: true)
            } catch {
                if error.code == .absent {
                    state.update(target: target.name) { $0.isAvailable = false }
                }
                throw error
            }
            opened = place
            let now = parts.now()
            state.update(target: target.name) { record in
                record.isAvailable = true
                record.isOnSameMedium = place.isOnSameMedium
                record.canRemove = place.canRemove
                record.lastSeen = now
            }
            outcome.isOnSameMedium = place.isOnSameMedium
            try store(on: place, &outcome, &state)
            prune(place, &outcome, &state)
            testRestore(place, outcome, &state)
            measure(place, &state)
        } catch {
            // That it is full is why most fail.
            if let opened, error.code != .cancelled { measure(opened, &state) }
            // One that was stored is there, whatever came afterwards.
            var failure = TargetOutcome(target: target.name, placed(error))
            failure.isOnSameMedium = outcome.isOnSameMedium
            failure.snapshot = outcome.snapshot
            failure.isUnusual = outcome.isUnusual
            return failure
        }
        return outcome
    }

    private func measure(_ place: any BackupTarget, _ state: inout BackupState) {
        guard let space = try? place.space(context) else { return }
        state.update(target: target.name) { $0.space = space }
    }

    // MARK: Storing

    private func store(
        on place: any BackupTarget, _ outcome: inout TargetOutcome, _ state: inout BackupState
    ) throws(BackupError) {
        let known = try place.snapshots(context)
        learn(known, of: place, &state)
        let remembered = state.targets[target.name, default: TargetState()]
        let before = try latest(of: known, on: place, remembered, &state)
        let sequence = max(known.last?.sequence ?? 0, remembered.sequence) &+ 1
        guard let id = SnapshotID(time: parts.now(), sequence: sequence) else {
            throw BackupError(
                .permanent, subject: "target \(target.name)",
                "it has had as many snapshots as can be numbered, or the clock is wrong",
                advice: "set the clock, or begin a new target")
        }
        // A number is never used twice, even by an attempt that is killed.
        state.update(target: target.name) { $0.sequence = sequence }
        try state.save(run.folder)

        let (prepared, database) = try prepare(id, before, place, &outcome, &state)
        try context.cancellation.check()
        var turn = RotatingCheck(
            state.job(job.name, on: target.name),
            hasSnapshots: remembered.snapshots.contains { $0.job == job.name }, now: parts.now())
        var verified = 0
        var isOldDamaged = false
        do throws(BackupError) {
            outcome.transfer = try place.store(prepared, context) { stored throws(BackupError) in
                verified = try check(stored, prepared, &turn, &isOldDamaged)
            }
        } catch {
            if isOldDamaged {
                // They are the same files there.
                for old in [prepared.previous, prepared.previousOfJob] {
                    if let old { state.noteDamage(of: old.manifest.id, on: target.name) }
                }
            }
            if error.code == .damaged {
                state.update(job: job.name) { $0.verifyFailures &+= 1 }
                // What the target has is not to be trusted, what this attempt leaves neither: the
                // next run shares nothing with it.
                state.update(target: target.name) { $0.startsAnew = true }
            }
            throw error
        }
        outcome.snapshot = id
        outcome.verifiedFiles = verified
        do throws(BackupError) {
            try database.remember()
        } catch {
            context.warn("the next copy of the database will be a whole one: \(error)")
        }
        let now = parts.now()
        state.update(job: job.name, on: target.name) { record in
            turn.save(to: &record, now: now)
            record.verified = now
            if record.firstStored == nil { record.firstStored = now }
        }
        state.update(target: target.name) { record in
            record.startsAnew = nil
            record.snapshots.append(
                SnapshotRecord(
                    id: id, job: job.name, files: prepared.manifest.files,
                    bytes: prepared.manifest.bytes, verified: now))
        }
        try state.save(run.folder)
    }

    /// Everything that the snapshot is made of.
    private func prepare(
        _ id: SnapshotID, _ before: Before, _ place: any BackupTarget,
        _ outcome: inout TargetOutcome, _ state: inout BackupState
    ) throws(BackupError) -> (PreparedSnapshot, DatabaseFound) {
        let sharesNothing = state.targets[target.name]?.startsAnew == true
        let previous = sharesNothing ? nil : before.newest
        // Parts are written under their paths in the snapshot, which begin with `database`.
        let folder =
            try place.placeForDatabase(of: id, context).map { Files.parent(of: $0) }
            ?? context.staging
        let began = ContinuousClock.now
        context.progress(Progress(.database))
        let database = try parts.copyDatabase(
            DatabaseRequest(
                id: id, previous: previous, folder: folder, needsMD5: place.needsMD5,
                context: context))
        let copyTime = (ContinuousClock.now - began).inSeconds
        if let bytes = database.logBytes {
            state.update(job: job.name) { $0.databaseLogBytes = bytes }
        }
        try context.cancellation.check()
        context.progress(Progress(.files))
        let scan = ScanRequest(
            job: job, previous: sharesNothing ? nil : before.list, needsMD5: place.needsMD5,
            staging: context.staging, context: context)
        let found = try parts.scan(scan)
        let secrets = try parts.secrets(scan)
        let list = FileList(database.entries + found.entries + (secrets.map { [$0.entry] } ?? []))

        var manifest = Manifest(
            id: id, instance: context.instance, backup: job.name, domains: parts.domains,
            software: parts.software().merging(place.software) { $1 },
            previous: previous?.manifest.id)
        manifest.copied = database.copied
        manifest.databases = database.databases
        manifest.extra = found.extra
        manifest.named = found.named.isEmpty ? nil : found.named
        manifest.lists = parts.describeLists(list)
        for entry in list.entries {
            guard case .file(let size, _) = entry.kind else { continue }
            manifest.files += 1
            manifest.bytes += size
        }
        outcome.isUnusual = try judge(list, manifest, before.list, copyTime, &state)
        var sources = database.sources + found.sources
        if let secrets, let path = SnapshotPath("secrets.age") {
            sources.append((path, secrets.place))
        }
        var prepared = PreparedSnapshot(
            manifest: manifest, list: list, sources: sources, kept: database.kept,
            previous: previous)
        prepared.excludes = job.exclude
        prepared.leftOut = found.leftOut
        prepared.previousOfJob = sharesNothing ? nil : before.own
        prepared.sharesNothing = sharesNothing
        return (prepared, database)
    }

    /// Counts what changed, and stops what looks like a mistake before it pushes out good copies.
    /// Says whether it is unusual; nil when that was not asked.
    private func judge(
        _ list: FileList, _ manifest: Manifest, _ previous: FileList?, _ copyTime: Double,
        _ state: inout BackupState
    ) throws(BackupError) -> Bool? {
        let (changed, deleted) = Self.changes(from: previous, to: list)
        let history = state.jobs[job.name]?.history ?? []
        var isUnusual: Bool?
        if let previous, !run.acceptsChanges {
            let request = SuspicionRequest(
                job: job, previous: previous, list: list, changed: changed, deleted: deleted,
                history: history)
            isUnusual = try parts.judge(request, context)
        }
        state.update(job: job.name) { record in
            record.sourceFiles = manifest.files
            record.sourceBytes = manifest.bytes
            record.changedFiles = changed
            record.deletedFiles = deleted
            record.databaseDuration = copyTime
        }
        return isUnusual
    }

    /// Files with new content, and files that are gone. The parts of the database come and go.
    static func changes(from previous: FileList?, to list: FileList) -> (Int, Int) {
        let old = previous?.entries ?? []
        let new = list.entries
        var changed = 0
        var deleted = 0
        var left = 0
        var right = 0
        while left < old.count || right < new.count {
            if left < old.count, right < new.count, old[left].path == new[right].path {
                if old[left].kind != new[right].kind { changed += 1 }
                left += 1
                right += 1
            } else if right == new.count
                || (left < old.count && old[left].path < new[right].path)
            {
                if !old[left].path.isBelow("database") { deleted += 1 }
                left += 1
            } else {
                changed += 1
                right += 1
            }
        }
        return (changed, deleted)
    }

    // MARK: What is there

    /// What is on the target already, as a new snapshot sees it.
    private struct Before {
        /// The newest snapshot, of whatever job: all of them hold the instance, and the database's
        /// chain goes on from the last.
        var newest: (manifest: Manifest, list: FileList)?
        /// The newest of this job: what is below `extra` is another job's in any other.
        var own: (manifest: Manifest, list: FileList)?

        /// The files to compare with; nil when there are none.
        var list: FileList? {
            guard let newest else { return nil }
            guard own?.manifest.id != newest.manifest.id else { return newest.list }
            return FileList(
                newest.list.entries.filter { !$0.path.isBelow("extra") }
                    + (own?.list.entries.filter { $0.path.isBelow("extra") } ?? []))
        }
    }

    /// What can be read there. Older snapshots serve as well when the newest cannot.
    private func latest(
        of known: [SnapshotID], on place: any BackupTarget, _ record: TargetState,
        _ state: inout BackupState
    ) throws(BackupError) -> Before {
        do throws(BackupError) {
            guard let newest = try latest(of: known, on: place, &state) else { return Before() }
            guard newest.manifest.backup != job.name else {
                return Before(newest: newest, own: newest)
            }
            let ids = Set(record.snapshots.filter { $0.job == job.name }.map(\.id))
            let own = try latest(
                of: known.filter { ids.contains($0) }, on: place, onlyForExtra: true, &state)
            return Before(newest: newest, own: own)
        } catch {
            // Nothing of it would be used but for the comparison.
            guard record.startsAnew == true, error.code != .cancelled else { throw error }
            context.warn("what is there cannot be compared with: \(error.message)")
            return Before()
        }
    }

    /// The newest snapshot that can be read.
    private func latest(
        of known: [SnapshotID], on place: any BackupTarget, onlyForExtra: Bool = false,
        _ state: inout BackupState
    ) throws(BackupError) -> (manifest: Manifest, list: FileList)? {
        for id in known.suffix(3).reversed() {
            do throws(BackupError) {
                let manifest = try place.manifest(of: id, context)
                if onlyForExtra, manifest.extra.isEmpty { return (manifest, FileList([])) }
                return (manifest, try place.list(of: manifest, context))
            } catch {
                guard error.code == .damaged else { throw error }
                context.warn("snapshot \(id) cannot be used: \(error.message)")
                state.noteDamage(of: id, on: target.name)
            }
        }
        return nil
    }

    /// Notes snapshots that the state does not know: it may have been lost, or the target used by
    /// another command.
    private func learn(
        _ known: [SnapshotID], of place: any BackupTarget, _ state: inout BackupState
    ) {
        let pinned = (try? place.pins(context)) ?? []
        var record = state.targets[target.name, default: TargetState()]
        let there = Set(known)
        record.snapshots.removeAll { !there.contains($0.id) }
        let remembered = Set(record.snapshots.map(\.id))
        // A few at each run: on some targets each of them is a download.
        for id in known.reversed().filter({ !remembered.contains($0) }).prefix(50) {
            guard let manifest = try? place.manifest(of: id, context) else { continue }
            record.snapshots.append(
                SnapshotRecord(
                    id: id, job: manifest.backup, files: manifest.files, bytes: manifest.bytes))
        }
        record.snapshots.sort { $0.id < $1.id }
        record.pinned = pinned.sorted()
        state.targets[target.name] = record
    }

    // MARK: Proof

    /// Reads back what is new, and a share of what was there before.
    private func check(
        _ stored: Stored, _ prepared: PreparedSnapshot, _ turn: inout RotatingCheck,
        _ isOldDamaged: inout Bool
    ) throws(BackupError) -> Int {
        let new = try stored.verify(stored.new)
        guard new.faultCount == 0 else {
            throw damage(new, "what was just stored cannot be read back as it was")
        }
        let old = turn.next(
            of: stored.list ?? prepared.list, without: Set(stored.new.map(\.path)),
            share: job.verify)
        let report = try stored.verify(old)
        guard report.faultCount == 0 else {
            isOldDamaged = true
            throw damage(report, "files that were stored before are damaged")
        }
        try parts.checkDatabase(prepared, stored, context)
        return new.files + report.files
    }

    private func damage(_ report: VerificationReport, _ text: String) -> BackupError {
        for fault in report.faults.prefix(5) { context.warn(fault) }
        return BackupError(
            .damaged, subject: "target \(target.name)",
            "\(text): \(report.faultCount) of them, such as \(report.faults.first ?? "?")",
            advice: "its medium may be dying; the next run copies everything anew")
    }

    // MARK: Afterwards

    /// Removes what need not be kept. Never after a failure; its own failure does not make the
    /// backup one.
    private func prune(
        _ place: any BackupTarget, _ outcome: inout TargetOutcome, _ state: inout BackupState
    ) {
        guard place.canRemove else { return }
        guard outcome.isUnusual != true else {
            return context.warn("because of that no older snapshot is removed after this run")
        }
        do throws(BackupError) {
            let pinned = try place.pins(context)
            let record = state.targets[target.name, default: TargetState()]
            let expired = parts.expired(
                RetentionRequest(
                    job: job, snapshots: record.snapshots.filter { $0.job == job.name },
                    pinned: pinned, now: parts.now())
            ).filter { !pinned.contains($0) && $0 != outcome.snapshot }
            for id in expired.sorted() {
                try context.cancellation.check()
                context.progress(Progress(.pruning))
                try place.remove(id, context)
                outcome.pruned.append(id)
                state.update(target: target.name) { $0.snapshots.removeAll { $0.id == id } }
            }
            // What earlier attempts have left was of use to this one.
            try place.cleanUp(context)
            let now = parts.now()
            state.update(job: job.name, on: target.name) { $0.pruned = now }
        } catch {
            outcome.result = .warning
            outcome.reason = "old snapshots cannot be removed: \(error.subject): \(error.message)"
            outcome.nextStep = error.advice
        }
    }

    /// Proves that the newest snapshot restores, when it is time to.
    private func testRestore(
        _ place: any BackupTarget, _ outcome: TargetOutcome, _ state: inout BackupState
    ) {
        let last = state.job(job.name, on: target.name).restoreTestAttempt
        guard let id = outcome.snapshot, parts.isTestDue(job, last, parts.now()) else { return }
        let tester = RestoreTest(parts: parts, job: job.name, target: target.name)
        do throws(BackupError) {
            try tester.perform(place, id, context, &state)
        } catch {
            let end = error.code == .absent ? "was put off" : "failed"
            context.warn("the test restore of \(id) \(end): \(error)")
        }
    }
}

/// A test restore and what is remembered of it.
struct RestoreTest {
    let parts: RunParts
    let job: String
    let target: String

    func perform(
        _ place: any BackupTarget, _ id: SnapshotID, _ context: TargetContext,
        _ state: inout BackupState
    ) throws(BackupError) {
        let now = parts.now()
        state.update(job: job, on: target) { $0.restoreTestAttempt = now }
        let began = ContinuousClock.now
        context.progress(Progress(.test))
        do throws(BackupError) {
            try parts.testRestore(place, id, context)
        } catch {
            switch error.code {
            // One that was ended says nothing.
            case .cancelled: state.update(job: job, on: target) { $0.restoreTestAttempt = nil }
            // No room for it, or the disk is gone: nothing was found wrong.
            case .absent: break
            default: state.update(job: job) { $0.restoreTestFailures &+= 1 }
            }
            throw error
        }
        let end = parts.now()
        state.update(job: job) {
            $0.restoreTestDuration = (ContinuousClock.now - began).inSeconds
        }
        state.update(job: job, on: target) { $0.restoreTest = end }
    }
}
