// The service on its thread: what it says of runs that cannot begin.

import Glibc
import Options
import Synchronization
import Testing

@testable import Backup

@Suite("The service of the backup")
struct BackupServiceTests {
    /// A service with a job that runs by hand, and nothing to copy.
    private final class Stage {
        let data: RunFolder
        let folder: BackupFolder
        let service: BackupService
        let log: AsyncStream<String>
        private let heard: Heard

        private final class Heard: Sendable {
            let reports = Mutex<[String]>([])
        }

        init() throws {
            data = try RunFolder()
            folder = BackupFolder(dataDirectory: data.path)
            try folder.prepare()
            let text = "backup: {jobs: [{name: nightly}]}"
            let set = OptionSet(try ConfigurationDocument.parse(text, file: "kinglet.yaml"))
            let options = BackupOptions(set)
            try set.finish()
            let heard = Heard()
            self.heard = heard
            let (lines, sink) = AsyncStream.makeStream(of: String.self)
            log = lines
            service = BackupService(
                BackupProgram(
                    options: options, dataDirectory: data.path, configuration: nil, domains: [],
                    version: "1", tester: nil, database: nil),
                BackupService.Surroundings(
                    conditions: { BackupConditions() }, stanzas: { 0 },
                    report: { text in heard.reports.withLock { $0.append(text) } },
                    log: { text, _ in sink.yield(text) }))
            service.start()
        }

        deinit { service.stop() }

        var reports: [String] { heard.reports.withLock { $0 } }

        /// The service tells nobody: it is asked, for two minutes.
        func wait(_ condition: () -> Bool) async {
            let end = ContinuousClock.now + .seconds(120)
            while !condition(), ContinuousClock.now < end {
                try? await Task.sleep(for: .milliseconds(5))
            }
        }

        /// Asks for a run; gives what the log says of it.
        func run() async throws -> String {
            guard case .success = service.run(BackupService.Wish()) else {
                Issue.record("it was refused at once")
                return ""
            }
            for await line in log where line.hasPrefix("backup nightly") {
                // The next is taken when this one has been reported.
                await wait { service.activity.run == nil }
                return line
            }
            return ""
        }
    }

    @Test("That something else is at work is told to who asked, and not in the chat")
    func busy() async throws {
        let stage = try Stage()
        let lock = try BackupLock.acquire(stage.folder, purpose: "backup verify")
        #expect(try await stage.run().contains("backup verify"))
        #expect(stage.service.activity.refusal?.contains("backup verify") == true)
        _ = consume lock
        #expect(try await stage.run().contains("failed"), "there is no database to copy")
        #expect(stage.reports.count == 1 && stage.reports[0].contains("failed"))
    }

    @Test("That a run cannot begin is said once, and status says it as long as it is so")
    func refused() async throws {
        let stage = try Stage()
        // No file can be made in this place.
        unlink(stage.folder.lock)
        try #require(mkdir(stage.folder.lock, 0o700) == 0)
        for _ in 0..<2 { _ = try await stage.run() }
        #expect(stage.reports.count == 1)
        #expect(stage.reports.first?.hasPrefix("Backup nightly could not begin: ") == true)
        await stage.wait { stage.service.outlook["nightly"]?.block != nil }
        #expect(stage.service.outlook["nightly"]?.block?.contains("could not begin") == true)
        rmdir(stage.folder.lock)
        #expect(try await stage.run().contains("failed"))
        #expect(stage.reports.count == 2)
    }

    @Test("A mistake in the question is answered, and is no run")
    func mistakes() async throws {
        let stage = try Stage()
        guard case .failure(let error) = stage.service.run(.init(target: "usb")) else {
            Issue.record("it was taken")
            return
        }
        #expect(error.message == "there is none of this name")
        #expect(stage.service.activity.run == nil)
        #expect(try BackupState.peek(stage.folder) == BackupState())
    }
}
