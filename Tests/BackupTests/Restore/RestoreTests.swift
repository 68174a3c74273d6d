// Restores into folders and over data, and what is there after a kill at any step.

import Glibc
import Testing

@testable import Backup

@Suite("A restore")
struct RestoreTests {
    private func restore(
        _ target: FakeTarget, _ scope: RestoreScope = .everything,
        to destination: RestoreDestination, parts: FakeParts = FakeParts()
    ) throws -> Restore {
        Restore(
            try RestorePlan(
                try target.manifest(), try target.list(), scope: scope, to: destination),
            parts: parts, keyFile: Array("AGE".utf8), now: 1_800_000_000)
    }

    @Test("A folder becomes a data directory with its configuration in it")
    func folder() throws {
        let folder = try RestoreFolder()
        let target = FakeTarget.example()
        let report = try restore(target, to: .folder("\(folder.path)/new"))
            .run(from: target, folder.context)
        #expect(
            try folder.names("new") == [
                "kinglet.db", "kinglet.yaml", "ca.crt", "secrets", "uploads", "extra",
                "restored-from", "backup-state",
            ])
        let instance = String(repeating: "a", count: 32) + "\n"
        #expect(try folder.read("new/backup-state/instance") == instance)
        #expect(try folder.mode("new/backup-state") == 0o700)
        #expect(try folder.read("new/kinglet.db") == "SQLite")
        #expect(try folder.read("new/kinglet.yaml") == "domain: a\ndata_dir: .\n")
        #expect(report.notes.contains { $0.contains("/srv/x") })
        #expect(try folder.read("new/secrets/ca.key") == "key")
        #expect(try folder.read("new/secrets/backup.key") == "AGE")
        #expect(try folder.read("new/uploads/ab/cd") == "picture")
        #expect(try folder.names("new/uploads") == ["ab", "empty"])
        #expect(try folder.mode("new/kinglet.db") == 0o600)
        #expect(try folder.mode("new/secrets") == 0o700)
        #expect(try folder.mode("new/secrets/ca.key") == 0o600)
        // Never set-user-id, whatever the manifest says.
        #expect(try folder.mode("new/uploads/ab/cd") == 0o751)
        #expect(report.files == 7 && report.kept == nil)
        // The link is there as it was, and its end was not touched.
        var end = [CChar](repeating: 0, count: 64)
        #expect(readlink("\(folder.path)/new/extra/1/link", &end, 63) == 11)
    }

    @Test("A folder with anything in it is refused and stays as it is")
    func notEmpty() throws {
        let folder = try RestoreFolder()
        try folder.write("new/file", "mine")
        let target = FakeTarget.example()
        #expect(throws: BackupError.self) {
            _ = try restore(target, to: .folder("\(folder.path)/new"))
                .run(from: target, folder.context)
        }
        #expect(try folder.names("new") == ["file"])
    }

    @Test("Links in folders whose names are no text are made; one that cannot be stops nothing")
    func links() throws {
        let folder = try RestoreFolder()
        var target = FakeTarget.example()
        let odd = Array("extra/1/caf".utf8) + [0xE9]
        target.oddLinks = [(odd + Array("/link".utf8), Array("/srv".utf8))]
        target.links["extra/1/empty"] = ""
        let report = try restore(target, to: .folder("\(folder.path)/new"))
            .run(from: target, folder.context)
        #expect(report.notes.contains { $0.hasPrefix("1 of 3 links were not made") })
        #expect(try Files.names(in: "\(folder.path)/new/extra/1").contains([99, 97, 102, 0xE9]))
        #expect(try folder.read("new/extra/1/notes.txt") == "notes")
    }

    private static let old = ["kinglet.db": "old", "kinglet.db-wal": "old log", "ca.crt": "old ca"]
    private static let other = [
        "backups/x": "snapshot", "backup-state/state.json": "{}", "kinglet.lock": "",
        "secrets/old.key": "old key", "uploads/old": "old picture", "initial-password": "old",
        "secrets/backup.key": "OLD",
    ]

    private func liveData() throws -> RestoreFolder {
        let folder = try RestoreFolder()
        for (name, text) in Self.old.merging(Self.other, uniquingKeysWith: { $1 }) {
            try folder.write("data/\(name)", text)
        }
        return folder
    }

    private func expectNew(_ folder: RestoreFolder) throws {
        #expect(try folder.read("data/kinglet.db") == "SQLite")
        #expect(try folder.read("data/kinglet.db-wal") == nil)
        #expect(try folder.read("data/initial-password") == nil)
        #expect(try folder.read("data/ca.crt") == "ca")
        #expect(try folder.names("data/uploads") == ["ab", "empty"])
        #expect(try folder.read("data/secrets/backup.key") == "AGE")
        #expect(try folder.read("data/restored-from")?.isEmpty == false)
        #expect(try folder.read("data/restored-kinglet.yaml")?.contains("/srv/x") == true)
        // What is no data of the server's is not touched.
        #expect(try folder.read("data/backups/x") == "snapshot")
        #expect(try folder.read("data/backup-state/state.json") == "{}")
        // What was there is kept whole.
        let kept = "data/pre-restore-20270115T080000Z"
        for (name, text) in Self.old { #expect(try folder.read("\(kept)/\(name)") == text) }
        #expect(try folder.read("\(kept)/secrets/old.key") == "old key")
        #expect(try folder.read("\(kept)/uploads/old") == "old picture")
        #expect(!Files.exists("\(folder.path)/data/.restoring"))
    }

    private func expectOld(_ folder: RestoreFolder) throws {
        for (name, text) in Self.old.merging(Self.other, uniquingKeysWith: { $1 }) {
            #expect(try folder.read("data/\(name)") == text, "\(name)")
        }
        #expect(
            try folder.names("data") == [
                "kinglet.db", "kinglet.db-wal", "ca.crt", "backups", "backup-state",
                "kinglet.lock", "secrets", "uploads", "initial-password",
            ])
    }

    private func live(_ folder: RestoreFolder) -> RestoreDestination {
        .replace(dataDirectory: "\(folder.path)/data", configuration: nil)
    }

    @Test("Data that is replaced is kept whole beside the new")
    func replace() throws {
        let folder = try liveData()
        let target = FakeTarget.example()
        let report = try restore(target, to: live(folder)).run(from: target, folder.context)
        try expectNew(folder)
        #expect(report.kept == "\(folder.path)/data/pre-restore-20270115T080000Z")
    }

    @Test(
        "An installation that has made backups stays who it is, and what is new goes on as the old")
    func instance() throws {
        let target = FakeTarget.example()
        let old = try liveData()
        try old.write("data/backup-state/instance", "mine")
        _ = try restore(target, to: live(old)).run(from: target, old.context)
        #expect(try old.read("data/backup-state/instance") == "mine")
        let new = try liveData()
        try new.write("data/backup-state/state.json", "{}")
        _ = try restore(target, to: live(new)).run(from: target, new.context)
        #expect(
            try new.read("data/backup-state/instance") == String(repeating: "a", count: 32) + "\n")
        #expect(try new.read("data/backup-state/state.json") == "{}")
    }

    @Test("What an earlier restore has kept stays")
    func twice() throws {
        let folder = try liveData()
        let target = FakeTarget.example()
        _ = try restore(target, to: live(folder)).run(from: target, folder.context)
        _ = try restore(target, to: live(folder)).run(from: target, folder.context)
        try expectNew(folder)
        #expect(try folder.read("data/pre-restore-20270115T080000Z-/kinglet.db") == "SQLite")
    }

    @Test("After a kill at any step, the next start has all of the old or all of the new")
    func kills() throws {
        let target = FakeTarget.example()
        var steps: [String] = []
        do {
            let folder = try liveData()
            _ = try restore(target, to: live(folder)).run(from: target, folder.context) {
                steps.append($0)
            }
        }
        let journal = try #require(steps.firstIndex(of: "journal"))
        #expect(steps.count > journal + 10)
        for (index, step) in steps.enumerated() {
            let folder = try liveData()
            var count = 0
            #expect(throws: BackupError.self, "\(step)") {
                _ = try restore(target, to: live(folder)).run(from: target, folder.context) {
                    _ throws(BackupError) in
                    if count == index {
                        throw BackupError(.cancelled, subject: "test", "killed")
                    }
                    count += 1
                }
            }
            // A second kill while the start finishes it.
            _ = try? DataSwitch.finish(in: "\(folder.path)/data") { step throws(BackupError) in
                if step.hasPrefix("place") {
                    throw BackupError(.cancelled, subject: "test", "killed")
                }
            }
            try DataSwitch.finish(in: "\(folder.path)/data")
            if index <= journal { try expectOld(folder) } else { try expectNew(folder) }
        }
    }

    @Test("What fails leaves everything as it was")
    func failures() throws {
        var broken = FakeTarget.example()
        broken.failure = BackupError(.damaged, subject: "file", "is damaged")
        let whole = FakeTarget.example()
        for (target, parts) in [
            (broken, FakeParts()), (whole, FakeParts(rows: ["messages": 2, "accounts": 1])),
            (whole, FakeParts(rows: [:])),
        ] {
            let folder = try liveData()
            #expect { () throws in
                _ = try restore(target, to: live(folder), parts: parts)
                    .run(from: target, folder.context)
            } throws: {
                ($0 as? BackupError)?.code == .damaged
            }
            try expectOld(folder)
        }
    }

    @Test("More than the disk has is refused with both numbers")
    func space() throws {
        let folder = try liveData()
        var target = FakeTarget.example()
        target.databases[0].pageCount = 1 << 50
        target.databases[0].pageSize = 4096
        #expect { () throws in
            _ = try restore(target, to: live(folder)).run(from: target, folder.context)
        } throws: { error in
            let error = error as? BackupError
            return error?.code == .full && error?.message.contains("TiB are needed") == true
        }
        try expectOld(folder)
    }

    @Test(
        "What is mounted in the data directory is found before anything is fetched or moved",
        arguments: [RestoreScope.everything, .uploads])
    func mounts(_ scope: RestoreScope) throws {
        let folder = try liveData()
        var target = FakeTarget.example()
        let resolved = try #require(realpath("\(folder.path)/data", nil))
        defer { free(resolved) }
        let data = String(cString: resolved)
        func run(_ point: String) throws {
            try folder.write(
                "mounts",
                "20 1 8:1 / / rw - ext4 /dev/sda1 rw\n25 20 8:1 /x \(point) rw - ext4 /dev/sda1 rw\n"
            )
            var restore = try restore(target, scope, to: live(folder))
            restore.mounts = "\(folder.path)/mounts"
            _ = try restore.run(from: target, folder.context)
        }
        // It is not even asked for files.
        target.failure = BackupError(.temporary, subject: "target", "was asked")
        #expect { try run("\(data)/uploads") } throws: { error in
            let error = error as? BackupError
            return error?.code == .permanent && error?.message.contains("mounted here") == true
                && error?.subject == "\(folder.path)/data/uploads"
        }
        try expectOld(folder)
        target.failure = nil
        // What stays where it is may be mounted.
        try run("\(data)/backups")
        try run("\(data)/uploads/deeper")
    }

    @Test("A name that is only known at the end is looked at before the journal")
    func lateMount() throws {
        let folder = try liveData()
        try folder.write("data/restored-kinglet.yaml", "old")
        let resolved = try #require(realpath("\(folder.path)/data", nil))
        defer { free(resolved) }
        try folder.write(
            "mounts",
            "25 20 8:1 /x \(String(cString: resolved))/restored-kinglet.yaml rw - ext4 x rw\n")
        let target = FakeTarget.example()
        var restore = try restore(target, to: live(folder))
        restore.mounts = "\(folder.path)/mounts"
        #expect(throws: BackupError.self) { _ = try restore.run(from: target, folder.context) }
        #expect(try folder.read("data/kinglet.db") == "old")
        #expect(!Files.exists("\(folder.path)/data/.restoring"))
    }

    @Test("A path with blanks is found among the mounts as the kernel writes it")
    func blanks() throws {
        let folder = try RestoreFolder()
        try folder.write("my data/uploads/x", "x")
        let resolved = try #require(realpath("\(folder.path)/my data", nil))
        defer { free(resolved) }
        let path = String(cString: resolved).replacing(" ", with: "\\040")
        try folder.write("mounts", "25 20 8:1 /x \(path)/uploads rw - ext4 x rw\n")
        let names = MovableNames(
            folder: "\(folder.path)/my data", mounts: "\(folder.path)/mounts")
        #expect(throws: BackupError.self) { try names.check(["uploads"]) }
        try names.check(["other"])
    }

    @Test("A switch that was reported as failed is not carried out by the next start")
    func failedBegin() throws {
        let folder = try RestoreFolder()
        try folder.write("data/.restoring/new/kinglet.db", "new")
        try folder.write("data/kinglet.db", "old")
        let journal = DataSwitch.Journal(
            kept: "kept", old: ["kinglet.db"], new: ["kinglet.db"])
        #expect(throws: BackupError.self) {
            try DataSwitch.begin(journal, in: "\(folder.path)/data") { path throws(BackupError) in
                throw BackupError(.temporary, subject: path, "cannot sync")
            }
        }
        #expect(!DataSwitch.isUnfinished(in: "\(folder.path)/data"))
        try DataSwitch.finish(in: "\(folder.path)/data")
        #expect(try folder.read("data/kinglet.db") == "old")
    }

    @Test("Uploads alone leave the rest, and need no new epoch")
    func uploads() throws {
        let folder = try liveData()
        let target = FakeTarget.example()
        _ = try restore(target, .uploads, to: live(folder)).run(from: target, folder.context)
        #expect(try folder.read("data/kinglet.db") == "old")
        #expect(try folder.read("data/uploads/ab/cd") == "picture")
        #expect(try folder.read("data/restored-from") == nil)
    }

    @Test("The configuration alone goes where the plan says, as it is")
    func configurationAlone() throws {
        let folder = try RestoreFolder()
        var target = FakeTarget.example()
        target.contents["config/named-1-crt"] = Array("certificate".utf8)
        target.named = ["config/named-1-crt": "/etc/crt", "secrets/named-2-key": "/etc/key"]
        let plan = try RestorePlan(
            try target.manifest(), try target.list(), scope: .configuration,
            to: .folder("\(folder.path)/new"))
        let path = "\(folder.path)/new"
        #expect(plan.sentences.contains { $0.contains("\(path)/kinglet.yaml as it is") })
        let report = try restore(target, .configuration, to: .folder(path))
            .run(from: target, folder.context)
        #expect(try folder.names("new") == ["kinglet.yaml", "config"])
        #expect(try folder.read("new/kinglet.yaml") == "domain: a\ndata_dir: /srv/x\n")
        #expect(report.notes.contains("/etc/crt is in \(path)/config/named-1-crt."))
        // What was not restored is nowhere.
        #expect(!report.notes.contains { $0.contains("/etc/key") })
    }

    @Test("An account is merged into data that stays")
    func user() throws {
        let folder = try liveData()
        let target = FakeTarget.example()
        let report = try restore(target, .user("a@a"), to: live(folder))
            .run(from: target, folder.context)
        #expect(report.notes.contains("a@a has its messages again"))
        try expectOld(folder)
    }

    @Test("A journal that names other places is not followed")
    func journals() throws {
        for text in [
            #"{"kept":"../x","old":[],"new":[]}"#, #"{"kept":"k","old":["../../etc"],"new":[]}"#,
            #"{"kept":"k","old":[],"new":["a/b"]}"#, "", "[]",
        ] {
            let folder = try RestoreFolder()
            try folder.write("data/.restoring/switch", text)
            #expect(throws: BackupError.self) {
                try DataSwitch.finish(in: "\(folder.path)/data")
            }
        }
    }

    @Test(
        "The configuration points to its own folder, and the rest of its text stays",
        arguments: [
            ("domain: a\ndata_dir: /srv\n", "domain: a\ndata_dir: .\n"),
            ("data_dir: >\n  /srv\nb: c", "data_dir: .\nb: c"),
            ("\"data_dir\" : x # y\n", "data_dir: .\n"),
            ("---\ndomain: a\n", "---\ndata_dir: .\ndomain: a\n"),
            (
                "# data_dir: no\nlog:\n  data_dir: no\n",
                "# data_dir: no\ndata_dir: .\nlog:\n  data_dir: no\n"
            ),
            // As an editor of Windows leaves it.
            (
                "domain: a\r\ndata_dir: /srv\r\nlog:\r\n  level: info\r\n",
                "domain: a\r\ndata_dir: .\r\nlog:\r\n  level: info\r\n"
            ),
            ("domain: a\r\n", "data_dir: .\r\ndomain: a\r\n"),
            ("\u{FEFF}data_dir: /srv\ndomain: a\n", "\u{FEFF}data_dir: .\ndomain: a\n"),
            ("  domain: a\n  data_dir: /srv\n", "  domain: a\n  data_dir: .\n"),
            ("--- # mine\ndomain: a\n", "--- # mine\ndata_dir: .\ndomain: a\n"),
            ("# nothing\n", "data_dir: .\n# nothing\n"),
        ])
    func configuration(_ text: String, _ expected: String) {
        var configuration = RestoredConfiguration(Array(text.utf8))
        #expect(configuration.pointToItsOwnFolder() != nil)
        #expect(String(decoding: configuration.bytes, as: UTF8.self) == expected)
        // Twice is once.
        #expect(configuration.pointToItsOwnFolder() == nil)
    }

    @Test(
        "A configuration that cannot be changed by lines stays as it is, and its owner is told",
        arguments: [
            "{\n  \"domain\": \"a\",\n  \"data_dir\": \"/srv\"\n}\n",
            "{\n\"data_dir\": \"/srv\",\n\"domain\": \"a\"\n}\n", "{domain: a}\n", "domain: [\n",
        ])
    func byHand(_ text: String) {
        var configuration = RestoredConfiguration(Array(text.utf8))
        #expect(configuration.pointToItsOwnFolder()?.contains("by hand") == true)
        #expect(String(decoding: configuration.bytes, as: UTF8.self) == text)
    }
}
