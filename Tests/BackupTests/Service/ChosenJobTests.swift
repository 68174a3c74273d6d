// Which job and which targets a command means, and how long its run may take.

import Options
import Testing

@testable import Backup

@Suite("What a command means")
struct ChosenJobTests {
    private func settings(_ jobs: (String, [String])...) -> BackupSettings {
        BackupSettings(
            targets: ["usb", "nas"].map {
                TargetSettings(name: $0, location: .folder("/\($0)"))
            },
            jobs: jobs.map { name, targets in
                var job = JobSettings(name: name)
                job.targets = targets
                return job
            }, dataDirectory: "/data")
    }

    private func mistake(_ settings: BackupSettings, _ job: String?, _ target: String?) -> String {
        do throws(BackupError) {
            _ = try settings.job(named: job, target: target)
            return ""
        } catch {
            return error.description
        }
    }

    @Test("A target without a job means the first job that goes there")
    func byTarget() throws {
        let settings = settings(("a", ["usb"]), ("b", ["nas", "local"]), ("c", []))
        #expect(try settings.job(named: nil, target: nil).name == "a")
        #expect(try settings.job(named: nil, target: "nas").name == "b")
        #expect(try settings.job(named: nil, target: "local").name == "b")
        #expect(try settings.job(named: "c", target: "nas").name == "c")
    }

    @Test("What no job can do is said before anything is done")
    func mistakes() {
        let settings = settings(("a", ["usb"]), ("b", ["usb"]))
        #expect(mistake(settings, "c", nil).contains("known are a, b"))
        #expect(mistake(settings, nil, "disk").contains("known are usb, nas, local"))
        #expect(mistake(settings, nil, "nas").contains("no job goes there"))
        #expect(mistake(settings, "b", "nas").contains("the job b does not go there"))
        #expect(mistake(settings, nil, "nas").contains("add it to the targets of a job"))
    }

    @Test("The folder in the data directory is seen where it is used beside others")
    func local() {
        func names(_ settings: BackupSettings, _ isUsed: Bool) -> [String] {
            settings.visibleTargets(isLocalUsed: isUsed).map(\.name)
        }
        let named = settings(("a", ["usb", "local"]), ("b", []))
        #expect(names(named, false) == ["usb", "nas", "local"])
        #expect(named.targets(of: named.jobs[1]).map(\.name) == ["usb", "nas"])
        let other = settings(("a", []))
        #expect(names(other, false) == ["usb", "nas"])
        #expect(names(other, true) == ["usb", "nas", "local"], "it has snapshots")
        let none = BackupSettings(targets: [], jobs: [], dataDirectory: "/data")
        #expect(names(none, true) == ["local"])
    }

    @Test("A run without a server ends by max_time as well, or when a person ends it")
    func limit() throws {
        let data = try RunFolder()
        let set = OptionSet(try ConfigurationDocument.parse("", file: "kinglet.yaml"))
        let program = BackupProgram(
            options: BackupOptions(set), dataDirectory: data.path, configuration: nil,
            domains: [], version: "1", tester: nil, database: nil)
        let person = Cancellation()
        let commands = BackupCommands(
            program, cancellation: person, progress: { _ in }, warn: { _ in })
        var job = JobSettings(name: "a")
        job.maximumTime = .zero
        #expect(commands.limited(job).reason == "it took longer than it may")
        job.maximumTime = .seconds(3600)
        let limited = commands.limited(job)
        let after = Cancellation(timeLimit: .seconds(3600), .zero, after: limited)
        #expect(limited.reason == nil && after.reason == nil)
        person.cancel("enough")
        #expect(limited.reason == "enough")
        #expect(after.reason == "enough", "what comes after the run is ended too")
    }
}
