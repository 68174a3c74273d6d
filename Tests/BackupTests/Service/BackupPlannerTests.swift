// What becomes of a schedule when its runs end, are ended, or cannot begin.

import Foundation
import Options
import Testing

@testable import Backup

@Suite("Which job is due")
struct BackupPlannerTests {
    /// A planner with one job that is due at each start of the server.
    private final class Plan {
        let data: RunFolder
        let job: JobSettings
        var planner: BackupPlanner
        private let folder: BackupFolder

        init() throws {
            data = try RunFolder()
            folder = BackupFolder(dataDirectory: data.path)
            let text = """
                backup:
                  start_delay: 0s
                  jobs: [{name: nightly, schedule: "@reboot"}]
                """
            let set = OptionSet(try ConfigurationDocument.parse(text, file: "kinglet.yaml"))
            let options = BackupOptions(set)
            try set.finish()
            let program = BackupProgram(
                options: options, dataDirectory: data.path, configuration: nil, domains: [],
                version: "1", tester: nil, database: nil)
            job = program.settings.jobs[0]
            planner = BackupPlanner(program, StateCache(folder))
        }

        var isDue: Bool {
            var conditions = BackupConditions()
            conditions.clockIsRight = true
            return planner.due(conditions)?.job == job
        }

        /// Why a run is owed, as it is on disk.
        var owed: JobMemory.Cause? {
            get throws {
                struct Memory: Decodable { var nightly: JobMemory }
                let bytes = try #require(try Files.read(folder.schedule, limit: 1 << 20))
                return try JSONDecoder().decode(Memory.self, from: Data(bytes)).nightly.owed
            }
        }
    }

    private let cancelled = RunOutcome(job: "nightly", result: .cancelled, began: 0)
    private let refusal = BackupError(.permanent, subject: "state.json", "it cannot be written")

    @Test("A run that a person ended does not begin again by itself")
    func endedByHand() throws {
        let plan = try Plan()
        #expect(plan.isDue)
        plan.planner.began(plan.job)
        plan.planner.ended(plan.job, cancelled, isStopping: false)
        #expect(try plan.owed == nil)
        #expect(!plan.isDue)
    }

    @Test("One that the server's stop ended is made up for")
    func endedByStop() throws {
        let plan = try Plan()
        plan.planner.began(plan.job)
        plan.planner.ended(plan.job, cancelled, isStopping: true)
        #expect(try plan.owed == .interrupted)
    }

    @Test("One by hand that was refused leaves owed what was owed, and nothing else")
    func refusedByHand() throws {
        let plan = try Plan()
        for code in [BackupError.Code.busy, .permanent] {
            plan.planner.began(plan.job)
            let error = BackupError(code, subject: "lock", "no")
            plan.planner.refused(plan.job, error, isByHand: true)
            #expect(try plan.owed == .start)
            #expect(plan.isDue, "the run of the schedule still comes")
        }
        plan.planner.began(plan.job)
        plan.planner.ended(plan.job, cancelled, isStopping: false)
        plan.planner.began(plan.job)
        plan.planner.refused(plan.job, refusal, isByHand: true)
        #expect(try plan.owed == nil)
    }

    @Test("One of the schedule that was refused is tried again a few times")
    func refused() throws {
        let plan = try Plan()
        for attempt in 0..<4 {
            plan.planner.began(plan.job)
            plan.planner.refused(plan.job, refusal, isByHand: false)
            #expect(try plan.owed == (attempt < 3 ? .retry : nil))
        }
        for _ in 0..<10 {
            plan.planner.began(plan.job)
            let busy = BackupError(.busy, subject: "lock", "another one is at work")
            plan.planner.refused(plan.job, busy, isByHand: false)
            #expect(try plan.owed == .retry)
        }
    }
}
