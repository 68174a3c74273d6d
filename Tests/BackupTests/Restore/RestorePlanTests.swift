// What a plan takes, says and refuses.

import Testing

@testable import Backup

@Suite("The plan of a restore")
struct RestorePlanTests {
    private func plan(
        _ target: FakeTarget, _ scope: RestoreScope = .everything,
        to destination: RestoreDestination = .folder("/x")
    ) throws -> RestorePlan {
        try RestorePlan(try target.manifest(), try target.list(), scope: scope, to: destination)
    }

    private func paths(_ plan: RestorePlan) -> Set<String> {
        Set(plan.files.map { $0.path.top })
    }

    private static let live = RestoreDestination.replace(dataDirectory: "/d", configuration: "/c")

    @Test("Only what is wanted is brought")
    func scopes() throws {
        let target = FakeTarget.example()
        #expect(
            paths(try plan(target)) == [
                "database", "config", "data", "secrets.age", "uploads", "extra",
            ])
        #expect(paths(try plan(target, .uploads)) == ["uploads"])
        #expect(paths(try plan(target, .configuration)) == ["config"])
        #expect(paths(try plan(target, .user("a@a"), to: Self.live)) == ["database"])
        // Paths that were added are never put over what is there.
        #expect(!paths(try plan(target, to: Self.live)).contains("extra"))
        #expect(try plan(target, to: Self.live).links.isEmpty)
    }

    @Test("The sentences say where things go and came from, and what becomes of what is there")
    func sentences() throws {
        let target = FakeTarget.example()
        let folder = try plan(target).sentences.joined(separator: " ")
        #expect(folder.contains("kinglet serve --config /x/kinglet.yaml"))
        #expect(folder.contains("/home/me/notes goes to /x/extra/1, not to where it was"))
        #expect(folder.contains("OMEMO"))
        let live = try plan(target, to: Self.live).sentences.joined(separator: " ")
        #expect(live.contains("kept whole in /d/pre-restore-"))
        #expect(live.contains("/c stays as it is"))
    }

    @Test("Text from a manifest does not write to the terminal")
    func control() throws {
        var target = FakeTarget.example()
        target.extra = ["1": "/a\u{1B}[2J\n"]
        let text = try plan(target).sentences.joined(separator: " ")
        #expect(text.contains("/a [2J "))
    }

    @Test("Space for the image is counted beside the files")
    func space() throws {
        let target = FakeTarget.example()
        let plan = try plan(target, .user("a@a"), to: Self.live)
        #expect(plan.bytes == 6)
        #expect(plan.neededBytes > 6 + 10 * 4096)
    }

    @Test(
        "What could be written elsewhere is refused",
        arguments: [
            "data/kinglet.db", "data/kinglet.db-wal", "data/secrets", "data/.restoring",
            "data/pre-restore-x", "data/a/b", "data/restored-from", "data/backup-state",
            "data/kinglet.lock", "data/kinglet.yaml",
        ])
    func names(_ path: String) throws {
        var target = FakeTarget.example()
        target.contents[path] = [1]
        #expect { _ = try plan(target) } throws: { ($0 as? BackupError)?.code == .damaged }
    }

    @Test("Links lie below extra/ only, and nothing lies below a link or a file")
    func links() throws {
        for path in ["uploads/a", "data/a", "config/a", "secrets.age/a"] {
            var target = FakeTarget.example()
            target.links[path] = "/etc"
            #expect(throws: BackupError.self) { _ = try plan(target) }
        }
        for path in ["extra/1/link/passwd", "extra/1/link/a/b", "extra/1/notes.txt/x"] {
            var target = FakeTarget.example()
            target.contents[path] = [1]
            #expect(throws: BackupError.self) { _ = try plan(target) }
        }
    }

    @Test("A database is the one, of parts that the list has, of a size that can be")
    func databases() throws {
        let changes: [(inout Manifest.Database) -> Void] = [
            { $0.name = "../kinglet.db" },
            { $0.name = "secrets" },
            { $0.base.path = "uploads/ab/cd" },
            { $0.base.path = "../../etc/passwd" },
            { $0.base.sha256 = String(repeating: "0", count: 64) },
            { $0.base.size = 7 },
            { $0.pageCount = .max },
            { $0.pageCount = -1 },
            { $0.pageSize = 0 },
            { $0.pageSize = .max },
            { $0.changes = [.init(path: "database/kinglet.db/x", sha256: "", size: 0)] },
        ]
        for change in changes {
            var target = FakeTarget.example()
            change(&target.databases[0])
            #expect { _ = try plan(target) } throws: { ($0 as? BackupError)?.code == .damaged }
        }
        var target = FakeTarget.example()
        target.databases.append(target.databases[0])
        #expect(throws: BackupError.self) { _ = try plan(target) }
    }

    @Test("A snapshot without what is wanted says so")
    func nothing() throws {
        var target = FakeTarget.example()
        target.contents = target.contents.filter { !$0.key.hasPrefix("uploads/") }
        target.folders = []
        #expect(throws: BackupError.self) { _ = try plan(target, .uploads) }
    }
}
