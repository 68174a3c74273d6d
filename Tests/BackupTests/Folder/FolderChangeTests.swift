import Foundation
import Glibc
import Testing

@testable import Backup

@Suite("Files that change while they are copied to a folder")
struct FolderChangeTests {
    /// The owner's own path, with a file that changes at some step, and what is listed then.
    private func stored(
        _ mover: Mover, at step: FolderStep
    ) throws -> (rig: FolderRig, list: FileList) {
        let rig = try FolderRig(mover)
        let page = try rig.scratch.write("site/page", "as it was")
        try rig.target.open(rig.context, forWriting: true)
        let prepared = try rig.prepare(
            FolderRig.id(1), extra: [("extra/0/site", rig.scratch.path + "/site")])
        let once = Once()
        rig.target.atStep = { (now) throws(BackupError) in
            guard now == step else { return }
            once {
                var status = stat()
                lstat(page, &status)
                try? Files.replace(page, Array("AS IT IS!".utf8), mode: 0o600)
                // A moment later, whatever the clock's steps.
                status.st_mtim.tv_nsec = (status.st_mtim.tv_nsec + 1000) % 1_000_000_000
                utimensat(AT_FDCWD, page, [status.st_mtim, status.st_mtim], 0)
            }
        }
        var list: FileList?
        _ = try rig.target.store(prepared, rig.context) { stored throws(BackupError) in
            list = stored.list
            let report = try stored.verify(stored.list?.entries ?? [])
            if report.faultCount > 0 { throw BackupError(.damaged, subject: "", "\(report)") }
        }
        return (rig, try #require(list))
    }

    @Test(
        "One of the same length, changed within two seconds, is described as it is stored",
        arguments: Mover.allCases)
    func rewritten(mover: Mover) throws {
        let (rig, list) = try stored(mover, at: .begun)
        let path = try #require(SnapshotPath("extra/0/site/page"))
        #expect(list[path]?.hash == contentHash(Array("AS IT IS!".utf8)))
        #expect(rig.notes.all.contains { $0.hasPrefix("1 files changed") })
        #expect(try rig.verify(1).faults == [])
    }

    @Test(
        "One that changed after it was copied stays described as it was", arguments: Mover.allCases)
    func later(mover: Mover) throws {
        let (rig, list) = try stored(mover, at: .extraSent)
        let path = try #require(SnapshotPath("extra/0/site/page"))
        #expect(list[path]?.hash == contentHash(Array("as it was".utf8)))
        #expect(!rig.notes.all.contains { $0.contains("files changed") })
        #expect(try rig.verify(1).faults == [])
    }

    @Test("What has vanished is not read back", arguments: Mover.allCases)
    func vanished(mover: Mover) throws {
        let rig = try FolderRig(mover)
        let gone = rig.data + "/uploads/readable"
        rig.target.atStep = { (now) throws(BackupError) in
            if now == .begun { try Files.remove(gone) }
        }
        let path = try #require(SnapshotPath("uploads/readable"))
        var list: FileList?
        try rig.back(up: 1) { stored in list = stored.list }
        #expect(list?[path] == nil && list?.entries.isEmpty == false)
    }
}
