import Foundation
import Glibc
import Testing

@testable import Backup

/// What the other side's rsync is not told, and what is done when it is busy.
@Suite("Another rsync on the other side")
struct OlderRsyncTests {
    private func snapshot(_ installation: Installation) throws -> PreparedSnapshot {
        var snapshot = try installation.prepare(1, RsyncTargetTests.written(installation))
        let place = installation.base + "/nginx"
        try Files.makeFolder(place)
        try Files.replace(place + "/conf", Array("conf".utf8), mode: 0o640)
        snapshot.sources.append((try #require(SnapshotPath("extra/1")), place))
        return snapshot
    }

    @Test(
        "Options that it does not know are left out from then on, and are asked for again later",
        arguments: [["--fsync"], ["--fsync", "--mkpath"], ["--mkpath"], []])
    func unknown(options: [String]) throws {
        let site = try ShellSite(unknown: options)
        let installation = try Installation()
        let context = installation.context
        // The folder is made, whichever way.
        let target = try site.target(below: "/kinglet")
        try target.open(context, forWriting: true)
        #expect(target.canRemove)
        _ = try site.calls()
        // Another command, which only remembers.
        let again = try site.target(below: "/kinglet")
        try again.open(context, forWriting: true)
        _ = try again.snapshots(context)
        let snapshot = try snapshot(installation)
        try installation.store(snapshot, again)
        let top = "\(site.store)/kinglet/\(snapshot.manifest.id)"
        #expect(try Files.read(top + "/extra/1/conf", limit: 99) == Array("conf".utf8))
        #expect(try again.snapshots(context) == [snapshot.manifest.id])
        let calls = try site.calls()
        #expect(!calls.isEmpty)
        for option in ["--fsync", "--mkpath"] {
            #expect(calls.contains { $0.contains(option) } == !options.contains(option))
        }
        let warnings = installation.heard.warnings.filter { $0.contains("does not sync") }
        #expect(warnings.count == (options.contains("--fsync") ? 1 : 0))

        // It was renewed; after a day that is found out.
        try site.set(unknown: [])
        let memory = try RsyncMemory(context.memory)
        var findings = memory.findings
        findings.asked = 0
        try memory.remember(findings)
        let renewed = try site.target(below: "/kinglet")
        try renewed.open(context, forWriting: true)
        #expect(renewed.durable == ["--fsync", "--mkpath"])
        #expect(memory.findings.refused == nil && memory.findings.target != nil)
    }

    @Test("Findings of before are read as they were")
    func findings() throws {
        let installation = try Installation()
        let text =
            #"{"asked":5,"isAppendOnly":true,"isRestricted":true,"target":"x"}"#
        try Files.replace(
            installation.context.memory + "/rsync.json", Array(text.utf8), mode: 0o600)
        let findings = try RsyncMemory(installation.context.memory).findings
        #expect(findings.target == "x" && findings.refused == nil && findings.isAppendOnly)
    }

    @Test(
        "One that is about to end is waited for, whatever is to be done",
        .timeLimit(.minutes(10)))
    func busy() throws {
        let site = try ShellSite()
        let installation = try Installation()
        let context = installation.context
        let target = try site.target()
        try target.open(context, forWriting: true)
        _ = try target.snapshots(context)
        let snapshot = try snapshot(installation)
        try site.setBusy()
        _ = try target.store(snapshot, context) { stored throws(BackupError) in
            #expect(!Files.exists(site.base + "/busy"))
            do { try site.setBusy() } catch { throw Fault.error() }
            #expect(try stored.verify(snapshot.list.entries).faults == [])
            #expect(!Files.exists(site.base + "/busy"))
        }
        try site.setBusy()
        let manifest = try target.manifest(of: snapshot.manifest.id, context)
        #expect(try target.verify(snapshot.list.entries, of: manifest, context).faults == [])
    }
}
