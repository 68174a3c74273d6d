// The real steps of a run, on a small data directory.

import Foundation
import Options
import Storage
import Testing

@testable import Backup

/// A program, its data and a context for one target.
final class RealFixture {
    let copy: CopyFixture
    let program: BackupProgram
    var context: TargetContext
    var warnings: [String] { told.all }
    private let told = Warnings { _ in }

    init() throws {
        copy = try CopyFixture()
        let set = OptionSet(try ConfigurationDocument.parse("", file: "kinglet.yaml"))
        program = BackupProgram(
            options: BackupOptions(set), dataDirectory: copy.folder, configuration: nil,
            domains: ["example.org"], version: "0", tester: nil, database: copy.database)
        try Files.makeFolder(copy.folder + "/staging")
        context = TargetContext(
            key: RecoveryKey.generate(), instance: String(repeating: "a", count: 32),
            memory: copy.memory, staging: copy.folder + "/staging", bandwidth: nil, lock: -1,
            cancellation: Cancellation(), progress: { _ in }, warn: { [told] in told.add($0) })
    }

    func request(into folder: String) throws -> DatabaseRequest {
        DatabaseRequest(
            id: try #require(SnapshotID(time: 1, sequence: 1)), previous: nil, folder: folder,
            needsMD5: false, context: context)
    }
}

@Suite("The real steps of a run", .serialized)
struct RealPartsTests {
    @Test(
        "What is full is the data's disk where a part waits there, and the target where it lies",
        .enabled(if: FullDiskTests.mayMount))
    func whatIsFull() throws {
        let fixture = try RealFixture()
        try fixture.copy.insert(3000, bytes: 3000)
        let small = fixture.copy.folder + "/small"
        try Files.makeFolder(small)
        try #require(mount("tmpfs", small, "tmpfs", 0, "size=1m") == 0)
        defer { umount(small) }
        let parts = try fixture.program.parts()
        var request = try fixture.request(into: small)
        let full = #expect(throws: BackupError.self) { try parts.copyDatabase(request) }
        #expect(full?.code == .full)
        request.context.staging = small
        let own = #expect(throws: BackupError.self) { try parts.copyDatabase(request) }
        #expect(own?.code == .fullSource && own?.message == full?.message)
        #expect(umount(small) == 0)
        try fixture.copy.close()
    }
}
