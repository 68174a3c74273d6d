// The places of archives: folders of several file systems, and remotes of the real rclone.

import Foundation
import Glibc
import Programs
import Testing

@testable import Backup

@Suite("Places of archives")
struct ArchiveStoreTests {
    // MARK: rclone

    private static func rclone(_ fixture: ArchiveFixture) throws -> String {
        let file = fixture.folder + "/rclone.conf"
        let text = "[disk]\ntype = alias\nremote = \(fixture.place)\n"
        try Files.replace(file, Array(text.utf8), mode: 0o600)
        return file
    }

    /// A program that stands in for rclone.
    private static func program(_ fixture: ArchiveFixture, _ script: String) throws -> String {
        let path = fixture.folder + "/rclone"
        try Files.replace(path, Array("#!/bin/sh\n\(script)\n".utf8), mode: 0o700)
        return path
    }

    @Test("Snapshots go to a remote of rclone, come back, are verified and pruned")
    func rclone() throws {
        _ = try #require(Program.find("rclone"))
        let fixture = try ArchiveFixture()
        defer { try? fixture.end() }
        let configuration = try Self.rclone(fixture)
        var random = ArchiveRandom(state: 5)
        var files: [String: [UInt8]] = ["uploads/large": random.bytes(17_000_000)]
        for index in 0..<20 { files["uploads/\(index)"] = random.bytes(1000) }
        for (path, bytes) in files { try fixture.write(path, bytes) }
        let target = fixture.target { context throws(BackupError) in
            try RcloneStore(remote: "disk:kinglet/pi", configuration: configuration, context)
        }
        let first = try fixture.store(on: target)
        #expect(first.report.bytesSent > 17_000_000)
        try fixture.expectRestores(first.id, files, from: target)
        let before = files
        try fixture.write("uploads/0", [7])
        files["uploads/0"] = [7]
        try Files.remove(fixture.source + "/uploads/large")
        files["uploads/large"] = nil
        let second = try fixture.store(on: target)
        #expect(second.report.literalBytes < 30_000)
        try fixture.expectRestores(second.id, files, from: target)
        try fixture.expectRestores(first.id, before, from: target)

        let manifest = try target.manifest(of: second.id, fixture.context)
        let list = try target.list(of: manifest, fixture.context)
        #expect(try target.verify(list.entries, of: manifest, fixture.context).faults == [])
        let place = fixture.place + "/kinglet/pi"
        let space = try #require(try target.space(fixture.context))
        #expect(space.free > 0 && space.total > space.free)

        try target.remove(first.id, fixture.context)
        try target.remove(first.id, fixture.context)
        try target.cleanUp(fixture.context)
        let left = try FolderStore(place).list("packs")
        #expect(left.map(\.size).max() ?? 0 < 1_000_000)
        try fixture.expectRestores(second.id, files, from: target)
        let pack = try #require(left.first).name
        var bytes = try #require(try Files.read("\(place)/\(pack)", limit: 1 << 30))
        bytes[bytes.count / 2] ^= 1
        try Files.replace("\(place)/\(pack)", bytes, mode: 0o600)
        #expect(try target.verify(list.entries, of: manifest, fixture.context).faultCount > 0)
        try Files.remove("\(place)/\(pack)")
        #expect(
            try target.verify(list.entries, of: manifest, fixture.context).faults
                .contains { $0.contains("is missing") })
    }

    @Test("Where nothing was made yet, a remote of rclone is empty and not broken")
    func emptyRemote() throws {
        let fixture = try ArchiveFixture()
        defer { try? fixture.end() }
        let store = try RcloneStore(
            remote: "disk:a/b", configuration: try Self.rclone(fixture), fixture.context)
        #expect(try store.list("packs") == [])
        #expect(try store.size(of: "packs/x") == nil)
        #expect(try store.read("pins", limit: 10) == nil)
        try store.delete("pins")
        try store.prepare()
        try store.put("pins", [1, 2, 3])
        try store.put("pins", [4, 5, 6])
        #expect(try store.read("pins", limit: 10) == [4, 5, 6])
        #expect(try store.size(of: "pins") == 3)
        #expect(throws: BackupError.self) { try store.read("pins", limit: 2) }
        try store.delete("pins")
        #expect(try store.size(of: "pins") == nil)
    }

    @Test(
        "Each end of rclone means what its table says (rclone.org/docs, exit codes)",
        arguments: [
            (1, "", BackupError.Code.temporary), (2, "", .temporary), (3, "", .temporary),
            (4, "", .temporary), (5, "", .temporary), (6, "", .temporary), (7, "", .permanent),
            (8, "", .permanent), (9, "", .permanent), (10, "", .temporary), (77, "", .permanent),
            (137, "", .temporary),
            (1, "write /x: no space left on device", .full), (5, "googleapi: quotaExceeded", .full),
            (1, "dial tcp: lookup nas: no such host", .absent),
            (1, "connect: connection refused", .absent),
            (1, "didn't find section in config file", .permanent),
            (5, "AccessDenied: Access Denied", .permanent),
        ])
    func exits(status: Int, words: String, code: BackupError.Code) throws {
        let fixture = try ArchiveFixture()
        defer { try? fixture.end() }
        let said = "2026/11/21 15:15:36 ERROR : \(words)"
        let program = try Self.program(
            fixture, "[ \"$1\" = rcat ] && cat >/dev/null; echo \"\(said)\" >&2; exit \(status)")
        let store = try RcloneStore(
            remote: "disk:", configuration: nil, program: program, fixture.context)
        let name = ArchiveNames.pack(String(repeating: "a", count: 64))
        let error = #expect(throws: BackupError.self) { try store.put(name, [1, 2, 3]) }
        #expect(error?.code == code)
        #expect(error?.exitStatus == status)
    }

    @Test("Passwords in what rclone says do not get any further")
    func redaction() {
        let line = RcloneFailure.lastLine(
            of: Array("x\n2026/11/21 15:15:36 Failed: Get https://me:secret@host/a\n".utf8))
        #expect(line == "Failed: Get https://…@host/a")
    }

    @Test("An upload that rclone calls a success and that is not all there is a failure")
    func shortUpload() throws {
        let fixture = try ArchiveFixture()
        defer { try? fixture.end() }
        let digest = String(repeating: "a", count: 64)
        let program = try Self.program(
            fixture, "case $1 in rcat) cat >/dev/null;; lsf) echo '2;\(digest)';; esac")
        let store = try RcloneStore(
            remote: "disk:", configuration: nil, program: program, fixture.context)
        try store.put(ArchiveNames.pack(digest), [1, 2])
        let error = #expect(throws: BackupError.self) {
            try store.put(ArchiveNames.pack(digest), [1, 2, 3])
        }
        #expect(error?.code == .temporary)
        #expect(error?.message.contains("not all") == true)
    }

    @Test("A manifest that is cut off on its way to a remote has not its name, and goes later")
    func cutOffManifest() throws {
        let rclone = try #require(Program.find("rclone"))
        let fixture = try ArchiveFixture()
        defer { try? fixture.end() }
        let configuration = try Self.rclone(fixture)
        try fixture.write("uploads/a", [1, 2, 3])
        // As a version that writes in place, ended while it does.
        let program = try Self.program(
            fixture,
            """
            for last; do :; done
            case "$1 $last" in
            "copyto "*snapshots/*)
                [ -e \(fixture.folder)/whole ] && exec \(rclone) "$@"
                printf cut > "\(fixture.place)/${last#disk:}"; exit 1;;
            esac
            exec \(rclone) "$@"
            """)
        let target = fixture.target { context throws(BackupError) in
            try RcloneStore(
                remote: "disk:", configuration: configuration, program: program, context)
        }
        try Files.makeFolder(fixture.place + "/snapshots")
        let error = #expect(throws: BackupError.self) { try fixture.store(on: target) }
        #expect(error?.code == .temporary)
        #expect(try target.snapshots(fixture.context).isEmpty)
        let cut = try FolderStore(fixture.place).list("snapshots")
        #expect(cut.map(\.size) == [3])
        try Files.replace(fixture.folder + "/whole", [], mode: 0o600)
        let second = try fixture.store(on: target)
        #expect(try target.snapshots(fixture.context) == [second.id])
        try target.cleanUp(fixture.context)
        #expect(
            try FolderStore(fixture.place).list("snapshots").map(\.name)
                == [ArchiveNames.snapshot(second.id)])
        #expect(fixture.warnings.lines.isEmpty)
        try fixture.expectRestores(second.id, ["uploads/a": [1, 2, 3]], from: target)
    }

    @Test("Where nothing can be removed, a manifest that was copied to its name is stored")
    func addOnlyRemote() throws {
        let rclone = try #require(Program.find("rclone"))
        let fixture = try ArchiveFixture()
        defer { try? fixture.end() }
        let configuration = try Self.rclone(fixture)
        let program = try Self.program(
            fixture,
            """
            if [ "$1" = moveto ]; then
                shift; \(rclone) copyto "$@"; echo "AccessDenied" >&2; exit 1
            fi
            exec \(rclone) "$@"
            """)
        try fixture.write("uploads/a", [1])
        let target = fixture.target { context throws(BackupError) in
            try RcloneStore(
                remote: "disk:", configuration: configuration, program: program, context)
        }
        let id = try fixture.store(on: target).id
        try fixture.expectRestores(id, ["uploads/a": [1]], from: target)
    }

    @Test("Secrets are no arguments of rclone, and a run that is cancelled ends it")
    func arguments() throws {
        let fixture = try ArchiveFixture()
        defer { try? fixture.end() }
        let program = try Self.program(
            fixture, "echo \"$@\" > \(fixture.folder)/arguments; exec sleep 600")
        var context = fixture.context
        context.bandwidth = 5000
        let cancellation = Cancellation(timeLimit: .seconds(3))
        context.cancellation = cancellation
        let store = try RcloneStore(
            remote: "disk:", configuration: "/c", program: program, context)
        let error = #expect(throws: BackupError.self) { try store.list("packs") }
        #expect(error?.code == .cancelled)
        let written = try #require(
            try Files.read(fixture.folder + "/arguments", limit: 10_000))
        let text = String(decoding: written, as: UTF8.self)
        for word in ["--config /c", "--bwlimit 5000B", "--timeout", "--contimeout", "--retries"] {
            #expect(text.contains(word))
        }
        #expect(!text.contains(fixture.key.text))
        for remote in ["", "x", ":path"] {
            #expect(throws: BackupError.self) {
                try RcloneStore(remote: remote, configuration: nil, context)
            }
        }
    }

    // MARK: Folders

    @Test("Files in a folder are replaced whole, and neither links nor tricks lead out of it")
    func folder() throws {
        let fixture = try ArchiveFixture()
        defer { try? fixture.end() }
        let store = FolderStore(fixture.place)
        try store.put("packs/ab/x", [1])
        try store.put("packs/ab/x", [2, 3])
        #expect(try store.read("packs/ab/x", limit: 10) == [2, 3])
        #expect(try store.list("packs") == [ArchiveFile(name: "packs/ab/x", size: 2)])
        #expect(try store.list("nothing") == [])
        try store.delete("packs/ab/x")
        try store.delete("packs/zz/x")
        #expect(try store.size(of: "packs/ab/x") == nil)
        let outside = fixture.folder + "/outside"
        try Files.makeFolder(outside)
        try Files.replace(outside + "/kept", [1], mode: 0o600)
        #expect(symlink(outside, fixture.place + "/packs/cd") == 0)
        #expect(symlink(outside + "/kept", fixture.place + "/packs/ab/link") == 0)
        #expect(throws: BackupError.self) { try store.put("packs/cd/x", [1]) }
        #expect(throws: BackupError.self) { try store.read("packs/ab/link", limit: 10) }
        #expect(throws: BackupError.self) { try store.delete("packs/cd/kept") }
        #expect(throws: BackupError.self) { try store.put("../x", [1]) }
        #expect(try store.list("packs") == [])
        #expect(try Files.names(in: outside).count == 1)
    }

    @Test("A folder that was replaced meanwhile is not written to")
    func vanishedFolder() throws {
        let fixture = try ArchiveFixture()
        defer { try? fixture.end() }
        let store = FolderStore(fixture.place)
        try store.put("a", [1])
        #expect(rename(fixture.place, fixture.place + "-away") == 0)
        try Files.makeFolder(fixture.place)
        try store.put("b", [2])
        #expect(try Files.names(in: fixture.place).isEmpty)
        #expect(Files.exists(fixture.place + "-away/b"))
    }

    private static func run(_ program: String, _ arguments: [String]) throws -> Bool {
        guard let path = Program.find(program) else { return false }
        return try Program(path, arguments).run(output: { _ in }) == .exited(0)
    }

    @Test(
        "A full disk is told before anything is written, and leaves the older snapshots whole",
        .enabled(if: getuid() == 0, "mounting is for root"))
    func fullDisk() throws {
        let fixture = try ArchiveFixture()
        defer { try? fixture.end() }
        try #require(
            try Self.run("mount", ["-t", "tmpfs", "-o", "size=20m", "none", fixture.place]))
        defer { _ = try? Self.run("umount", ["-l", fixture.place]) }
        var random = ArchiveRandom(state: 6)
        let small = random.bytes(2_000_000)
        try fixture.write("uploads/a", small)
        let target = fixture.target()
        let first = try fixture.store(on: target).id
        let before = try fixture.packs()
        try fixture.write("uploads/b", random.bytes(30_000_000))
        let error = #expect(throws: BackupError.self) { try fixture.store(on: target) }
        #expect(error?.code == .full)
        #expect(try fixture.packs() == before)
        // Somebody else fills it meanwhile.
        let store = FolderStore(fixture.place)
        let filler = try #require(try store.space()).free - 3_000_000
        try Files.replace(fixture.place + "/filler", random.bytes(Int(filler)), mode: 0o600)
        let second = #expect(throws: BackupError.self) {
            try store.put("packs/aa/x", [UInt8](repeating: 1, count: 4_000_000))
        }
        #expect(second?.code == .full)
        try Files.remove(fixture.place + "/filler")
        try target.cleanUp(fixture.context)
        try fixture.expectRestores(first, ["uploads/a": small], from: target)
    }

    /// Whether this machine's kernel mounts FAT at all.
    private static let canMountFAT: Bool = {
        guard getuid() == 0,
            Program.find("mkfs.vfat") ?? Program.find("/usr/sbin/mkfs.vfat") != nil,
            let known = try? String(contentsOfFile: "/proc/filesystems", encoding: .utf8)
        else { return false }
        return known.contains("vfat")
    }()

    @Test(
        "A stick with FAT holds an archive",
        .enabled(if: canMountFAT, "needs root, dosfstools and a kernel with vfat"))
    func fat() throws {
        let fixture = try ArchiveFixture()
        defer { try? fixture.end() }
        let image = fixture.folder + "/image"
        try Files.replace(image, [], mode: 0o600)
        try #require(truncate(image, 64 << 20) == 0)
        let maker = Program.find("mkfs.vfat") ?? "/usr/sbin/mkfs.vfat"
        try #require(try Self.run(maker, [image]))
        try #require(try Self.run("mount", ["-o", "loop", image, fixture.place]))
        defer { _ = try? Self.run("umount", ["-l", fixture.place]) }
        var random = ArchiveRandom(state: 8)
        let files = ["uploads/a": random.bytes(20_000_000), "uploads/B": random.bytes(1000)]
        for (path, bytes) in files { try fixture.write(path, bytes) }
        let target = fixture.target()
        let id = try fixture.store(on: target).id
        try fixture.expectRestores(id, files, from: target)
        try target.remove(id, fixture.context)
        try target.cleanUp(fixture.context)
        #expect(try fixture.packs().isEmpty)
    }
}
