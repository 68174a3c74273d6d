// What is remembered survives, and what is damaged does not stop a backup.

import Glibc
import Options
import Prometheus
import Testing

@testable import Backup

@Suite("The state of the backup")
struct BackupStateTests {
    @Test("It comes back as it was, private to its owner")
    func roundTrip() throws {
        let directory = try RunFolder()
        let folder = BackupFolder(dataDirectory: directory.path)
        try folder.prepare()
        var state = BackupState()
        state.update(job: "nightly") { job in
            job.lastResult = .warning
            job.durations.observe(61)
            job.targets = ["disk": .success]
        }
        state.update(job: "nightly", on: "disk") { $0.cursor = "00ff" }
        try state.save(folder)
        #expect(try BackupState.load(folder) { Issue.record("\($0)") } == state)
        var status = stat()
        #expect(stat(folder.state, &status) == 0 && status.st_mode & 0o777 == 0o600)
        #expect(stat(folder.root, &status) == 0 && status.st_mode & 0o777 == 0o700)
    }

    @Test(
        "A damaged file is set aside, and a new state begun",
        arguments: ["", "{", "[]", "{\"format\":2,\"jobs\":{},\"targets\":{}}", "\u{0}\u{0}"])
    func damaged(text: String) throws {
        let directory = try RunFolder()
        let folder = BackupFolder(dataDirectory: directory.path)
        try folder.prepare()
        try Files.replace(folder.state, Array(text.utf8), mode: 0o600)
        var warnings: [String] = []
        #expect(try BackupState.load(folder) { warnings.append($0) } == BackupState())
        #expect(warnings.count == 1)
        #expect(try Files.read(folder.state + ".damaged", limit: 100) == Array(text.utf8))
    }

    @Test("It does not grow without bounds")
    func bounds() throws {
        let directory = try RunFolder()
        let folder = BackupFolder(dataDirectory: directory.path)
        try folder.prepare()
        var state = BackupState()
        for number in 1...100 {
            state.update(job: "job\(number)") { $0.lastAttempt = Int64(number) }
        }
        state.update(target: "disk") { target in
            target.lastSeen = 1
            target.snapshots = (1...2500).compactMap { number in
                SnapshotID(time: 0, sequence: number).map {
                    SnapshotRecord(id: $0, job: "j", files: 1, bytes: 1)
                }
            }
        }
        try state.save(folder)
        let read = try BackupState.load(folder) { Issue.record("\($0)") }
        #expect(read.jobs.count == 64 && read.jobs["job100"] != nil && read.jobs["job1"] == nil)
        #expect(read.targets["disk"]?.snapshots.count == 2000)
        #expect(read.targets["disk"]?.snapshots.last?.id.sequence == 2500)
    }

    @Test("The installation's name is its own, and follows from the key when it was lost")
    func instance() throws {
        let directory = try RunFolder()
        let folder = BackupFolder(dataDirectory: directory.path)
        try folder.prepare()
        let key = RecoveryKey(secret: [UInt8](repeating: 1, count: 32))
        let other = RecoveryKey(secret: [UInt8](repeating: 2, count: 32))
        let name = try InstanceName.load(folder, key: key)
        #expect(ManifestFile.isInstance(name))
        #expect(try InstanceName.load(folder, key: other) == name)
        try Files.remove(folder.instance)
        #expect(try InstanceName.load(folder, key: key) == name)
        try Files.remove(folder.instance)
        #expect(try InstanceName.load(folder, key: other) != name)
        try Files.replace(folder.instance, Array("x".utf8), mode: 0o600)
        #expect(throws: BackupError.self) { try InstanceName.load(folder, key: key) }
    }
}
