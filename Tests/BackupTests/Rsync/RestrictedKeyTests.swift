import Foundation
import Glibc
import Testing

@testable import Backup

/// Whoever takes the machine over has our key, and speaks to the other side as he likes.
@Suite("The restricted key", .serialized)
struct RestrictedKeyTests {
    private let site: RemoteSite
    private let installation: Installation
    private let snapshot: PreparedSnapshot

    init() throws {
        site = try RemoteSite(.restricted)
        installation = try Installation()
        let target = try site.target()
        try target.open(installation.context, forWriting: true)
        snapshot = try installation.prepare(1, RsyncTargetTests.written(installation))
        try installation.store(snapshot, target)
        try Files.makeFolder(site.base + "/outside")
        try Files.replace(site.base + "/outside/file", Array("private".utf8), mode: 0o644)
    }

    /// Every file with its digest, and every name.
    private func state() throws -> String {
        try RemoteSite.run(
            "/bin/sh",
            [
                "-c",
                "cd '\(site.store)/\(snapshot.manifest.id)' && find . -type f -exec sha256sum {} +"
                    + " | sort && find . | sort && cat ../kinglet-backup.json"
                    + " && find '\(site.base)/outside' -exec ls -ld {} + && cat ../../outside/file",
            ]
        ).text
    }

    /// In the place of ssh: runs what the key's line in authorized_keys says, as sshd does. That sshd
    /// does so, whatever is asked for, other tests see; a connection for each of many would take
    /// most of a minute.
    private func shell() throws -> String {
        let path = site.base + "/server/shell"
        if Files.exists(path) { return path }
        let line = try site.access().authorizedKeysLine(publicKey: "")
        let forced = try #require(line.split(separator: "\"").dropFirst().first)
        let text = """
            #!/bin/sh
            [ "$1" = -l ] && shift 2
            shift
            export SSH_ORIGINAL_COMMAND="$*"
            exec \(forced)

            """
        try Files.replace(path, Array(text.utf8), mode: 0o700)
        return path
    }

    private func rsync(_ words: [String]) throws -> (status: Int, text: String) {
        try RemoteSite.run("/usr/bin/rsync", ["-e", shell(), "--timeout=30"] + words)
    }

    @Test("Another rsync than ours is let in as the key's line says, and no further")
    func connection() throws {
        let shell = try site.access().command()
            .map { $0.contains("\"") ? "'\($0)'" : $0 }.joined(separator: " ")
        let before = try state()
        let there = "\(NSUserName())@127.0.0.1:/\(snapshot.manifest.id)/"
        let got = installation.base + "/got"
        try Files.makeFolder(got)
        for shell in [shell, try self.shell()] {
            let list = try RemoteSite.run("/usr/bin/rsync", ["-e", shell, "-r", there])
            #expect(list.status == 0 && list.text.contains("uploads/ab/plain"), "\(list)")
            let emptied = try RemoteSite.run(
                "/usr/bin/rsync", ["-e", shell, "-r", "--delete", got + "/", there])
            #expect(emptied.status != 0 && emptied.text.contains("rrsync"), "\(emptied)")
        }
        #expect(try state() == before)
    }

    @Test("History cannot be deleted, overwritten or left by any way that rsync knows")
    func history() throws {
        let before = try state()
        #expect(before.contains("uploads/ab/plain"))
        let evil = installation.base + "/evil"
        try Files.makeFolder(evil + "/uploads/ab")
        try Files.makeFolder(evil + "/empty")
        try Files.replace(evil + "/uploads/ab/plain", Array("EVIL EVIL\n".utf8), mode: 0o666)
        try Files.replace(evil + "/manifest", Array("EVIL".utf8), mode: 0o666)
        #expect(symlink(site.base + "/outside", evil + "/link") == 0)
        let id = "\(snapshot.manifest.id)"
        let host = "\(NSUserName())@127.0.0.1:"
        let there = "\(host)/\(id)/"

        for option in [
            "--delete", "--delete-before", "--delete-during", "--delete-delay", "--delete-after",
            "--delete-excluded", "--delete-missing-args",
        ] {
            let result = try rsync(["-r", option, "--force", evil + "/empty/", host + "/"])
            #expect(result.status != 0, "\(option)")
            #expect(try state() == before, "\(option)")
        }
        let pulled = try rsync(["-r", "--remove-source-files", there, evil + "/empty/"])
        #expect(pulled.status != 0)
        #expect(try state() == before)
        // Some of these succeed and do nothing, some are refused.
        for options in [
            ["-I"], ["--checksum"], ["--inplace"], ["--append"], ["--append-verify"],
            ["--existing"], ["--size-only"], ["-b"], ["-b", "--backup-dir=/moved"],
            ["--partial-dir=/\(id)/uploads/ab"], ["--delay-updates"], ["--temp-dir=/\(id)"],
            ["-M--log-file=/\(id)/manifest"], ["--write-devices"], ["-M--no-ignore-existing"],
            ["-M--remove-source-files"], ["--force"], ["-M--daemon"],
            ["-M--copy-links"], ["--copy-dest=/\(id)"], ["--fake-super", "-I"],
        ] {
            _ = try rsync(["-rtp"] + options + [evil + "/uploads", evil + "/manifest", there])
            #expect(try state() == before, "\(options)")
        }
        _ = try rsync([evil + "/manifest", host + "/kinglet-backup.json"])
        #expect(try state() == before)
        // A folder in a file's place, a file in a folder's.
        _ = try rsync(["-r", "--force", evil + "/uploads", "\(host)/\(id)/manifest"])
        _ = try rsync(["--force", evil + "/manifest", "\(host)/\(id)/uploads"])
        #expect(try state().contains("uploads/ab/plain"))
    }

    @Test("Nothing outside is read or written, also not through links")
    func outside() throws {
        let before = try state()
        let evil = installation.base + "/evil"
        try Files.makeFolder(evil + "/got")
        try Files.replace(evil + "/file", Array("EVIL".utf8), mode: 0o666)
        #expect(symlink(site.base + "/outside", evil + "/link") == 0)
        let host = "\(NSUserName())@127.0.0.1:"
        _ = try rsync(["-l", evil + "/link", host + "/"])
        for path in [
            "/../outside/", site.base + "/outside/", "/link/", "/link/file", "../outside/",
        ] {
            _ = try rsync(["-rt", evil + "/file", host + path])
            #expect(try state() == before, "\(path)")
            _ = try rsync(["-rtL", host + path, evil + "/got/"])
            _ = try rsync(["-rt", host + path, evil + "/got/"])
            let got = try RemoteSite.run("/bin/sh", ["-c", "cat '\(evil)'/got/* 2>/dev/null"])
            #expect(!got.text.contains("private"), "\(path)")
        }
        #expect(try state() == before)
    }

    @Test("The key runs nothing but rsync, and carries nothing")
    func otherCommands() throws {
        let before = try state()
        let command = try site.access().command()
        let ssh = try #require(command.first)
        let user = ["-l", NSUserName(), "127.0.0.1"]
        for words in [
            ["rm -rf \(site.store)/\(snapshot.manifest.id)"], ["sh", "-c", "'id; ls /'"], [],
            ["rsync --version"], ["rsync --server --daemon ."], ["rsync --server . / ; id"],
            ["rsync", "--server", "--sender", "-e.", ".", "/; id"],
        ] {
            let result = try RemoteSite.run(ssh, Array(command.dropFirst()) + user + words)
            #expect(result.status != 0 && !result.text.contains("uid="), "\(words)")
            #expect(try state() == before, "\(words)")
        }
        let tunnel = try RemoteSite.run(
            ssh, Array(command.dropFirst()) + ["-W", "127.0.0.1:\(site.port)"] + user)
        #expect(tunnel.status != 0 && !tunnel.text.contains("SSH-2"))
    }

    @Test("Our own steps pass with it, and what it may not do is known")
    func ours() throws {
        let context = installation.context
        let target = try site.target()
        try target.open(context, forWriting: true)
        #expect(!target.canRemove)
        #expect(try failure { try target.remove(snapshot.manifest.id, context) }.code == .permanent)
        #expect(try failure { try target.setPins([], context) }.code == .permanent)
        try target.cleanUp(context)
        #expect(try target.pins(context) == [])
        #expect(Files.exists("\(site.store)/\(snapshot.manifest.id)/manifest"))
        // It was allowed when it was asked, and is not any more.
        target.findings.isAppendOnly = false
        #expect(try failure { try target.remove(snapshot.manifest.id, context) }.code == .permanent)
        #expect(!target.canRemove && Files.exists("\(site.store)/\(snapshot.manifest.id)/manifest"))
        try site.access().test()
    }

    @Test("The other machine's own line removes what is old, and leaves the last seven")
    func pruningLine() throws {
        for number in 1...9 {
            try Files.makeFolder("\(site.store)/20250101T000000Z-00000\(number)/uploads")
        }
        let line = try site.access().pruningLine(days: 90)
        #expect(line.contains("'2???????T??????Z-??????'") && !line.contains("%"))
        // What is older than 90 days cannot be made in a test, but what is not younger than one.
        let now = line.replacingOccurrences(of: "-ctime +90", with: "-ctime -1")
            .replacingOccurrences(of: "30 5 * * * ", with: "")
        let result = try RemoteSite.run("/bin/sh", ["-c", now])
        #expect(result.status == 0, "\(result)")
        let left = try Files.names(in: site.store).map { String(decoding: $0, as: UTF8.self) }
            .compactMap { SnapshotID($0) }
        #expect(left.count == 7 && left.contains(snapshot.manifest.id))
        let asItIs = line.replacingOccurrences(of: "30 5 * * * ", with: "")
        try Files.makeFolder("\(site.store)/20240101T000000Z-000001")
        #expect(try RemoteSite.run("/bin/sh", ["-c", asItIs]).status == 0)
        #expect(Files.exists("\(site.store)/20240101T000000Z-000001"))
    }
}
