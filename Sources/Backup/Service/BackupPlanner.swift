// Which job is due. Owner: the service's thread. What the schedules remember is in a file of its own
// that only the server writes: commands change the state meanwhile.

internal import Foundation
internal import Glibc
internal import Options

/// How the machine is; nil for what is not known.
public struct BackupConditions: Sendable, Equatable {
    /// Whether the clock is set; nil where nothing would set it.
    public var clockIsRight: Bool?
    /// Whether an uninterruptible power supply lives on its battery.
    public var isOnBattery: Bool?
    /// Whether the processor is slowed down.
    public var isThrottled: Bool?
    /// Of the processor, in °C.
    public var temperature: Double?
    /// Whether others wait for processor, memory or disk.
    public var isUnderLoad: Bool?

    /// Nothing is known.
    public init() {}
}

/// The schedules of all jobs.
struct BackupPlanner {
    private struct Entry {
        var job: JobSettings
        var schedule: JobSchedule
        /// For the next times.
        var plan: JobSchedule.Settings
        /// The schedule as it was before the run that is at work.
        var before: JobSchedule?
        /// Between two runs and two tests of a restore, and when that was found out, by uptime: it
        /// takes a while.
        var periods: (run: Int64?, test: Int64?, uptime: Int64)?

        /// What decides when it runs.
        var times: [String] {
            [job.schedule ?? "", job.timeZone ?? "", "\(job.jitter)"] + job.windows
        }
    }

    /// What is to come.
    struct Plan {
        var live: [String: BackupMetrics.Live] = [:]
        var blocks: [String: String] = [:]
        /// Seconds until somebody should look again.
        var seconds = 30.0
    }

    private let program: BackupProgram
    private let cache: StateCache
    private var entries: [Entry] = []
    private var saved: [String: JobMemory] = [:]
    private var wait: Int64 = 30

    init(_ program: BackupProgram, _ cache: StateCache) {
        self.program = program
        self.cache = cache
        saved = Self.load(program.folder)
        entries = makeEntries(isStart: true)
    }

    /// Takes the configuration of now. The server has not started anew: a job whose times are as
    /// they were goes on as if nothing had happened.
    mutating func reload() {
        let old = Dictionary(entries.map { ($0.job.name, $0) }) { $1 }
        entries = makeEntries(isStart: false).map { new in
            guard let same = old[new.job.name], same.times == new.times else { return new }
            var entry = new
            entry.schedule = same.schedule
            return entry
        }
    }

    private func makeEntries(isStart: Bool) -> [Entry] {
        let now = Self.now
        let grace = program.options.startDelay.value.components.seconds
        var entries: [Entry] = []
        for job in program.settings.jobs {
            // One that cannot be read was refused with the configuration.
            guard let text = job.schedule, let schedule = try? Schedule(text),
                let zone = try? ScheduleTexts.zone(of: job)
            else { continue }
            var settings = JobSchedule.Settings(schedule: schedule, zone: zone)
            settings.delay = ScheduleTexts.delay(of: job)
            settings.windows = (try? RunWindows(job.windows)) ?? .always
            settings.grace = grace
            let memory = saved[job.name] ?? JobMemory()
            entries.append(
                Entry(
                    job: job,
                    schedule: JobSchedule(settings, memory: memory, at: now, isStart: isStart),
                    plan: settings))
        }
        return entries
    }

    /// By both clocks.
    private static var now: JobSchedule.Moment {
        var clock = Glibc.timespec()
        clock_gettime(CLOCK_BOOTTIME, &clock)
        return JobSchedule.Moment(wall: Int64(time(nil)), uptime: Int64(clock.tv_sec))
    }

    // MARK: Events

    /// The job that is to run now; nil for none.
    mutating func due(
        _ conditions: BackupConditions
    ) -> (job: JobSettings, isRetry: Bool)? {
        var machine = RunConditions()
        machine.clockIsRight = conditions.clockIsRight
        machine.isOnBattery = conditions.isOnBattery
        machine.isThrottled = conditions.isThrottled
        machine.temperature = conditions.temperature
        machine.isUnderLoad = conditions.isUnderLoad
        wait = 30
        var due: (job: JobSettings, isRetry: Bool)?
        for index in entries.indices {
            let newest = cache.state.jobs[entries[index].job.name]?.lastSuccess
            switch entries[index].schedule.tick(Self.now, machine, newestSnapshot: newest) {
            case .run(let cause):
                // One at a time; the others are asked again when this one has ended.
                if due == nil { due = (entries[index].job, cause == .retry) }
            case .wait(let seconds): wait = min(wait, max(1, seconds))
            }
        }
        save()
        return due
    }

    /// A run of a job was begun.
    mutating func began(_ job: JobSettings) {
        change(job) { entry in
            entry.before = entry.schedule
            entry.schedule.began(at: Self.now)
        }
    }

    /// It has ended.
    ///
    /// - Parameter isStopping: whether the server stops; else it was a person who ended it.
    mutating func ended(_ job: JobSettings, _ outcome: RunOutcome, isStopping: Bool) {
        let end: JobSchedule.Outcome
        switch outcome.result {
        case .success, .warning: end = .success
        case .cancelled: end = isStopping ? .interrupted : .ended
        case .skipped: end = .failed(.absent)
        case .failed:
            let code = outcome.targets.compactMap(\.code).first { $0 == .temporary }
            end = .failed(code ?? .permanent)
        }
        change(job) { $0.schedule.ended(end, at: Self.now) }
    }

    /// It could not even begin. One that a person asked for leaves the schedule as it was: whoever
    /// asked knows, and asks again.
    mutating func refused(_ job: JobSettings, _ error: BackupError, isByHand: Bool) {
        change(job) { entry in
            if isByHand, let before = entry.before {
                entry.schedule = before
            } else {
                // What is in the way, such as a full disk, may be gone soon.
                let code: BackupError.Code = error.code == .busy ? .busy : .temporary
                entry.schedule.ended(.failed(code), at: Self.now)
            }
        }
    }

    private mutating func change(_ job: JobSettings, _ body: (inout Entry) -> Void) {
        guard let index = entries.firstIndex(where: { $0.job.name == job.name }) else { return }
        body(&entries[index])
        save()
    }

    /// What is to come.
    mutating func plan(_ conditions: BackupConditions) -> Plan {
        var plan = Plan()
        let now = Self.now
        for index in entries.indices {
            let job = entries[index].job
            if let last = entries[index].periods, now.uptime - last.uptime < 3600 { continue }
            entries[index].periods = (
                ScheduleTexts.period(of: job, at: now.wall),
                ScheduleTexts.testPeriod(of: job, at: now.wall), now.uptime
            )
        }
        let hasKey = Files.exists(program.keyFile)
        for entry in entries {
            let memory = entry.schedule.memory
            var live = BackupMetrics.Live()
            live.nextRun = memory.nextDue
            live.period = entry.periods?.run.map { Double($0) }
            live.testPeriod = entry.periods?.test.map { Double($0) }
            live.missed = UInt64(clamping: memory.missed)
            live.isClockSynchronised = conditions.clockIsRight
            live.isKeyAvailable = hasKey
            plan.live[entry.job.name] = live
            plan.blocks[entry.job.name] = entry.schedule.blocker?.sentence
        }
        // Those that run by hand only have no times.
        for job in program.settings.jobs where plan.live[job.name] == nil {
            var live = BackupMetrics.Live()
            live.isClockSynchronised = conditions.clockIsRight
            live.isKeyAvailable = hasKey
            plan.live[job.name] = live
        }
        plan.seconds = Double(min(max(wait, 1), 60))
        return plan
    }

    // MARK: Memory

    private static func load(_ folder: BackupFolder) -> [String: JobMemory] {
        guard let bytes = try? Files.read(folder.schedule, limit: 1 << 20),
            let memory = try? JSONDecoder().decode([String: JobMemory].self, from: Data(bytes))
        else { return [:] }
        return memory
    }

    /// Writes it when something that matters has changed: not each time that one looks.
    private mutating func save() {
        var memory: [String: JobMemory] = [:]
        for entry in entries { memory[entry.job.name] = entry.schedule.memory }
        guard essence(memory) != essence(saved) else { return }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        guard let data = try? encoder.encode(memory), (try? program.folder.prepare()) != nil,
            (try? Files.replace(program.folder.schedule, Array(data), mode: 0o600)) != nil
        else { return }
        saved = memory
    }

    /// When it is due next follows from the rest.
    private func essence(_ memory: [String: JobMemory]) -> [String: JobMemory] {
        memory.mapValues { job in
            var job = job
            job.nextDue = nil
            return job
        }
    }
}
