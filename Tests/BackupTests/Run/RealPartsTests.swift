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
            id: try #require(SnapshotID(time: 1, sequence: 1)), previous: previous, folder: folder,
            needsMD5: false, context: context)
    }

    /// What was stored last.
    private var previous: (manifest: Manifest, list: FileList)?

    /// Copies into staging for a target that is no folder, checks and remembers, as a run does.
    func store(whenChecked: (PreparedSnapshot) throws -> Void = { _ in }) throws -> DatabaseFound {
        let parts = try program.parts()
        try Files.remove(context.staging)
        try Files.makeFolder(context.staging)
        let request = try request(into: context.staging)
        let found = try parts.copyDatabase(request)
        var manifest = Manifest(
            id: request.id, instance: context.instance, backup: "default", domains: [],
            software: [:], previous: nil)
        manifest.databases = found.databases
        let list = FileList(found.entries)
        let prepared = PreparedSnapshot(
            manifest: manifest, list: list, sources: found.sources, kept: found.kept,
            previous: previous)
        let stored = Stored(
            new: found.entries.filter { !found.kept.contains($0.path) },
            verify: { (_) throws(BackupError) in VerificationReport() }, folder: nil)
        try parts.checkDatabase(prepared, stored, context)
        try whenChecked(prepared)
        try found.remember()
        previous = (manifest, list)
        return found
    }

    /// The numbers in the note of the whole checks.
    var note: [Int64] {
        get throws {
            let bytes = try Files.read(copy.memory + "/integrity-checked", limit: 100) ?? []
            return String(decoding: bytes, as: UTF8.self).split(separator: " ").map {
                Int64($0) ?? -1
            }
        }
    }

    func setNote(_ text: String) throws {
        try Files.replace(copy.memory + "/integrity-checked", Array(text.utf8), mode: 0o600)
    }

    /// A row that its index has with another value: `quick_check` does not look. Newer SQLites let
    /// it compare how many there are.
    func damageIndex() throws {
        let sql = "CREATE INDEX pairs_by_a ON pairs (a)"
        let page = try CopyFixture.sqlite(
            copy.file, "SELECT rootpage FROM sqlite_schema WHERE name = 'pairs_by_a'"
        ).filter(\.isNumber)
        for script in [
            "INSERT INTO pairs (a, b) VALUES (1, 2);",
            """
            PRAGMA writable_schema = ON; DELETE FROM sqlite_schema WHERE name = 'pairs_by_a';
            """,
            "UPDATE pairs SET a = 3;",
            """
            PRAGMA writable_schema = ON;
            INSERT INTO sqlite_schema VALUES ('index', 'pairs_by_a', 'pairs', \(page), '\(sql)');
            """,
        ] { _ = try CopyFixture.sqlite(copy.file, script) }
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

    @Test(
        "A week after the first snapshot all of the database is checked, also where no target can")
    func wholeCheck() throws {
        let fixture = try RealFixture()
        try fixture.copy.insert(100)
        let before = Int64(time(nil))
        #expect(try fixture.store().kept.isEmpty)
        #expect(try fixture.program.parts().software().keys.sorted() == ["kinglet", "sqlite"])
        let first = try fixture.note
        #expect(first.count == 3 && first[0] >= before && first[1] == 0, "\(first)")

        // What did not change is not read, but when it is time.
        let first2 = try fixture.store()
        #expect(first2.kept.count == 1)
        #expect(try fixture.note == first)
        try fixture.setNote("\(before - 8 * 86_400) 0 0")
        _ = try fixture.store()
        #expect(try fixture.note[1] >= before)
        try fixture.setNote("\(before - 8 * 86_400)")
        try fixture.copy.insert(3)
        _ = try fixture.store()
        #expect(try fixture.note[1] >= before, "as an earlier version has left it")
        #expect(fixture.warnings.isEmpty)
        try fixture.copy.close()
    }

    @Test(
        "Only a whole check finds an index that is not its table's: in a new base, in what changed",
        arguments: [true, false])
    func damagedIndex(isBase: Bool) throws {
        let fixture = try RealFixture()
        try fixture.copy.insert(300)
        if !isBase { _ = try fixture.store() }
        try fixture.damageIndex()
        let found = try fixture.store()
        #expect(found.kept.isEmpty == isBase)
        #expect(found.databases[0].isChecked == true, "quick_check passes")
        if isBase { try Files.remove(fixture.copy.memory + "/pages-kinglet.db") }
        try fixture.setNote("1 1 0")
        let error = #expect(throws: BackupError.self) { try fixture.store() }
        #expect(error?.code == .damaged && error?.message.contains("index") == true)
        #expect(try fixture.note == [1, 1, 0], "it is tried again")
        try fixture.copy.close()
    }

    @Test("A whole check is due a week after the last, a day after one that did not end")
    func whenDue() throws {
        let fixture = try RealFixture()
        let day: Int64 = 86_400
        func note(_ text: String?, at days: Int64) throws -> WholeCheckNote {
            if let text {
                try fixture.setNote(text)
            } else {
                try Files.remove(fixture.copy.memory + "/integrity-checked")
            }
            return try WholeCheckNote(fixture.context, now: days * day)
        }
        #expect(try !note(nil, at: 100).isDue)
        #expect(try !note("\(100 * day)", at: 106).isDue)
        #expect(try note("\(100 * day)", at: 107).isDue)
        #expect(try !note("\(100 * day) \(105 * day) 0", at: 111).isDue)
        #expect(try note("\(100 * day) \(105 * day) 0", at: 112).isDue)
        #expect(try note("\(100 * day) \(200 * day) 0", at: 112).isDue, "the clock was wrong")
        #expect(try note("x \(Int64.min) y", at: 112).isDue)

        var failing = try note("\(100 * day) 0 0", at: 107)
        try failing.fail(fixture.context)
        #expect(try !note("\(100 * day) 0 \(107 * day)", at: 107).isDue)
        #expect(try note("\(100 * day) 0 \(107 * day)", at: 108).isDue)
        #expect(fixture.warnings.isEmpty)
        failing = try note("\(100 * day) 0 \(113 * day)", at: 114)
        try failing.fail(fixture.context)
        #expect(fixture.warnings.count == 1, "two weeks without one")
        #expect(try fixture.note == [100 * day, 0, 114 * day])
        try failing.succeed()
        #expect(try fixture.note == [100 * day, 114 * day, 0])
        try fixture.copy.close()
    }

    @Test("A folder keeps the form that it has, whether or not a link can be made there just now")
    func form() throws {
        let fixture = try RealFixture()
        let place = FileManager.default.temporaryDirectory.path + "/form-\(UUID().uuidString)"
        try Files.makeFolder(place)
        defer { try? Files.remove(place) }
        let settings = TargetSettings(name: "disk", location: .folder(place))
        #expect(try fixture.program.target(settings) is FolderTarget)
        let instance = String(repeating: "a", count: 32)
        let archive = try ArchiveMarker(instance: instance, key: fixture.context.key).bytes
        for (marker, isTree) in [(archive, false), (TargetMarker(instance: instance).bytes, true)] {
            try Files.replace("\(place)/\(TargetMarker.name)", marker, mode: 0o600)
            #expect(try (fixture.program.target(settings) is FolderTarget) == isTree)
        }
        #expect(try Files.names(in: place).count == 1, "nothing of a probe is left")
        try fixture.copy.close()
    }

    @Test("What a verification has found stays known when somebody ends it")
    func endedVerification() throws {
        let fixture = try RealFixture()
        let program = fixture.program
        let state = program.folder
        try fixture.copy.insert(10)
        _ = try program.makeKey()
        let cancellation = Cancellation()
        @Sendable func damaged() throws -> [Int] {
            (try BackupState.peek(state).targets["local"]?.snapshots ?? [])
                .filter { $0.isDamaged == true }.map(\.id.sequence)
        }
        let commands = BackupCommands(
            program, cancellation: cancellation,
            progress: { _ in
                if let found = try? damaged(), !found.isEmpty { cancellation.cancel("enough") }
            }, warn: { _ in })
        for _ in 0..<3 { #expect(try commands.run(BackupService.Wish()).result == .success) }
        let id = try #require(
            try BackupState.peek(state).targets["local"]?.snapshots.first?.id)
        // All three have the same file.
        let folder = fixture.copy.folder + "/backups/\(id)/database/kinglet.db"
        let base = try #require(try Files.names(in: folder).first)
        let path = folder + "/" + String(decoding: base, as: UTF8.self)
        var bytes = try #require(try Files.read(path, limit: 1 << 24))
        bytes[bytes.count / 2] ^= 1
        let file = try #require(FileHandle(forWritingAtPath: path))
        try file.write(contentsOf: bytes)
        try file.close()
        let error = #expect(throws: BackupError.self) {
            try commands.verify(nil, target: nil, all: true)
        }
        #expect(error?.code == .cancelled)
        #expect(try damaged().first == 1 && damaged().count < 3)
        try fixture.copy.close()
    }
}
