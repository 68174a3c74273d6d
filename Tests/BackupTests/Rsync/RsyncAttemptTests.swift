import Foundation
import Glibc
import Testing

@testable import Backup

/// A folder without a manifest is an attempt, and whose it is only this machine knows.
@Suite("Attempts behind rsync")
struct RsyncAttemptTests {
    let site: ShellSite
    let installation: Installation
    let target: RsyncTarget

    init() throws {
        site = try ShellSite()
        installation = try Installation()
        target = try site.target()
        try target.open(installation.context, forWriting: true)
    }

    private func there() throws -> [Int] {
        try Files.names(in: site.store)
            .compactMap { SnapshotID(String(decoding: $0, as: UTF8.self)) }.sorted().map(\.sequence)
    }

    /// One that is refused when it is there.
    private func fail(_ sequence: Int, sharesNothing: Bool = false) throws {
        _ = try target.snapshots(installation.context)
        var snapshot = try installation.prepare(
            sequence, RsyncTargetTests.written(installation))
        snapshot.sharesNothing = sharesNothing
        let error = try failure {
            _ = try target.store(snapshot, installation.context) { _ throws(BackupError) in
                throw BackupError(.damaged, subject: "test", "a bit was turned")
            }
        }
        #expect(error.code == .damaged)
    }

    @Test("The newest two are kept for their files, none when nothing is to be shared")
    func newest() throws {
        for sequence in 1...4 {
            try fail(sequence)
            #expect(try there() == Array(max(1, sequence - 2)...sequence))
        }
        // What a connection that breaks leaves of a file, for the next attempt.
        try Files.makeFolder(site.store + "/.rsync-partial")
        try Files.replace(site.store + "/.rsync-partial/large", [1, 2, 3], mode: 0o600)
        try fail(5, sharesNothing: true)
        #expect(try there() == [5])
        _ = try target.snapshots(installation.context)
        try target.cleanUp(installation.context)
        #expect(try there() == [5])
        #expect(Files.exists(site.store + "/.rsync-partial/large"))
        let snapshot = try installation.prepare(6, RsyncTargetTests.paths)
        _ = try target.snapshots(installation.context)
        #expect(try installation.store(snapshot, target).files == 0)
        try target.cleanUp(installation.context)
        #expect(try there() == [6])
        let left = try Files.names(in: site.store).map { String(decoding: $0, as: UTF8.self) }
        #expect(left.sorted() == ["\(snapshot.manifest.id)", "kinglet-backup.json", "latest"])
        let memory = try RsyncMemory(installation.context.memory)
        #expect(try memory.begun() == [])
    }

    @Test(
        "Another installation's attempt is neither shared nor removed, ours are on a shared target")
    func others() throws {
        // It may only add, and so is not in the marker.
        try Files.makeFolder(site.store + "/20260101T000000Z-000001/uploads")
        try fail(2)
        let bytes = try #require(
            try Files.read(site.store + "/kinglet-backup.json", limit: 9999))
        var marker = try JSONDecoder().decode(TargetMarker.self, from: Data(bytes))
        marker.instances.append(String(repeating: "b", count: 32))
        try Files.replace(site.store + "/kinglet-backup.json", marker.bytes, mode: 0o600)
        try target.open(installation.context, forWriting: true)
        _ = try target.snapshots(installation.context)
        #expect(target.listed?.attempts.map(\.sequence) == [2])
        let snapshot = try installation.prepare(3, RsyncTargetTests.paths)
        #expect(try installation.store(snapshot, target).files == 0)
        try target.cleanUp(installation.context)
        #expect(try there() == [1, 3])
    }

    @Test("A removal that is cut off goes on with the next clean-up")
    func removal() throws {
        for sequence in 1...2 {
            let paths = try RsyncTargetTests.written(installation)
            _ = try target.snapshots(installation.context)
            try installation.store(installation.prepare(sequence, paths), target)
        }
        let first = try #require(try target.snapshots(installation.context).first)
        // The manifest goes first; then the network does.
        try site.breakConnection(after: 1)
        #expect(try failure { try target.remove(first, installation.context) }.code == .temporary)
        #expect(!Files.exists("\(site.store)/\(first)/manifest"))
        #expect(try there() == [1, 2])
        let again = try site.target()
        try again.open(installation.context, forWriting: true)
        try again.cleanUp(installation.context)
        #expect(try there() == [2])
    }
}
