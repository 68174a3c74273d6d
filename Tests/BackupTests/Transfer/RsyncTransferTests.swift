import Foundation
import Glibc
import Testing

@testable import Backup

@Suite("rsync and what it says")
struct RsyncTransferTests {
    /// A script that says it is rsync and then does something else.
    private func fake(
        _ script: String, version: String = "3.5.0", in installation: Installation
    ) throws -> RsyncTransfer {
        let path = installation.base + "/rsync-\(UUID().uuidString)"
        let text = """
            #!/bin/sh
            if [ "$1" = --version ]; then
                echo "rsync  version \(version)  protocol version 32"; exit 0
            fi
            \(script)
            """
        try Files.replace(path, Array(text.utf8), mode: 0o700)
        return try RsyncTransfer(path: path)
    }

    private func request(_ installation: Installation) -> TransferRequest {
        TransferRequest(
            sources: [installation.base + "/uploads"], destination: installation.base + "/to/",
            linkDestinations: ["/previous"], context: installation.context)
    }

    /// rsync(1), EXIT VALUES, and what we do then.
    private static let codes: [Int: BackupError.Code] = {
        var codes: [Int: BackupError.Code] = [:]
        for status in 1...255 { codes[status] = .permanent }
        for status in [5, 10, 11, 12, 14, 15, 16, 21, 22, 23, 30, 35, 124, 125, 255] {
            codes[status] = .temporary
        }
        for status in 129...159 { codes[status] = .temporary }
        for status in [19, 20] { codes[status] = .cancelled }
        codes[25] = .suspicious
        return codes
    }()

    @Test("Every exit status has its consequence, and none but 0 and 24 is a success")
    func exitCodes() throws {
        let installation = try Installation()
        let transfer = try fake("exit $(cat \(installation.base)/status)", in: installation)
        for status in 0...255 {
            try Files.replace(
                installation.base + "/status", Array("\(status)".utf8), mode: 0o600)
            if status == 0 || status == 24 {
                let report = try transfer.send(request(installation))
                #expect(report.exitStatus == status)
                continue
            }
            let error = try failure { _ = try transfer.send(request(installation)) }
            #expect(error.code == Self.codes[status], "status \(status): \(error)")
            #expect(error.exitStatus == status && error.message.contains("\(status)"))
        }
        #expect(installation.heard.warnings.filter { $0.contains("vanished") }.count == 1)
    }

    @Test("A signal that was not ours is a reason to try again")
    func signals() throws {
        let installation = try Installation()
        for signal in [9, 11, 6] {
            let transfer = try fake("kill -\(signal) $$", in: installation)
            let error = try failure { _ = try transfer.send(request(installation)) }
            #expect(error.code == .temporary && error.message.contains("signal \(signal)"))
        }
    }

    @Test(
        "What was written says more than the status",
        arguments: [
            ("pi@host: Permission denied (publickey).", 255, BackupError.Code.permanent),
            (
                "root@h: Permission denied (publickey,password,keyboard-interactive).", 255,
                .permanent
            ),
            (
                "rsync: [sender] send_files failed to open \"/srv/x\": Permission denied (13)", 23,
                .permanent
            ),
            ("Host key verification failed.", 255, .permanent),
            ("ssh: connect to host x port 22: Connection refused", 255, .absent),
            ("ssh: Could not resolve hostname x: Name or service not known", 255, .absent),
            ("client_loop: send disconnect: Broken pipe", 255, .temporary),
            ("rsync: write failed on \"/x\": No space left on device (28)", 11, .full),
            ("rsync: mkstemp \"/x\" failed: Disk quota exceeded (122)", 23, .full),
            ("rsync: mkstemp \"/x\" failed: Read-only file system (30)", 23, .permanent),
            ("@ERROR: auth failed on module backups", 5, .permanent),
            ("@ERROR: Unknown module 'x'", 5, .permanent),
            ("@ERROR: max connections (2) reached -- try again later", 5, .temporary),
            ("rrsync error: Another instance of rrsync is already accessing", 12, .busy),
            ("sh: 1: rsync: not found", 127, .permanent),
        ])
    func texts(text: String, status: Int, code: BackupError.Code) throws {
        let installation = try Installation()
        let transfer = try fake(
            "cat >&2 <<'END'\n\(text)\nEND\nexit \(status)", in: installation)
        let error = try failure { _ = try transfer.send(request(installation)) }
        #expect(error.code == code && error.exitStatus == status)
        #expect(!error.advice.isEmpty)
        // Not every refusal is one of our key.
        if text.contains("Permission denied") {
            #expect(error.message.contains("refuses our key") == text.contains("publickey"))
        }
    }

    @Test("Complaints are cut and made printable")
    func complaints() throws {
        let installation = try Installation()
        let transfer = try fake(
            """
            for i in 1 2 3 4 5 6 7 8 9; do printf 'line %s \\033[31m\\n' $i >&2; done
            head -c 3000000 /dev/zero | tr '\\0' x >&2
            exit 13
            """, in: installation)
        let error = try failure { _ = try transfer.send(request(installation)) }
        #expect(error.message.contains("line 9 ?[31m"))
        #expect(!error.message.contains("\u{1B}") && error.message.utf8.count < 1200)
    }

    @Test("Statistics are read with and without separators, and as far as they are there")
    func statistics() throws {
        let installation = try Installation()
        for (lines, expected) in [
            (
                """
                Number of regular files transferred: 1,234
                Literal data: 1,234,567 bytes
                Matched data: 9,876,543,210 bytes
                Total bytes sent: 2,000,000
                """, (1234, Int64(2_000_000), Int64(1_234_567), Int64(9_876_543_210))
            ),
            (
                """
                Number of files: 5 (reg: 3, dir: 2)
                Number of regular files transferred: 7
                Matched data: 12 bytes
                """, (7, 0, 0, 12)
            ),
            ("Literal data: 99999999999999999999999 bytes\nTotal bytes sent: x\n:", (0, 0, 0, 0)),
        ] {
            let transfer = try fake("cat <<'END'\n\(lines)\nEND", in: installation)
            let report = try transfer.send(request(installation))
            #expect(report.files == expected.0 && report.bytesSent == expected.1)
            #expect(report.literalBytes == expected.2 && report.matchedBytes == expected.3)
        }
    }

    @Test("Progress has a share, a rate and a time that is left")
    func progress() throws {
        let installation = try Installation()
        let transfer = try fake(
            """
            printf '\\r        32,768  10%%  512.00kB/s    0:00:01 (xfr#1, to-chk=5/9)'
            printf '\\r     2097152   50%%    1.00MB/s    0:00:02 (xfr#2, ir-chk=5/9)\\r'
            printf '\\r  junk 50%% 1.00MB/s 0:00:02\\r 1 999%% 1MB/s 0\\r'
            """, in: installation)
        var request = request(installation)
        request.expectedBytes = 4 << 20
        _ = try transfer.send(request)
        let states = installation.heard.progress
        #expect(states.map(\.bytes) == [32_768, 2_097_152])
        #expect(states.map(\.rate) == [524_288, 1_048_576])
        #expect(states.last?.secondsLeft == 2 && states.last?.ratio == 0.5)
    }

    @Test("A run that is cancelled ends rsync, and says so")
    func cancelled() throws {
        let cancellation = Cancellation()
        let installation = try Installation(cancellation: cancellation)
        let transfer = try fake(
            "echo '1 1% 1.00kB/s 0:00:01'; exec sleep 1000", in: installation)
        var request = request(installation)
        request.context.progress = { _ in cancellation.cancel("enough") }
        let error = try failure { _ = try transfer.send(request) }
        #expect(error.code == .cancelled && error.message == "enough")
    }

    @Test("Options that lose history or write through links are never given")
    func arguments() throws {
        let installation = try Installation(bandwidth: 500)
        for version in ["3.5.0", "3.2.7", "3.1.3"] {
            let transfer = try fake("exit 0", version: version, in: installation)
            var request = request(installation)
            request.linkDestinations = (0..<30).map { "/base\($0)" }
            let arguments = try transfer.arguments(request)
            for word in arguments {
                #expect(!word.hasPrefix("--delete") && word != "--inplace" && word != "-s")
                #expect(word != "--ignore-errors" && word != "--protect-args")
            }
            #expect(arguments.filter { $0.hasPrefix("--link-dest=/") }.count == 20)
            // A folder of this machine is synced as a whole.
            #expect(!arguments.contains("--fsync"))
            let far = RsyncTransfer(
                program: transfer.program,
                connection: RsyncConnection(subject: "there", isDaemon: true))
            #expect(try far.arguments(request).contains("--fsync") == (version != "3.1.3"))
            #expect(arguments.contains("--bwlimit=1"))
            _ = try transfer.send(request)
            #expect((transfer.program.remark != nil) == (version != "3.5.0"))
        }
        // An old rsync is no warning of a run: it would be one of every run.
        #expect(installation.heard.warnings.isEmpty)
        var relative = request(installation)
        relative.linkDestinations = ["../previous"]
        let transfer = try fake("exit 0", in: installation)
        #expect(try failure { _ = try transfer.send(relative) }.code == .permanent)
    }

    @Test("A folder is brought to another with hard links, and what is there is not written to")
    func folder() throws {
        let installation = try Installation()
        try installation.write("uploads/ab/same", Array("same".utf8))
        try installation.write("uploads/ab/other", Array("other".utf8))
        let transfer = try RsyncTransfer()
        var request = request(installation)
        for name in ["one", "two"] {
            try Files.makeFolder(installation.base + "/\(name)")
            request.destination = installation.base + "/\(name)/"
            request.linkDestinations = [installation.base + "/one"]
            let report = try transfer.send(request)
            #expect(report.files == (name == "one" ? 2 : 1))
            try installation.write("uploads/ab/other", Array("changed".utf8))
        }
        func inode(_ path: String) -> ino_t {
            var status = stat()
            return lstat(installation.base + path, &status) == 0 ? status.st_ino : 0
        }
        #expect(inode("/one/uploads/ab/same") == inode("/two/uploads/ab/same"))
        #expect(
            try Files.read(installation.base + "/one/uploads/ab/other", limit: 99)
                == Array("other".utf8))
    }

    @Test("No rsync, and one that is none, are told")
    func missing() throws {
        #expect(try failure { _ = try RsyncTransfer(path: "/nowhere/rsync") }.code == .permanent)
        #expect(try failure { _ = try RsyncTransfer(path: "/bin/true") }.code == .permanent)
        for (banner, version) in [
            ("rsync  version 3.2.7  protocol version 31", RsyncVersion(3, 2, 7)),
            ("rsync  version v3.4.1  protocol version 32", RsyncVersion(3, 4, 1)),
            ("rsync  version 3.5.0pre1  protocol version 32", RsyncVersion(3, 5, 0)),
        ] { #expect(RsyncVersion(banner: banner) == version) }
        #expect(RsyncVersion(banner: "rsync version 9999999999999999999.1") == nil)
        #expect(RsyncVersion(banner: "openrsync: protocol version 29") == nil)
    }
}
