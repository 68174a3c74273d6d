import Glibc
import Testing

@testable import Backup

@Suite("What is sent in which call")
struct TransferStepTests {
    let rig: FolderRig

    init() throws { rig = try FolderRig() }

    func steps(
        _ sources: [(String, String)], excludes: [String] = [], partial: String? = nil
    ) throws -> [TransferStep] {
        var prepared = try rig.prepare(FolderRig.id(1))
        prepared.sources = try sources.map { (try #require(SnapshotPath($0.0)), $0.1) }
        prepared.excludes = excludes
        return try TransferStep.all(for: prepared, partial: partial)
    }

    @Test("What has its name already goes in one call, the rest by content")
    func names() throws {
        let base = rig.scratch.path
        try rig.scratch.write("site/page", "x")
        #expect(
            try steps(
                [
                    ("uploads", base + "/data/uploads"), ("config", base + "/staging/config"),
                    ("secrets.age", base + "/staging/secrets.age"), ("files", base + "/nowhere"),
                    ("extra/0/site", base + "/site"), ("extra/1", base + "/site"),
                ], excludes: ["*.log", base + "/site/a", "/srv/x"]) == [
                    TransferStep(
                        sources: [
                            base + "/data/uploads", base + "/staging/config",
                            base + "/staging/secrets.age",
                        ], folder: ""),
                    TransferStep(
                        sources: [base + "/site"], folder: "extra/0/",
                        excludes: ["*.log", "/site/a"]),
                    TransferStep(
                        sources: [base + "/site/"], folder: "extra/1/", excludes: ["*.log", "/a"]),
                ])
    }

    @Test("What is in its place already is not sent")
    func inPlace() throws {
        let partial = rig.place + "/.partial-x"
        #expect(try steps([("database", partial + "/database")], partial: partial) == [])
    }

    @Test(
        "A file goes under another name in a call of its own, and is shared",
        arguments: Mover.allCases)
    func otherName(mover: Mover) throws {
        rig.target.transfer = mover.transfer
        let hosts = try rig.scratch.write("hosts", "127.0.0.1")
        #expect(
            try steps([("extra/2", hosts)]) == [TransferStep(sources: [hosts], folder: "extra/2")])
        try rig.target.open(rig.context, forWriting: true)
        for sequence in 1...2 {
            let prepared = try rig.prepare(FolderRig.id(sequence), extra: [("extra/2", hosts)])
            _ = try rig.target.store(prepared, rig.context) { (_) throws(BackupError) in }
            #expect(try rig.verify(sequence).faultCount == 0)
        }
        #expect(try rig.file(1, "extra/2") == rig.file(2, "extra/2"))
    }

    @Test("Uploads that lie behind a link are meant, not the link", arguments: Mover.allCases)
    func linkedUploads(mover: Mover) throws {
        rig.target.transfer = mover.transfer
        let elsewhere = rig.scratch.path + "/big-disk"
        #expect(rename(rig.data + "/uploads", elsewhere) == 0)
        #expect(symlink(elsewhere, rig.data + "/uploads") == 0)
        try rig.back(up: 1)
        let report = try rig.verify(1)
        #expect(report.files == 33 && report.faults == [])
    }
}
