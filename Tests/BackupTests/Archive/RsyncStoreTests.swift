// Archives on a machine that only rsync reaches, with a real sshd and a real daemon.

import Foundation
import Testing

@testable import Backup

@Suite("Archives behind rsync", .serialized)
struct RsyncStoreTests {
    @Test(
        "Encrypted snapshots go to another machine, come back, are verified and pruned",
        arguments: [RemoteSite.Kind.ssh, getuid() == 0 ? .chrootedDaemon : .daemon])
    func roundTrip(kind: RemoteSite.Kind) throws {
        let site = try RemoteSite(kind)
        let fixture = try ArchiveFixture()
        defer { try? fixture.end() }
        var random = ArchiveRandom(state: 9)
        var files = ["uploads/large": random.bytes(17_000_000), "uploads/b": random.bytes(900)]
        for (path, bytes) in files { try fixture.write(path, bytes) }
        let rsync = try site.target()
        let target = fixture.target { context throws(BackupError) in
            try RsyncStore(try RsyncRemoteCopy(rsync, context), context)
        }
        let first = try fixture.store(on: target)
        #expect(first.report.bytesSent > 17_000_000)
        try fixture.expectRestores(first.id, files, from: target)
        try Files.remove(fixture.source + "/uploads/large")
        files["uploads/large"] = nil
        let second = try fixture.store(on: target)
        #expect(second.report.literalBytes < 1000)
        try target.setPins([second.id], fixture.context)
        #expect(try target.pins(fixture.context) == [second.id])
        #expect(target.canRemove)
        let before = try FolderStore(site.store).list("packs").count
        #expect(before >= 4)
        try target.cleanUp(fixture.context)
        #expect(try FolderStore(site.store).list("packs").count == before)
        // As an rsync that was cut off leaves it.
        try Files.makeFolder(site.store + "/packs/ab")
        try Files.replace(site.store + "/packs/ab/.abcd.X1y2z3", [1], mode: 0o600)
        try target.remove(first.id, fixture.context)
        try target.remove(first.id, fixture.context)
        try target.cleanUp(fixture.context)
        #expect(try target.snapshots(fixture.context) == [second.id])
        let left = try FolderStore(site.store).list("packs")
        #expect(left.count < before)
        #expect(!left.contains { $0.name.contains("/.") })
        try fixture.expectRestores(second.id, files, from: target)

        let manifest = try target.manifest(of: second.id, fixture.context)
        let list = try target.list(of: manifest, fixture.context)
        #expect(try target.verify(list.entries, of: manifest, fixture.context).faults == [])
        for file in left { try Files.remove("\(site.store)/\(file.name)") }
        #expect(
            try target.verify(list.entries, of: manifest, fixture.context).faults
                .contains { $0.contains("is missing") })
        #expect(try Files.names(in: fixture.folder + "/staging/archive-out").count < 4)
    }

    @Test("With a key that may only add, archives are added to and nothing is removed")
    func appendOnly() throws {
        let site = try RemoteSite(.restricted)
        let fixture = try ArchiveFixture()
        defer { try? fixture.end() }
        try fixture.write("uploads/a", [1, 2, 3])
        let rsync = try site.target()
        let target = fixture.target { context throws(BackupError) in
            try RsyncStore(try RsyncRemoteCopy(rsync, context), context)
        }
        let first = try fixture.store(on: target).id
        try fixture.write("uploads/a", [4])
        let second = try fixture.store(on: target).id
        #expect(!target.canRemove)
        #expect(throws: BackupError.self) { try target.remove(first, fixture.context) }
        #expect(throws: BackupError.self, "the other side keeps its file of pins") {
            try target.setPins([first], fixture.context)
        }
        try target.cleanUp(fixture.context)
        try fixture.expectRestores(first, ["uploads/a": [1, 2, 3]], from: target)
        try fixture.expectRestores(second, ["uploads/a": [4]], from: target)
    }

    @Test("A machine that does not answer is not a broken one")
    func asleep() throws {
        let site = try RemoteSite(.daemon)
        let fixture = try ArchiveFixture()
        defer { try? fixture.end() }
        let rsync = try site.target()
        site.stop()
        let target = fixture.target { context throws(BackupError) in
            try RsyncStore(try RsyncRemoteCopy(rsync, context), context)
        }
        let error = #expect(throws: BackupError.self) {
            try target.open(fixture.context, forWriting: true)
        }
        #expect(error?.code == .absent || error?.code == .temporary)
    }
}
