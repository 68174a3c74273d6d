// Backups within the running server: a thread of its own that plans, runs one job at a time, and
// says what it is at.
//
// THREADS: `turn` and everything it calls belong to the service's thread; the rest is called from
// any thread and leaves its wish in `State`.

internal import Dispatch
internal import Foundation
public import Prometheus
internal import Synchronization

/// The service. Safe on any thread.
public final class BackupService: Sendable {
    /// What the service needs of the program around it.
    public struct Surroundings: Sendable {
        /// Whether the machine lets a run begin.
        public var conditions: @Sendable () -> BackupConditions
        /// Stanzas that clients have sent and were sent so far: how busy the server is.
        public var stanzas: @Sendable () -> Int
        /// Says something in the chat.
        public var report: @Sendable (String) -> Void
        /// Writes a line into the log; true for a warning.
        public var log: @Sendable (_ text: String, _ isWarning: Bool) -> Void

        /// Creates the surroundings; the parts are described at the properties.
        public init(
            conditions: @escaping @Sendable () -> BackupConditions,
            stanzas: @escaping @Sendable () -> Int,
            report: @escaping @Sendable (String) -> Void,
            log: @escaping @Sendable (_ text: String, _ isWarning: Bool) -> Void
        ) {
            self.conditions = conditions
            self.stanzas = stanzas
            self.report = report
            self.log = log
        }
    }

    /// A run that somebody asked for.
    public struct Wish: Codable, Sendable, Equatable {
        /// The job; nil for the only one, or the first.
        public var job: String?
        /// Only this target.
        public var target: String?
        /// Changes that look like a mistake are right this time.
        public var acceptsChanges: Bool

        /// Creates a wish.
        public init(job: String? = nil, target: String? = nil, acceptsChanges: Bool = false) {
            self.job = job
            self.target = target
            self.acceptsChanges = acceptsChanges
        }
    }

    /// What it is at.
    public struct Activity: Codable, Sendable, Equatable {
        /// The number of the run that is at work or waits; nil for none.
        public var run: Int?
        /// The job that runs.
        public var job: String?
        /// How far it is.
        public var progress: Progress?
        /// The run that ended last, and its outcome.
        public var lastRun: Int?
        /// How it ended.
        public var outcome: RunOutcome?
        /// Why it could not even begin.
        public var refusal: String?
    }

    private struct State {
        var isStopping = false
        var hasEnded = false
        var isReloaded = false
        var wish: (number: Int, wish: Wish)?
        var nextNumber = 1
        var running: (number: Int, job: String, cancellation: Cancellation)?
        var meter = ProgressMeter()
        var last: (number: Int, outcome: RunOutcome?, refusal: String?)?
        var live: [String: BackupMetrics.Live] = [:]
        var blocks: [String: String] = [:]
        var hasNotedRsync = false
        /// By job, why its last run could not begin.
        var refusals: [String: String] = [:]
    }

    private let state = Mutex(State())
    private let wake = WakeUp()
    private let ended = DispatchSemaphore(value: 0)
    private let program: BackupProgram
    private let surroundings: Surroundings
    private let cache: StateCache

    /// - Parameter program: where everything is.
    public init(_ program: BackupProgram, _ surroundings: Surroundings) {
        self.program = program
        self.surroundings = surroundings
        cache = StateCache(program.folder)
    }

    /// Shows the metrics, also while nothing runs.
    public func register(in registry: Registry) {
        registry.collect(BackupMetrics.families) { [self] sink in
            BackupMetrics(settings: program.settings, state: cache.state, live: live)
                .render(into: &sink)
        }
    }

    private var live: [String: BackupMetrics.Live] {
        state.withLock { state in
            var live = state.live
            if let running = state.running {
                live[running.job, default: BackupMetrics.Live()].isRunning = true
                live[running.job]?.progress = state.meter.latest?.ratio
            }
            return live
        }
    }

    // MARK: From any thread

    /// Starts the thread.
    public func start() {
        let thread = Thread { [self] in
            removeScratch()
            var planner = BackupPlanner(program, cache)
            while let seconds = turn(&planner) {
                wake.wait(seconds: seconds)
            }
            state.withLock { $0.hasEnded = true }
            ended.signal()
        }
        thread.name = "backup"
        thread.stackSize = 2 << 20
        thread.start()
    }

    /// Ends the run that is at work, and the thread; waits for both, but not for ever: a disk that
    /// does not answer is no reason for the server not to stop in order.
    ///
    /// - Returns: whether both have ended.
    @discardableResult
    public func stop(within seconds: Double = 10) -> Bool {
        state.withLock { state in
            state.isStopping = true
            state.running?.cancellation.cancel("the server stops")
        }
        wake.signal()
        guard ended.wait(timeout: .now() + seconds) == .success else { return false }
        // For another call.
        ended.signal()
        return true
    }

    /// The configuration has changed.
    public func reload() {
        state.withLock { $0.isReloaded = true }
        wake.signal()
    }

    /// Asks for a run; gives its number, or why there will be none.
    public func run(_ wish: Wish) -> Result<Int, BackupError> {
        var wish = wish
        do throws(BackupError) {
            wish.job = try program.settings.job(named: wish.job, target: wish.target).name
        } catch {
            return .failure(error)
        }
        return state.withLock { [wish] state in
            guard !state.isStopping else {
                return .failure(
                    BackupError(.cancelled, subject: "backup", "the server stops"))
            }
            guard state.running == nil, state.wish == nil else {
                let job = state.running?.job ?? "one"
                return .failure(
                    BackupError(
                        .busy, subject: "backup", "\(job) runs already",
                        advice: "wait until it is done"))
            }
            let number = state.nextNumber
            state.nextNumber += 1
            state.wish = (number, wish)
            wake.signal()
            return .success(number)
        }
    }

    /// Ends the run of this number, if it has not ended.
    public func cancel(_ number: Int) {
        state.withLock { state in
            if state.running?.number == number {
                state.running?.cancellation.cancel("somebody ended it")
            } else if state.wish?.number == number {
                state.wish = nil
                state.last = (number, nil, "somebody ended it before it began")
            }
        }
    }

    /// What it is at.
    public var activity: Activity {
        state.withLock { state in
            Activity(
                run: state.running?.number ?? state.wish?.number, job: state.running?.job,
                progress: state.running == nil ? nil : state.meter.latest,
                lastRun: state.last?.number, outcome: state.last?.outcome,
                refusal: state.last?.refusal)
        }
    }

    /// By job, when it runs next and what keeps it from running now.
    public var outlook: [String: JobOutlook] {
        state.withLock { state in
            var outlook: [String: JobOutlook] = [:]
            for (name, live) in state.live {
                outlook[name] = JobOutlook(nextRun: live.nextRun, block: state.blocks[name])
            }
            return outlook
        }
    }

    // MARK: On the service's thread

    /// What a test restore that was killed has left: a copy of everything, its secrets too.
    private func removeScratch() {
        guard Files.exists(program.folder.scratch) else { return }
        do throws(BackupError) {
            let lock = try BackupLock.acquire(program.folder, purpose: "clean-up")
            try TestRestore.cleanUp(scratch: program.folder.scratch)
            _ = consume lock
        } catch {
            // Whoever is at work may need it.
            if error.code != .busy { surroundings.log("backup: \(error)", true) }
        }
    }

    /// Does what is due; gives the seconds until it looks again, nil at the end.
    private func turn(_ planner: inout BackupPlanner) -> Double? {
        let (isStopping, isReloaded, wish) = state.withLock { state in
            defer { state.isReloaded = false }
            return (state.isStopping, state.isReloaded, state.wish)
        }
        if isStopping { return nil }
        if isReloaded { planner.reload() }
        let conditions = surroundings.conditions()
        var hasRun = true
        if let wish {
            do throws(BackupError) {
                // The configuration may be another one by now.
                let job = try program.settings.job(
                    named: wish.wish.job, target: wish.wish.target)
                perform(
                    job, number: wish.number, wish.wish, isRetry: false, isByHand: true, &planner)
            } catch {
                finish(wish.number, nil, error.description)
            }
            state.withLock { if $0.wish?.number == wish.number { $0.wish = nil } }
        } else if let due = planner.due(conditions) {
            let number = state.withLock { state in
                defer { state.nextNumber += 1 }
                return state.nextNumber
            }
            perform(
                due.job, number: number, Wish(job: due.job.name), isRetry: due.isRetry,
                isByHand: false, &planner)
        } else {
            hasRun = false
        }
        digest()
        let plan = planner.plan(conditions)
        state.withLock { state in
            state.live = plan.live
            state.blocks = state.refusals.mapValues { "the last run could not begin: \($0)" }
                .merging(plan.blocks) { $1 }
        }
        let isWanted = state.withLock { $0.wish != nil || $0.isStopping || $0.isReloaded }
        // After a run nobody knows yet when the next one is due.
        return isWanted || hasRun ? 0 : plan.seconds
    }

    private func perform(
        _ job: JobSettings, number: Int, _ wish: Wish, isRetry: Bool, isByHand: Bool,
        _ planner: inout BackupPlanner
    ) {
        let cancellation = Cancellation(
            timeLimit: job.maximumTime, pace: Pace(stanzas: surroundings.stanzas))
        let meter = ProgressMeter()
        let isWanted = state.withLock { state in
            guard !state.isStopping else { return false }
            state.running = (number, job.name, cancellation)
            state.meter = meter
            return true
        }
        guard isWanted else { return }
        noteRsync()
        let before = cache.state.jobs[job.name]
        // What is owed to the other targets stays owed.
        let isWhole =
            wish.target == nil
            || program.settings.targets(of: job).allSatisfy { $0.name == wish.target }
        if isWhole { planner.began(job) }
        let end: Result<RunOutcome, BackupError>
        do throws(BackupError) {
            var run = BackupRun(
                settings: program.settings, job: job, folder: program.folder,
                parts: try program.parts(), cancellation: cancellation,
                progress: { meter.report($0) },
                warn: { [surroundings] in surroundings.log("backup \(job.name): \($0)", true) })
            run.onlyTarget = wish.target
            run.acceptsChanges = wish.acceptsChanges
            run.isRetry = isRetry
            end = .success(try run.perform())
        } catch {
            end = .failure(error)
        }
        cache.forget()
        let isStopping = state.withLock { $0.isStopping }
        let text: String?
        switch end {
        case .success(let outcome):
            surroundings.log(outcome.summary, !outcome.result.isGood)
            if isWhole { planner.ended(job, outcome, isStopping: isStopping) }
            let last = state.withLock { $0.refusals.removeValue(forKey: job.name) }
            text = BackupReports.text(
                of: outcome, job: job, before: before, wasRefused: last != nil,
                isSilentAboutMedium: program.settings.isSilentAboutMedium(job))
            finish(number, outcome, nil)
        case .failure(let error):
            surroundings.log("backup \(job.name): \(error)", error.code != .busy)
            if isWhole { planner.refused(job, error, isByHand: isByHand) }
            text = note(error, of: job)
            finish(number, nil, error.description)
        }
        if let text { surroundings.report(text) }
    }

    private func finish(_ number: Int, _ outcome: RunOutcome?, _ refusal: String?) {
        state.withLock { state in
            state.running = nil
            state.last = (number, outcome, refusal)
        }
    }

    /// Remembers that a run could not begin, unless another one was at work; gives what is to be
    /// said of it.
    private func note(_ error: BackupError, of job: JobSettings) -> String? {
        guard error.code != .busy else { return nil }
        let last = state.withLock { $0.refusals.updateValue(error.description, forKey: job.name) }
        var outcome = RunOutcome(job: job.name, result: .failed, began: Int64(time(nil)))
        outcome.reason = "it could not begin: \(error.subject): \(error.message)"
        outcome.nextStep = error.advice
        // What cannot be written is why, mostly; then the log, the chat and the status have it.
        try? cache.update { state in
            state.update(job: job.name) { record in
                record.lastAttempt = outcome.began
                record.note(outcome)
            }
        }
        return BackupReports.text(refused: error, job: job, last: last)
    }

    /// Says once that rsync is old: it is no matter of one run.
    private func noteRsync() {
        let isNoted = state.withLock { state in
            defer { state.hasNotedRsync = true }
            return state.hasNotedRsync
        }
        guard !isNoted, let rsync = try? RsyncProgram.find(), let remark = rsync.remark else {
            return
        }
        surroundings.log("backup: \(remark)", false)
    }

    /// Sends the digests that are due.
    private func digest() {
        let now = Int64(time(nil))
        for job in program.settings.runnableJobs where job.report == .weekly {
            let state = cache.state
            let targets = program.settings.targets(of: job).map(\.name)
            guard let record = state.jobs[job.name],
                let text = BackupReports.digest(
                    of: record, job: job.name, proof: state.proof(of: job.name, on: targets),
                    now: now, isSilentAboutMedium: program.settings.isSilentAboutMedium(job))
            else { continue }
            // Noted first: one that is lost is better than one that comes every minute.
            guard (try? cache.update({ $0.update(job: job.name) { $0.lastDigest = now } })) != nil
            else { continue }
            if record.lastDigest != nil { surroundings.report(text) }
        }
    }
}

/// What is to come for a job.
public struct JobOutlook: Codable, Sendable, Equatable {
    /// Seconds since 1970; nil when it runs by hand only.
    public var nextRun: Int64?
    /// What keeps it from running now; nil for nothing.
    public var block: String?
}
