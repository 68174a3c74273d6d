// What the owner's commands get, and what they may leave behind.

import Foundation
import Testing

@testable import Backup

@Suite("The owner's commands around a run")
struct HookCommandTests {
    private func run(_ command: String) throws(BackupError) {
        try HookCommand.run(
            HookRequest(
                name: "before", command: command, environment: ["KINGLET_BACKUP_JOB": "daily"],
                cancellation: Cancellation(timeLimit: .seconds(600))))
    }

    @Test("One that leaves a daemon running ends, and the daemon keeps no lock")
    func daemon() throws {
        let folder = FileManager.default.temporaryDirectory.path + "/hook-\(UUID().uuidString)"
        try Files.makeFolder(folder)
        let began = ContinuousClock.now
        try run("sleep 600 & echo $! > '\(folder)/daemon'; test ! -e /proc/$$/fd/3")
        #expect(ContinuousClock.now - began < .seconds(300))
        let text = String(
            decoding: try Files.read(folder + "/daemon", limit: 20) ?? [], as: UTF8.self)
        let daemon = try #require(pid_t(text.filter(\.isNumber)))
        #expect(kill(daemon, 0) == 0, "it still runs")
        #expect(kill(daemon, SIGTERM) == 0)
        try Files.remove(folder)
    }

    @Test("One that fails says so in its own words")
    func fails() {
        let error = #expect(throws: BackupError.self) {
            try run("echo no $KINGLET_BACKUP_JOB disk >&2; exit 3")
        }
        #expect(error?.code == .permanent)
        #expect(error?.message == "the command ended with status 3: no daily disk")
    }
}
